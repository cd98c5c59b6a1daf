package sigma

import (
	"encoding/binary"
	"hash/fnv"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"github.com/cybervault/cybervault/internal/detect/sketch"
)

// entry is what one record adds to a group; where there were too many, what all
// records of a rule within a slot of time did.
type entry struct {
	At, Last int64 // event time, Unix nanoseconds
	N        int32 // records
	W        int32 // values
	Rule     int16 // by its place in the correlation's rules
	Num      float64
	Hash     uint64           // of the value; 0 where it is a number
	Set      *sketch.Distinct // of values, in place of Hash
}

// join takes another entry of the same rule and slot in.
func (e *entry) join(o *entry, values bool) {
	if values {
		if e.Set == nil {
			e.Set = &sketch.Distinct{}
			e.Set.Add(hashText(e.Hash))
		}
		if o.Set != nil {
			e.Set.Merge(o.Set)
		} else {
			e.Set.Add(hashText(o.Hash))
		}
	}
	e.At, e.Last = min(e.At, o.At), max(e.Last, o.Last)
	e.N, e.W, e.Num = e.N+o.N, e.W+o.W, e.Num+o.Num
}

// window is the sum of the entries within one.
type window struct {
	p       *correlationPlan
	n, w    int
	sum     float64
	byRule  []int
	counts  map[uint64]int   // of hashes
	merged  *sketch.Distinct // in place of counts, once some entry has a Set
	stale   bool             // merged holds more than the window
	sorted  []float64
	removed int
}

func newWindow(p *correlationPlan) *window {
	return &window{p: p, byRule: make([]int, len(p.c.Rules)), counts: map[uint64]int{}}
}

func (w *window) add(e *entry) {
	w.n, w.w = w.n+int(e.N), w.w+int(e.W)
	w.sum += e.Num
	w.byRule[e.Rule] += int(e.N)
	switch w.p.c.Type {
	case CorrelationValueCount:
		if e.Set != nil && w.merged == nil {
			w.merged = &sketch.Distinct{}
			for h := range w.counts {
				w.merged.Add(hashText(h))
			}
		}
		switch {
		case e.Set != nil:
			w.merged.Merge(e.Set)
		case w.merged != nil:
			w.merged.Add(hashText(e.Hash))
		default:
			w.counts[e.Hash]++
		}
	case CorrelationValuePercentile:
		if e.Hash != 0 {
			w.counts[e.Hash]++
			return
		}
		i, _ := slices.BinarySearch(w.sorted, e.Num)
		w.sorted = slices.Insert(w.sorted, i, e.Num)
	}
}

func (w *window) remove(e *entry) {
	w.n, w.w, w.removed = w.n-int(e.N), w.w-int(e.W), w.removed+1
	w.sum -= e.Num
	w.byRule[e.Rule] -= int(e.N)
	switch {
	case w.merged != nil:
		w.stale = true
	case w.p.c.Type == CorrelationValuePercentile && e.Hash == 0:
		if i, ok := slices.BinarySearch(w.sorted, e.Num); ok {
			w.sorted = slices.Delete(w.sorted, i, i+1)
		}
	case e.Hash != 0:
		if w.counts[e.Hash]--; w.counts[e.Hash] == 0 {
			delete(w.counts, e.Hash)
		}
	}
}

// value is what the condition compares, of the window of these entries that ends
// with the last of them; false where there is nothing to compare.
func (w *window) value(entries []entry) (float64, bool) {
	// What was taken out leaves its rounding, or its registers, behind.
	if w.stale || w.removed > 512 {
		*w = *newWindow(w.p)
		for i := range entries {
			w.add(&entries[i])
		}
	}
	c := w.p.c
	switch c.Type {
	case CorrelationEventCount:
		return float64(w.n), true
	case CorrelationValueCount:
		if w.merged != nil {
			return float64(w.merged.Count()), true
		}
		return float64(len(w.counts)), true
	case CorrelationValueSum:
		return w.sum, w.w > 0
	case CorrelationValueAvg:
		return w.sum / float64(w.w), w.w > 0
	case CorrelationValuePercentile:
		return w.percentile(&entries[len(entries)-1])
	case CorrelationTemporalOrdered:
		return float64(inOrder(entries, len(c.Rules))), true
	}
	seen := 0
	for _, n := range w.byRule {
		if n > 0 {
			seen++
		}
	}
	return float64(seen), true
}

// percentile is the value that so many percent of the values do not exceed. Of
// text, which has no order, it is how many percent of all the last value makes up.
func (w *window) percentile(last *entry) (float64, bool) {
	if last.Hash != 0 {
		return 100 * float64(w.counts[last.Hash]) / float64(w.w), w.w > 0
	}
	at := w.p.c.Condition.Percentile
	if at == 0 {
		at = 50
	}
	if len(w.sorted) == 0 {
		return 0, false
	}
	rank := int(math.Ceil(at / 100 * float64(len(w.sorted))))
	return w.sorted[max(rank, 1)-1], true
}

