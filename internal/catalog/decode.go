package catalog

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/cybervault/cybervault"
)

// Limits on the JSON of an event's data, besides its length. They keep the work
// of checking it in proportion to its length.
const (
	// MaxDepth is how deep objects and arrays may nest; data itself is at depth 1.
	MaxDepth = 64
	// MaxNumberBytes is how long a number may be written.
	MaxNumberBytes = 128
	// MaxNumberExponent bounds the exponent of a number either way; a double
	// ends at 308.
	MaxNumberExponent = 400
)

// decode reads one JSON object (RFC 8259) in the strict form of RFC 7493:
// UTF-8, no key twice in one object, no unpaired surrogate. Numbers become
// json.Number, so that none loses a digit. The values share memory with a copy
// of data, never with data itself.
//
// encoding/json keeps the last of two equal keys, replaces bad UTF-8 without a
// word and has no bound on depth that can be set, hence a reader of our own; a
// fuzz test holds it against encoding/json.
func decode(data []byte) (map[string]any, error) {
	d := decoder{in: string(data)}
	if !utf8.ValidString(d.in) {
		at := 0
		for r, n := utf8.DecodeRuneInString(d.in); r != utf8.RuneError || n != 1; r, n = utf8.DecodeRuneInString(d.in[at:]) {
			at += n
		}
		return nil, cybervault.Invalid("data", "is not UTF-8: byte %d does not fit", at)
	}
	d.space()
	if d.pos == len(d.in) {
		return nil, cybervault.Invalid("data", "is missing: give a JSON object")
	}
	if d.in[d.pos] != '{' {
		if strings.HasPrefix(d.in[d.pos:], "\ufeff") {
			return nil, cybervault.Invalid("data", "begins with a byte order mark: remove it")
		}
		return nil, cybervault.Invalid("data", "must be a JSON object: it begins with %s instead of {", d.here())
	}
	object, err := d.object()
	if err == nil {
		if d.space(); d.pos < len(d.in) {
			err = d.fail("%s follows the end of the object", d.here())
		}
	}
	if err != nil {
		return nil, cybervault.Invalid("data"+err.path, "%s", err.message)
	}
	return object, nil
}

type decoder struct {
	in    string
	pos   int
	depth int
}

// decodeError gathers its path while the decoder unwinds, so that a good
// document pays nothing for it.
type decodeError struct {
	path    string
	message string
}

func (e *decodeError) within(step string) *decodeError {
	e.path = step + e.path
	return e
}

func (d *decoder) fail(format string, args ...any) *decodeError {
	return &decodeError{message: fmt.Sprintf("is not JSON: %s, at byte %d", fmt.Sprintf(format, args...), d.pos)}
}

// here shows the next character.
func (d *decoder) here() string {
	if d.pos >= len(d.in) {
		return "the end"
	}
	r, _ := utf8.DecodeRuneInString(d.in[d.pos:])
	return strconv.QuoteRune(r)
}

func (d *decoder) space() {
	for d.pos < len(d.in) {
		switch d.in[d.pos] {
		case ' ', '\t', '\n', '\r':
			d.pos++
		default:
			return
		}
	}
}

// next skips white space and reports the character after it, 0 at the end
// (which no JSON text may hold there either).
func (d *decoder) next() byte {
	d.space()
	if d.pos == len(d.in) {
		return 0
	}
	return d.in[d.pos]
}

func (d *decoder) value() (any, *decodeError) {
	switch c := d.next(); {
	case c == '"':
		return boxed(d.string())
	case c == '{':
		return boxed(d.object())
	case c == '[':
		return boxed(d.array())
	case c == '-' || c >= '0' && c <= '9':
		return boxed(d.number())
	case strings.HasPrefix(d.in[d.pos:], "true"):
		d.pos += len("true")
		return true, nil
	case strings.HasPrefix(d.in[d.pos:], "false"):
		d.pos += len("false")
		return false, nil
	case strings.HasPrefix(d.in[d.pos:], "null"):
		d.pos += len("null")
		return nil, nil
	}
	return nil, d.fail("a value was expected, not %s", d.here())
}

func boxed[T any](v T, err *decodeError) (any, *decodeError) { return v, err }

func (d *decoder) enter() *decodeError {
	if d.depth++; d.depth > MaxDepth {
		return &decodeError{message: fmt.Sprintf("nests deeper than %d levels", MaxDepth)}
	}
	d.pos++
	return nil
}

func (d *decoder) leave() {
	d.depth--
	d.pos++
}

func (d *decoder) object() (map[string]any, *decodeError) {
	if err := d.enter(); err != nil {
		return nil, err
	}
	object := make(map[string]any, 8)
	if d.next() == '}' {
		d.leave()
		return object, nil
	}
	for {
		if d.next() != '"' {
			return nil, d.fail("a key in double quotes was expected, not %s", d.here())
		}
		key, err := d.string()
		if err != nil {
			return nil, err
		}
		if _, twice := object[key]; twice {
			return nil, &decodeError{message: fmt.Sprintf("has the key %s twice", quote(key))}
		}
		if d.next() != ':' {
			return nil, d.fail("a colon was expected, not %s", d.here())
		}
		d.pos++
		value, err := d.value()
		if err != nil {
			return nil, err.within(keyStep(key))
		}
		object[key] = value
		switch d.next() {
		case ',':
			d.pos++
		case '}':
			d.leave()
			return object, nil
		default:
			return nil, d.fail("a comma or } was expected, not %s", d.here())
		}
	}
}

