package sigma

import (
	"slices"
	"strings"
	"time"
)

// Bounds of one group. Beyond maxEntries the records of a slot become one entry,
// so that a window's edge is that much less sharp, and nothing else; of a
// percentile, every other value is left out.
const (
	maxEntries = 1024
	slots      = 64 // of a timespan
)

// group is what the records of one group were. Its fields are exported for
// encoding alone.
type group struct {
	Scope   string
	Values  []GroupValue
	Entries []entry // within two timespans, by their time
	Newest  int64
	Coarse  bool
	Stride  int // one value in so many is kept, of a percentile; 0 is all
	Skipped int

	Open    bool  // the condition held, not longer ago than a timespan
	Held    int64 // the end of the last window in which it did
	Began   int64
	Total   int
	Pending int // records since the last hit
	Samples []groupSample

	win  *window // of the newest record; nil if it has to be built
	from int     // where it begins
}

type groupSample struct {
	Sample Sample
	Rule   int16
}

// verdict is what a record did to its group.
type verdict struct {
	late  bool
	holds bool
	value float64
	start int64 // of the window that holds
	end   int64
	count int
}

// take adds what one record has for the group.
func (g *group) take(p *correlationPlan, entries []entry, stats *CorrelatorStats) verdict {
	var out verdict
	for _, e := range entries {
		if len(g.Entries) > 0 && e.At < g.Newest-p.span {
			stats.Late++
			return verdict{late: true}
		}
		g.Pending += int(e.N)
		if v := g.add(p, e, stats); v.holds || !out.holds {
			out = v
		}
	}
	return out
}

func (g *group) add(p *correlationPlan, e entry, stats *CorrelatorStats) verdict {
	if g.Stride > 1 {
		if g.Skipped++; g.Skipped < g.Stride {
			return verdict{}
		}
		g.Skipped = 0
	}
	if len(g.Entries) >= maxEntries && g.prune(p) >= maxEntries {
		g.reduce(p, stats)
	}
	i := len(g.Entries)
	for i > 0 && g.Entries[i-1].At > e.At {
		i--
	}
	if i < len(g.Entries) {
		return g.insert(p, i, e)
	}
	if g.win == nil {
		g.build(p)
	}
	if last := i - 1; g.Coarse && i > 0 && g.Entries[last].Rule == e.Rule && g.Entries[last].At/p.slot == e.At/p.slot {
		g.Entries[last].join(&e, p.c.Type == CorrelationValueCount)
	} else {
		g.Entries = append(g.Entries, e)
	}
	g.win.add(&e)
	g.Newest = max(g.Newest, e.At) // a slot may reach beyond where it begins
	g.slide(p)
	return g.judge(g.win, g.from, len(g.Entries)-1)
}

// slide lets the newest window go of what is too old for it.
func (g *group) slide(p *correlationPlan) {
	for g.Entries[g.from].Last < g.Newest-p.span {
		g.win.remove(&g.Entries[g.from])
		g.from++
	}
}

func (g *group) build(p *correlationPlan) {
	g.win, g.from = newWindow(p), 0
	for g.from < len(g.Entries) && g.Entries[g.from].Last < g.Newest-p.span {
		g.from++
	}
	for i := g.from; i < len(g.Entries); i++ {
		g.win.add(&g.Entries[i])
	}
}

// insert takes in a record that is older than others, and decides each window that
// it belongs to, as if it had come in time.
func (g *group) insert(p *correlationPlan, i int, e entry) verdict {
	if g.Coarse && i > 0 && g.Entries[i-1].Rule == e.Rule && g.Entries[i-1].At/p.slot == e.At/p.slot {
		i--
		g.Entries[i].join(&e, p.c.Type == CorrelationValueCount)
	} else {
		g.Entries = slices.Insert(g.Entries, i, e)
	}
	g.win = nil
	w, lo := newWindow(p), 0
	for lo < i && g.Entries[lo].Last < g.Entries[i].At-p.span {
		lo++
	}
	for j := lo; j < i; j++ {
		w.add(&g.Entries[j])
	}
	for hi := i; hi < len(g.Entries) && g.Entries[hi].At <= e.At+p.span; hi++ {
		w.add(&g.Entries[hi])
		for ; g.Entries[lo].Last < g.Entries[hi].At-p.span; lo++ {
			w.remove(&g.Entries[lo])
		}
		if v := g.judge(w, lo, hi); v.holds {
			return v
		}
	}
	return verdict{}
}

func (g *group) judge(w *window, lo, hi int) verdict {
	value, ok := w.holds(g.Entries[lo : hi+1])
	if !ok {
		return verdict{}
	}
	return verdict{holds: true, value: value, start: g.Entries[lo].At, end: g.Entries[hi].Last, count: w.n}
}

