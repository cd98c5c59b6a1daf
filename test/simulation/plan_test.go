package simulation

import (
	"slices"
	"time"
)

// op is one thing that is done to the world, and how long after the one before.
type op struct {
	n     int // its place in the plan, which keys what chance decides about it
	after time.Duration
	what  string
}

// plan is what a seed decides before anything happens.
type plan struct {
	seed    chance
	nodes   int
	hooks   int
	disable time.Duration // DisableAfter
	breaker int           // BreakerAfter
	replays bool          // bulk replays go on
	ops     []op
}

// what says what may happen, and how often compared with the others.
var what = []struct {
	name   string
	weight int
}{
	{"publish", 40}, {"mood", 10}, {"pause", 6}, {"disable", 3}, {"enable", 4}, {"edit", 9}, {"rotate", 2}, {"create", 1},
	{"delete", 1}, {"cancel", 5}, {"replay", 4}, {"bulk", 2}, {"unbulk", 1}, {"verification", 2}, {"verify", 3}, {"move", 3},
	{"poll", 5}, {"test", 2}, {"kill", 3}, {"stop", 2}, {"stall", 2}, {"clock", 3}, {"trouble", 3}, {"sweep", 2}, {"look", 2},
}

func newPlan(seed uint64, steps int) *plan {
	c := chance(seed)
	r := c.rand(ofPlan)
	p := &plan{seed: c, nodes: 1, hooks: 1 + r.IntN(4), breaker: 10, replays: r.IntN(3) == 0}
	if r.IntN(2) == 0 {
		p.nodes = 2 + r.IntN(2)
	}
	p.disable = []time.Duration{0, time.Minute, 10 * time.Minute, 72 * time.Hour}[r.IntN(4)]
	if r.IntN(4) == 0 {
		p.breaker = 3
	}
	// Each seed has its own mixture, so that some do nearly nothing but one thing.
	weights := make([]int, len(what))
	total := 0
	for i, w := range what {
		weights[i] = w.weight * []int{0, 1, 1, 1, 2, 4}[r.IntN(6)]
		if w.name == "publish" {
			weights[i] = w.weight
		}
		total += weights[i]
	}
	if steps == 0 {
		steps = 20 + r.IntN(120)
	}
	pace := []time.Duration{20 * time.Millisecond, 2 * time.Second, 10 * time.Second}[r.IntN(3)]
	for n := 1; n <= steps; n++ {
		o := op{n: n}
		s := c.rand(ofPlan, uint64(n))
		at := s.IntN(total)
		for i, w := range weights {
			if at -= w; at < 0 {
				o.what = what[i].name
				break
			}
		}
		o.after = time.Duration(1 + s.Int64N(int64(pace)))
		if s.IntN(4) == 0 { // into the middle of the one before
			o.after = time.Duration(1 + s.Int64N(int64(3*time.Millisecond)))
		}
		if o.what == "pause" {
			o.after += time.Duration(s.Int64N(int64(2 * time.Minute)))
		}
		p.ops = append(p.ops, o)
	}
	return p
}

// only returns the plan with those steps alone.
func (p *plan) only(steps []int) *plan {
	q := *p
	q.ops = nil
	for _, o := range p.ops {
		if slices.Contains(steps, o.n) {
			q.ops = append(q.ops, o)
		}
	}
	return &q
}

func (p *plan) steps() (out []int) {
	for _, o := range p.ops {
		out = append(out, o.n)
	}
	return out
}
