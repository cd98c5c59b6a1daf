package catalog

import (
	"encoding/json"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// quick is a schema in a form that is quickly said yes by. Nearly every event
// fits its type, and the keywords that event types are made of are few; the
// validator, which walks any schema and gathers what is wrong, costs several times
// as much. A quick yes is a yes of the validator (a test holds one against the
// other); anything else is for the validator to say.
type quick struct {
	types      map[jsonKind]bool // nil for any
	enum       []string          // nil for no enum
	required   []string
	properties map[string]*quick
	others     *quick // of properties that are not named; nil for any
	items      *quick
	anyOf      []*quick
	format     func(any) error
	pattern    jsonschema.Regexp
	minLength  int
	maxLength  int // -1 for none
	minimum    *bound
	maximum    *bound
}

// bound is a limit of a number.
type bound struct {
	near float64 // the double next to it
	same bool    // and that is the limit itself, a whole number
}

// jsonKind is the type of a JSON value.
type jsonKind uint8

const (
	kindNull jsonKind = iota
	kindBoolean
	kindNumber
	kindInteger
	kindString
	kindArray
	kindObject
)

var kinds = map[string]jsonKind{ //nolint:gochecknoglobals // a table
	"null": kindNull, "boolean": kindBoolean, "number": kindNumber, "integer": kindInteger, "string": kindString, "array": kindArray, "object": kindObject,
}

// newQuick returns nil for a schema with a keyword that it does not know. depth
// bounds schemas that refer to themselves.
func newQuick(s *jsonschema.Schema, depth int) *quick {
	if s == nil || depth > MaxDepth || hasMore(s) {
		return nil
	}
	q := &quick{required: s.Required, pattern: s.Pattern, maxLength: -1}
	if s.Ref != nil {
		if s.Types != nil || s.Properties != nil || s.Enum != nil || s.AnyOf != nil || s.Format != nil || s.Pattern != nil ||
			s.Items2020 != nil || s.AdditionalProperties != nil || len(s.Required) > 0 || s.MinLength != nil || s.MaxLength != nil || s.Minimum != nil || s.Maximum != nil {
			return nil // what stands beside a $ref holds too
		}
		return newQuick(s.Ref, depth+1)
	}
	if s.Types != nil {
		q.types = map[jsonKind]bool{}
		for _, name := range s.Types.ToStrings() {
			q.types[kinds[name]] = true
		}
	}
	if s.Enum != nil {
		q.enum = []string{}
		for _, v := range s.Enum.Values {
			if text, ok := v.(string); ok { // others are left to the validator
				q.enum = append(q.enum, text)
			}
		}
	}
	if s.MinLength != nil {
		q.minLength = *s.MinLength
	}
	if s.MaxLength != nil {
		q.maxLength = *s.MaxLength
	}
	if s.Format != nil {
		q.format = s.Format.Validate
	}
	q.minimum, q.maximum = newBound(s.Minimum), newBound(s.Maximum)
	return q.parts(s, depth)
}

// parts adds the schemas within.
func (q *quick) parts(s *jsonschema.Schema, depth int) *quick {
	if s.Items2020 != nil {
		if q.items = newQuick(s.Items2020, depth+1); q.items == nil {
			return nil
		}
	}
	for _, one := range s.AnyOf {
		// One that is not known never says yes, and another may.
		if part := newQuick(one, depth+1); part != nil {
			q.anyOf = append(q.anyOf, part)
		}
	}
	if s.AnyOf != nil && q.anyOf == nil {
		return nil
	}
	if s.Properties != nil {
		q.properties = make(map[string]*quick, len(s.Properties))
	}
	for name, property := range s.Properties {
		part := newQuick(property, depth+1)
		if part == nil {
			return nil
		}
		q.properties[name] = part
	}
	switch others := s.AdditionalProperties.(type) {
	case nil:
	case bool:
		if !others {
			return nil
		}
	case *jsonschema.Schema:
		if q.others = newQuick(others, depth+1); q.others == nil {
			return nil
		}
	default:
		return nil
	}
	return q
}

// hasMore reports whether a schema has a keyword besides those of quick.
func hasMore(s *jsonschema.Schema) bool {
	return s.Bool != nil || s.RecursiveRef != nil || s.DynamicRef != nil || s.Const != nil || s.Not != nil || s.AllOf != nil || s.OneOf != nil ||
		s.If != nil || s.Then != nil || s.Else != nil || s.MaxProperties != nil || s.MinProperties != nil || s.PropertyNames != nil ||
		s.PatternProperties != nil || s.Dependencies != nil || s.DependentRequired != nil || s.DependentSchemas != nil || s.UnevaluatedProperties != nil ||
		s.MinItems != nil || s.MaxItems != nil || s.UniqueItems || s.Contains != nil || s.MinContains != nil || s.MaxContains != nil || s.Items != nil ||
		s.AdditionalItems != nil || s.PrefixItems != nil || s.UnevaluatedItems != nil || s.ContentEncoding != nil || s.ContentMediaType != nil ||
		s.ContentSchema != nil || s.ExclusiveMaximum != nil || s.ExclusiveMinimum != nil || s.MultipleOf != nil || len(s.Extensions) > 0
}

func newBound(r *big.Rat) *bound {
	if r == nil {
		return nil
	}
	near, exact := r.Float64()
	return &bound{near: near, same: exact && r.IsInt()}
}

// yes reports whether a value that decode made surely fits.
func (q *quick) yes(value any) bool {
	if q.anyOf != nil && !slices.ContainsFunc(q.anyOf, func(one *quick) bool { return one.yes(value) }) {
		return false
	}
	if q.format != nil && q.format(value) != nil {
		return false
	}
	switch v := value.(type) {
	case nil:
		return q.is(kindNull) && q.enum == nil
	case bool:
		return q.is(kindBoolean) && q.enum == nil
	case string:
		return q.is(kindString) && q.text(v)
	case json.Number:
		return q.enum == nil && q.number(string(v))
	case []any:
		return q.is(kindArray) && q.enum == nil && (q.items == nil || !slices.ContainsFunc(v, func(item any) bool { return !q.items.yes(item) }))
	case map[string]any:
		return q.is(kindObject) && q.enum == nil && q.object(v)
	}
	return false
}

func (q *quick) is(k jsonKind) bool { return q.types == nil || q.types[k] }

func (q *quick) text(s string) bool {
	if q.enum != nil && !slices.Contains(q.enum, s) {
		return false
	}
	// A string has at least a quarter as many characters as bytes, and no more.
	if q.minLength > 0 && len(s) < 4*q.minLength && utf8.RuneCountInString(s) < q.minLength {
		return false
	}
	if q.maxLength >= 0 && len(s) > q.maxLength && utf8.RuneCountInString(s) > q.maxLength {
		return false
	}
	return q.pattern == nil || q.pattern.MatchString(s)
}

func (q *quick) number(text string) bool {
	whole := strings.Trim(text, "-0123456789") == ""
	if !q.is(kindNumber) && (!whole || !q.is(kindInteger)) {
		return false
	}
	if q.minimum == nil && q.maximum == nil {
		return true
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return false
	}
	// Rounding keeps the order, so that less stays less; equal may be anything but
	// for a whole number that a double holds.
	same := whole && len(text) <= 15
	return (q.minimum == nil || f > q.minimum.near || same && q.minimum.same && f == q.minimum.near) &&
		(q.maximum == nil || f < q.maximum.near || same && q.maximum.same && f == q.maximum.near)
}

func (q *quick) object(v map[string]any) bool {
	for _, name := range q.required {
		if _, ok := v[name]; !ok {
			return false
		}
	}
	if q.properties == nil && q.others == nil {
		return true
	}
	for name, value := range v {
		part, ok := q.properties[name]
		if !ok {
			part = q.others
		}
		if part != nil && !part.yes(value) {
			return false
		}
	}
	return true
}
