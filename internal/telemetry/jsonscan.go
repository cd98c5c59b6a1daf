package telemetry

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Bounds of one JSON object. What lies deeper stays JSON text under the name
// that leads to it; values past the number are left out, and the Summary counts
// the records that happened to.
const (
	maxJSONDepth  = 32
	maxJSONValues = 1024
	maxNames      = 4096 // dotted names remembered between objects
)

// jsonValue is one value of a JSON object that is neither an object, nor a list,
// nor null.
type jsonValue struct {
	name  string // of the members that lead to it, joined by dots
	value string // a number or boolean in its own spelling
	elem  int32  // which element of a list it stands in, counted through the object; 0 outside lists
	text  bool   // it was a string

	from, to int32 // where it lies in the scratch, until the scan ends; to is 0 if it does not
}

// jsonPart is a member of the object itself that is an object or a list.
type jsonPart struct {
	name, text string
	at         int // where it begins in the object's text
}

// jsonScan reads a JSON object in one pass into a flat list of values, in the
// order they stand in. It is reused from object to object; what the values hold
// lasts.
type jsonScan struct {
	src     string
	values  []jsonValue
	short   bool // values past the bound were left out
	parts   []jsonPart
	path    []byte
	depth   int
	elem    int32
	now     int32 // the element being read
	scratch []byte
	names   map[string]string
	err     string
}

// scan reads src, which is one object and white space. It reports what is wrong
// with it; "" if nothing is.
func (s *jsonScan) scan(src string) string {
	s.src, s.values, s.short, s.parts, s.err = src, s.values[:0], false, s.parts[:0], ""
	s.path, s.scratch, s.depth, s.elem, s.now = s.path[:0], s.scratch[:0], 0, 0, 0
	i := s.space(0)
	if i >= len(src) || src[i] != '{' {
		return "an object was expected"
	}
	if i = s.object(i + 1); i < 0 {
		return s.err
	}
	if s.space(i) != len(src) {
		return "something follows the object"
	}
	if len(s.scratch) > 0 {
		decoded := string(s.scratch)
		for i := range s.values {
			if v := &s.values[i]; v.to > 0 {
				v.value, v.to = decoded[v.from:v.to], 0
			}
		}
	}
	return ""
}

// get returns the first value of the name, "" if there is none.
func (s *jsonScan) get(name string) string {
	for i := range s.values {
		if s.values[i].name == name {
			return s.values[i].value
		}
	}
	return ""
}

// part returns a member of the object itself that is an object or a list; its
// text is "" if there is none.
func (s *jsonScan) part(name string) jsonPart {
	for _, p := range s.parts {
		if p.name == name {
			return p
		}
	}
	return jsonPart{}
}

func (s *jsonScan) fail(reason string) int {
	if s.err == "" {
		s.err = reason
	}
	return -1
}

func (s *jsonScan) space(i int) int {
	for i < len(s.src) && (s.src[i] == ' ' || s.src[i] == '\n' || s.src[i] == '\r' || s.src[i] == '\t') {
		i++
	}
	return i
}

// object reads on from behind the brace and returns where the object ends.
func (s *jsonScan) object(i int) int {
	s.depth++
	here := len(s.path)
	for first := true; ; first = false {
		i = s.space(i)
		if i >= len(s.src) {
			return s.fail("it was cut off")
		}
		switch {
		case s.src[i] == '}' && first:
			s.depth--
			return i + 1
		case s.src[i] != '"':
			return s.fail("a member's name was expected")
		}
		end, escaped := s.stringEnd(i + 1)
		if end < 0 {
			return -1
		}
		name := s.src[i+1 : end-1]
		if s.depth > 1 {
			s.path = append(s.path, '.')
		}
		if escaped {
			from := len(s.scratch)
			if !s.unescape(name) {
				return -1
			}
			s.path = append(s.path, s.scratch[from:]...)
			s.scratch = s.scratch[:from]
		} else {
			s.path = append(s.path, name...)
		}
		if i = s.space(end); i >= len(s.src) || s.src[i] != ':' {
			return s.fail("a colon was expected")
		}
		if i = s.space(i + 1); s.depth == 1 && !escaped && i < len(s.src) && s.src[i] != '{' && s.src[i] != '[' {
			i = s.value(i, name)
		} else {
			i = s.value(i, "")
		}
		if i < 0 {
			return -1
		}
		s.path = s.path[:here]
		if i = s.space(i); i >= len(s.src) {
			return s.fail("it was cut off")
		}
		switch s.src[i] {
		case ',':
			i++
		case '}':
			s.depth--
			return i + 1
		default:
			return s.fail("a comma or a closing brace was expected")
		}
	}
}

// array reads on from behind the bracket and returns where the list ends. Its
// values all have the list's name.
func (s *jsonScan) array(i int) int {
	outer := s.now
	s.depth++
	for first := true; ; first = false {
		if i = s.space(i); i < len(s.src) && s.src[i] == ']' && first {
			i++
			break
		}
		s.elem++
		s.now = s.elem
		if i = s.value(i, ""); i < 0 {
			return -1
		}
		if i = s.space(i); i >= len(s.src) {
			return s.fail("it was cut off")
		}
		if s.src[i] == ']' {
			i++
			break
		}
		if s.src[i] != ',' {
			return s.fail("a comma or a closing bracket was expected")
		}
		i++
	}
	s.depth--
	s.now = outer
	return i
}

