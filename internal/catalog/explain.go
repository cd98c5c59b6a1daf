package catalog

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/cybervault/cybervault"
)

// maxShown is how many bytes of a caller's value an error repeats.
const maxShown = 60

// problem is one thing wrong with data.
type problem struct {
	field   string
	message string
}

// explain turns the validator's tree of errors into one error that names the
// first field that is wrong, says what would be right, and names the other
// fields. value is the document that was checked.
func explain(err error, schema *jsonschema.Schema, value any) error {
	invalid, ok := errors.AsType[*jsonschema.ValidationError](err)
	if !ok {
		return &cybervault.Error{Code: cybervault.CodeInternal, Field: "data", Message: "could not be checked", Err: err}
	}
	e := explainer{schema: schema, value: value}
	e.collect(invalid)
	if len(e.problems) == 0 {
		e.addf("data", "does not fit the schema of its event type")
	}
	// The validator walks Go maps, so the order is made here: by field.
	slices.SortFunc(e.problems, func(a, b problem) int {
		return cmpStrings(a.field, b.field, a.message, b.message)
	})
	first := e.problems[0]
	var others []string
	for _, p := range e.problems[1:] {
		if p.field != first.field && !slices.Contains(others, p.field) {
			others = append(others, p.field)
		}
	}
	text := first.message
	if n := len(others); n > 0 {
		const most = 5
		text += "; also wrong: " + strings.Join(others[:min(n, most)], ", ")
		if n > most {
			text += fmt.Sprintf(" and %d more", n-most)
		}
	}
	return cybervault.Invalid(first.field, "%s", text)
}

func cmpStrings(pairs ...string) int {
	for i := 0; i+1 < len(pairs); i += 2 {
		if c := strings.Compare(pairs[i], pairs[i+1]); c != 0 {
			return c
		}
	}
	return 0
}

type explainer struct {
	schema   *jsonschema.Schema
	value    any
	problems []problem
}

// collect adds what is wrong in the tree under err.
func (e *explainer) collect(err *jsonschema.ValidationError) {
	field, value := e.locate(err.InstanceLocation)
	switch k := err.ErrorKind.(type) {
	case *kind.Schema, *kind.Group, *kind.Reference, *kind.AllOf:
		for _, cause := range err.Causes {
			e.collect(cause)
		}
	case *kind.Required:
		for _, name := range k.Missing {
			e.addf(field+keyStep(name), "is missing%s", e.meaning(err.InstanceLocation, name))
		}
	case *kind.AnyOf, *kind.OneOf:
		e.addf(field, "must be %s, is %s", formats(err.Causes), show(value))
	default:
		e.addf(field, "%s", e.describe(err, value))
	}
}

func (e *explainer) addf(field, format string, args ...any) {
	e.problems = append(e.problems, problem{field, fmt.Sprintf(format, args...)})
}

// describe says what one keyword asked for and what the value is.
func (e *explainer) describe(err *jsonschema.ValidationError, value any) string {
	switch k := err.ErrorKind.(type) {
	case *kind.Type:
		return fmt.Sprintf("must be %s, is %s", typeNames(k.Want), show(value))
	case *kind.Enum:
		return fmt.Sprintf("must be one of %s; is %s", list(k.Want), show(value))
	case *kind.Const:
		return fmt.Sprintf("must be %s, is %s", show(k.Want), show(value))
	case *kind.Format:
		return fmt.Sprintf("must be %s, is %s", formatName(k.Want), show(value))
	case *kind.Pattern:
		like := ""
		if s := e.schemaAt(err.InstanceLocation); s != nil && len(s.Examples) > 0 {
			like = fmt.Sprintf(" the form of %s,", show(s.Examples[0]))
		}
		return fmt.Sprintf("must have%s the pattern %s; is %s", like, k.Want, show(value))
	case *kind.Minimum:
		return fmt.Sprintf("must be at least %s, is %s", number(k.Want), show(value))
	case *kind.Maximum:
		return fmt.Sprintf("must be at most %s, is %s", number(k.Want), show(value))
	case *kind.MinLength:
		if k.Got == 0 {
			return "must not be empty"
		}
		return fmt.Sprintf("must have at least %d characters, has %d", k.Want, k.Got)
	case *kind.MaxLength:
		return fmt.Sprintf("must have at most %d characters, has %d", k.Want, k.Got)
	}
	return err.ErrorKind.LocalizedString(message.NewPrinter(language.English))
}

