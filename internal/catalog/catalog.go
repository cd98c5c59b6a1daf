// Package catalog owns the event types: their names, severities, descriptions,
// JSON Schemas and examples, and the check that an event's data fits its type.
//
// Twelve core types come with the program; a workspace adds its own, which the
// store keeps and this package holds in memory, compiled.
//
// It stands at the entrance of the flow: router asks it before an event is
// stored, api and dashboard show what it lists. It never changes data, and knows
// nothing of webhooks or deliveries.
package catalog

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/cybervault/cybervault"
)

//go:generate go test -count=1 -run ^TestEventsPageIsCurrent$ . -update

// The schemas are of the envelope's data, JSON Schema 2020-12, each complete in
// itself; the examples are data objects.
//
//go:embed schemas/*.json examples/*.json
var files embed.FS

// Catalog holds the event types, with their schemas compiled. It is safe for
// concurrent use.
type Catalog struct {
	core  []cybervault.EventType // in the order of the documentation
	types map[string]*entry      // the core types and the test payload's
	store Store                  // nil: there are core types only

	changes sync.Mutex // held while one change is stored and made known
	own     atomic.Pointer[ownTypes]
}

type entry struct {
	cybervault.EventType
	schema *jsonschema.Schema
	quick  *quick // nil where schema has more to it
}

// New compiles the embedded schemas. It fails only if the program was built
// with a broken one.
func New() (*Catalog, error) {
	compiler := newCompiler()
	c := &Catalog{types: map[string]*entry{}}
	c.own.Store(&ownTypes{})
	for _, t := range core() {
		e, err := load(compiler, t)
		if err != nil {
			return nil, err
		}
		c.core = append(c.core, e.EventType)
		c.types[t.name] = e
	}
	e, err := load(compiler, testPayload())
	if err != nil {
		return nil, err
	}
	c.types[e.Name] = e
	return c, nil
}

func newCompiler() *jsonschema.Compiler {
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	compiler.AssertFormat()
	compiler.UseLoader(jsonschema.SchemeURLLoader{}) // nothing is ever fetched
	return compiler
}

func load(compiler *jsonschema.Compiler, t declaration) (*entry, error) {
	schema, err := files.ReadFile("schemas/" + t.name + ".json")
	if err != nil {
		return nil, fmt.Errorf("catalog: schema of %s: %w", t.name, err)
	}
	example, err := files.ReadFile("examples/" + t.name + ".json")
	if err != nil {
		return nil, fmt.Errorf("catalog: example of %s: %w", t.name, err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		return nil, fmt.Errorf("catalog: schema of %s: %w", t.name, err)
	}
	url := "urn:cybervault:event-type:" + t.name
	if err := compiler.AddResource(url, document); err != nil {
		return nil, fmt.Errorf("catalog: schema of %s: %w", t.name, err)
	}
	compiled, err := compiler.Compile(url)
	if err != nil {
		return nil, fmt.Errorf("catalog: schema of %s: %w", t.name, err)
	}
	return &entry{
		EventType: cybervault.EventType{
			Name: t.name, Severity: t.severity, Description: compiled.Description, Core: true,
			Schema: json.RawMessage(schema), Example: json.RawMessage(example),
		},
		schema: compiled,
		quick:  newQuick(compiled, 0),
	}, nil
}

// List returns the event types that the workspace can publish and choose, the
// twelve core types first, in the order of the documentation, then its own by
// name. The test payload's type is not among them. The JSON in them is shared:
// read only.
func (c *Catalog) List(ws cybervault.WorkspaceID) []cybervault.EventType {
	list := slices.Clone(c.core)
	for _, e := range c.own.Load().of(ws) {
		list = append(list, e.EventType)
	}
	slices.SortFunc(list[len(c.core):], func(a, b cybervault.EventType) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// entry finds a type of the workspace.
func (c *Catalog) entry(ws cybervault.WorkspaceID, name string) (*entry, bool) {
	if e, ok := c.types[name]; ok {
		return e, true
	}
	e, ok := c.own.Load().of(ws)[name]
	return e, ok
}

// Lookup returns the event type of that name, the test payload's included, and
// whether the workspace knows it. The JSON in it is shared: read only.
func (c *Catalog) Lookup(ws cybervault.WorkspaceID, name string) (cybervault.EventType, bool) {
	e, ok := c.entry(ws, name)
	if !ok {
		return cybervault.EventType{}, false
	}
	return e.EventType, true
}

// Severity returns the severity of a core event type or of the test payload's,
// and "" for a name that is neither.
func (c *Catalog) Severity(name string) cybervault.Severity {
	if e, ok := c.types[name]; ok {
		return e.EventType.Severity
	}
	return ""
}

// Validate checks that data is a JSON object, within the limits of this
// package, that fits the schema of the event type. The error is a
// *cybervault.Error of CodeInvalid; its Field is "event" for a type that the
// workspace does not know, and otherwise the path of the first thing wrong,
// such as "data.confidence" or "data.detections[0].rule_id".
//
// Besides what JSON itself demands, data must be UTF-8, must hold no key twice
// in one object and no half of a surrogate pair (RFC 7493, sections 2.1 and
// 2.3: readers disagree about them), and must respect MaxDepth,
// MaxNumberBytes and MaxNumberExponent. Fields that the schema does not name
// are always welcome. How long data may be is the caller's to check.
func (c *Catalog) Validate(ws cybervault.WorkspaceID, name string, data []byte) error {
	e, ok := c.entry(ws, name)
	if !ok {
		return c.unknownType(ws, name)
	}
	return e.validate(data)
}

func (e *entry) validate(data []byte) error {
	value, err := decode(data)
	if err != nil {
		return err
	}
	if e.quick != nil && e.quick.yes(value) {
		return nil
	}
	if err := e.schema.Validate(value); err != nil {
		return explain(err, e.schema, value)
	}
	return nil
}

// unknownType names the types that were probably meant.
func (c *Catalog) unknownType(ws cybervault.WorkspaceID, name string) error {
	const where = "GET /v1/event-types lists all of them"
	if name == "" {
		return cybervault.Invalid("event", "is missing: give an event type such as %q; %s", cybervault.EventThreatDetected, where)
	}
	if near := c.near(ws, name); len(near) > 0 {
		return cybervault.Invalid("event", "%s is not an event type: did you mean %s? %s", quote(name), strings.Join(near, " or "), where)
	}
	return cybervault.Invalid("event", "%s is not an event type; %s", quote(name), where)
}

// near returns up to three types, quoted, whose names differ from name by a slip
// of the keyboard, or share its namespace.
func (c *Catalog) near(ws cybervault.WorkspaceID, name string) []string {
	const most = 3
	if len(name) > cybervault.MaxIdempotencyKeyBytes { // no slip of the keyboard
		return nil
	}
	lower := strings.ToLower(strings.NewReplacer("_", ".", "-", ".", " ", ".", "/", ".").Replace(name))
	var slips, siblings []string
	for _, t := range c.List(ws) {
		if distance(lower, t.Name) <= 1+len(t.Name)/6 {
			slips = append(slips, quote(t.Name))
		}
		if namespace, _, ok := strings.Cut(lower, "."); strings.HasPrefix(t.Name, namespace+".") && (ok || namespace == lower) {
			siblings = append(siblings, quote(t.Name))
		}
	}
	if len(slips) > 0 {
		return slips[:min(len(slips), most)]
	}
	return siblings[:min(len(siblings), most)]
}

// distance is the Levenshtein distance of two short names, in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
