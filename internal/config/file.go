package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/cybervault/cybervault"
)

// A setting is a value from the file, and where it stands.
type setting struct {
	text  string
	where string // "cybervault.yaml:3: listen"
}

// parseFile reads cybervault.yaml: one flat mapping of keys to values, with a
// list where a setting takes several.
func parseFile(path string, raw []byte) (map[string]setting, []error) {
	file, err := parser.ParseBytes(raw, 0)
	if err != nil {
		return nil, []error{syntaxError(path, err)}
	}
	var entries []*ast.MappingValueNode
	for _, doc := range file.Docs {
		switch body := doc.Body.(type) {
		case nil, *ast.CommentGroupNode, *ast.NullNode:
		case *ast.MappingNode:
			entries = append(entries, body.Values...)
		case *ast.MappingValueNode:
			entries = append(entries, body)
		default:
			return nil, []error{cybervault.Invalid(path, "is not a mapping: write one setting a line, such as %q", "listen: 127.0.0.1:8400")}
		}
	}

	known := make(map[string]option)
	for _, o := range options() {
		known[o.key()] = o
	}
	settings := make(map[string]setting, len(entries))
	var errs []error
	for _, entry := range entries {
		key := entry.Key.GetToken().Value
		where := fmt.Sprintf("%s:%d: %s", path, entry.Key.GetToken().Position.Line, key)
		o, ok := known[key]
		if !ok {
			errs = append(errs, cybervault.Invalid(where, "is not a setting%s", didYouMean(key, known)))
			continue
		}
		if first, twice := settings[key]; twice {
			errs = append(errs, cybervault.Invalid(where, "stands twice, first at %s: keep one", strings.TrimSuffix(first.where, ": "+key)))
			continue
		}
		text, err := valueText(o, entry.Value)
		if err != nil {
			errs = append(errs, cybervault.Invalid(where, "%s", err))
			continue
		}
		settings[key] = setting{text: text, where: where}
	}
	return settings, errs
}

func syntaxError(path string, err error) error {
	// Only the library's message and position: its long form quotes the lines
	// around, which may hold a secret.
	if syntax, ok := errors.AsType[yaml.Error](err); ok {
		return cybervault.Invalid(fmt.Sprintf("%s:%d", path, syntax.GetToken().Position.Line), "is not YAML: %s", syntax.GetMessage())
	}
	return cybervault.Invalid(path, "is not YAML")
}

func valueText(o option, node ast.Node) (string, error) {
	if list, ok := node.(*ast.SequenceNode); ok && o.list {
		words := make([]string, len(list.Values))
		for i, item := range list.Values {
			text, err := scalarText(item)
			if err != nil {
				return "", err
			}
			words[i] = text
		}
		return strings.Join(words, ","), nil
	}
	return scalarText(node)
}

func scalarText(node ast.Node) (string, error) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, nil
	case *ast.LiteralNode:
		return strings.TrimSpace(n.Value.Value), nil
	case *ast.BoolNode, *ast.IntegerNode, *ast.FloatNode:
		return n.GetToken().Value, nil
	case *ast.NullNode:
		return "", errors.New("has no value: give it one, or remove the line")
	default:
		return "", errors.New("is not a plain value: write it on the same line, after the colon")
	}
}

// didYouMean names the setting that key was probably meant to be.
func didYouMean(key string, known map[string]option) string {
	if key == "config" {
		return ": name the file on the command line"
	}
	folded := strings.ReplaceAll(strings.ToLower(key), "-", "_")
	best, distance := "", 4
	for _, o := range options() {
		if d := editDistance(folded, o.key()); d < distance && d < len(o.key()) {
			best, distance = o.key(), d
		}
	}
	if best == "" {
		names := make([]string, 0, len(known))
		for _, o := range options() {
			names = append(names, o.key())
		}
		return ": known are " + strings.Join(names, ", ")
	}
	return fmt.Sprintf(": did you mean %q?", best)
}

// editDistance is Levenshtein's: how many bytes to add, remove or change.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
