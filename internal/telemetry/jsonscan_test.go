package telemetry

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// reference flattens an object with encoding/json, token by token.
func reference(src string) ([][2]string, error) {
	dec := json.NewDecoder(strings.NewReader(src))
	dec.UseNumber()
	var out [][2]string
	var value func(path string, depth int) error
	value = func(path string, depth int) error {
		tok, err := dec.Token()
		if err != nil {
			return err
		}
		delim, ok := tok.(json.Delim)
		if !ok {
			if tok != nil {
				out = append(out, [2]string{path, fmt.Sprint(tok)})
			}
			return nil
		}
		for dec.More() {
			name := path
			if delim == '{' {
				key, err := dec.Token()
				if err != nil {
					return err
				}
				if name = key.(string); depth > 0 {
					name = path + "." + name
				}
			}
			if err := value(name, depth+1); err != nil {
				return err
			}
		}
		_, err = dec.Token()
		return err
	}
	if err := value("", 0); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more follows")
	}
	return out, nil
}

func scanned(s *jsonScan) [][2]string {
	var out [][2]string
	for _, v := range s.values {
		out = append(out, [2]string{v.name, v.value})
	}
	return out
}

func TestJSONScan(t *testing.T) {
	t.Parallel()
	var s jsonScan
	if reason := s.scan(`{"a":1,"b":{"c":"x","d":[true,null,{"e":"\u00e4\ud83d\ude00\"\\\/"},[2,"y"]]},"":"", "k\u0065y" : -1.5e+3 ,"list":[{"n":1},{"n":2}]}`); reason != "" {
		t.Fatal(reason)
	}
	want := [][2]string{{"a", "1"}, {"b.c", "x"}, {"b.d", "true"}, {"b.d.e", "ä😀\"\\/"}, {"b.d", "2"}, {"b.d", "y"}, {"", ""}, {"key", "-1.5e+3"}, {"list.n", "1"}, {"list.n", "2"}}
	if d := cmp.Diff(want, scanned(&s)); d != "" {
		t.Error(d)
	}
	if got := s.part("list").text; got != `[{"n":1},{"n":2}]` || s.part("b.d").text != "" || s.part("a").text != "" {
		t.Errorf("the list is %q", got)
	}
	var elems []int32
	for _, v := range s.values {
		elems = append(elems, v.elem)
	}
	if d := cmp.Diff([]int32{0, 0, 1, 3, 5, 6, 0, 0, 7, 8}, elems); d != "" {
		t.Error(d)
	}
	for _, bad := range []string{``, `[]`, `{`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,}`, `{"a":01}`, `{"a":1.}`, `{"a":1e}`, `{"a":-}`, `{"a":tru}`, `{"a" 1}`, `{a:1}`, `{"a":1 "b":2}`, `{"a":[1,]}`, `{"a":[1 2]}`,
		`{"a":"\x"}`, `{"a":"\u12g4"}`, `{"a":"`, `{"a":"\"}`, `{"a":1}{`, `{"a\u":1}`, `{"a":[`, `{,}`} {
		if s.scan(bad) == "" {
			t.Errorf("%s was taken for sound", bad)
		}
	}
}

func TestJSONScanBounds(t *testing.T) {
	t.Parallel()
	var s jsonScan
	deep := strings.Repeat(`{"a":`, 100) + `"x"` + strings.Repeat("}", 100)
	if reason := s.scan(deep); reason != "" {
		t.Fatal(reason)
	}
	if len(s.values) != 1 || s.values[0].name != strings.Repeat("a.", maxJSONDepth-1)+"a" || s.values[0].value != strings.Repeat(`{"a":`, 100-maxJSONDepth)+`"x"`+strings.Repeat("}", 100-maxJSONDepth) {
		t.Errorf("what is too deep: %v", scanned(&s))
	}
	if reason := s.scan(strings.Repeat(`{"a":`, 100)); reason == "" {
		t.Error("cut off beyond the depth, and taken for sound")
	}
	var many strings.Builder
	for i := range maxJSONValues + 1 {
		fmt.Fprintf(&many, `,"k%d":%d`, i, i)
	}
	text := "{" + many.String()[1:] + "}"
	if reason := s.scan(text); reason != "" || !s.short || len(s.values) != maxJSONValues {
		t.Errorf("too many values: %q, short %v, %d kept", reason, s.short, len(s.values))
	}
	out, sum := read(t, text+"\n{\"a\":1}", Options{})
	if len(out) != 2 || len(out[0].Fields) != maxJSONValues || sum.Shortened != 1 || sum.Unreadable != 0 {
		t.Errorf("%d records, %d fields, %+v", len(out), len(out[0].Fields), sum)
	}
	for i := range 3 * maxNames {
		if reason := s.scan(fmt.Sprintf(`{"a":{"b%d":1}}`, i)); reason != "" || len(s.names) > maxNames {
			t.Fatalf("%q, %d names remembered", reason, len(s.names))
		}
	}
}

