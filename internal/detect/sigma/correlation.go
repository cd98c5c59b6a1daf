package sigma

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

// Correlator holds the windows of an engine's correlations. It works in event
// time: a record may come out of order by as much as the correlation's timespan,
// and one that is later still is counted as late and left out. It is not safe
// for concurrent use.
type Correlator struct {
	plan    *plan
	shelves []*shelf // by correlation
	budget  int
	used    int
	stats   CorrelatorStats
	touched []edge
	out     []CorrelationHit
}

// CorrelatorStats is what a correlator remembers, and what it could not.
type CorrelatorStats struct {
	Groups  int   // that are watched
	Bytes   int   // that they take, about
	Evicted int64 // groups forgotten for want of room, the stalest first
	Late    int64 // records that came too late to count
	Coarse  int64 // groups whose records became too many to be kept one by one
	Dropped int64 // entries of such groups that were given up all the same
}

// CorrelationHit is a correlation whose condition holds. The first record for which it
// does gives a New one; those that follow add to it until it has not held for a
// whole timespan.
type CorrelationHit struct {
	*RuleInfo // its Rule is nil, its Correlation is not

	New     bool
	Count   int // records that this adds; of a New one all in its window
	Total   int // records since it was New
	First   time.Time
	Last    time.Time
	Scope   string
	Group   []GroupValue
	Value   float64 // the count, sum, average, percentile, or number of rules that matched
	Samples []Sample
}

// GroupValue is what the records of a group have in common.
type GroupValue struct {
	Field string // as group-by has it
	Value string // of the first record
}

// Sample is one of the records that led to a correlation.
type Sample struct {
	Time   time.Time
	Rule   string // the title of the rule that it matched
	Record string // as it was read, shortened to MaxSampleBytes
	Line   int
}

// Bounds of a correlator.
const (
	MaxSampleBytes = 1 << 10
	MaxSamples     = 4 // of a hit

	correlatorBytes = 32 << 20
	maxGroupsOfOne  = 8  // groups that one record with several values can belong to
	maxValuesOfOne  = 32 // values that one record can add
)

// NewCorrelator returns a correlator that has seen nothing.
func (e *Engine) NewCorrelator() *Correlator {
	c := &Correlator{plan: e.plan, budget: correlatorBytes}
	if c.plan == nil {
		c.plan = &plan{}
	}
	for range c.plan.all {
		c.shelves = append(c.shelves, newShelf())
	}
	return c
}

// Continue returns a correlator for this engine that remembers what an older one
// does of the correlations that have not changed. The older one is used up.
func (e *Engine) Continue(old *Correlator) *Correlator {
	c := e.NewCorrelator()
	if old == nil {
		return c
	}
	c.stats = old.stats
	for i, p := range c.plan.all {
		for j, q := range old.plan.all {
			if p.key == q.key && p.print == q.print {
				c.shelves[i] = old.shelves[j]
				c.used += old.shelves[j].used
			}
		}
	}
	return c
}

// Stats returns what the correlator remembers.
func (c *Correlator) Stats() CorrelatorStats {
	s := c.stats
	s.Bytes = c.used
	for _, sh := range c.shelves {
		s.Groups += len(sh.byKey)
	}
	return s
}

// occurrence is a rule that a record matched, or a correlation that held with it.
type occurrence struct {
	rec   *cybervault.Record
	at    int64
	scope string
	title string
	group []GroupValue // of the correlation
}

// Add takes in the rules that a record matches and returns the correlations that
// hold with it. Those that another correlation refers to are not returned, unless it
// says generate. Scope keeps apart what has nothing to do with each other.
func (c *Correlator) Add(hits []Hit, rec *cybervault.Record, at time.Time, scope string) []CorrelationHit {
	if len(c.plan.all) == 0 || len(hits) == 0 {
		return nil
	}
	c.touched, c.out = c.touched[:0], nil
	for _, h := range hits {
		for _, e := range c.plan.byRule[h.RuleInfo] {
			e.title = h.Title
			c.touched = append(c.touched, e)
		}
	}
	// A record is one event, whichever of the rules it matches. In an order it is one
	// step: its later steps go first, so that none of them follows upon another.
	slices.SortStableFunc(c.touched, func(x, y edge) int {
		if d := cmp.Compare(x.to.index, y.to.index); d != 0 {
			return d
		}
		if x.to.c.Type == CorrelationTemporalOrdered {
			return cmp.Compare(y.pos, x.pos)
		}
		return cmp.Compare(x.pos, y.pos)
	})
	for i, e := range c.touched {
		if i > 0 && c.touched[i-1].to == e.to && !e.to.temporal() {
			continue
		}
		c.occur(e.to, e.pos, occurrence{rec: rec, at: nanoseconds(at), scope: scope, title: e.title})
	}
	return c.out
}

// nanoseconds is a time since 1970; those before it, and after 2200, are as far as
// windows reach.
func nanoseconds(t time.Time) int64 {
	return max(min(t.Unix(), 230*365*86400), 0)*int64(time.Second) + int64(t.Nanosecond())
}

// occur takes an occurrence into the groups that it belongs to.
func (c *Correlator) occur(p *correlationPlan, pos int, o occurrence) {
	entries := p.entries(pos, &o)
	if len(entries) == 0 {
		return
	}
	for _, values := range p.groups(pos, &o) {
		sh := c.shelves[p.index]
		en := sh.get(groupKey(o.scope, values))
		g := &en.group
		if g.Values == nil {
			g.Values, g.Scope = values, o.scope
		}
		v := g.take(p, entries, &c.stats)
		if !v.late {
			g.sample(p, pos, &o)
		}
		hit, ok := g.conclude(p, v)
		c.charge(p.index, en)
		if !ok {
			continue
		}
		if !p.info.Silent {
			c.out = append(c.out, hit)
		}
		for _, up := range p.parents {
			if !hit.New && !up.to.temporal() {
				continue // what goes on is still one occurrence
			}
			c.occur(up.to, up.pos, occurrence{rec: o.rec, at: hit.Last.UnixNano(), scope: o.scope, title: p.info.Title, group: g.Values})
		}
	}
}

