package sigma

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
)

const baseRules = `title: Failed login
name: failed
id: f0000000-0000-4000-8000-000000000001
logsource: {product: windows}
detection: {sel: {EventID: 4625}, condition: sel}
level: low
tags: [attack.t1110]
---
title: Login
name: success
logsource: {product: windows}
detection: {sel: {EventID: 4624}, condition: sel}
level: medium
---
title: New account
name: account
logsource: {product: windows}
detection: {sel: {EventID: 4720}, condition: sel}
---
`

// correlating makes a correlator of base rules and correlations.
func correlating(t testing.TB, correlations string) (*Engine, *Correlator) {
	t.Helper()
	c := Parse("c.yml", []byte(baseRules+correlations))
	if len(c.Errors) > 0 {
		t.Fatal(c.Errors[0])
	}
	e, errs := CompileAll(c, Options{})
	if len(errs) > 0 {
		t.Fatal(errs[0])
	}
	return e, e.NewCorrelator()
}

// correlation writes one with the given lines of its section.
func correlation(lines ...string) string {
	return "title: C\nid: c\ncorrelation:\n    " + strings.Join(lines, "\n    ") + "\n"
}

// login is a record at a second: an event id and fields "k=v".
type login struct {
	at     int
	id     string
	fields string
}

func (l login) record() *cybervault.Record {
	r := &cybervault.Record{Product: "windows", Fields: map[string]string{"EventID": l.id}, Time: time.Unix(int64(1_700_000_000+l.at), 0)}
	for f := range strings.FieldsSeq(l.fields) {
		k, v, _ := strings.Cut(f, "=")
		r.Fields[k] = v
	}
	r.Raw = []byte(fmt.Sprintf("%d %s %s", l.at, l.id, l.fields))
	return r
}

func feed(e *Engine, c *Correlator, events ...login) (out []CorrelationHit) {
	for _, l := range events {
		r := l.record()
		out = append(out, c.Add(e.Match(r), r, r.Time, "")...)
	}
	return out
}

// fired says at which seconds there were new hits.
func fired(hits []CorrelationHit) (out []int64) {
	for _, h := range hits {
		if h.New {
			out = append(out, h.Last.Unix()-1_700_000_000)
		}
	}
	return out
}