func TestSeveralValuesOfAName(t *testing.T) {
	t.Parallel()
	rec := one(t, `{"one":["a"],"two":["a","b"],"none":[],"null":null,"deep":[{"x":1},{"x":2,"y":3}],"twice":1,"twice":"2","empty":"","a.b":1,"a":{"b":2}}`)
	if d := cmp.Diff(map[string]string{"one": "a", "deep.y": "3", "empty": ""}, rec.Fields); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string][]string{"two": {"a", "b"}, "deep.x": {"1", "2"}, "twice": {"1", "2"}, "a.b": {"1", "2"}}, rec.Multi); d != "" {
		t.Error(d)
	}
}

// The scan agrees with encoding/json on whatever that takes for sound, and takes
// nothing else but control characters within strings.
func FuzzJSONScan(f *testing.F) {
	f.Add(`{"a":1,"b":{"c":"x","d":[true,null,{"e":"\u00e4\ud83d\ude00"}]},"":"", "k\u0065y" : -1.5e+3 }`)
	f.Add(`{"a":"\ud83d","b":"\ud83d\u0041","c":"\udc00\ud83d\ude00","d":"\\\""}`)
	f.Add(`{"a":[[],{},[[1]]],"b":"C:\\x\\"}`)
	f.Add(`{"a":[{"b":[1,2]},3]}`)
	f.Fuzz(func(t *testing.T, src string) {
		var s jsonScan
		reason := s.scan(src)
		if !json.Valid([]byte(src)) {
			if reason == "" && !strings.ContainsFunc(src, func(r rune) bool { return r < ' ' }) {
				t.Fatalf("%q was taken for sound", src)
			}
			return
		}
		want, err := reference(src)
		trimmed := strings.TrimLeft(src, " \t\r\n")
		if err != nil || !strings.HasPrefix(trimmed, "{") {
			return
		}
		if reason != "" {
			t.Fatalf("%q: %s", src, reason)
		}
		if s.short || strings.Count(src, "{")+strings.Count(src, "[") > maxJSONDepth || !utf8.ValidString(src) {
			return
		}
		if d := cmp.Diff(want, scanned(&s)); d != "" {
			t.Fatalf("%q: %s", src, d)
		}
	})
}

func BenchmarkWindowsEvent(b *testing.B) {
	message := strings.Repeat(`Process Create:\r\nImage: C:\\Windows\\System32\\cmd.exe\r\n`, 12)
	event := `{"EventTime":"2026-03-10T08:12:33Z","Hostname":"desk7.corp.example","Keywords":-9223372036854775808,"EventType":"INFO","SeverityValue":2,"EventID":1,"SourceName":"Microsoft-Windows-Sysmon",` +
		`"ProviderGuid":"{5770385F-C22A-43E0-BF4C-06F5698FFBD9}","Version":5,"Task":1,"OpcodeValue":0,"RecordNumber":12345,"Channel":"Microsoft-Windows-Sysmon/Operational","Domain":"NT AUTHORITY","AccountName":"SYSTEM","UserID":"S-1-5-18",` +
		`"Message":"` + message + `","RuleName":"-","UtcTime":"2026-03-10 08:12:33.250","ProcessGuid":"{a-b}","ProcessId":"4711","Image":"C:\\Windows\\System32\\cmd.exe","FileVersion":"10.0","Description":"x","Product":"y","Company":"z",` +
		`"OriginalFileName":"Cmd.Exe","CommandLine":"cmd /c \"dir C:\\Users\"","CurrentDirectory":"C:\\","User":"CORP\\ann","LogonGuid":"{c}","LogonId":"0x3e7","TerminalSessionId":"1","IntegrityLevel":"High","Hashes":"MD5=00,SHA256=11,IMPHASH=22",` +
		`"ParentProcessGuid":"{d}","ParentProcessId":"4","ParentImage":"C:\\Windows\\explorer.exe","ParentCommandLine":"explorer"}` + "\n"
	const events = 1000
	text := strings.Repeat(event, events)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if out, _ := read(b, text, Options{}); len(out) != events {
			b.Fatalf("%d records", len(out))
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/events, "µs/event")
}