// prune forgets what no record that is still welcome can share a window with, and
// returns how many entries are left.
func (g *group) prune(p *correlationPlan) int {
	n := 0
	for n < len(g.Entries) && g.Entries[n].Last < g.Newest-2*p.span {
		n++
	}
	g.Entries = slices.Delete(g.Entries, 0, n)
	g.win = nil
	return len(g.Entries)
}

// reduce makes room for more entries.
func (g *group) reduce(p *correlationPlan, stats *CorrelatorStats) {
	if !g.Coarse {
		g.Coarse = true
		stats.Coarse++
	}
	g.win = nil
	if p.c.Type == CorrelationValuePercentile {
		kept := g.Entries[:0]
		for i := range g.Entries {
			if i%2 == 0 {
				kept = append(kept, g.Entries[i])
			}
		}
		stats.Dropped += int64(len(g.Entries) - len(kept))
		g.Entries, g.Stride = kept, max(g.Stride, 1)*2
		return
	}
	kept := make([]entry, 0, maxEntries)
	begin := 0 // of the slot, in kept
	for i := range g.Entries {
		e := &g.Entries[i]
		if begin < len(kept) && kept[begin].At/p.slot != e.At/p.slot {
			begin = len(kept)
		}
		at := slices.IndexFunc(kept[begin:], func(k entry) bool { return k.Rule == e.Rule })
		if at < 0 {
			kept = append(kept, *e)
			continue
		}
		kept[begin+at].join(e, p.c.Type == CorrelationValueCount)
	}
	if over := len(kept) - maxEntries/2; over > 0 { // many rules: the oldest have to go
		kept = kept[over:]
		stats.Dropped += int64(over)
	}
	g.Entries = kept
}

// conclude makes a hit of a window that holds.
func (g *group) conclude(p *correlationPlan, v verdict) (CorrelationHit, bool) {
	if !v.holds {
		return CorrelationHit{}, false
	}
	h := CorrelationHit{RuleInfo: p.info, Scope: g.Scope, Group: g.Values, Value: v.value}
	if !g.Open || v.end-g.Held > p.span {
		h.New = true
		g.Open, g.Began, g.Held, g.Total = true, v.start, v.end, 0
		h.Count = v.count
	} else {
		g.Began, g.Held = min(g.Began, v.start), max(g.Held, v.end)
		h.Count = g.Pending
	}
	g.Pending = 0
	g.Total += h.Count
	h.Total, h.First, h.Last = g.Total, time.Unix(0, g.Began).UTC(), time.Unix(0, g.Held).UTC()
	for _, s := range g.Samples {
		if at := s.Sample.Time.UnixNano(); at >= g.Began && at <= g.Held {
			h.Samples = append(h.Samples, s.Sample)
		}
	}
	slices.SortStableFunc(h.Samples, func(x, y Sample) int { return x.Time.Compare(y.Time) })
	return h, true
}

// sample keeps the record, in place of one that is too old, or the last one of the
// rule of which there are most.
func (g *group) sample(p *correlationPlan, pos int, o *occurrence) {
	raw := o.rec.Raw
	if len(raw) > MaxSampleBytes {
		raw = raw[:MaxSampleBytes]
	}
	s := groupSample{Sample{Time: time.Unix(0, o.at).UTC(), Rule: o.title, Record: strings.ToValidUTF8(string(raw), ""), Line: o.rec.Line}, int16(pos)}
	if !g.Open {
		g.Samples = slices.DeleteFunc(g.Samples, func(k groupSample) bool { return k.Sample.Time.UnixNano() < g.Newest-p.span })
	}
	if len(g.Samples) < MaxSamples {
		g.Samples = append(g.Samples, s)
		return
	}
	count := map[int16]int{s.Rule: 1}
	most := s.Rule
	for _, k := range g.Samples {
		if count[k.Rule]++; count[k.Rule] > count[most] {
			most = k.Rule
		}
	}
	for i := len(g.Samples) - 1; i >= 0; i-- {
		if g.Samples[i].Rule == most {
			g.Samples[i] = s
			return
		}
	}
	g.Samples[len(g.Samples)-1] = s // as many rules as samples
}

// cost is what a group takes, about, the map and the allocator included.
func (g *group) cost(key string) int {
	bytes := 400 + 3*len(key) + 56*cap(g.Entries)
	for _, s := range g.Samples {
		bytes += 96 + len(s.Sample.Record)
	}
	if g.Coarse {
		for i := range g.Entries {
			if set := g.Entries[i].Set; set != nil {
				bytes += 64 + 24*len(set.Exact) + len(set.Registers)
			}
		}
	}
	if g.win != nil {
		bytes += 160 + 32*len(g.win.counts) + 8*cap(g.win.sorted)
	}
	return bytes
}