func TestCorrelationTypes(t *testing.T) {
	t.Parallel()
	const group = "group-by: [User]"
	for name, c := range map[string]struct {
		rule   string
		events []login
		want   []int64
	}{
		"count reaches": {correlation("type: event_count", "rules: [failed]", group, "timespan: 1m", "condition: {gte: 3}"),
			[]login{{0, "4625", "User=a"}, {30, "4625", "User=a"}, {60, "4625", "User=A"}, {61, "4625", "User=b"}}, []int64{60}},
		"count just outside": {correlation("type: event_count", "rules: [failed]", group, "timespan: 1m", "condition: {gte: 3}"),
			[]login{{0, "4625", "User=a"}, {30, "4625", "User=a"}, {61, "4625", "User=a"}}, nil},
		"count without the field": {correlation("type: event_count", "rules: [failed]", group, "timespan: 1m", "condition: {gte: 2}"),
			[]login{{0, "4625", ""}, {1, "4625", ""}}, nil},
		"count without groups": {correlation("type: event_count", "rules: [failed]", "timespan: 1m", "condition: {gt: 1}"),
			[]login{{0, "4625", "User=a"}, {1, "4625", "User=b"}}, []int64{1}},
		"count in a range": {correlation("type: event_count", "rules: [failed]", group, "timespan: 1m", "condition: {gt: 1, lte: 2}"),
			[]login{{0, "4625", "User=a"}, {1, "4625", "User=a"}, {2, "4625", "User=a"}}, []int64{1}},
		"count again after quiet": {correlation("type: event_count", "rules: [failed]", group, "timespan: 10s", "condition: {gte: 2}"),
			[]login{{0, "4625", "User=a"}, {1, "4625", "User=a"}, {9, "4625", "User=a"}, {100, "4625", "User=a"}, {101, "4625", "User=a"}}, []int64{1, 101}},
		"values": {correlation("type: value_count", "rules: [failed]", "group-by: [Ip]", "timespan: 1m", "condition: {field: User, gte: 3}"),
			[]login{{0, "4625", "Ip=1 User=a"}, {1, "4625", "Ip=1 User=a"}, {2, "4625", "Ip=1 User=b"}, {3, "4625", "Ip=2 User=c"}, {4, "4625", "Ip=1 User=d"}}, []int64{4}},
		"values that leave": {correlation("type: value_count", "rules: [failed]", "group-by: [Ip]", "timespan: 10s", "condition: {field: User, gte: 3}"),
			[]login{{0, "4625", "Ip=1 User=a"}, {1, "4625", "Ip=1 User=b"}, {11, "4625", "Ip=1 User=c"}}, nil},
		"value pairs": {correlation("type: value_count", "rules: [failed]", "timespan: 1m", "condition: {field: [User, Ip], eq: 3}"),
			[]login{{0, "4625", "Ip=1 User=a"}, {1, "4625", "Ip=1 User=b"}, {2, "4625", "User=b"}, {3, "4625", "Ip=2 User=b"}}, []int64{3}},
		"temporal in any order": {correlation("type: temporal", "rules: [failed, success, account]", group, "timespan: 1m"),
			[]login{{0, "4720", "User=a"}, {1, "4624", "User=a"}, {2, "4624", "User=b"}, {3, "4625", "User=b"}, {50, "4625", "User=a"}}, []int64{50}},
		"temporal too far apart": {correlation("type: temporal", "rules: [failed, success]", group, "timespan: 1m"),
			[]login{{0, "4625", "User=a"}, {61, "4624", "User=a"}}, nil},
		"temporal two of three": {correlation("type: temporal", "rules: [failed, success, account]", group, "timespan: 1m", "condition: {gte: 2}"),
			[]login{{0, "4720", "User=a"}, {1, "4720", "User=a"}, {2, "4625", "User=a"}}, []int64{2}},
		"temporal expression": {correlation("type: temporal", "rules: [failed, success, account]", group, "timespan: 1m", "condition: account and not (failed or success)"),
			[]login{{0, "4625", "User=a"}, {1, "4720", "User=a"}, {2, "4720", "User=b"}}, []int64{2}},
		"ordered": {correlation("type: temporal_ordered", "rules: [failed, success, account]", group, "timespan: 1m"),
			[]login{{0, "4625", "User=a"}, {1, "4624", "User=a"}, {2, "4720", "User=a"}}, []int64{2}},
		"ordered wrongly": {correlation("type: temporal_ordered", "rules: [failed, success]", group, "timespan: 1m"),
			[]login{{0, "4624", "User=a"}, {1, "4625", "User=a"}}, nil},
		"ordered with others between": {correlation("type: temporal_ordered", "rules: [failed, success]", group, "timespan: 1m"),
			[]login{{0, "4624", "User=a"}, {1, "4625", "User=a"}, {2, "4625", "User=a"}, {3, "4624", "User=a"}}, []int64{3}},
		"ordered expression": {correlation("type: temporal_ordered", "rules: [failed, success, account]", group, "timespan: 1m", "condition: failed and (success or account)"),
			[]login{{0, "4720", "User=a"}, {1, "4625", "User=a"}, {2, "4720", "User=a"}}, []int64{2}},
		"the same rule twice": {correlation("type: temporal_ordered", "rules: [failed, failed, success]", group, "timespan: 1m"),
			[]login{{0, "4625", "User=a"}, {1, "4624", "User=a"}, {2, "4625", "User=a"}, {3, "4624", "User=a"}}, []int64{3}},
		"sum": {correlation("type: value_sum", "rules: [success]", group, "timespan: 1m", "condition: {field: Bytes, gt: 100}"),
			[]login{{0, "4624", "User=a Bytes=60"}, {1, "4624", "User=a Bytes=40"}, {2, "4624", "User=a Bytes=none"}, {3, "4624", "User=a Bytes=0.5"}}, []int64{3}},
		"sum that leaves": {correlation("type: value_sum", "rules: [success]", group, "timespan: 10s", "condition: {field: Bytes, gt: 100}"),
			[]login{{0, "4624", "User=a Bytes=60"}, {11, "4624", "User=a Bytes=60"}}, nil},
		"average": {correlation("type: value_avg", "rules: [success]", group, "timespan: 1m", "condition: {field: Bytes, gte: 50}"),
			[]login{{0, "4624", "User=a Bytes=10"}, {1, "4624", "User=a Bytes=80"}, {2, "4624", "User=a Bytes=60"}}, []int64{2}},
		"median": {correlation("type: value_percentile", "rules: [success]", group, "timespan: 1m", "condition: {field: Bytes, gte: 50}"),
			[]login{{0, "4624", "User=a Bytes=1"}, {1, "4624", "User=a Bytes=80"}, {2, "4624", "User=a Bytes=90"}}, []int64{2}},
		"90th percentile": {correlation("type: value_percentile", "rules: [success]", group, "timespan: 1m", "condition: {field: Bytes, percentile: 90, gte: 50}"),
			[]login{{0, "4624", "User=a Bytes=1"}, {1, "4624", "User=a Bytes=1"}, {2, "4624", "User=a Bytes=90"}}, []int64{2}},
		"share of a text": {correlation("type: value_percentile", "rules: [success]", "timespan: 1m", "condition: {field: Image, lte: 25}"),
			[]login{{0, "4624", "Image=a"}, {1, "4624", "Image=a"}, {2, "4624", "Image=a"}, {3, "4624", "Image=b"}}, []int64{3}},
		"aliases": {correlation("type: temporal", "rules: [failed, success]", "group-by: [who]", "timespan: 1m", "aliases: {who: {failed: Target, success: Source}}"),
			[]login{{0, "4625", "Target=a Source=x"}, {1, "4624", "Target=a Source=y"}, {2, "4624", "Source=a"}}, []int64{2}},
	} {
		e, cor := correlating(t, c.rule)
		if got := fired(feed(e, cor, c.events...)); !slices.Equal(got, c.want) {
			t.Errorf("%s: new at %v, want %v", name, got, c.want)
		}
	}
}

