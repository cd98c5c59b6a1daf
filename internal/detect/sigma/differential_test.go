package sigma

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cybervault/cybervault"
)

// words are few and overlap, so that rules and records meet often.
var words = []string{"cmd", "CMD.exe", `\cmd.exe`, "a", "ab", "abc", "bca", "-enc", " /c ", "é", "É", "ſ", "S", "K", "\u212a", "x", "", "10", "4688", "10.0.0.7", "\xff", "*", "?", `\`, "power", "shell", "PowerShell", "–f"}

var fieldNames = []string{"A", "B", "b", "CommandLine", "commandline", "EventID"}

// random makes rules and records of a seed.
type random struct{ *rand.Rand }

func (r random) of(set []string) string { return set[r.IntN(len(set))] }

func (r random) text(n int) string {
	var b strings.Builder
	for range r.IntN(n + 1) {
		b.WriteString(r.of(words))
	}
	return b.String()
}

func (r random) item() *Item {
	i := &Item{Field: r.of(fieldNames)}
	if r.IntN(8) == 0 {
		i.Field = ""
	}
	value := func(kind ValueKind, text string) { i.Values = append(i.Values, Value{Kind: kind, Text: text}) }
	kind := r.IntN(14)
	if i.Field == "" {
		kind %= 7
	}
	switch kind {
	case 12:
		i.Modifiers = []string{r.of([]string{"lt", "lte", "gt", "gte"})}
		value(NumberValue, r.of([]string{"5", "10", "4688"}))
	case 11:
		i.Modifiers = []string{"cidr"}
		value(StringValue, r.of([]string{"10.0.0.0/8", "11.0.0.0/8"}))
	case 10:
		i.Modifiers = []string{"exists"}
		value(BoolValue, r.of([]string{"true", "false"}))
	case 9:
		i.Modifiers = []string{"fieldref", r.of([]string{"contains", "startswith", "endswith", "cased"})}
		value(StringValue, r.of(fieldNames))
	case 8:
		value(NullValue, "")
	case 7:
		i.Modifiers = []string{"neq"}
		value(StringValue, r.text(2))
	case 6:
		i.Modifiers = []string{"re"}
		if r.IntN(2) == 0 {
			i.Modifiers = append(i.Modifiers, "i")
		}
		value(StringValue, r.of([]string{"cmd", "c[mM]d", "^a", "b$", "(?:abc|bca)", "(power|POWER)?shell", "a+b", "[sS]hell", "[^a]x", "k", "(?i)s", "a{2,}", "(?:abc){0,2}x", "(?:power)?[ks]", "(cmd|a).*x", "\u00e9|x\\.e"}))
	default:
		if m := r.of([]string{"", "contains", "startswith", "endswith", "contains"}); m != "" {
			i.Modifiers = append(i.Modifiers, m)
		}
		for _, m := range []string{"cased", "windash", "all"} {
			if r.IntN(5) == 0 {
				i.Modifiers = append(i.Modifiers, m)
			}
		}
		for range 1 + r.IntN(3) {
			value(StringValue, r.text(3))
		}
	}
	return i
}

func (r random) rule(n int) *Rule {
	rule := &Rule{Meta: Meta{ID: fmt.Sprint(n), Title: "random"}}
	rule.LogSource = LogSource{Category: r.of([]string{"", "c", "registry_event"}), Product: r.of([]string{"", "p"}), Service: r.of([]string{"", "s"})}
	for d := range 1 + r.IntN(3) {
		det := &Detection{Name: fmt.Sprintf("s_%d", d)}
		for range 1 + r.IntN(2) {
			var g Group
			for range 1 + r.IntN(3) {
				g.Items = append(g.Items, r.item())
			}
			det.Groups = append(det.Groups, g)
		}
		rule.Detections = append(rule.Detections, det)
	}
	rule.Conditions = []*Condition{{Expr: r.expr(len(rule.Detections), 3)}}
	return rule
}

func (r random) expr(detections, depth int) *Expr {
	if depth == 0 || r.IntN(3) == 0 {
		if r.IntN(3) == 0 {
			return &Expr{Op: OpOf, Name: "s_*", Count: r.IntN(min(detections, 2) + 1)}
		}
		return &Expr{Op: OpIdent, Name: fmt.Sprintf("s_%d", r.IntN(detections))}
	}
	op := []ExprOp{OpAnd, OpAnd, OpOr, OpNot}[r.IntN(4)]
	e := &Expr{Op: op, Args: []*Expr{r.expr(detections, depth-1)}}
	if op != OpNot {
		e.Args = append(e.Args, r.expr(detections, depth-1))
	}
	return e
}

func (r random) record() *cybervault.Record {
	rec := &cybervault.Record{
		Category: r.of([]string{"", "c", "registry_set"}), Product: r.of([]string{"", "p", "P"}), Service: r.of([]string{"", "s"}),
		Fields: map[string]string{}, Multi: map[string][]string{},
	}
	for _, f := range append(fieldNames, "COMMANDLINE", "Command Line", "other") {
		switch r.IntN(5) {
		case 0, 1:
			rec.Fields[f] = r.text(4)
		case 2:
			rec.Multi[f] = []string{r.text(2), r.text(3)}
		}
	}
	if r.IntN(3) == 0 {
		rec.Raw = []byte(r.text(6))
	}
	return rec
}

// TestIndexAgainstBruteForce compares the engine with the plain evaluator on
// random rules and records: whatever the index leaves out, or the engine
// decides on folded text, must come out the same.
func TestIndexAgainstBruteForce(t *testing.T) {
	t.Parallel()
	hits := 0
	for seed := range uint64(40) {
		hits += compareOnce(t, seed)
	}
	if hits < 10_000 {
		t.Errorf("only %d hits: rules and records hardly meet, so that the comparison says little", hits)
	}
}

func compareOnce(t *testing.T, seed uint64) (hits int) {
	t.Helper()
	r := random{rand.New(rand.NewPCG(seed, 7))}
	var rules []*Rule
	for n := range 60 {
		rules = append(rules, r.rule(n))
	}
	e, _ := Compile(rules, Options{})
	ref := NewReference(rules, Options{})
	if len(ref.rules) != len(e.rules) || len(e.rules) < 40 {
		t.Fatalf("seed %d: %d rules compiled, the reference takes %d", seed, len(e.rules), len(ref.rules))
	}
	for n := range 120 {
		rec := r.record()
		want := ref.Match(rec)
		got := e.Match(rec)
		hits += len(want)
		var w, g []string
		for _, x := range want {
			w = append(w, x.ID)
		}
		for _, x := range got {
			g = append(g, x.ID)
		}
		if strings.Join(w, " ") != strings.Join(g, " ") {
			t.Fatalf("seed %d, record %d (%+v): engine %v, reference %v", seed, n, rec, g, w)
		}
	}
	return hits
}

// FuzzIndex looks for a seed, and values, on which the two differ.
func FuzzIndex(f *testing.F) {
	f.Add(uint64(1), "cmd*?", `C:\cmd.exe`)
	f.Fuzz(func(t *testing.T, seed uint64, value, text string) {
		if len(value) > 40 || len(text) > 200 || strings.Count(value, "*") > 5 {
			return // the plain evaluator takes its time
		}
		r := random{rand.New(rand.NewPCG(seed, 1))}
		item := &Item{Field: "F", Values: []Value{{Text: value}}}
		for _, m := range []string{"contains", "endswith", "startswith", "cased", "windash"} {
			if r.IntN(3) == 0 {
				item.Modifiers = append(item.Modifiers, m)
			}
		}
		rule := &Rule{Detections: []*Detection{{Name: "s", Groups: []Group{{Items: []*Item{item}}}}}, Conditions: []*Condition{{Expr: &Expr{Name: "s"}}}}
		e, errs := Compile([]*Rule{rule}, Options{})
		if len(errs) > 0 {
			t.Fatal(errs[0])
		}
		rec := &cybervault.Record{Fields: map[string]string{"F": text}}
		if got, want := len(e.Match(rec)), len(NewReference([]*Rule{rule}, Options{}).Match(rec)); got != want {
			t.Errorf("%v %q on %q: engine %d, reference %d", item.Modifiers, value, text, got, want)
		}
	})
}