// holds decides the condition for the window of these entries.
func (w *window) holds(entries []entry) (float64, bool) {
	v, ok := w.value(entries)
	if !ok {
		return 0, false
	}
	c := w.p.c
	switch {
	case c.Condition.Expr != nil:
		return v, w.p.expression(w, entries)
	case len(c.Condition.Terms) == 0: // temporal: all of the rules
		return v, int(v) == len(c.Rules)
	}
	return v, !slices.ContainsFunc(c.Condition.Terms, func(t Comparison) bool { return !t.holds(v) })
}

func (t Comparison) holds(v float64) bool {
	switch t.Op {
	case "gt":
		return v > t.Number
	case "gte":
		return v >= t.Number
	case "lt":
		return v < t.Number
	case "lte":
		return v <= t.Number
	case "eq":
		return v == t.Number
	}
	return v != t.Number // neq
}

// inOrder is the most rules that match one after the other, each later in the
// list of the rules than the one before.
func inOrder(entries []entry, rules int) int {
	best := make([]int, rules) // the longest order that ends with the rule
	longest := 0
	for i := range entries {
		r := int(entries[i].Rule)
		n := 1
		for _, before := range best[:r] {
			n = max(n, before+1)
		}
		best[r] = max(best[r], n)
		longest = max(longest, n)
	}
	return longest
}

// expression decides a condition over the names of rules. What it names without
// not must have matched within the window, of temporal_ordered one after the other.
func (p *correlationPlan) expression(w *window, entries []entry) bool {
	seen := func(pos int) bool { return w.byRule[pos] > 0 }
	if p.c.Type == CorrelationTemporal {
		return p.decide(p.c.Condition.Expr, seen, seen, false)
	}
	// Each set of the rules that matched in order; there are few.
	for set := 1; set < 1<<len(p.c.Rules); set++ {
		chosen := func(pos int) bool { return set>>pos&1 == 1 }
		if p.decide(p.c.Condition.Expr, chosen, seen, false) && follows(entries, set) {
			return true
		}
	}
	return false
}

// follows reports whether the rules of a set match in their order.
func follows(entries []entry, set int) bool {
	for i := range entries {
		// The lowest of those that are left comes next.
		if set != 0 && int(entries[i].Rule) == bits.TrailingZeros(uint(set)) {
			set &= set - 1
		}
	}
	return set == 0
}

func (p *correlationPlan) decide(e *Expr, chosen, seen func(pos int) bool, negated bool) bool {
	has := chosen
	if negated {
		has = seen
	}
	switch e.Op {
	case OpIdent:
		return has(p.position(e.Name))
	case OpNot:
		return !p.decide(e.Args[0], chosen, seen, !negated)
	case OpAnd:
		return !slices.ContainsFunc(e.Args, func(a *Expr) bool { return !p.decide(a, chosen, seen, negated) })
	case OpOr:
		return slices.ContainsFunc(e.Args, func(a *Expr) bool { return p.decide(a, chosen, seen, negated) })
	case OpOf:
	}
	all, hold := 0, 0
	for pos, name := range p.c.Rules {
		if selects(e.Name, name) {
			all++
			if has(pos) {
				hold++
			}
		}
	}
	if e.Count == 0 {
		return hold == all
	}
	return hold >= e.Count
}

func (p *correlationPlan) position(name string) int { return slices.Index(p.c.Rules, name) }

func (c CorrelationCondition) describe(rules int) string {
	if c.Expr != nil {
		return c.Expr.String()
	}
	if len(c.Terms) == 0 {
		return "all " + strconv.Itoa(rules)
	}
	words := map[string]string{"gt": "more than", "gte": "at least", "lt": "less than", "lte": "at most", "eq": "exactly", "neq": "other than"}
	parts := make([]string, len(c.Terms))
	for i, t := range c.Terms {
		parts[i] = words[t.Op] + " " + formatNumber(t.Number)
	}
	return strings.Join(parts, " and ")
}

func formatNumber(v float64) string {
	return strconv.FormatFloat(math.Round(v*1000)/1000, 'f', -1, 64)
}

func numeric(s string) (float64, bool) {
	v, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	return v, err == nil && !math.IsNaN(v) && !math.IsInf(v, 0)
}

// hashOf is never 0, and the same in every process, since windows outlive one.
func hashOf(s string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s)) // it cannot fail
	return max(h.Sum64(), 1)
}

func hashText(h uint64) string {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], h)
	return string(b[:])
}