func TestCorrelationFoldsWhatFollows(t *testing.T) {
	t.Parallel()
	e, c := correlating(t, correlation("type: event_count", "rules: [failed]", "group-by: [User]", "timespan: 1m", "condition: {gte: 3}"))
	var events []login
	for i := range 100 {
		events = append(events, login{i, "4625", "User=a"})
	}
	hits := feed(e, c, events...)
	records := 0
	for _, h := range hits {
		records += h.Count
	}
	last := hits[len(hits)-1]
	if n := len(fired(hits)); n != 1 || records != 100 || last.Total != 100 {
		t.Errorf("%d new hits of %d records in all, total %d; want one of 100", n, records, last.Total)
	}
	if last.First.Unix() != 1_700_000_000 || last.Last.Unix() != 1_700_000_099 || len(last.Samples) != MaxSamples || last.Samples[0].Record != "0 4625 User=a" {
		t.Errorf("from %s to %s with samples %v", last.First, last.Last, last.Samples)
	}
	if hits[0].Level != "low" || hits[0].Techniques[0] != "T1110" || !strings.Contains(hits[0].Explanation(), `C: User "a": count 3 within 1m0s (at least 3)`) {
		t.Errorf("level %s, techniques %v, %s", hits[0].Level, hits[0].Techniques, hits[0].Explanation())
	}
}

