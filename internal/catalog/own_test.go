package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault"
)

// shelf is a store of event types in memory.
type shelf struct {
	types map[string]*cybervault.OwnEventType
	fails error
}

func (s *shelf) EventTypes(context.Context) ([]*cybervault.OwnEventType, error) {
	var all []*cybervault.OwnEventType
	for _, t := range s.types {
		all = append(all, t)
	}
	return all, s.fails
}

func (s *shelf) SaveEventType(_ context.Context, t *cybervault.OwnEventType) error {
	if s.fails == nil {
		s.types[t.Workspace.String()+t.Name] = t
	}
	return s.fails
}

func (s *shelf) DeleteEventType(_ context.Context, ws cybervault.WorkspaceID, name string) error {
	if s.fails == nil {
		delete(s.types, ws.String()+name)
	}
	return s.fails
}

func openShelf(t *testing.T) (*Catalog, *shelf) {
	t.Helper()
	s := &shelf{types: map[string]*cybervault.OwnEventType{}}
	return reopen(t, s), s
}

func reopen(t *testing.T, s *shelf) *Catalog {
	t.Helper()
	c, err := Open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func badge() cybervault.EventType {
	return cybervault.EventType{
		Name: "acme.badge", Severity: cybervault.SeverityHigh, Description: "A badge was used twice.",
		Schema:  json.RawMessage(` {"type": "object", "required": ["badge"], "properties": {"badge": {"$ref": "#/$defs/id"}}, "$defs": {"id": {"type": "string"}}}`),
		Example: json.RawMessage(`{"badge": "B-17"}`),
	}
}

func TestOwnTypes(t *testing.T) {
	t.Parallel()
	c, s := openShelf(t)
	save := func(e cybervault.EventType, wantCreated bool) cybervault.EventType {
		t.Helper()
		saved, created, err := c.SaveEventType(t.Context(), ws, e)
		if err != nil || created != wantCreated {
			t.Fatalf("created %v, %v", created, err)
		}
		return saved
	}
	saved := save(badge(), true)
	want := badge()
	want.Schema = json.RawMessage(`{"type":"object","required":["badge"],"properties":{"badge":{"$ref":"#/$defs/id"}},"$defs":{"id":{"type":"string"}}}`)
	want.Example = json.RawMessage(`{"badge":"B-17"}`)
	if diff := cmp.Diff(want, saved); diff != "" {
		t.Error(diff)
	}
	save(cybervault.EventType{Name: "acme.any", Severity: cybervault.SeverityInfo, Core: true}, true)

	for range 2 { // as it is made, and as it is read back
		list := c.List(ws)
		if len(list) != 14 || list[0].Name != cybervault.EventThreatDetected || !list[0].Core || list[12].Name != "acme.any" || list[12].Core || list[13].Name != "acme.badge" {
			t.Errorf("the list is %v", list)
		}
		got, ok := c.Lookup(ws, "acme.badge")
		if diff := cmp.Diff(want, got); !ok || diff != "" {
			t.Error(diff)
		}
		if err := c.Validate(ws, "acme.badge", []byte(`{"badge":"B-18","more":1}`)); err != nil {
			t.Error(err)
		}
		wantInvalid(t, c.Validate(ws, "acme.badge", []byte(`{"badge":18}`)), "data.badge", "string")
		wantInvalid(t, c.Validate(ws, "acme.badge", []byte(`{"badge":"1","badge":"2"}`)), "data", "twice")
		if err := c.Validate(ws, "acme.any", []byte(`{"x":[1]}`)); err != nil {
			t.Error(err)
		}
		wantInvalid(t, c.Validate(ws, "acme.bage", []byte(`{}`)), "event", `"acme.badge"`)
		other := cybervault.MakeID[cybervault.WorkspaceID](1, 2)
		wantInvalid(t, c.Validate(other, "acme.badge", []byte(`{}`)), "event", "is not an event type")
		if _, ok := c.Lookup(other, "acme.badge"); ok || len(c.List(other)) != 12 {
			t.Error("another workspace knows the type")
		}
		c = reopen(t, s)
	}

	changed := badge()
	changed.Schema = nil
	save(changed, false)
	if err := c.Validate(ws, "acme.badge", []byte(`{}`)); err != nil {
		t.Error(err)
	}
	if err := c.DeleteEventType(t.Context(), ws, "acme.badge"); err != nil {
		t.Fatal(err)
	}
	if _, ok := c.Lookup(ws, "acme.badge"); ok || len(s.types) != 1 {
		t.Error("the type is still known")
	}
	for name, code := range map[string]cybervault.Code{
		"acme.badge": cybervault.CodeNotFound, cybervault.EventThreatDetected: cybervault.CodeConflict, cybervault.EventWebhookTest: cybervault.CodeConflict,
	} {
		if err := c.DeleteEventType(t.Context(), ws, name); cybervault.ErrorCode(err) != code {
			t.Errorf("deleting %s: %v", name, err)
		}
	}
}

func TestOwnTypesThatAreRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change      func(*cybervault.EventType)
		field, text string
	}{
		"name":              {func(e *cybervault.EventType) { e.Name = "Acme" }, "type", "lower-case words"},
		"core type":         {func(e *cybervault.EventType) { e.Name = cybervault.EventThreatDetected }, "type", `"threat.*"`},
		"core namespace":    {func(e *cybervault.EventType) { e.Name = "compliance.mine" }, "type", `"acme.compliance.mine"`},
		"webhook namespace": {func(e *cybervault.EventType) { e.Name = "webhook.mine" }, "type", "belongs to CyberVault"},
		"severity":          {func(e *cybervault.EventType) { e.Severity = "severe" }, "severity", "critical"},
		"description":       {func(e *cybervault.EventType) { e.Description = strings.Repeat("x", 1001) }, "description", "1000"},
		"no object":         {func(e *cybervault.EventType) { e.Schema = json.RawMessage(`true`) }, "schema", "must be a JSON object"},
		"key twice":         {func(e *cybervault.EventType) { e.Schema = json.RawMessage(`{"type":"object","type":"array"}`) }, "schema", "twice"},
		"too long": {func(e *cybervault.EventType) {
			e.Schema = json.RawMessage(`{"title":"` + strings.Repeat("x", 64<<10) + `"}`)
		}, "schema", "65536"},
		"no schema": {func(e *cybervault.EventType) { e.Schema = json.RawMessage(`{"properties":{"a":{"type":"strnig"}}}`) }, "schema.properties.a.type", "2020-12"},
		"another draft": {func(e *cybervault.EventType) {
			e.Schema = json.RawMessage(`{"$schema":"http://json-schema.org/draft-07/schema#"}`)
		}, "schema.$schema", "2020-12"},
		"another document": {func(e *cybervault.EventType) {
			e.Schema = json.RawMessage(`{"$ref":"https://example.com/schema.json"}`)
		}, "schema", "$defs"},
		"a file":         {func(e *cybervault.EventType) { e.Schema = json.RawMessage(`{"$ref":"file:///etc/passwd"}`) }, "schema", "$defs"},
		"nowhere":        {func(e *cybervault.EventType) { e.Schema = json.RawMessage(`{"$ref":"#/$defs/x"}`) }, "schema", "#/$defs/x"},
		"itself":         {func(e *cybervault.EventType) { e.Schema = json.RawMessage(`{"properties":{"next":{"$ref":"#"}}}`) }, "schema", "leads back"},
		"the metaschema": {func(e *cybervault.EventType) { e.Schema = json.RawMessage(`{"$ref":"` + draft2020 + `"}`) }, "schema", "$dynamicRef"},
		"doubling":       {func(e *cybervault.EventType) { e.Schema = json.RawMessage(doubling(30)) }, "schema", "1000 subschemas"},
		"pattern":        {func(e *cybervault.EventType) { e.Schema = json.RawMessage(`{"pattern":"("}`) }, "schema.pattern", ""},
		"dear pattern":   {func(e *cybervault.EventType) { e.Schema = json.RawMessage(`{"pattern":"((a{1,30}b){30}c){30}"}`) }, "schema.pattern", ""},
		"example":        {func(e *cybervault.EventType) { e.Example = nil }, "example.badge", "missing"},
		"wrong example":  {func(e *cybervault.EventType) { e.Example = json.RawMessage(`{"badge":1}`) }, "example.badge", "string"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			catalog, s := openShelf(t)
			e := badge()
			c.change(&e)
			_, _, err := catalog.SaveEventType(t.Context(), ws, e)
			wantInvalid(t, err, c.field, c.text)
			if len(s.types) != 0 {
				t.Error("it was stored")
			}
		})
	}
}