func (d *decoder) array() ([]any, *decodeError) {
	if err := d.enter(); err != nil {
		return nil, err
	}
	array := []any{}
	if d.next() == ']' {
		d.leave()
		return array, nil
	}
	for {
		value, err := d.value()
		if err != nil {
			return nil, err.within(indexStep(len(array)))
		}
		array = append(array, value)
		switch d.next() {
		case ',':
			d.pos++
		case ']':
			d.leave()
			return array, nil
		default:
			return nil, d.fail("a comma or ] was expected, not %s", d.here())
		}
	}
}

func (d *decoder) digits() int {
	start := d.pos
	for d.pos < len(d.in) && d.in[d.pos] >= '0' && d.in[d.pos] <= '9' {
		d.pos++
	}
	return d.pos - start
}

func (d *decoder) at(set string) bool {
	return d.pos < len(d.in) && strings.IndexByte(set, d.in[d.pos]) >= 0
}

func (d *decoder) number() (json.Number, *decodeError) {
	start := d.pos
	if d.at("-") {
		d.pos++
	}
	if d.at("0") {
		d.pos++
		if d.at("0123456789") {
			return "", d.fail("a number begins with a needless 0")
		}
	} else if d.digits() == 0 {
		return "", d.fail("a digit was expected, not %s", d.here())
	}
	if d.at(".") {
		d.pos++
		if d.digits() == 0 {
			return "", d.fail("a digit was expected, not %s", d.here())
		}
	}
	exponent := 0
	if d.at("eE") {
		d.pos++
		if d.at("+-") {
			d.pos++
		}
		from := d.pos
		if d.digits() == 0 {
			return "", d.fail("a digit was expected, not %s", d.here())
		}
		n, err := strconv.Atoi(d.in[from:d.pos])
		if err != nil { // more digits than an int has: too many either way
			n = MaxNumberExponent + 1
		}
		exponent = n
	}
	switch {
	case d.pos-start > MaxNumberBytes:
		return "", &decodeError{message: fmt.Sprintf("is a number of %d characters, more than %d: write it as a string", d.pos-start, MaxNumberBytes)}
	case exponent > MaxNumberExponent:
		return "", &decodeError{message: fmt.Sprintf("is a number with an exponent beyond %d: write it as a string", MaxNumberExponent)}
	}
	return json.Number(d.in[start:d.pos]), nil
}

// string reads the string that begins at pos.
func (d *decoder) string() (string, *decodeError) {
	d.pos++
	start := d.pos
	for ; d.pos < len(d.in); d.pos++ {
		switch c := d.in[d.pos]; {
		case c == '"':
			s := d.in[start:d.pos]
			d.pos++
			return s, nil
		case c == '\\':
			return d.escaped(start)
		case c < ' ':
			return "", d.fail("a string holds the control character %s, which must be escaped", d.here())
		}
	}
	return "", d.fail("a string does not end")
}

// escaped reads on from the first backslash of the string that began at start.
func (d *decoder) escaped(start int) (string, *decodeError) {
	out := append(make([]byte, 0, d.pos-start+32), d.in[start:d.pos]...)
	for d.pos < len(d.in) {
		c := d.in[d.pos]
		switch {
		case c == '"':
			d.pos++
			return string(out), nil
		case c < ' ':
			return "", d.fail("a string holds the control character %s, which must be escaped", d.here())
		case c != '\\':
			out = append(out, c)
			d.pos++
		default:
			r, err := d.escape()
			if err != nil {
				return "", err
			}
			out = utf8.AppendRune(out, r)
		}
	}
	return "", d.fail("a string does not end")
}

// escape reads one escape, or the two that make up a surrogate pair.
func (d *decoder) escape() (rune, *decodeError) {
	d.pos++
	if d.pos == len(d.in) {
		return 0, d.fail("a string does not end")
	}
	if i := strings.IndexByte(`"\/bfnrt`, d.in[d.pos]); i >= 0 {
		d.pos++
		return rune("\"\\/\b\f\n\r\t"[i]), nil
	}
	r, ok := d.unit()
	if !ok {
		return 0, d.fail(`an escape was expected (one of \" \\ \/ \b \f \n \r \t \u0000), not %s`, d.here())
	}
	if !utf16.IsSurrogate(r) {
		return r, nil
	}
	if d.at(`\`) {
		d.pos++
		if low, ok := d.unit(); ok {
			if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
				return pair, nil
			}
		}
	}
	return 0, d.fail("a string holds half of a surrogate pair")
}

// unit reads the uXXXX of an escape.
func (d *decoder) unit() (rune, bool) {
	if !d.at("u") || d.pos+5 > len(d.in) {
		return 0, false
	}
	n, err := strconv.ParseUint(d.in[d.pos+1:d.pos+5], 16, 16)
	if err != nil {
		return 0, false
	}
	d.pos += 5
	return rune(n), true
}