func TestCorrelationHoldsBackItsRules(t *testing.T) {
	t.Parallel()
	section := correlation("type: event_count", "rules: [failed]", "timespan: 1m", "condition: {gte: 3}")
	for _, generate := range []bool{false, true} {
		e, _ := correlating(t, strings.Replace(section, "type:", fmt.Sprintf("generate: %t\n    type:", generate), 1))
		hits := e.Match(login{0, "4625", ""}.record())
		if len(hits) != 1 || hits[0].Silent == generate {
			t.Errorf("generate %t: %d hits, silent %t", generate, len(hits), hits[0].Silent)
		}
		if others := e.Match(login{0, "4624", ""}.record()); others[0].Silent {
			t.Error("a rule that nothing refers to is silent")
		}
	}
}

const chained = `title: Guessed
id: chain
correlation:
    type: temporal_ordered
    rules: [many, success]
    group-by: [User]
    timespan: 10m
level: high
---
title: Many
name: many
correlation:
    type: event_count
    rules: [failed]
    group-by: [User]
    timespan: 10m
    condition: {gte: 10}
`

func TestChainedCorrelations(t *testing.T) {
	t.Parallel()
	e, c := correlating(t, chained)
	var events []login
	for i := range 9 {
		events = append(events, login{i, "4625", "User=a"})
	}
	events = append(events, login{10, "4624", "User=a"})
	if hits := feed(e, c, events...); len(hits) != 0 {
		t.Fatalf("nine failures and a success: %v", hits)
	}
	hits := feed(e, c, login{20, "4625", "User=a"}, login{21, "4624", "User=b"}, login{30, "4624", "User=a"})
	if len(hits) != 1 || hits[0].ID != "chain" || hits[0].Level != "high" || hits[0].Group[0].Value != "a" {
		t.Fatalf("got %v", hits)
	}
	// What goes on for longer than a timespan is still many failures.
	var long []login
	for i := range 200 {
		long = append(long, login{1000 + i*10, "4625", "User=c"})
	}
	if hits = feed(e, c, append(long, login{3100, "4624", "User=c"})...); len(hits) != 1 || !hits[0].New {
		t.Errorf("a success after long guessing: %v", hits)
	}
}

func TestCorrelationErrors(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, want string }{
		"unknown":       {correlation("type: temporal", "rules:", "    - failed", "    - nobody", "timespan: 1m"), `c.yml:26: correlation.rules: there is no rule with the id or name "nobody"`},
		"itself":        {"title: A\nname: me\ncorrelation: {type: temporal, rules: [me], timespan: 1m}\n", "c.yml:20: correlation.rules: the correlations refer to each other in a circle: me > me"},
		"circle":        {"title: A\nname: a\ncorrelation: {type: temporal, rules: [b], timespan: 1m}\n---\ntitle: B\nname: b\ncorrelation: {type: temporal, rules: [a], timespan: 1m}\n", "a > b > a"},
		"name twice":    {"title: A\nname: failed\nlogsource: {product: windows}\ndetection: {s: {a: b}, condition: s}\n---\n" + correlation("type: temporal", "rules: [failed]", "timespan: 1m"), "2 rules have the name"},
		"alias":         {correlation("type: temporal", "rules: [failed]", "timespan: 1m", "group-by: [x]", "aliases: {x: {success: User}}"), `aliases.x: "success" is none of`},
		"expression":    {correlation("type: temporal", "rules: [failed]", "timespan: 1m", "condition: failed and success"), `c.yml:26: correlation.condition: "success" is none of`},
		"did not load":  {"title: Broken\nid: br\nlogsource: {product: windows}\n---\n" + correlation("type: temporal", "rules: [br]", "timespan: 1m"), `the rule "br" could not be loaded: see c.yml:`},
		"unusable link": {"title: A\nname: a\ncorrelation: {type: temporal, rules: [nobody], timespan: 1m}\n---\n" + correlation("type: temporal", "rules: [a]", "timespan: 1m"), `"a" cannot be used itself`},
	} {
		_, errs := CompileAll(Parse("c.yml", []byte(baseRules+c.text)), Options{})
		if !slices.ContainsFunc(errs, func(e *LoadError) bool { return strings.Contains(e.Error(), c.want) }) {
			t.Errorf("%s: got %v, want %s", name, errs, c.want)
		}
	}
}

