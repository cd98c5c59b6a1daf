package catalog

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
	"text/template"

	"github.com/cybervault/cybervault"
)

const page = "../../docs/events.md"

var update = flag.Bool("update", false, "write "+page+" instead of comparing it")

// docs/events.md is made from the catalogue, so that the two cannot differ.
func TestEventsPageIsCurrent(t *testing.T) {
	want := eventsPage(t)
	if *update {
		if err := os.WriteFile(page, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("docs/events.md is not what the catalogue says: run go generate ./internal/catalog")
	}
}

func eventsPage(t *testing.T) []byte {
	t.Helper()
	tmpl, err := template.ParseFiles("testdata/events.md.tmpl")
	if err != nil {
		t.Fatal(err)
	}
	c := newCatalog(t)
	view := struct {
		MaxDepth, MaxNumberBytes, MaxNumberExponent int
		Types                                       []typeView
		Test                                        typeView
	}{MaxDepth: MaxDepth, MaxNumberBytes: MaxNumberBytes, MaxNumberExponent: MaxNumberExponent}
	for _, e := range c.List(ws) {
		view.Types = append(view.Types, viewOf(t, e))
	}
	test, _ := c.Lookup(ws, cybervault.EventWebhookTest)
	view.Test = viewOf(t, test)
	var out bytes.Buffer
	if err := tmpl.Execute(&out, view); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

type typeView struct {
	cybervault.EventType
	Anchor  string // as GitHub makes it of the heading
	Raised  string // the description's first sentence, as a cell of a table
	Fields  []fieldView
	Example string
}

type fieldView struct {
	Path     string
	Required bool
	Type     string
	Meaning  string
}

func viewOf(t *testing.T, e cybervault.EventType) typeView {
	t.Helper()
	var root schemaNode
	unmarshal(t, e.Schema, &root)
	first, _, _ := strings.Cut(e.Description, ". ")
	return typeView{
		EventType: e,
		Anchor:    strings.ReplaceAll(e.Name, ".", ""),
		Raised:    strings.TrimSuffix(first, "."),
		Fields:    fieldsOf(&root, root.Defs, ""),
		Example:   strings.TrimSpace(string(e.Example)),
	}
}

// schemaNode is the part of JSON Schema that our schemas use.
type schemaNode struct {
	Ref         string                 `json:"$ref"`
	Defs        map[string]*schemaNode `json:"$defs"`
	Description string                 `json:"description"`
	Type        typeNamesJSON          `json:"type"`
	Format      string                 `json:"format"`
	Enum        []any                  `json:"enum"`
	Required    []string               `json:"required"`
	Properties  orderedProperties      `json:"properties"`
	Items       *schemaNode            `json:"items"`
}

// typeNamesJSON reads "type", which is one name or a list of them.
type typeNamesJSON []string

func (n *typeNamesJSON) UnmarshalJSON(raw []byte) error {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		*n = typeNamesJSON{one}
		return nil
	}
	return json.Unmarshal(raw, (*[]string)(n))
}

// orderedProperties keeps the order of the file.
type orderedProperties []property

type property struct {
	name   string
	schema *schemaNode
}

func (p *orderedProperties) UnmarshalJSON(raw []byte) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	if _, err := d.Token(); err != nil {
		return err
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		var s schemaNode
		if err := d.Decode(&s); err != nil {
			return err
		}
		*p = append(*p, property{name.(string), &s})
	}
	return nil
}

// fieldsOf lists the properties of s and of the objects within it.
func fieldsOf(s *schemaNode, defs map[string]*schemaNode, prefix string) []fieldView {
	var fields []fieldView
	for _, p := range s.Properties {
		path := prefix + p.name
		fields = append(fields, fieldView{
			Path:     path,
			Required: slices.Contains(s.Required, p.name),
			Type:     typeText(p.schema, defs),
			Meaning:  meaningText(p.schema),
		})
		inner, step := p.schema, "."
		if inner.Items != nil {
			inner, step = resolve(inner.Items, defs), "[]."
		}
		fields = append(fields, fieldsOf(inner, defs, path+step)...)
	}
	return fields
}

func resolve(s *schemaNode, defs map[string]*schemaNode) *schemaNode {
	if name, ok := strings.CutPrefix(s.Ref, "#/$defs/"); ok {
		return defs[name]
	}
	return s
}

func typeText(s *schemaNode, defs map[string]*schemaNode) string {
	var names []string
	for _, n := range s.Type {
		switch {
		case n == "null":
			continue
		case n == "array" && s.Items != nil:
			n = "list of " + strings.Join(resolve(s.Items, defs).Type, " or ") + "s"
		case n == "array":
			n = "list"
		case n == "string" && s.Format == "date-time":
			n = "time"
		}
		names = append(names, n)
	}
	if slices.Contains(s.Type, "null") {
		names = append(names, "null")
	}
	return strings.Join(names, " or ")
}

func meaningText(s *schemaNode) string {
	text := strings.TrimSuffix(s.Description, " RFC 3339.")
	if len(s.Enum) > 0 {
		var values []string
		for _, v := range s.Enum {
			if v != nil {
				values = append(values, "`"+v.(string)+"`")
			}
		}
		text += " One of " + strings.Join(values, ", ") + "."
	}
	return strings.ReplaceAll(text, "|", `\|`)
}
