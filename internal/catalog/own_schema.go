package catalog

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/cybervault/cybervault"
)

// Limits on the work that a schema can ask for. Each part of it looks at a value
// of the data once at most, so they keep the work of checking in proportion to
// the length of the data.
const (
	// MaxSchemaParts is how many subschemas a schema can have, those behind a
	// $ref counted again at each $ref.
	MaxSchemaParts = 1000
	// maxPatternSteps is how long the compiled regular expressions of a schema
	// can be together; a plain one of 100 characters has about as many steps.
	maxPatternSteps = 20_000
)

const draft2020 = "https://json-schema.org/draft/2020-12/schema"

// compile makes a validator of a schema in the strict form that decode reads.
func compile(raw []byte) (*jsonschema.Schema, error) {
	if string(raw) == anyObject {
		return plainObject()
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, cybervault.Invalid("schema", "is not JSON: %v", err)
	}
	if object, ok := document.(map[string]any); ok {
		if draft, ok := object["$schema"]; ok && draft != draft2020 && draft != draft2020+"#" {
			return nil, cybervault.Invalid("schema.$schema", "is not %q, the one dialect that is known", draft2020)
		}
	}
	compiler := newCompiler()
	patterns := patternBudget{left: maxPatternSteps}
	compiler.UseRegexpEngine(patterns.compile)
	const url = "urn:cybervault:own"
	if err := compiler.AddResource(url, document); err != nil {
		return nil, broken(err)
	}
	compiled, err := compiler.Compile(url)
	if err != nil {
		return nil, broken(err)
	}
	return compiled, nil
}

// plainObject is the schema of all types that were given none.
var plainObject = sync.OnceValues(func() (*jsonschema.Schema, error) {
	compiler := newCompiler()
	const url = "urn:cybervault:any-object"
	if err := compiler.AddResource(url, map[string]any{"type": "object"}); err != nil {
		return nil, err
	}
	return compiler.Compile(url)
})

// broken says what is wrong with a schema that does not compile.
func broken(err error) error {
	if bad, ok := errors.AsType[*jsonschema.SchemaValidationError](err); ok {
		if invalid, ok := errors.AsType[*jsonschema.ValidationError](bad.Err); ok {
			for len(invalid.Causes) > 0 { // the innermost says it most plainly
				invalid = invalid.Causes[0]
			}
			place := strings.Join(append([]string{"schema"}, invalid.InstanceLocation...), ".")
			return cybervault.Invalid(shown(place), "is not as JSON Schema 2020-12 has it: %s", lastLine(invalid.Error()))
		}
	}
	if _, ok := errors.AsType[*jsonschema.LoadURLError](err); ok {
		return cybervault.Invalid("schema", "refers to another document: put what it refers to under $defs")
	}
	return cybervault.Invalid("schema", "is not a JSON Schema 2020-12: %s", shown(strings.ReplaceAll(err.Error(), "urn:cybervault:own", "")))
}

func lastLine(text string) string {
	text = text[strings.LastIndexByte(text, '\n')+1:]
	if _, message, ok := strings.Cut(text, "': "); ok {
		text = message
	}
	return shown(text)
}

func shown(text string) string {
	const most = 200
	if len(text) > most {
		text = text[:most] + "…"
	}
	return strings.ToValidUTF8(text, "")
}

// patternBudget compiles the regular expressions of one schema as long as their
// programs are not too long together.
type patternBudget struct{ left int }

func (b *patternBudget) compile(pattern string) (jsonschema.Regexp, error) {
	if len(pattern) > maxPatternSteps/8 {
		return nil, fmt.Errorf("a pattern is %d bytes long, more than %d", len(pattern), maxPatternSteps/8)
	}
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, err
	}
	// A counted repetition is written out when it is compiled: {1000} around
	// a long expression makes it a thousand times as long.
	if b.left -= steps(parsed); b.left < 0 {
		return nil, errors.New("the patterns are too long together, their repetitions written out")
	}
	return regexp.Compile(pattern)
}

// steps is about how long the program of an expression is.
func steps(re *syntax.Regexp) int {
	n := 1 + len(re.Rune)
	for _, sub := range re.Sub {
		n += steps(sub)
	}
	if re.Op == syntax.OpRepeat {
		n *= max(re.Min, re.Max, 1)
	}
	return min(n, 1<<30)
}

// checkWork refuses a schema that would make checking data dear: one with very
// many parts, or one that leads back to itself, which can look at a value more
// often with each level of the data.
func checkWork(root *jsonschema.Schema) error {
	w := work{under: map[*jsonschema.Schema]bool{}, left: MaxSchemaParts}
	return w.walk(root)
}

type work struct {
	under map[*jsonschema.Schema]bool // on the way down to where the walk is
	left  int
}

func (w *work) walk(s *jsonschema.Schema) error {
	if s == nil {
		return nil
	}
	if w.under[s] {
		return cybervault.Invalid("schema", "leads back to itself by a $ref: write out as many levels as the data has")
	}
	if w.left--; w.left < 0 {
		return cybervault.Invalid("schema", "has more than %d subschemas, those behind each $ref counted: simplify it", MaxSchemaParts)
	}
	if s.RecursiveRef != nil || s.DynamicRef != nil {
		return cybervault.Invalid("schema", "has a $dynamicRef: use a $ref")
	}
	w.under[s] = true
	defer delete(w.under, s)
	for _, part := range parts(s) {
		if err := w.walk(part); err != nil {
			return err
		}
	}
	return nil
}

// parts lists the schemas that s applies to the same value or to parts of it.
func parts(s *jsonschema.Schema) []*jsonschema.Schema {
	all := []*jsonschema.Schema{s.Ref, s.Not, s.If, s.Then, s.Else, s.PropertyNames, s.UnevaluatedProperties,
		s.Contains, s.Items2020, s.UnevaluatedItems, s.ContentSchema}
	for _, list := range [][]*jsonschema.Schema{s.AllOf, s.AnyOf, s.OneOf, s.PrefixItems} {
		all = append(all, list...)
	}
	for _, part := range s.Properties {
		all = append(all, part)
	}
	for _, part := range s.PatternProperties {
		all = append(all, part)
	}
	for _, part := range s.DependentSchemas {
		all = append(all, part)
	}
	for _, part := range s.Dependencies {
		if inner, ok := part.(*jsonschema.Schema); ok {
			all = append(all, inner)
		}
	}
	for _, part := range []any{s.AdditionalProperties, s.AdditionalItems, s.Items} {
		switch inner := part.(type) {
		case *jsonschema.Schema:
			all = append(all, inner)
		case []*jsonschema.Schema:
			all = append(all, inner...)
		}
	}
	return all
}