// TestCorrelationsInAnyOrder compares with all windows of all records, for records in
// order and as far out of it as a timespan allows.
func TestCorrelationsInAnyOrder(t *testing.T) {
	t.Parallel()
	rules := []string{
		correlation("type: event_count", "rules: [failed, success]", "group-by: [User]", "timespan: 20s", "condition: {gte: 6}"),
		correlation("type: value_count", "rules: [failed]", "group-by: [User]", "timespan: 20s", "condition: {field: Ip, gte: 3}"),
		correlation("type: temporal", "rules: [failed, success, account]", "group-by: [User]", "timespan: 20s"),
		correlation("type: temporal_ordered", "rules: [failed, success, account]", "group-by: [User]", "timespan: 20s"),
		correlation("type: value_sum", "rules: [failed]", "group-by: [User]", "timespan: 20s", "condition: {field: Bytes, gte: 30}"),
	}
	both := map[bool]int{}
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		rule := rules[seed%5]
		var events []login
		for i := range 6 + rng.IntN(12) {
			// Different seconds, so that the order is that of time.
			events = append(events, login{i*7 + rng.IntN(7), []string{"4625", "4624", "4720"}[rng.IntN(3)],
				fmt.Sprintf("User=%c Ip=%d Bytes=%d", 'a'+rng.IntN(2), rng.IntN(4), rng.IntN(15))})
		}
		e, ordered := correlating(t, rule)
		want := false
		for _, last := range events { // every window on its own
			fresh := e.NewCorrelator()
			var in []login
			for _, l := range events {
				if l.at <= last.at && l.at >= last.at-20 {
					in = append(in, l)
				}
			}
			want = want || len(feed(e, fresh, in...)) > 0
		}
		mixed := slices.Clone(events)
		slices.SortStableFunc(mixed, func(x, y login) int { return x.at + int(hashOf(x.fields)%19) - y.at - int(hashOf(y.fields)%19) })
		shuffled := e.NewCorrelator()
		got, other := len(feed(e, ordered, events...)) > 0, len(feed(e, shuffled, mixed...)) > 0
		if got != want || other != want || shuffled.Stats().Late != 0 {
			t.Fatalf("seed %d: in order %t, out of order %t (%d late), every window %t: %v", seed, got, other, shuffled.Stats().Late, want, mixed)
		}
		both[want]++
	}
	if both[true] < 50 || both[false] < 50 {
		t.Errorf("the cases decide little: %v", both)
	}
}

func TestLateRecordsAreCounted(t *testing.T) {
	t.Parallel()
	e, c := correlating(t, correlation("type: event_count", "rules: [failed]", "group-by: [User]", "timespan: 10s", "condition: {gte: 2}"))
	if hits := feed(e, c, login{100, "4625", "User=a"}, login{89, "4625", "User=a"}); len(hits) != 0 || c.Stats().Late != 1 {
		t.Errorf("%d hits, %d late", len(hits), c.Stats().Late)
	}
	if hits := feed(e, c, login{90, "4625", "User=a"}); len(fired(hits)) != 1 {
		t.Error("a record a whole timespan late was not taken")
	}
}

