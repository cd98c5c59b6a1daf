package dashboard

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cybervault/cybervault"
)

func text(tokens []token) string {
	var b strings.Builder
	for _, t := range tokens {
		b.WriteString(t.Text)
	}
	return b.String()
}

func TestPretty(t *testing.T) {
	t.Parallel()
	tokens, wasCut := pretty([]byte(`{"a":1.0,"b" : [true,null,{}, [ ],"x\"y: z"],"c":{"d":-1e3}}`), 1000)
	want := "{\n  \"a\": 1.0,\n  \"b\": [\n    true,\n    null,\n    {},\n    [],\n    \"x\\\"y: z\"\n  ],\n  \"c\": {\n    \"d\": -1e3\n  }\n}"
	if diff := cmp.Diff(want, text(tokens)); diff != "" || wasCut {
		t.Errorf("cut %v: %s", wasCut, diff)
	}
	classes := map[string]string{}
	for _, tok := range tokens {
		if tok.Class != "" {
			classes[tok.Text] = tok.Class
		}
	}
	if diff := cmp.Diff(map[string]string{`"a"`: "k", "1.0": "n", `"b"`: "k", "true": "l", "null": "l", `"x\"y: z"`: "s", `"c"`: "k", `"d"`: "k", "-1e3": "n"}, classes); diff != "" {
		t.Error(diff)
	}
}

func TestPrettyKeepsEveryByteOfAValue(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.Custom(func(t *rapid.T) any { return draw(t, 4) }).Draw(t, "value")
		body, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		tokens, wasCut := pretty(body, 1<<20)
		var again bytes.Buffer
		if err := json.Compact(&again, []byte(text(tokens))); err != nil || wasCut || !bytes.Equal(again.Bytes(), body) {
			t.Fatalf("%s became %s (%v)", body, again.Bytes(), err)
		}
	})
}

func draw(t *rapid.T, depth int) any {
	switch rapid.IntRange(0, 5+min(depth, 1)).Draw(t, "kind") {
	case 0:
		return nil
	case 1:
		return rapid.Bool().Draw(t, "bool")
	case 2:
		return rapid.Float64().Draw(t, "number")
	case 3, 4:
		return rapid.String().Draw(t, "string")
	case 5:
		if depth == 0 {
			return "leaf"
		}
		list := make([]any, rapid.IntRange(0, 4).Draw(t, "length"))
		for i := range list {
			list[i] = draw(t, depth-1)
		}
		return list
	}
	object := map[string]any{}
	for range rapid.IntRange(0, 4).Draw(t, "fields") {
		object[rapid.String().Draw(t, "key")] = draw(t, depth-1)
	}
	return object
}

func TestPrettyIsBounded(t *testing.T) {
	t.Parallel()
	const limit = 10_000
	for name, body := range map[string]string{
		"deep":     strings.Repeat("[", 9000) + strings.Repeat("1,", 50_000) + "1" + strings.Repeat("]", 9000),
		"deeper":   strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000), // deeper than encoding/json reads
		"long":     `{"k":"` + strings.Repeat("é", 1<<20) + `"}`,
		"not JSON": strings.Repeat("\xff", 1<<20),
	} {
		tokens, wasCut := pretty([]byte(body), limit)
		if n := len(text(tokens)); !wasCut || n > 4*limit {
			t.Errorf("%s: %d bytes, cut: %v", name, n, wasCut)
		}
	}
	if tokens, wasCut := pretty(nil, limit); wasCut || text(tokens) != "" {
		t.Errorf("nothing became %v", tokens)
	}
}