// meaning explains a missing field by its title in the schema.
func (e *explainer) meaning(location []string, name string) string {
	s := e.schemaAt(append(slices.Clone(location), name))
	if s == nil || s.Description == "" {
		return ""
	}
	return ": " + strings.TrimSuffix(s.Description, ".")
}

// schemaAt finds the schema that is responsible for a place in the document, by
// properties, items and references; nil if it takes more than that to tell.
func (e *explainer) schemaAt(location []string) *jsonschema.Schema {
	s := e.schema
	for _, step := range location {
		for s != nil && s.Ref != nil {
			s = s.Ref
		}
		if s == nil {
			return nil
		}
		if property, ok := s.Properties[step]; ok {
			s = property
		} else {
			s = s.Items2020
		}
	}
	return s
}

// locate returns the place as a caller would write it ("data.detections[0]")
// and the value that stands there.
func (e *explainer) locate(location []string) (string, any) {
	field, value := "data", e.value
	for _, step := range location {
		switch v := value.(type) {
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(v) {
				return field, nil
			}
			field, value = field+indexStep(i), v[i]
		case map[string]any:
			field, value = field+keyStep(step), v[step]
		}
	}
	return field, value
}

func indexStep(i int) string { return "[" + strconv.Itoa(i) + "]" }

// keyStep writes a key as a step of a path: .name, or ["odd name"].
func keyStep(key string) string {
	plain := key != "" && len(key) <= maxShown
	for i := 0; plain && i < len(key); i++ {
		c := key[i]
		plain = c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
	}
	if plain {
		return "." + key
	}
	return "[" + quote(key) + "]"
}

// quote shows text that a caller gave, shortened.
func quote(s string) string {
	if len(s) > maxShown {
		s = strings.ToValidUTF8(s[:maxShown], "") + "…"
	}
	return strconv.Quote(s)
}

// show writes a value for a person: scalars as they are, the rest by kind.
func show(value any) string {
	switch v := value.(type) {
	case nil:
		return "null"
	case bool:
		return strconv.FormatBool(v)
	case string:
		return quote(v)
	case json.Number:
		return v.String() // at most MaxNumberBytes
	case []any:
		return fmt.Sprintf("an array of %d", len(v))
	case map[string]any:
		return fmt.Sprintf("an object of %d", len(v))
	}
	return fmt.Sprint(value)
}

// number writes a bound of a schema.
func number(r *big.Rat) string {
	if r.IsInt() {
		return r.RatString()
	}
	f, _ := r.Float64()
	return strconv.FormatFloat(f, 'g', -1, 64)
}

func list(values []any) string {
	shown := make([]string, len(values))
	for i, v := range values {
		shown[i] = show(v)
	}
	return strings.Join(shown, ", ")
}

func typeNames(types []string) string {
	names := make([]string, 0, len(types))
	// null last: "a string or null" reads better than "null or a string".
	for _, t := range types {
		if t != "null" {
			names = append(names, article(t))
		}
	}
	if len(names) < len(types) {
		names = append(names, "null")
	}
	return strings.Join(names, " or ")
}

func article(t string) string {
	switch t {
	case "array", "object", "integer":
		return "an " + t
	}
	return "a " + t
}

// formatName says in words what a format of JSON Schema asks for.
func formatName(format string) string {
	switch format {
	case "date-time":
		return `a date and time as in RFC 3339, such as "2025-01-15T14:32:00Z"`
	case "ipv4":
		return "an IPv4 address"
	case "ipv6":
		return "an IPv6 address"
	case "uri":
		return "a URL"
	case "uri-reference":
		return "a URL or the path of one"
	}
	return "of the format " + format
}

// formats joins what the branches of an anyOf ask for, where all are formats.
func formats(branches []*jsonschema.ValidationError) string {
	var names []string
	for _, b := range branches {
		f, ok := b.ErrorKind.(*kind.Format)
		if !ok {
			return "one of the forms that its schema allows"
		}
		names = append(names, formatName(f.Want))
	}
	if len(names) == 0 {
		return "exactly one of the forms that its schema allows"
	}
	return strings.Join(names, " or ")
}