func TestCorrelatorForgetsTheStalest(t *testing.T) {
	t.Parallel()
	e, c := correlating(t, correlation("type: event_count", "rules: [failed]", "group-by: [User]", "timespan: 1h", "condition: {gte: 2}"))
	c.budget = 100 << 10
	feed(e, c, login{0, "4625", "User=first"})
	for i := range 1000 {
		feed(e, c, login{i, "4625", fmt.Sprintf("User=u%d", i)})
	}
	s := c.Stats()
	if s.Bytes > c.budget || s.Evicted == 0 || s.Groups+int(s.Evicted) != 1001 {
		t.Fatalf("%+v of %d bytes", s, c.budget)
	}
	if hits := feed(e, c, login{1001, "4625", "User=first"}); len(hits) != 0 {
		t.Error("the stalest group is still known")
	}
	if hits := feed(e, c, login{1002, "4625", "User=u999"}); len(hits) != 1 {
		t.Error("the newest group is forgotten")
	}
}

func TestManyRecordsOfOneGroup(t *testing.T) {
	t.Parallel()
	e, c := correlating(t, correlation("type: event_count", "rules: [failed]", "timespan: 1h", "condition: {gte: 20000}")+"---\n"+
		"title: V\nid: v\ncorrelation: {type: value_count, rules: [failed], timespan: 1h, condition: {field: User, gte: 5000}}\n---\n"+
		"title: P\nid: p\ncorrelation: {type: value_percentile, rules: [failed], timespan: 1h, condition: {field: Bytes, percentile: 90, gte: 1000000}}\n")
	at := map[string]int{}
	for i := range 20_000 {
		for _, h := range feed(e, c, login{i / 10, "4625", fmt.Sprintf("User=u%d Bytes=%d", i%6000, i%1000)}) {
			if h.New {
				at[h.ID] = i + 1
			}
		}
	}
	if at["c"] != 20_000 {
		t.Errorf("20,000 records were counted after %d", at["c"])
	}
	if at["v"] < 4700 || at["v"] > 5300 {
		t.Errorf("5,000 values were counted after %d", at["v"])
	}
	for _, sh := range c.shelves {
		g := &sh.back.group
		if len(g.Entries) > maxEntries || !g.Coarse {
			t.Errorf("%d entries of %s, coarse %t", len(g.Entries), g.win.p.info.Title, g.Coarse)
		}
		if p := g.win.p; p.c.Type == CorrelationValuePercentile {
			if v, _ := g.win.value(g.Entries[g.from:]); v < 870 || v > 930 {
				t.Errorf("the 90th percentile of 0 to 999 is taken for %v", v)
			}
		}
	}
	// All of it leaves the window.
	if hits := feed(e, c, login{10_000, "4625", "User=a Bytes=1"}); len(hits) != 0 {
		t.Errorf("after hours of quiet: %v", hits)
	}
}

func TestCorrelatorOutlivesARestart(t *testing.T) {
	t.Parallel()
	rules := chained + "---\n" + "title: V\nid: v\ncorrelation: {type: value_count, rules: [failed], timespan: 1h, condition: {field: User, gte: 300}}\n"
	e, straight := correlating(t, rules)
	before := e.NewCorrelator()
	var events []login
	for i := range 3000 {
		user := i % 7
		if i%8 == 4 {
			user = 1000 + i
		}
		events = append(events, login{i, []string{"4625", "4625", "4625", "4624"}[i%4], fmt.Sprintf("User=u%d", user)})
	}
	feed(e, straight, events[:1500]...)
	feed(e, before, events[:1500]...)
	var saved bytes.Buffer
	if err := before.Save(&saved); err != nil {
		t.Fatal(err)
	}
	state := saved.Bytes()
	after, err := e.LoadCorrelator(bytes.NewReader(state))
	if err != nil {
		t.Fatal(err)
	}
	want, got := feed(e, straight, events[1500:]...), feed(e, after, events[1500:]...)
	if len(want) == 0 || fmt.Sprint(shown(want)) != fmt.Sprint(shown(got)) {
		t.Errorf("%d hits after a restart, %d without one", len(got), len(want))
	}

	// A correlation that has changed begins anew, the others go on.
	changed, _ := correlating(t, strings.Replace(rules, "gte: 10}", "gte: 11}", 1))
	c, err := changed.LoadCorrelator(bytes.NewReader(state))
	if err != nil || len(c.shelves[0].byKey) != 0 || len(c.shelves[1].byKey) == 0 {
		t.Errorf("after a change: %v, groups %+v", err, c.Stats())
	}
	if c = changed.Continue(straight); len(c.shelves[0].byKey) != 0 || len(c.shelves[1].byKey) == 0 {
		t.Errorf("after a change without a restart: groups %+v", c.Stats())
	}
	if _, err = e.LoadCorrelator(strings.NewReader("nothing")); err == nil {
		t.Error("what is no state was read as one")
	}
}

