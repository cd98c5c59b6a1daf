package catalog

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/cybervault/cybervault"
)

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, in, field, text string }{
		{"nothing", "", "data", "is missing"},
		{"only space", " \n", "data", "is missing"},
		{"null", "null", "data", "must be a JSON object: it begins with 'n' instead of {"},
		{"array", "[]", "data", "must be a JSON object"},
		{"text", `"x"`, "data", "must be a JSON object"},
		{"byte order mark", "\ufeff{}", "data", "byte order mark"},
		{"bad UTF-8", "{\"a\":\"\xff\"}", "data", "is not UTF-8: byte 6"},
		{"cut off", `{"a":1`, "data", "a comma or } was expected, not the end, at byte 6"},
		{"cut off in text", `{"a":"b`, "data.a", "a string does not end"},
		{"two objects", `{}{}`, "data", "'{' follows the end of the object"},
		{"trailing comma", `{"a":1,}`, "data", "a key in double quotes was expected, not '}'"},
		{"single quotes", `{'a':1}`, "data", "a key in double quotes was expected"},
		{"no colon", `{"a" 1}`, "data", "a colon was expected"},
		{"leading zero", `{"a":01}`, "data.a", "needless 0"},
		{"plus", `{"a":+1}`, "data.a", "a value was expected, not '+'"},
		{"bare point", `{"a":1.}`, "data.a", "a digit was expected"},
		{"bare minus", `{"a":-}`, "data.a", "a digit was expected"},
		{"bare exponent", `{"a":1e}`, "data.a", "a digit was expected"},
		{"NaN", `{"a":NaN}`, "data.a", "a value was expected, not 'N'"},
		{"control character", "{\"a\":\"\n\"}", "data.a", "control character '\\n'"},
		{"control after escape", "{\"a\":\"\\t\t\"}", "data.a", "control character '\\t'"},
		{"odd escape", `{"a":"\x41"}`, "data.a", "an escape was expected"},
		{"short escape", `{"a":"\u12"}`, "data.a", "an escape was expected"},
		{"half a pair", `{"a":"\ud83d"}`, "data.a", "half of a surrogate pair"},
		{"two high halves", `{"a":"\ud83d\ud83d"}`, "data.a", "half of a surrogate pair"},
		{"low half", `{"a":"\ude00"}`, "data.a", "half of a surrogate pair"},
		{"key twice", `{"a":1,"a":2}`, "data", `has the key "a" twice`},
		{"key twice, escaped", `{"a":1,"\u0061":2}`, "data", `has the key "a" twice`},
		{"key twice, deep", `{"x":[0,{"b":{},"b":{}}]}`, "data.x[1]", `has the key "b" twice`},
		{"too deep", strings.Repeat(`{"a":`, MaxDepth+1) + "1" + strings.Repeat("}", MaxDepth+1), "data" + strings.Repeat(".a", MaxDepth), "nests deeper than 64"},
		{"long number", `{"a":` + strings.Repeat("1", MaxNumberBytes+1) + `}`, "data.a", "is a number of 129 characters, more than 128"},
		{"great exponent", `{"a":1e401}`, "data.a", "exponent beyond 400"},
		{"small exponent", `{"a":1e-401}`, "data.a", "exponent beyond 400"},
		{"enormous exponent", `{"a":1e99999999999999999999}`, "data.a", "exponent beyond 400"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := decode([]byte(tt.in))
			wantInvalid(t, err, tt.field, tt.text)
		})
	}
}

func TestDecodeAtTheLimits(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		strings.Repeat(`{"a":`, MaxDepth) + "1" + strings.Repeat("}", MaxDepth),
		`{"a":` + strings.Repeat("1", MaxNumberBytes) + `}`,
		`{"a":1e400,"b":1E-400}`,
		`{"a":[{"a":1},{"a":2}],"A":0}`,
		" {\t\"\":\r\n[ ] } ",
	} {
		if _, err := decode([]byte(in)); err != nil {
			t.Errorf("%.40s: %v", in, err)
		}
	}
}