func TestVisible(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"plain\n\ttext":         "plain\n\ttext",
		"\x1b[31m\x00\x7f\r":    "␛[31m␀␡␍",
		"a\u202eb\u200bc\ufeff": "a⟨U+202E⟩b⟨U+200B⟩c⟨U+FEFF⟩",
		"שלום 👩‍💻 é 日本":         "שלום 👩‍💻 é 日本",
		"\xff\xc3":              "��",
		"\u0085\u2028":          "⟨U+0085⟩⟨U+2028⟩",
	} {
		if got := string(visible([]byte(in))); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func TestCut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in   string
		n    int
		want string
	}{{"abc", 3, "abc"}, {"abcd", 3, "abc…"}, {"ééé", 3, "ééé"}, {"éééé", 3, "ééé…"}, {"", 0, ""}, {"\xff\xff\xff", 2, "\xff\xff…"}} {
		if got := cut(c.in, c.n); got != c.want {
			t.Errorf("cut(%q, %d) = %q, want %q", c.in, c.n, got, c.want)
		}
	}
	if got := cutNoted(strings.Repeat("x", 5000), 10); got != "xxxxxxxxxx… (4.9 KiB in all)" {
		t.Errorf("got %q", got)
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1234567: "-1,234,567"} {
		if got := count(n); got != want {
			t.Errorf("count(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestMoments(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for ago, want := range map[time.Duration]string{
		0: "just now", 999 * time.Millisecond: "just now", time.Second: "1 s ago", 59 * time.Second: "59 s ago", time.Minute: "1 min ago",
		59 * time.Minute: "59 min ago", time.Hour: "1 h ago", 24 * time.Hour: "1 d ago", 7 * 24 * time.Hour: "16 Nov 2026",
		-28 * time.Second: "in 28 s", -2 * time.Hour: "in 2 h",
	} {
		if got := momentAt(now, now.Add(-ago)).Relative; got != want {
			t.Errorf("%v ago is %q, want %q", ago, got, want)
		}
	}
	if m := momentAt(now, time.Time{}); m != (moment{}) {
		t.Errorf("never is %v", m)
	}
	east := now.In(time.FixedZone("east", 3*3600))
	if m := momentAt(now, east); m.Absolute != "2026-11-23 12:00:00.000 UTC" || m.ISO != "2026-11-23T12:00:00.000Z" {
		t.Errorf("got %v", m)
	}
	for d, want := range map[time.Duration]string{0: "0 ms", 400 * time.Microsecond: "0.4 ms", 23 * time.Millisecond: "23 ms", 1500 * time.Millisecond: "1.50 s", 90 * time.Minute: "1h30m"} {
		if got := took(d); got != want {
			t.Errorf("took(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestWaterfallFillsTheWholeAttempt(t *testing.T) {
	t.Parallel()
	ms := time.Millisecond
	a := &cybervault.Attempt{Exchange: cybervault.Exchange{Elapsed: 100 * ms, Timings: cybervault.Timings{DNS: 10 * ms, Connect: 20 * ms, TLS: 30 * ms, FirstByte: 90 * ms}}}
	want := []phase{
		{"Name look-up", "fill-info", "0.0", "100.0", "10 ms"}, {"Connect", "fill-low", "100.0", "200.0", "20 ms"}, {"TLS", "fill-violet", "300.0", "300.0", "30 ms"},
		{"Waiting for the answer", "fill-ok", "600.0", "300.0", "30 ms"}, {"Reading the answer", "fill-accent", "900.0", "100.0", "10 ms"},
	}
	if diff := cmp.Diff(want, waterfall(a)); diff != "" {
		t.Error(diff)
	}
	a.Timings.FirstByte, a.Failure = 0, cybervault.FailureTimeout
	if got := waterfall(a); got[len(got)-1] != (phase{"Until it failed", "fill-bad", "600.0", "400.0", "40 ms"}) {
		t.Errorf("got %v", got)
	}
}

func TestChartScale(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]int64{0: 2, 1: 2, 2: 2, 3: 4, 5: 6, 7: 10, 11: 20, 24: 40, 61: 100, 101: 200, 999_999: 1_000_000} {
		if got := niceTop(n); got != want {
			t.Errorf("niceTop(%d) = %d, want %d", n, got, want)
		}
	}
	if got := axis(nil); got != nil {
		t.Errorf("no buckets have labels %v", got)
	}
	if c := drawChart("id", "Title", "events", []chartSeries{{Name: "One"}}, []chartBucket{{values: []int64{0}}}); !c.Empty || c.Desc != "None in this time." {
		t.Errorf("got %+v", c)
	}
}

func TestCurlQuotesForTheShell(t *testing.T) {
	t.Parallel()
	a := &cybervault.Attempt{Exchange: cybervault.Exchange{URL: "https://x.example/'$(id)'", Request: []cybervault.Header{{Name: "Host", Value: "x"}, {Name: "X-A", Value: "`id`'"}}}}
	command, note := curl(a, &cybervault.Event{Body: []byte(`{"a":"'; rm -rf /"}`)})
	want := "curl -sS -X POST 'https://x.example/'\\''$(id)'\\'''" + " \\\n  -H 'X-A: `id`'\\'''" + " \\\n  --data-raw '{\"a\":\"'\\''; rm -rf /\"}'"
	if command != want || note != "" {
		t.Errorf("got %s\nwant %s (%s)", command, want, note)
	}
	for _, body := range []string{"\x1b[2J", strings.Repeat("x", maxCurlBody+1), "\u202e"} {
		if command, note := curl(a, &cybervault.Event{Body: []byte(body)}); !strings.Contains(command, "--data-binary @") || note == "" {
			t.Errorf("%.10q stands within the command: %s", body, command)
		}
	}
}
