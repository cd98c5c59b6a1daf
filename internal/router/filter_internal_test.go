package router

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
)

func language(t testing.TB) *filters {
	t.Helper()
	f, err := newFilters()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func view(data string) *filterView {
	e := &cybervault.Event{Type: cybervault.EventThreatDetected, Timestamp: time.Date(2026, 11, 23, 14, 32, 0, 0, time.UTC), IdempotencyKey: "key-1"}
	return &filterView{event: e, engine: "ai_v1.2", data: json.RawMessage(data)}
}

const sampleData = `{"threat_id":"thr_1","severity":"critical","source_ip":"203.0.113.42","confidence":0.98,"count":7,"big":18446744073709551616,
	"whole":1.0,"null":null,"flag":true,"tags":["web","sql"],"who":"Zoë 🚨","detections":[{"level":3},{"level":9}],"nested":{"a":{"b":[1,2.5]}}}`

func TestFilter(t *testing.T) {
	t.Parallel()
	f := language(t)
	for _, test := range []struct {
		expression string
		data       string
		want       bool   // true: lets through
		err        string // of the evaluation
	}{
		{`data.severity == "critical" && data.confidence > 0.9`, sampleData, true, ""},
		{`data.severity == "critical" && data.confidence > 0.9`, `{"severity":"critical","confidence":0.9}`, false, ""},
		{`data.severity == "critical" && data.confidence > 0.9`, `{"severity":"high"}`, false, ""},
		{`data.severity == "critical" && data.confidence > 0.9`, `{"severity":"critical"}`, false, "no field confidence: ask has(…) for it first"},
		// An integer in the data and a double in the filter compare, and the other way round.
		{`data.confidence > 0.9`, `{"confidence":1}`, true, ""},
		{`data.count == 7.0 && data.count > 6.5`, sampleData, true, ""},
		{`data.whole == 1 && data.whole in [1, 2]`, sampleData, true, ""},
		{`data.count + 1 == 8`, sampleData, true, ""},
		{`type(data.count) == int && type(data.whole) == double && type(data.big) == double`, sampleData, true, ""},
		{`data.big > 9223372036854775807`, sampleData, true, ""},
		{`data.x > 0.0 && -data.y < 0.0`, `{"x":1e999,"y":1E400}`, true, ""},
		{`data.x == -9223372036854775808 && data.y == 0`, `{"x":-9223372036854775808,"y":-0}`, true, ""},
		// The rest of the envelope.
		{`id != "x" && event == "threat.detected"`, `{}`, true, ""},
		{`timestamp > timestamp("2026-01-01T00:00:00Z") && timestamp.getHours() == 14`, `{}`, true, ""},
		{`timestamp.getHours("Europe/Berlin") == 15`, `{}`, true, ""},
		{`metadata.engine_version == "ai_v1.2" && metadata.idempotency_key == "key-1" && metadata.workspace_id != "x"`, `{}`, true, ""},
		// Of what is not there, and of another type.
		{`has(data.severity) && data.severity == "low"`, `{}`, false, ""},
		{`data.nested.a.b[1] > 2.0`, sampleData, true, ""},
		{`data.nested.a.b[7] > 2.0`, sampleData, false, "index"},
		{`has(data.severity.level)`, sampleData, false, ""},
		{"data.`null` == null", sampleData, true, ""},
		{`data.severity > 5`, sampleData, false, "no such overload"},
		{`data.severity == 5`, sampleData, false, ""},
		{`data.flag == true`, sampleData, true, ""},
		{`data.severity && true`, sampleData, false, "no such overload"},
		{`1 / (data.count - 7) == 0`, sampleData, false, "division by zero"},
		// Text and lists.
		{`data.who == "Zoë 🚨" && data.who.size() == 5`, sampleData, true, ""},
		{`"sql" in data.tags && data.tags.size() == 2`, sampleData, true, ""},
		{`data.detections.exists(d, d.level > 8)`, sampleData, true, ""},
		{`data.detections.all(d, d.level > 8)`, sampleData, false, ""},
		{`data.source_ip.matches("^203\\.0\\.113\\.")`, sampleData, true, ""},
		{`cidr("203.0.113.0/24").containsIP(data.source_ip)`, sampleData, true, ""},
		{`cidr("10.0.0.0/8").containsIP(data.source_ip)`, `{"source_ip":"nonsense"}`, false, "nonsense"},
		{`data.detections.filter(d, d.level > 2).size() == 2`, sampleData, true, ""},
		{`data.tags == ["web", "sql"] && data.tags[0] == data.tags[0]`, sampleData, true, ""},
		{`double(data.count) + double(data.whole) == 8.0`, sampleData, true, ""},
		{"// why\ntrue", `{}`, true, ""},
	} {
		compiled, err := f.compile(test.expression)
		if err != nil {
			t.Errorf("%s: %v", test.expression, err)
			continue
		}
		got, err := compiled.matches(t.Context(), view(test.data))
		if got != test.want || (err != nil) != (test.err != "") {
			t.Errorf("%s gave %t, %v; want %t, %q", test.expression, got, err, test.want, test.err)
		} else if err != nil && !strings.Contains(explainFilterError(err), test.err) {
			t.Errorf("%s: %q, want %q", test.expression, explainFilterError(err), test.err)
		}
	}
}

func TestFilterRefused(t *testing.T) {
	t.Parallel()
	f := language(t)
	for _, test := range []struct{ expression, says string }{
		{`data.severity == "critical" &&`, "line 1, column 31: Syntax error"},
		{"true &&\n  severity == \"high\"", "line 2, column 3: undeclared reference to 'severity': an expression knows id, event, timestamp, data and metadata"},
		{`event > 5`, "line 1, column 7: found no matching overload"},
		{`id == 5`, "of different types"},
		{`data`, "gives map(string, dyn), and must give true or false"},
		{`"true"`, "gives string"},
		{`data.flag`, `compare it, as in "data.flag == true"`},
		{`event.matches("(")`, "line 1"},
		{`timestamp > timestamp("yesterday")`, "line 1"},
		{`event.matches("(a{1000}){1000}")`, "line 1"},
		{`event.matches("[a-z]{1,1000}")`, "line 1"},
		{`event.matches(data.pattern)`, "line 1, column 19: a regular expression must be written out"},
		{`[data.a, data.b] == data.c`, "line 1, column 6: a list can hold text, numbers"},
		{`[[1], [2]].exists(x, x == data.c)`, "a list can hold text, numbers"},
		{`data.l.exists(x, [x] == data.l)`, "a list can hold text, numbers"},
		{`{"a": data} == data`, "cannot make maps"},
		{`data.a + data.b > 5`, "what is added must be known to be numbers or text"},
		{`data.l.map(x, x.level).size() > 5`, "undeclared reference to"},
		{`event.replace("e", "x") == ""`, "undeclared reference to 'replace'"},
		{`metadata.engine_version == 5`, "of different types"},
		{strings.Repeat("(", 500) + "true" + strings.Repeat(")", 500), "recursion limit"},
		{strings.Repeat("[", 2000), ""},
		{"true \x00", "line 1"},
		{"\xff\xfe", ""},
		{``, ""},
		{`  `, ""},
	} {
		_, err := f.compile(test.expression)
		if cybervault.ErrorCode(err) != cybervault.CodeInvalid || !strings.HasPrefix(err.Error(), "filter: ") || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%.60q: %v, want %q", test.expression, err, test.says)
		}
		if err != nil && len(err.Error()) > 1000 {
			t.Errorf("%.60q: an error of %d bytes", test.expression, len(err.Error()))
		}
	}
}