func TestContinueKeepsCorrelationsApart(t *testing.T) {
	t.Parallel()
	first := correlation("type: event_count", "rules: [failed]", "timespan: 1m", "condition: {gte: 3}")
	e, old := correlating(t, first+"---\n"+strings.Replace(first, "id: c\n", "id: d\n", 1))
	feed(e, old, login{0, "4625", ""}, login{1, "4625", ""})
	// One that is new says the same as one that stays: it begins anew all the same.
	next, _ := correlating(t, strings.Replace(first, "id: c\n", "id: new\n", 1)+"---\n"+first)
	hits := feed(next, next.Continue(old), login{2, "4625", ""})
	if len(hits) != 1 || hits[0].ID != "c" || hits[0].Count != 3 {
		t.Errorf("got %v", shown(hits))
	}
}

func TestANameMeansTheFilesOwnRule(t *testing.T) {
	t.Parallel()
	all := &Collection{}
	for i, file := range []string{"a.yml", "b.yml"} {
		rule := fmt.Sprintf("title: R\nname: same\nid: r%d\nlogsource: {product: windows}\ndetection: {s: {EventID: %d}, condition: s}\n---\n", i, i)
		all.add(Parse(file, []byte(rule+strings.Replace(correlation("type: event_count", "rules: [same]", "timespan: 1m", "condition: {gte: 1}"), "id: c\n", "id: c"+file+"\n", 1))))
	}
	e, errs := CompileAll(all, Options{})
	if len(errs) > 0 {
		t.Fatal(errs[0])
	}
	if hits := feed(e, e.NewCorrelator(), login{0, "1", ""}); len(hits) != 1 || hits[0].ID != "cb.yml" {
		t.Errorf("got %v", shown(hits))
	}
}

func shown(hits []CorrelationHit) (out []string) {
	for _, h := range hits {
		out = append(out, fmt.Sprint(h.Title, h.New, h.Count, h.Total, h.First, h.Last, h.Group, h.Value, h.Samples))
	}
	return out
}

func TestRecordsOfAnyTime(t *testing.T) {
	t.Parallel()
	e, c := correlating(t, correlation("type: event_count", "rules: [failed]", "timespan: 1m", "condition: {gte: 2}"))
	r := login{0, "4625", ""}.record()
	for _, at := range []time.Time{{}, time.Unix(-1e15, 0), time.Unix(1e15, 0), time.Unix(5, 0)} {
		c.Add(e.Match(r), r, at, at.String())
		if hits := c.Add(e.Match(r), r, at, at.String()); len(hits) != 1 {
			t.Errorf("at %s two records are %d hits", at, len(hits))
		}
	}
}

func TestScopesAreApart(t *testing.T) {
	t.Parallel()
	e, c := correlating(t, correlation("type: event_count", "rules: [failed]", "timespan: 1m", "condition: {gte: 2}"))
	r := login{0, "4625", ""}.record()
	if c.Add(e.Match(r), r, r.Time, "a"); len(c.Add(e.Match(r), r, r.Time, "b")) != 0 {
		t.Error("records of different scopes were counted together")
	}
	if hits := c.Add(e.Match(r), r, r.Time, "a"); len(hits) != 1 || hits[0].Scope != "a" {
		t.Errorf("got %v", hits)
	}
}