// doubling is a schema of n levels, each of which asks for the next one twice.
func doubling(n int) string {
	var defs strings.Builder
	for i := range n {
		fmt.Fprintf(&defs, `"d%d":{"allOf":[{"$ref":"#/$defs/d%d"},{"$ref":"#/$defs/d%d"}]},`, i, i+1, i+1)
	}
	return fmt.Sprintf(`{"$ref":"#/$defs/d0","$defs":{%s"d%d":{"type":"object"}}}`, defs.String(), n)
}

func TestOwnTypesAreBounded(t *testing.T) {
	t.Parallel()
	c, s := openShelf(t)
	long := cybervault.EventType{Severity: cybervault.SeverityInfo, Example: json.RawMessage(`{"x":"` + strings.Repeat("x", 60<<10) + `"}`)}
	var err error
	stored := 0
	for err == nil && stored < 100 {
		long.Name = fmt.Sprintf("acme.t%d", stored)
		if _, _, err = c.SaveEventType(t.Context(), ws, long); err == nil {
			stored++
		}
	}
	if cybervault.ErrorCode(err) != cybervault.CodeConflict || stored != (4<<20)/(60<<10) || len(s.types) != stored {
		t.Errorf("after %d: %v", stored, err)
	}
	long.Name, long.Example = "acme.t0", nil // to make one shorter is always possible
	if _, created, err := c.SaveEventType(t.Context(), ws, long); err != nil || created {
		t.Error(created, err)
	}
}