// What takes too many steps is ended by their count, whatever it is made of.
func TestFilterThatTakesTooLong(t *testing.T) {
	t.Parallel()
	list := "[" + strings.Repeat("1,", 9999) + "1]"
	text := strings.Repeat("a", 200_000)
	f := language(t)
	for _, test := range []struct{ expression, data string }{
		{`data.l.all(a, data.l.all(b, a == b))`, `{"l":` + list + `}`},
		{`data.l.filter(a, data.l.filter(b, b == a).size() > 2).size() > 0`, `{"l":` + list + `}`},
		{`data.l.exists(a, timestamp.getHours("Europe/Berlin") == a + 30)`, `{"l":` + list + `}`},
		{`data.l.exists(a, data.n == data.o)`, `{"l":` + list + `,"n":[{"x":` + list + `}],"o":[{"x":` + list + `,"y":1}]}`},
		{`data.l.exists(a, data.n in data.o)`, `{"l":` + list + `,"n":` + list + `,"o":[[` + strings.Repeat("1,", 9999) + `2]]}`},
		{`data.l.exists(a, size(data.t) == a)`, `{"l":` + list + `,"t":"` + text + `"}`},
		{`data.l.exists(a, data.t.startsWith(data.t) && a > 1)`, `{"l":` + list + `,"t":"` + text + `"}`},
		{`data.l.exists(a, data.t.contains("b"))`, `{"l":` + list + `,"t":"` + text + `"}`},
		{`data.l.exists(a, data.t.matches("(a|aa)+$b"))`, `{"l":` + list + `,"t":"` + text + `"}`},
		{`data.l.exists(a, (string(data.t) + data.t + data.t).size() == a)`, `{"l":` + list + `,"t":"` + text + `"}`},
		{`data.l.exists(a, data.l == data.m)`, `{"l":` + list + `,"m":[` + strings.Repeat("1,", 9999) + `2]}`},
	} {
		compiled, err := f.compile(test.expression)
		if err != nil {
			t.Errorf("%s: %v", test.expression, err)
			continue
		}
		start := time.Now()
		_, err = compiled.matches(t.Context(), view(test.data))
		if err == nil {
			t.Errorf("%s came to an end", test.expression)
			continue
		}
		t.Logf("%s: %s: %s", test.expression, time.Since(start).Round(time.Millisecond), explainFilterError(err))
	}
}

