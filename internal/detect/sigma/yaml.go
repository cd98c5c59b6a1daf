package sigma

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds of a rule file, far above any real one. Aliases count each time they
// are used, so that a few lines cannot become gigabytes.
const (
	maxFileBytes = 4 << 20
	maxYAMLNodes = 200_000
	maxYAMLDepth = 100
)

type nodeKind uint8

const (
	scalarNode nodeKind = iota
	mapNode
	listNode
)

// node is a YAML value with its place in the file, aliases and merge keys
// resolved.
type node struct {
	kind  nodeKind
	value ValueKind // of a scalar
	text  string    // of a scalar
	keys  []*node   // of a map, each a scalar
	items []*node   // of a map or list
	line  int
	col   int
}

// get returns a member of a map, nil where there is none.
func (n *node) get(key string) *node {
	if n.kind != mapNode {
		return nil
	}
	for i, k := range n.keys {
		if k.text == key {
			return n.items[i]
		}
	}
	return nil
}

// yamlError is what is wrong at a place.
type yamlError struct {
	line, col int
	message   string
}

func (e *yamlError) Error() string { return e.message }

func failAt(n *node, format string, args ...any) error {
	return &yamlError{n.line, n.col, fmt.Sprintf(format, args...)}
}

// parseYAML returns the documents of a file, empty ones left out.
func parseYAML(data []byte) (docs []*node, err error) {
	if len(data) > maxFileBytes {
		return nil, fmt.Errorf("the file has %d bytes; a rule file may have %d", len(data), maxFileBytes)
	}
	defer func() {
		// The library is not proof against everything that a file may hold.
		if r := recover(); r != nil {
			docs, err = nil, fmt.Errorf("not sound YAML: %v", r)
		}
	}()
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, syntaxError(err)
	}
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		c := converter{anchors: map[string]*node{}}
		n, err := c.convert(doc.Body, 0)
		if err != nil {
			return nil, err
		}
		if n == nil || n.kind == scalarNode && n.value == NullValue {
			continue
		}
		docs = append(docs, n)
	}
	return docs, nil
}

// syntaxError takes the place out of the library's error and leaves the picture
// of the source behind.
func syntaxError(err error) error {
	e := &yamlError{message: "not sound YAML: " + err.Error()}
	if at, ok := err.(interface {
		GetToken() *token.Token
		GetMessage() string
	}); ok {
		e.message = "not sound YAML: " + at.GetMessage()
		if t := at.GetToken(); t != nil && t.Position != nil {
			e.line, e.col = t.Position.Line, t.Position.Column
		}
	}
	return e
}

type converter struct {
	anchors map[string]*node
	count   int
}

func (c *converter) convert(n ast.Node, depth int) (*node, error) {
	out := &node{}
	if n == nil {
		out.value = NullValue
		return out, nil
	}
	if t := n.GetToken(); t != nil && t.Position != nil {
		out.line, out.col = t.Position.Line, t.Position.Column
	}
	if c.count++; c.count > maxYAMLNodes || depth > maxYAMLDepth {
		return nil, failAt(out, "the document is too large or nests too deep")
	}
	switch v := n.(type) {
	case *ast.MappingNode:
		if len(v.Values) > 0 {
			if t := v.Values[0].Key.GetToken(); t != nil && t.Position != nil {
				out.line, out.col = t.Position.Line, t.Position.Column
			}
		}
		return out, c.mapping(out, v.Values, depth)
	case *ast.MappingValueNode:
		if t := v.Key.GetToken(); t != nil && t.Position != nil {
			out.line, out.col = t.Position.Line, t.Position.Column
		}
		return out, c.mapping(out, []*ast.MappingValueNode{v}, depth)
	case *ast.SequenceNode:
		out.kind = listNode
		for _, item := range v.Values {
			i, err := c.convert(item, depth+1)
			if err != nil {
				return nil, err
			}
			out.items = append(out.items, i)
		}
		return out, nil
	case *ast.AnchorNode:
		inner, err := c.convert(v.Value, depth+1)
		if err != nil {
			return nil, err
		}
		c.anchors[v.Name.GetToken().Value] = inner
		return inner, nil
	case *ast.AliasNode:
		name := v.Value.GetToken().Value
		target, ok := c.anchors[name]
		if !ok {
			return nil, failAt(out, "the alias *%s has no anchor before it", shorten(name))
		}
		if c.count += target.size(); c.count > maxYAMLNodes {
			return nil, failAt(out, "the document is too large once its aliases are resolved")
		}
		return target, nil
	case *ast.TagNode:
		inner, err := c.convert(v.Value, depth+1)
		if err == nil && v.Start.Value == "!!str" && inner.kind == scalarNode {
			inner.value = StringValue
		}
		return inner, err
	default:
		return out, scalar(out, n)
	}
}

// size counts a node's own nodes, no further than the bound.
func (n *node) size() int {
	total := 1
	for _, i := range n.items {
		if total += i.size(); total > maxYAMLNodes {
			break
		}
	}
	return total
}

func (c *converter) mapping(out *node, values []*ast.MappingValueNode, depth int) error {
	out.kind = mapNode
	var merged []*node // give way to the map's own keys
	for _, mv := range values {
		item, err := c.convert(mv.Value, depth+1)
		if err != nil {
			return err
		}
		key := &node{line: out.line, col: out.col}
		if t := mv.Key.GetToken(); t != nil && t.Position != nil {
			key.line, key.col = t.Position.Line, t.Position.Column
		}
		if _, merge := mv.Key.(*ast.MergeKeyNode); merge {
			if item.kind != mapNode {
				return failAt(key, "<< needs an alias of a map")
			}
			merged = append(merged, item)
			continue
		}
		var k ast.Node = mv.Key
		if explicit, ok := k.(*ast.MappingKeyNode); ok { // ? key
			k = explicit.Value
		}
		if err := scalar(key, k); err != nil {
			return failAt(key, "the key is not a plain one")
		}
		if out.get(key.text) != nil {
			return failAt(key, "%q is given twice", shorten(key.text))
		}
		out.keys, out.items = append(out.keys, key), append(out.items, item)
	}
	for _, m := range merged {
		for i, k := range m.keys {
			if out.get(k.text) == nil {
				out.keys, out.items = append(out.keys, k), append(out.items, m.items[i])
			}
		}
	}
	return nil
}

func scalar(out *node, n ast.Node) error {
	switch v := n.(type) {
	case *ast.StringNode:
		out.text = v.Value
	case *ast.LiteralNode:
		out.text = v.Value.Value
	case *ast.IntegerNode:
		out.value, out.text = NumberValue, fmt.Sprint(v.Value)
	case *ast.FloatNode:
		out.value, out.text = NumberValue, strings.TrimSpace(v.Token.Value)
		if _, err := strconv.ParseFloat(out.text, 64); err != nil {
			out.text = strconv.FormatFloat(v.Value, 'g', -1, 64)
		}
	case *ast.BoolNode:
		out.value, out.text = BoolValue, strconv.FormatBool(v.Value)
	case *ast.NullNode:
		out.value = NullValue
	case *ast.InfinityNode, *ast.NanNode:
		out.text = n.GetToken().Value
	default:
		return failAt(out, "%s is not expected here", n.Type())
	}
	return nil
}