func TestOwnTypeThatIsNotStoredIsNotKnown(t *testing.T) {
	t.Parallel()
	c, s := openShelf(t)
	s.fails = errors.New("full")
	if _, _, err := c.SaveEventType(t.Context(), ws, badge()); !errors.Is(err, s.fails) {
		t.Fatal(err)
	}
	if _, ok := c.Lookup(ws, "acme.badge"); ok {
		t.Error("the type is known")
	}
	s.fails = nil
	if _, _, err := c.SaveEventType(t.Context(), ws, badge()); err != nil {
		t.Fatal(err)
	}
	s.fails = errors.New("full")
	if err := c.DeleteEventType(t.Context(), ws, "acme.badge"); !errors.Is(err, s.fails) {
		t.Fatal(err)
	}
	if _, ok := c.Lookup(ws, "acme.badge"); !ok {
		t.Error("the type is gone")
	}
	if _, err := Open(t.Context(), s); !errors.Is(err, s.fails) {
		t.Error(err)
	}
}

// What another node adds and deletes is known once it is read anew; what cannot be
// read changes nothing.
func TestOwnTypesOfAnotherNode(t *testing.T) {
	t.Parallel()
	c, s := openShelf(t)
	other := reopen(t, s)
	if _, _, err := other.SaveEventType(t.Context(), ws, badge()); err != nil {
		t.Fatal(err)
	}
	reload := func(want bool) {
		t.Helper()
		err := c.Reload(t.Context())
		if _, ok := c.Lookup(ws, "acme.badge"); ok != want || !errors.Is(err, s.fails) {
			t.Errorf("known: %v, want %v; %v", ok, want, err)
		}
	}
	reload(true)
	if err := c.Validate(ws, "acme.badge", []byte(`{}`)); err == nil {
		t.Error("the schema is not known")
	}
	if err := other.DeleteEventType(t.Context(), ws, "acme.badge"); err != nil {
		t.Fatal(err)
	}
	s.fails = errors.New("away")
	reload(true)
	s.fails = nil
	reload(false)
}

// Publishers, and several who add types, at once.
func TestOwnTypesConcurrently(t *testing.T) {
	t.Parallel()
	c, s := openShelf(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 20 {
				e := badge()
				e.Name = fmt.Sprintf("acme.t%d_%d", i, j)
				if _, _, err := c.SaveEventType(t.Context(), ws, e); err != nil {
					t.Error(err)
				}
				if err := c.Validate(ws, e.Name, e.Example); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if len(c.List(ws)) != 12+160 || len(s.types) != 160 {
		t.Errorf("%d types, %d stored", len(c.List(ws)), len(s.types))
	}
}

// Whatever a schema says, it is refused with a reason, or judges its example and
// can be compiled again.
func FuzzOwnSchema(f *testing.F) {
	f.Add(string(badge().Schema), `{"badge":"x"}`)
	f.Add(doubling(3), `{}`)
	f.Add(`{"$id":"https://x.test/a","$defs":{"b":{"$anchor":"b","pattern":"a{3}"}},"$ref":"#b"}`, `{}`)
	f.Add(`{"properties":{"a":{"$dynamicRef":"#x"}},"unevaluatedProperties":false,"dependentSchemas":{"a":{"minProperties":2}}}`, `{"a":1}`)
	f.Add(`{"patternProperties":{"^a+$":{"prefixItems":[{"const":1}],"items":false,"contains":{"not":{}}}}}`, `{"a":[1]}`)
	c := newCatalog(f)
	f.Fuzz(func(t *testing.T, schema, example string) {
		e, err := c.draft(cybervault.EventType{
			Name: "acme.x", Severity: cybervault.SeverityLow, Schema: json.RawMessage(schema), Example: json.RawMessage(example),
		})
		if err != nil {
			if known, ok := errors.AsType[*cybervault.Error](err); !ok || known.Code != cybervault.CodeInvalid || known.Field == "" {
				t.Fatalf("%q, %q: %v", schema, example, err)
			}
			return
		}
		if err := e.validate(e.Example); err != nil {
			t.Fatal(err)
		}
		if _, err := compile(e.Schema); err != nil {
			t.Fatal(err)
		}
	})
}