func TestFilterStopsWithItsPublisher(t *testing.T) {
	t.Parallel()
	compiled, err := language(t).compile(`data.l.all(a, a == 1)`)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := compiled.matches(ctx, view(`{"l":[`+strings.Repeat("1,", 999)+`1]}`)); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
}

// An event is decoded once, however many filters look at it.
func TestFilterDecodesOnce(t *testing.T) {
	t.Parallel()
	f := language(t)
	compiled, err := f.compile(`data.count == 7`)
	if err != nil {
		t.Fatal(err)
	}
	v := view(sampleData)
	for range 3 {
		if got, err := compiled.matches(t.Context(), v); !got || err != nil {
			t.Fatal(got, err)
		}
		v.data = json.RawMessage("gone")
	}
}

func FuzzFilter(f *testing.F) {
	language := language(f)
	for _, s := range []string{`data.severity == "critical" && data.confidence > 0.9`, `has(data.x)`, `data.l.exists(x, x > 1)`, `timestamp.getHours() < 6`,
		`data.l.filter(x, x.a > 1).size() == 1`, `[1,2].exists(x, x in [1])`, `b"\xff" == bytes(event)`, `duration("1h") > timestamp - timestamp`, `cidr("10.0.0.0/8").containsIP("10.1.1.1")`} {
		f.Add(s, sampleData)
	}
	f.Fuzz(func(t *testing.T, expression, data string) {
		if len(expression) > cybervault.MaxFilterBytes || len(data) > 4096 {
			return
		}
		compiled, err := language.compile(expression)
		if err != nil {
			if cybervault.ErrorCode(err) != cybervault.CodeInvalid {
				t.Errorf("%q: %v", expression, err)
			}
			return
		}
		if _, err := compiled.matches(t.Context(), view(data)); err != nil && (explainFilterError(err) == "" || strings.Contains(err.Error(), "internal error")) {
			t.Errorf("%q on %q: %v", expression, data, err)
		}
	})
}

func BenchmarkFilter(b *testing.B) {
	f := language(b)
	for name, expression := range map[string]string{"contract": `data.severity == "critical" && data.confidence > 0.9`, "exists": `data.detections.exists(d, d.level > 8)`} {
		compiled, err := f.compile(expression)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name+"/evaluate", func(b *testing.B) {
			b.ReportAllocs()
			v := view(sampleData)
			for b.Loop() {
				if _, err := compiled.matches(b.Context(), v); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/decode and evaluate", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := compiled.matches(b.Context(), view(sampleData)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("compile", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			if _, err := f.compile(fmt.Sprintf(`data.severity == "critical" && data.confidence > 0.9 && data.count > %d`, i)); err != nil {
				b.Fatal(err)
			}
		}
	})
}
