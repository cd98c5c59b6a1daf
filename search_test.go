package cybervault_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault"
)

func TestParseSearch(t *testing.T) {
	t.Parallel()
	type term = cybervault.SearchTerm
	for text, want := range map[string][]term{
		"":                     nil,
		" \t ":                 nil,
		"one two":              {{Value: "one"}, {Value: "two"}},
		`"failed password" x`:  {{Value: "failed password"}, {Value: "x"}},
		`"say \"hi\" C:\x \\"`: {{Value: `say "hi" C:\x \`}},
		"event:Threat.*":       {{Field: "event", Value: "threat.", WildEnd: true}},
		"-event:patch.failed":  {{Field: "event", Not: true, Value: "patch.failed"}},
		"severity:>=high":      {{Field: "severity", Compare: ">=", Value: "high"}},
		"data.a.b:*x*":         {{Field: "data.a.b", Value: "x", WildStart: true, WildEnd: true}},
		"data.a:*":             {{Field: "data.a", WildStart: true}},
		`data.a:"x *"*`:        {{Field: "data.a", Value: "x *", WildEnd: true}},
		`data.a:*"x y"`:        {{Field: "data.a", Value: "x y", WildStart: true}},
		`data.a:">5" b`:        {{Field: "data.a", Value: ">5"}, {Value: "b"}},
		`data.a:""`:            {{Field: "data.a"}},
		"data.n:<-1.5e3":       {{Field: "data.n", Compare: "<", Value: "-1.5e3"}},
		"data.url:http://x:1":  {{Field: "data.url", Value: "http://x:1"}},
		// What names no field is text, as it stands.
		"203.0.113.42 2001:db8::1 http://evil -rf - user:root *": {
			{Value: "203.0.113.42"}, {Value: "2001:db8::1"}, {Value: "http://evil"}, {Value: "-rf"}, {Value: "-"}, {Value: "user:root"}, {Value: "*"},
		},
		`"event:x" data: say"hi"`: {{Value: "event:x"}, {Value: "data:"}, {Value: `say"hi"`}},
	} {
		got, err := cybervault.ParseSearch(text)
		if diff := cmp.Diff(want, got.Terms); err != nil || diff != "" {
			t.Errorf("%q: %v\n%s", text, err, diff)
		}
	}
}

func TestParseSearchSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"a data.count:>five b": "data.count:>five: a number stands after >",
		"data.count:>=":        "data.count:>=: nothing stands after it",
		"severity:hgih":        "severity:hgih: a severity is info, low,",
		"severity:hi*":         "severity:hi*: a severity is",
		"event:>a":             "event:>a: event types are not compared",
		"id:wh_5":              "id:wh_5: an event's whole id",
		"data.:x":              "data.:x: name the field after data.",
		"data.a..b:x":          "data.a..b:x: name the field after data.",
		`data.a:"x`:            `data.a:"x: a quote is not closed`,
		`"x y`:                 `"x y: a quote is not closed`,
		`"x"y z`:               `"x"y: a space stands after the closing quote`,
		`data.a:"x"y z`:        `data.a:"x"y: a space stands after the closing quote`,
		`""`:                   `"": is empty`,
		"-data.a: b":           "-data.a:: nothing stands after it",
		"a\xff":                "q: is not UTF-8",
		"a\x00":                "q: is not UTF-8",
		strings.Repeat("ä", cybervault.MaxSearchLength+1):     "q: is 1001 characters long, more than 1000",
		strings.Repeat("a ", cybervault.MaxSearchTerms) + "b": "q: has more than 16 terms",
	} {
		_, err := cybervault.ParseSearch(text)
		if cybervault.ErrorCode(err) != cybervault.CodeInvalid || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.80q: %v; want %q", text, err, want)
		}
	}
	for _, text := range []string{strings.Repeat("ä", cybervault.MaxSearchLength), strings.Repeat("a ", cybervault.MaxSearchTerms)} {
		if _, err := cybervault.ParseSearch(text); err != nil {
			t.Errorf("%.20q…: %v", text, err)
		}
	}
}

func TestSearchMatches(t *testing.T) {
	t.Parallel()
	const data = `{"source_ip":"203.0.113.42","User":"Root","confidence":0.85,"count":12,"text":"12","id":9007199254740993,"ok":true,"none":null,"empty":"","list":["a",{"b":[1,2]}],
		"nested":{"deep":{"x":"Ärger"},"process.name":"sh"},"process.name":"bash","nothing":[],"object":{"k":1},"kelvin":"\u212a","tens":5e1}`
	e := &cybervault.Event{Type: "threat.detected", Body: []byte(`{"event":"threat.detected","data":` + data + `}`)}
	if err := e.ID.UnmarshalText([]byte("wh_0192f0c1-0000-7000-8000-000000000001")); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{
		"event:threat.*": true, "event:threat.detected": true, "event:patch.*": false, "event:*": true, "-event:patch.*": true, "-event:*detected": false, "event:threat": false,
		"id:wh_0192f0c1-0000-7000-8000-000000000001": true, "id:wh_0192f0c1-0000-7000-8000-000000000002": false,
		"severity:high": true, "severity:>=medium": true, "severity:>high": false, "severity:<critical": true, "severity:<=medium": false, "severity:*": true, "-severity:high": false,
		"data.source_ip:203.0.113.42": true, "data.source_ip:203.0.113.4": false, "data.source_ip:203.0.113.*": true, "data.source_ip:*.42": true, "data.source_ip:*0.113*": true,
		"data.User:rOOT": true, "data.user:root": false, "-data.User:root": false, "-data.missing:x": true,
		"data.confidence:>=0.8": true, "data.confidence:>0.85": false, "data.confidence:0.850": true, "data.confidence:8.5e-1": true, "data.confidence:<=0.85": true,
		"data.count:12": true, "data.count:12.0": true, "data.count:>9": true, "data.count:>100": false, "data.count:1*": true, "data.count:>-5": true,
		"data.text:>9": true, "data.text:12.0": false, "data.source_ip:>1": false, "data.ok:>0": false,
		"data.id:9007199254740993": true, "data.id:9007199254740992": false, "data.id:>9007199254740992": true, "data.tens:50": true,
		"data.ok:true": true, "data.none:null": false, "data.none:*": false, "data.empty:*": true, `data.empty:""`: true, "data.missing:*": false, "-data.missing:*": true,
		"data.list:a": true, "data.list.b:2": true, "data.list.b:>2": false, "data.nothing:*": false, "data.object:*": true, "data.object:1": false, "data.nested.deep:*": true,
		"data.nested.deep.x:ärger": true, "data.nested.deep.x:ÄRGER": true, "data.process.name:bash": true, "data.nested.process.name:sh": true, "data.source_ip.x:*": false,
		"data.kelvin:k": false, "word that is not looked for": true,
		"event:threat.* severity:high data.count:>9": true, "event:threat.* data.count:>90": false,
	} {
		s, err := cybervault.ParseSearch(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		s.Severities = map[string]cybervault.Severity{"threat.detected": cybervault.SeverityHigh}
		if got := s.Match(e); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
	own, err := cybervault.ParseSearch("severity:low")
	if err != nil {
		t.Fatal(err)
	}
	for body, want := range map[string]bool{
		`{"data":{"severity":"low"}}`: true, `{"data":{"severity":"none"}}`: false, `{"data":5}`: false, `{"data":`: false, "": false,
	} {
		own.Severities = map[string]cybervault.Severity{"a.b": cybervault.SeverityHigh}
		if got := own.Match(&cybervault.Event{Type: "a.b", Body: []byte(body)}); got != want {
			t.Errorf("%s: %v, want %v", body, got, want)
		}
	}
}

func TestCompareOfNumbers(t *testing.T) {
	t.Parallel()
	numbers := []string{"-1e400", "-100", "-99", "-9", "-0.5", "0", "0.5", "9", "10", "10.5", "100", "9007199254740992", "9007199254740993", "1e400"}
	for i, a := range numbers {
		for j, b := range numbers {
			s, err := cybervault.ParseSearch("data.n:>" + b)
			if err != nil {
				t.Fatal(err)
			}
			if got := s.Match(&cybervault.Event{Body: []byte(`{"data":{"n":` + a + `}}`)}); got != (i > j) {
				t.Errorf("%s > %s: %v", a, b, got)
			}
		}
	}
}

// FuzzParseSearch: what is read keeps within the bounds, no event breaks it, and
// what SearchFor writes is read as it was meant.
func FuzzParseSearch(f *testing.F) {
	for _, text := range []string{`event:threat.* -data.a:"x\" y"* severity:>=high`, `data.n:>=0.8 "a b" c`, `data.a:*`, "id:x"} {
		f.Add(text, `{"data":{"a":["x",{"n":1e9}],"severity":"low"}}`)
	}
	f.Fuzz(func(t *testing.T, text, body string) {
		s, err := cybervault.ParseSearch(text)
		if err != nil && cybervault.ErrorCode(err) != cybervault.CodeInvalid {
			t.Fatalf("%v is not invalid", err)
		}
		if len(s.Terms) > cybervault.MaxSearchTerms {
			t.Fatalf("%d terms", len(s.Terms))
		}
		s.Match(&cybervault.Event{Type: "threat.detected", Body: []byte(body)})
		again, err := cybervault.ParseSearch(cybervault.SearchFor("a", text))
		if err != nil {
			return // too long, or no text
		}
		if len(again.Terms) != 1 || again.Terms[0].Field != "data.a" || again.Terms[0].Value != text {
			t.Fatalf("%q came back as %+v", text, again.Terms)
		}
	})
}