// value reads the value that begins at i. The name is the path's where it is "".
func (s *jsonScan) value(i int, name string) int {
	if i >= len(s.src) {
		return s.fail("it was cut off")
	}
	switch c := s.src[i]; {
	case c == '"':
		return s.str(i+1, name)
	case c == '{' || c == '[':
		if s.depth >= maxJSONDepth {
			end := nestedEnd([]byte(s.src[i:]))
			if end < 0 {
				return s.fail("it was cut off")
			}
			s.add(jsonValue{name: name, value: s.src[i : i+end]})
			return i + end
		}
		var end int
		if c == '{' {
			end = s.object(i + 1)
		} else {
			end = s.array(i + 1)
		}
		if s.depth == 1 && end >= 0 && len(s.parts) < maxJSONValues {
			s.parts = append(s.parts, jsonPart{s.intern(), s.src[i:end], i})
		}
		return end
	case c == '-' || c >= '0' && c <= '9':
		end := numberEnd(s.src, i)
		if end < 0 {
			return s.fail("a number is malformed")
		}
		s.add(jsonValue{name: name, value: s.src[i:end]})
		return end
	}
	rest := s.src[i:]
	switch {
	case strings.HasPrefix(rest, "null"):
		return i + 4
	case strings.HasPrefix(rest, "true"):
		s.add(jsonValue{name: name, value: "true"})
		return i + 4
	case strings.HasPrefix(rest, "false"):
		s.add(jsonValue{name: name, value: "false"})
		return i + 5
	}
	return s.fail("a value was expected")
}

func (s *jsonScan) str(i int, name string) int {
	end, escaped := s.stringEnd(i)
	if end < 0 {
		return -1
	}
	v := jsonValue{name: name, text: true}
	if escaped {
		v.from = int32(len(s.scratch))
		if !s.unescape(s.src[i : end-1]) {
			return -1
		}
		if v.to = int32(len(s.scratch)); v.to == v.from {
			v.to = 0
		}
	} else {
		v.value = s.src[i : end-1]
	}
	s.add(v)
	return end
}

func (s *jsonScan) add(v jsonValue) {
	if len(s.values) >= maxJSONValues {
		s.short = true
		return
	}
	if v.name == "" {
		v.name = s.intern()
	}
	v.elem = s.now
	s.values = append(s.values, v)
}

// intern returns the path as a string, the same one for the same name in the
// objects to come.
func (s *jsonScan) intern() string {
	if name, ok := s.names[string(s.path)]; ok {
		return name
	}
	name := string(s.path)
	if len(s.names) >= maxNames || s.names == nil {
		s.names = make(map[string]string, 64)
	}
	if len(name) <= 128 {
		s.names[name] = name
	}
	return name
}

// stringEnd returns where the string that begins at i ends, behind its quote,
// and whether it has escapes.
func (s *jsonScan) stringEnd(i int) (end int, escaped bool) {
	n := quoteEnd(s.src[i:])
	if n < 0 {
		return s.fail("a string does not end"), false
	}
	return i + n, strings.IndexByte(s.src[i:i+n-1], '\\') >= 0
}

// unescape appends a string's decoded bytes to the scratch. A surrogate without
// its other half becomes U+FFFD, as encoding/json has it.
func (s *jsonScan) unescape(in string) bool {
	for {
		n := strings.IndexByte(in, '\\')
		if n < 0 {
			s.scratch = append(s.scratch, in...)
			return true
		}
		s.scratch = append(s.scratch, in[:n]...)
		if n+1 >= len(in) {
			return s.fail("an escape was cut off") >= 0
		}
		c := in[n+1]
		in = in[n+2:]
		switch c {
		case '"', '\\', '/':
			s.scratch = append(s.scratch, c)
		case 'n':
			s.scratch = append(s.scratch, '\n')
		case 'r':
			s.scratch = append(s.scratch, '\r')
		case 't':
			s.scratch = append(s.scratch, '\t')
		case 'b':
			s.scratch = append(s.scratch, '\b')
		case 'f':
			s.scratch = append(s.scratch, '\f')
		case 'u':
			r := hex4(in)
			if r < 0 {
				return s.fail("\\u wants four hexadecimal digits") >= 0
			}
			in = in[4:]
			if utf16.IsSurrogate(r) {
				low := rune(-1)
				if strings.HasPrefix(in, `\u`) {
					low = hex4(in[2:])
				}
				if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
					in = in[6:]
				}
			}
			s.scratch = utf8.AppendRune(s.scratch, r)
		default:
			return s.fail("an escape is not JSON's") >= 0
		}
	}
}

func hex4(s string) rune {
	if len(s) < 4 {
		return -1
	}
	r := rune(0)
	for i := range 4 {
		d := hexDigit(s[i])
		if d < 0 {
			return -1
		}
		r = r<<4 | rune(d)
	}
	return r
}

// numberEnd returns where the number that begins at i ends, -1 if it is none.
func numberEnd(s string, i int) int {
	if i < len(s) && s[i] == '-' {
		i++
	}
	end := digitsEnd(s, i)
	if end == i || s[i] == '0' && end > i+1 {
		return -1
	}
	if end < len(s) && s[end] == '.' {
		i = end + 1
		if end = digitsEnd(s, i); end == i {
			return -1
		}
	}
	if end < len(s) && (s[end] == 'e' || s[end] == 'E') {
		i = end + 1
		if i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		if end = digitsEnd(s, i); end == i {
			return -1
		}
	}
	return end
}

func digitsEnd(s string, i int) int {
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	return i
}