// TestManyRecordsInAnyOrder takes every type past the point where records are no longer
// kept one by one, out of order, and over restarts.
func TestManyRecordsInAnyOrder(t *testing.T) {
	t.Parallel()
	for _, section := range []string{
		"type: event_count\n    condition: {gte: 1500}", "type: value_count\n    condition: {field: Ip, gte: 300}", "type: temporal", "type: temporal_ordered",
		"type: value_sum\n    condition: {field: Bytes, gte: 40000}", "type: value_avg\n    condition: {field: Bytes, gte: 49}", "type: value_percentile\n    condition: {field: Bytes, gte: 49}",
		"type: value_percentile\n    condition: {field: Image, gte: 20}", "type: temporal_ordered\n    condition: failed and not account or success",
	} {
		e, c := correlating(t, correlation("rules: [failed, success, account]", "timespan: 10m", section))
		rng := rand.New(rand.NewPCG(1, 2))
		records, hits := 0, 0
		for i := range 6000 {
			l := login{i/5 + rng.IntN(300), []string{"4625", "4624", "4720"}[rng.IntN(3)], fmt.Sprintf("Ip=%d Bytes=%d Image=i%d", rng.IntN(400), rng.IntN(100), rng.IntN(4))}
			for _, h := range feed(e, c, l) {
				records, hits = records+h.Count, hits+1
				if h.Last.Before(h.First) || h.Count < 0 || h.Total < h.Count {
					t.Fatalf("%s: %+v", section, h)
				}
			}
			if i%1999 == 0 {
				var b bytes.Buffer
				if err := c.Save(&b); err != nil {
					t.Fatal(err)
				}
				var err error
				if c, err = e.LoadCorrelator(&b); err != nil {
					t.Fatal(err)
				}
			}
		}
		if s := c.Stats(); hits == 0 || records > 6000 || s.Coarse != 1 || s.Late != 0 || s.Bytes > 1<<20 {
			t.Errorf("%s: %d hits of %d records, %+v", section, hits, records, s)
		}
	}
}

func BenchmarkCorrelator(b *testing.B) {
	for name, section := range map[string]string{"count": "type: event_count\n    condition: {gte: 10}", "values": "type: value_count\n    condition: {field: Ip, gte: 10}", "order": "type: temporal_ordered"} {
		b.Run(name, func(b *testing.B) {
			e, c := correlating(b, correlation("rules: [failed, success]", "group-by: [User]", "timespan: 10m", section))
			var records []*cybervault.Record
			var hits [][]Hit
			for i := range 1000 {
				r := login{0, []string{"4625", "4624"}[i%2], fmt.Sprintf("User=u%d Ip=%d", i%100, i%50)}.record()
				records, hits = append(records, r), append(hits, e.Match(r))
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				c.Add(hits[i%1000], records[i%1000], time.Unix(int64(i/50), 0), "")
				i++
			}
		})
	}
}

func FuzzCorrelations(f *testing.F) {
	f.Add([]byte(chained), uint16(7))
	f.Add([]byte(correlation("type: value_count", "rules: [failed]", "group-by: [User]", "timespan: 1s", "condition: {field: [User, EventID], gte: 1}")), uint16(9))
	f.Add([]byte(correlation("type: temporal", "rules: [failed, success]", "timespan: 1m", "condition: 1 of *s* and not failed")), uint16(1))
	f.Fuzz(func(t *testing.T, text []byte, n uint16) {
		col := Parse("c.yml", append([]byte(baseRules), text...))
		e, _ := CompileAll(col, Options{})
		c := e.NewCorrelator()
		for i := range int(n % 64) {
			feed(e, c, login{i * int(n) % 100, []string{"4625", "4624", "4720"}[(i+int(n))%3], "User=a"})
		}
		var b bytes.Buffer
		if err := c.Save(&b); err != nil {
			t.Fatal(err)
		}
		if _, err := e.LoadCorrelator(&b); err != nil {
			t.Fatal(err)
		}
	})
}
