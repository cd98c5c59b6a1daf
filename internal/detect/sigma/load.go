package sigma

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// Parse reads the documents of one rule file: rules, correlations, filters, and
// collections with action: global, reset and repeat. It never fails as a whole:
// what cannot be used stands in Errors.
func Parse(file string, data []byte) *Collection {
	out := &Collection{}
	docs, err := parseYAML(data)
	if err != nil {
		out.Errors = append(out.Errors, loadError(file, nil, err))
		return out
	}
	var global, last *node
	for _, doc := range docs {
		if doc.kind != mapNode {
			out.Errors = append(out.Errors, loadError(file, nil, failAt(doc, "a rule is a map: title, logsource, detection …")))
			continue
		}
		action := ""
		if a := doc.get("action"); a != nil {
			action = a.text
			doc = doc.without("action")
		}
		switch action {
		case "global":
			global = merge(global, doc)
			continue
		case "reset":
			global = nil
			continue
		case "repeat":
			if last == nil {
				out.Errors = append(out.Errors, loadError(file, doc, failAt(doc, "action: repeat has no rule before it to repeat")))
				continue
			}
			doc = merge(last, doc)
		case "":
			doc = merge(global, doc)
		default:
			out.Errors = append(out.Errors, loadError(file, doc, failAt(doc, "action: %s is unknown: use global, reset or repeat", shorten(action))))
			continue
		}
		last = doc
		if err := out.document(file, doc); err != nil {
			out.Errors = append(out.Errors, loadError(file, doc, err))
		}
	}
	return out
}

func (c *Collection) document(file string, doc *node) error {
	d := &decoder{file: file}
	switch {
	case doc.get("correlation") != nil:
		r, err := d.correlation(doc)
		if err != nil {
			return err
		}
		c.Correlations = append(c.Correlations, r)
	case doc.get("filter") != nil:
		f, err := d.filter(doc)
		if err != nil {
			return err
		}
		c.Filters = append(c.Filters, f)
	default:
		r, err := d.rule(doc)
		if err != nil {
			return err
		}
		c.Rules = append(c.Rules, r)
	}
	return nil
}

func loadError(file string, doc *node, err error) *LoadError {
	e := &LoadError{Pos: Position{File: file}, Message: err.Error()}
	if at, ok := errors.AsType[*yamlError](err); ok {
		e.Pos.Line, e.Pos.Column = at.line, at.col
	}
	if doc != nil {
		for key, to := range map[string]*string{"id": &e.ID, "title": &e.Title} {
			if n := doc.get(key); n != nil {
				*to = n.text
			}
		}
		if e.Pos.Line == 0 {
			e.Pos.Line, e.Pos.Column = doc.line, doc.col
		}
	}
	return e
}

// ParseFS reads every .yml and .yaml file below the roots, in the order of
// their names. The error says that a root could not be walked; a single file
// that cannot be read stands in Errors.
func ParseFS(fsys fs.FS, roots ...string) (*Collection, error) {
	out := &Collection{}
	for _, root := range roots {
		err := fs.WalkDir(fsys, root, func(name string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if ext := strings.ToLower(path.Ext(name)); entry.IsDir() || ext != ".yml" && ext != ".yaml" {
				return nil
			}
			data, err := fs.ReadFile(fsys, name)
			if err != nil {
				out.Errors = append(out.Errors, loadError(name, nil, fmt.Errorf("the file cannot be read: %w", err)))
				return nil
			}
			out.add(Parse(name, data))
			return nil
		})
		if err != nil {
			return out, fmt.Errorf("read rules under %s: %w", root, err)
		}
	}
	return out, nil
}

// merge lays over on top of base: maps are joined member by member, anything
// else is replaced. Neither is changed.
func merge(base, over *node) *node {
	if base == nil || base.kind != mapNode || over.kind != mapNode {
		return over
	}
	out := &node{kind: mapNode, line: over.line, col: over.col}
	for i, k := range base.keys {
		item := base.items[i]
		if o := over.get(k.text); o != nil {
			item = merge(item, o)
		}
		out.keys, out.items = append(out.keys, k), append(out.items, item)
	}
	for i, k := range over.keys {
		if base.get(k.text) == nil {
			out.keys, out.items = append(out.keys, k), append(out.items, over.items[i])
		}
	}
	return out
}

func (n *node) without(key string) *node {
	out := &node{kind: mapNode, line: n.line, col: n.col}
	for i, k := range n.keys {
		if k.text != key {
			out.keys, out.items = append(out.keys, k), append(out.items, n.items[i])
		}
	}
	return out
}