func TestNumbersKeepTheirDigits(t *testing.T) {
	t.Parallel()
	v, err := decode([]byte(`{"a":12345678901234567890,"b":0.10000000000000000000001,"c":-0.0e+1}`))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"a": json.Number("12345678901234567890"), "b": json.Number("0.10000000000000000000001"), "c": json.Number("-0.0e+1")}
	if !reflect.DeepEqual(v, want) {
		t.Errorf("got %v", v)
	}
	err = newCatalog(t).Validate(ws, cybervault.EventThreatDetected,
		[]byte(`{"threat_id":"t","severity":"low","vector":"v","confidence":1.00000000000000000000001}`))
	wantInvalid(t, err, "data.confidence", "must be at most 1, is 1.00000000000000000000001")
}

// Whatever decode takes, encoding/json takes with the same result; whatever it
// refuses for its form alone, encoding/json refuses too.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		sample, `{}`, `{"a":"\ud83d\ude00\u0000\"\\\/\b\f\n\r\t"}`, `{"a":[1,-0.5e+10,true,false,null,[],{}]}`, `{"a":1,"a":2}`,
		`{"a":01}`, `{"a":"` + "\x7f" + `"}`, "{\"a\":\"\u2028\"}", `{"a":"\ud800"}`, `{"a":1e999}`, ` {"":[[[]]]} `, `{"a":"\u00`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := decode(in)
		reference := json.NewDecoder(bytes.NewReader(in))
		reference.UseNumber()
		var want any
		refErr := reference.Decode(&want)
		if refErr == nil {
			if _, e := reference.Token(); e != io.EOF {
				refErr = errors.New("something follows")
			}
		}
		if err == nil {
			if refErr != nil {
				t.Fatalf("decode takes %q, encoding/json does not: %v", in, refErr)
			}
			if !reflect.DeepEqual(any(got), want) {
				t.Fatalf("%q\ndecode        %v\nencoding/json %v", in, got, want)
			}
			return
		}
		e, ok := errors.AsType[*cybervault.Error](err)
		if !ok || e.Code != cybervault.CodeInvalid || e.Field == "" || !utf8.ValidString(e.Message) {
			t.Fatalf("%q: %#v", in, err)
		}
		stricter := !utf8.Valid(in) || strings.Contains(e.Message, "surrogate") || strings.Contains(e.Message, "twice") ||
			strings.Contains(e.Message, "nests deeper") || strings.Contains(e.Message, "is a number") || strings.Contains(e.Message, "must be a JSON object")
		if refErr == nil && !stricter {
			t.Fatalf("encoding/json takes %q, decode does not: %v", in, err)
		}
	})
}

// Validate answers every input with nil or an error that names a field, and a
// document it takes is still taken after a round through encoding/json.
func FuzzValidate(f *testing.F) {
	c := newCatalog(f)
	types := all(f, c)
	for i, e := range types {
		f.Add(uint8(i), []byte(e.Example))
	}
	f.Add(uint8(0), []byte(sample))
	f.Add(uint8(0), []byte(`{"confidence":1e400,"count":1e-400,"detections":[{}]}`))
	f.Fuzz(func(t *testing.T, which uint8, data []byte) {
		e := types[int(which)%len(types)]
		err := c.Validate(ws, e.Name, data)
		if err != nil {
			invalid, ok := errors.AsType[*cybervault.Error](err)
			if !ok || invalid.Code != cybervault.CodeInvalid || !strings.HasPrefix(invalid.Field, "data") || invalid.Message == "" {
				t.Fatalf("%s, %q: %#v", e.Name, data, err)
			}
			return
		}
		var again bytes.Buffer
		if err := json.Compact(&again, data); err != nil {
			t.Fatal(err)
		}
		if err := c.Validate(ws, e.Name, again.Bytes()); err != nil {
			t.Fatalf("%s takes %q, but not %q: %v", e.Name, data, again.Bytes(), err)
		}
	})
}
