package api

import (
	"encoding/json"
	"errors"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

// field is one member that the body of a request may have: how it is read, and
// how it is described.
type field[T any] struct {
	name     string
	doc      string
	schema   schema
	required bool
	hidden   bool // refused with an error of its own, and not described
	// read takes a value other than null.
	read func(raw json.RawMessage, into *T) error
	// null takes the value null; nil: null is refused.
	null func(into *T)
}

// fields is the body of a request as a table: what reads it and what describes
// it are the same thing.
type fields[T any] []field[T]

// options of reading a body.
type bodyOptions struct {
	partial bool // required members may be absent (PATCH)
}

// decode reads a valid JSON object. Every member that is wrong is reported.
func (f fields[T]) decode(object []byte, options bodyOptions) (T, error) {
	var into T
	err := f.decodeInto(&into, object, options)
	return into, err
}

// decodeInto is decode with into holding what applies where a member is absent.
func (f fields[T]) decodeInto(into *T, object []byte, options bodyOptions) error {
	var room [8]member
	found, err := members(object, room[:0])
	if err != nil {
		return err
	}
	var wrong fieldErrors
	for _, m := range found {
		i := f.index(m.name)
		if i < 0 {
			wrong = wrong.with(shorten(m.name), cybervault.Errorf(cybervault.CodeInvalid, "is not a field of this call: it knows %s", f.names()))
			continue
		}
		switch {
		case m.value[0] != 'n':
			wrong = wrong.with(m.name, f[i].read(m.value, into))
		case f[i].null != nil:
			f[i].null(into)
		default:
			wrong = wrong.with(m.name, cybervault.Errorf(cybervault.CodeInvalid, "is null: give a value"))
		}
	}
	for i := range f {
		if f[i].required && !options.partial && !has(found, f[i].name) {
			wrong = wrong.with(f[i].name, cybervault.Errorf(cybervault.CodeInvalid, "is missing: %s", f[i].doc))
		}
	}
	return wrong.err()
}

func (f fields[T]) index(name string) int {
	for i := range f {
		if f[i].name == name {
			return i
		}
	}
	return -1
}

func (f fields[T]) names() string {
	names := make([]string, 0, len(f))
	for i := range f {
		if !f[i].hidden {
			names = append(names, f[i].name)
		}
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

func has(found []member, name string) bool {
	for _, m := range found {
		if m.name == name {
			return true
		}
	}
	return false
}

// describe gives the JSON Schema of the body.
func (f fields[T]) describe(options bodyOptions) schema {
	properties := schema{}
	required := []string{}
	for i := range f {
		if f[i].hidden {
			continue
		}
		property := maps.Clone(f[i].schema)
		if f[i].null != nil {
			property = nullable(property)
		}
		if f[i].doc != "" {
			property["description"] = sentence(f[i].doc)
		}
		properties[f[i].name] = property
		if f[i].required && !options.partial {
			required = append(required, f[i].name)
		}
	}
	s := schema{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

func ignoreNull[T any](*T) {}

// The readers of single values.

func readString(raw json.RawMessage) (string, error) {
	if raw[0] != '"' {
		return "", cybervault.Errorf(cybervault.CodeInvalid, "is %s: give a string", kindOf(raw))
	}
	return unquote(raw), nil
}

func readBool(raw json.RawMessage) (bool, error) {
	switch string(raw) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, cybervault.Errorf(cybervault.CodeInvalid, "is %s: give true or false", kindOf(raw))
}

// readStrings reads a list of strings; an element that is none is named by its index.
func readStrings(raw json.RawMessage, name string) ([]string, error) {
	if raw[0] != '[' {
		return nil, cybervault.Errorf(cybervault.CodeInvalid, "is %s: give a list of strings", kindOf(raw))
	}
	list := []string{}
	for i, e := range elements(raw) {
		s, err := readString(e)
		if err != nil {
			return nil, at(name+"["+itoa(i)+"]", err)
		}
		list = append(list, s)
	}
	return list, nil
}

func readTime(text string) (time.Time, error) {
	var t time.Time
	if err := t.UnmarshalText([]byte(text)); err != nil {
		return t, cybervault.Errorf(cybervault.CodeInvalid, "%q is not an RFC 3339 time: use the form 2025-01-15T14:32:00Z", shorten(text))
	}
	if t.Unix() < 0 {
		return t, cybervault.Errorf(cybervault.CodeInvalid, "%q is before 1970", shorten(text))
	}
	return t, nil
}

// at says what an error is about.
func at(name string, err error) error {
	if known, ok := errors.AsType[*cybervault.Error](err); ok && known.Field == "" {
		return &cybervault.Error{Code: known.Code, Field: name, Message: known.Message, Err: known.Err}
	}
	return err
}

// within puts the name of an object before the field of an error inside it.
func within(name string, err error) error {
	if known, ok := errors.AsType[*cybervault.Error](err); ok && known.Field != "" {
		return &cybervault.Error{Code: known.Code, Field: name + "[" + quote(known.Field) + "]", Message: known.Message, Err: known.Err}
	}
	return at(name, err)
}

func shorten(s string) string {
	if len(s) > 60 {
		s = s[:60] + "…"
	}
	return strings.ToValidUTF8(s, "")
}

func itoa(n int) string { return strconv.Itoa(n) }

// sentence makes a description of words that an error also uses.
func sentence(s string) string {
	s = strings.ToUpper(s[:1]) + s[1:]
	if !strings.HasSuffix(s, ".") {
		s += "."
	}
	return s
}