// charge says what a group costs now, and makes room if it has to: in the
// correlation that takes most of it, so that none crowds out the others.
func (c *Correlator) charge(index int, en *shelved) {
	c.used += c.shelves[index].charge(en, en.group.cost(en.key))
	for c.used > c.budget {
		largest := slices.MaxFunc(c.shelves, func(x, y *shelf) int { return cmp.Compare(x.used, y.used) })
		if largest.back == nil || largest.back == en {
			return
		}
		c.used -= largest.evict()
		c.stats.Evicted++
	}
}

func groupKey(scope string, values []GroupValue) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d:%s", len(scope), scope)
	for _, v := range values {
		f := fold(v.Value)
		fmt.Fprintf(&b, "\x00%d:%s", len(f), f)
	}
	return b.String()
}

// lookup returns a field's values: those of the correlation's group, of the record, or
// of the record under a name that differs in case or spaces alone.
func (o *occurrence) lookup(field string) []string {
	for _, v := range o.group {
		if v.Field == field {
			return []string{v.Value}
		}
	}
	if v, ok := o.rec.Fields[field]; ok {
		return notEmpty(v)
	}
	if vs, ok := o.rec.Multi[field]; ok {
		return notEmpty(vs...)
	}
	want, found := looseName(field), ""
	consider := func(name string) {
		if (found == "" || name < found) && looseName(name) == want {
			found = name
		}
	}
	for name := range o.rec.Fields {
		consider(name)
	}
	for name := range o.rec.Multi {
		consider(name)
	}
	switch {
	case found == "":
		return nil
	case o.rec.Fields[found] != "":
		return []string{o.rec.Fields[found]}
	}
	return notEmpty(o.rec.Multi[found]...)
}

func notEmpty(vs ...string) []string {
	return slices.DeleteFunc(slices.Clone(vs), func(v string) bool { return v == "" })
}

// groups returns the groups that an occurrence belongs to: none where a field is
// absent, one for each value of a field with several.
func (p *correlationPlan) groups(pos int, o *occurrence) [][]GroupValue {
	out := [][]GroupValue{{}}
	for i, field := range p.groupBy[pos] {
		var next [][]GroupValue
		for _, v := range o.lookup(field) {
			for _, prefix := range out {
				if len(next) < maxGroupsOfOne {
					next = append(next, append(slices.Clone(prefix), GroupValue{p.c.GroupBy[i], v}))
				}
			}
		}
		out = next
	}
	return out
}

// entries returns what an occurrence adds to a window; nothing where it lacks the
// field that the correlation looks at.
func (p *correlationPlan) entries(pos int, o *occurrence) []entry {
	base := entry{At: o.at, Last: o.at, N: 1, W: 1, Rule: int16(pos)}
	var out []entry
	add := func(e entry) {
		if len(out) > 0 {
			e.N = 0 // it is one record
		}
		if len(out) < maxValuesOfOne {
			out = append(out, e)
		}
	}
	switch p.c.Type {
	case CorrelationValueCount:
		for _, tuple := range tuples(p.fields[pos], o) {
			e := base
			e.Hash = hashOf(tuple)
			add(e)
		}
	case CorrelationValueSum, CorrelationValueAvg, CorrelationValuePercentile:
		for _, field := range p.fields[pos] {
			for _, v := range o.lookup(field) {
				e := base
				var ok bool
				if e.Num, ok = numeric(v); ok {
					add(e)
				} else if p.c.Type == CorrelationValuePercentile && p.c.Condition.Percentile == 0 {
					e.Hash = hashOf(string(fold(v)))
					add(e)
				}
			}
		}
	default:
		add(base)
	}
	return out
}

// tuples joins the values of all fields; none if one is absent.
func tuples(fields []string, o *occurrence) []string {
	out := []string{""}
	for _, field := range fields {
		var next []string
		for _, v := range o.lookup(field) {
			for _, prefix := range out {
				if len(next) < maxValuesOfOne {
					next = append(next, fmt.Sprintf("%s%d:%s", prefix, len(v), fold(v)))
				}
			}
		}
		out = next
	}
	return out
}

// Explanation says in one line what a hit rests on.
func (h CorrelationHit) Explanation() string {
	var b strings.Builder
	b.WriteString(h.Title)
	for i, g := range h.Group {
		b.WriteString(map[bool]string{true: ": ", false: ", "}[i == 0])
		fmt.Fprintf(&b, "%s %q", g.Field, g.Value)
	}
	what := "count"
	switch c := h.Correlation; c.Type {
	case CorrelationValueCount:
		what = "different values of " + strings.Join(c.Condition.Fields, ", ")
	case CorrelationValueSum, CorrelationValueAvg, CorrelationValuePercentile:
		what = strings.TrimPrefix(c.Type, "value_") + " of " + strings.Join(c.Condition.Fields, ", ")
	case CorrelationTemporal:
		what = "rules matched"
	case CorrelationTemporalOrdered:
		what = "rules matched in order"
	}
	fmt.Fprintf(&b, ": %s %s within %s (%s)", what, formatNumber(h.Value), h.Correlation.Timespan, h.Correlation.Condition.describe(len(h.Correlation.Rules)))
	return b.String()
}
