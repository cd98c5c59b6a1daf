package catalog

import (
	"encoding/json"
	"testing"

	"pgregory.net/rapid"
)

// Every core type is checked quickly: its example gets a yes.
func TestCoreTypesAreQuick(t *testing.T) {
	t.Parallel()
	c := newCatalog(t)
	for _, e := range c.types {
		value, err := decode(e.Example)
		if err != nil {
			t.Fatal(err)
		}
		if e.quick == nil || !e.quick.yes(value) {
			t.Errorf("%s is left to the validator", e.Name)
		}
	}
}

// A quick yes is a yes of the validator, whatever the data.
func TestAQuickYesIsAYes(t *testing.T) {
	t.Parallel()
	c := newCatalog(t)
	yes := 0
	rapid.Check(t, func(t *rapid.T) {
		for name, e := range c.types {
			value, err := decode(e.Example)
			if err != nil {
				t.Fatal(err)
			}
			for range rapid.IntRange(0, 3).Draw(t, "changes") {
				change(t, value)
			}
			if !e.quick.yes(value) {
				continue
			}
			yes++
			if err := e.schema.Validate(value); err != nil {
				t.Fatalf("%s: a quick yes to %v: %v", name, value, err)
			}
		}
	})
	if yes == 0 {
		t.Error("nothing got a yes")
	}
}

// change puts something else at a place of the object.
func change(t *rapid.T, object map[string]any) {
	names := make([]string, 0, len(object))
	for name := range object {
		names = append(names, name)
	}
	if len(names) == 0 {
		return
	}
	name := rapid.SampledFrom(names).Draw(t, "name")
	switch inner := object[name].(type) {
	case map[string]any:
		change(t, inner)
		return
	case []any:
		if len(inner) > 0 && rapid.Bool().Draw(t, "within") {
			if first, ok := inner[0].(map[string]any); ok {
				change(t, first)
			} else {
				inner[0] = anything(t)
			}
			return
		}
	}
	if rapid.IntRange(0, 4).Draw(t, "what") == 0 {
		delete(object, name)
		return
	}
	object[name] = anything(t)
}

func anything(t *rapid.T) any {
	return rapid.OneOf(
		rapid.Just[any](nil), rapid.Just[any](true), rapid.Just[any](map[string]any{}), rapid.Just[any]([]any{}),
		rapid.Just[any](json.Number("1.0")), rapid.Just[any](json.Number("1e2")), rapid.Just[any](json.Number("1.00000000000000000000001")),
		rapid.Just[any](json.Number("-0.00000000000000000000001")), rapid.Just[any](json.Number("-1")), rapid.Just[any](json.Number("0")),
		rapid.Just[any](json.Number("123456789012345678901234567890")),
		rapid.Map(rapid.String(), func(s string) any { return s }),
		rapid.Map(rapid.SampledFrom([]string{"high", "open", "T1110.003", "T1", "203.0.113.1", "2001:db8::1", "2026-01-01T00:00:00Z", "https://a.test", "", "é"}), func(s string) any { return s }),
	).Draw(t, "value")
}

// FuzzQuick holds the quick form of any schema against the validator.
func FuzzQuick(f *testing.F) {
	f.Add(`{"type":"object","properties":{"a":{"type":["integer","null"],"minimum":1.5,"maximum":9007199254740993}},"required":["a"]}`, `{"a":9007199254740993}`)
	f.Add(`{"properties":{"a":{"enum":["x",1,null]},"b":{"anyOf":[{"format":"ipv4"},{"minLength":3}],"maxLength":4}},"additionalProperties":{"type":"boolean"}}`, `{"a":null,"b":"ééé","c":true}`)
	f.Add(`{"$defs":{"x":{"type":"string","pattern":"^a"}},"properties":{"a":{"items":{"$ref":"#/$defs/x"}}}}`, `{"a":["ab"]}`)
	f.Fuzz(func(t *testing.T, schema, data string) {
		compiled, err := compile([]byte(schema))
		if err != nil {
			return
		}
		value, err := decode([]byte(data))
		if err != nil || checkWork(compiled) != nil {
			return
		}
		if q := newQuick(compiled, 0); q != nil && q.yes(value) {
			if err := compiled.Validate(value); err != nil {
				t.Fatalf("a quick yes of %s to %s: %v", schema, data, err)
			}
		}
	})
}
