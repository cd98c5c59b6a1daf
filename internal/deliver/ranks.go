package deliver

import "github.com/cybervault/cybervault"

const (
	// patience is how many deliveries may go before one that has waited longer:
	// every eighth attempt, and every eighth place of a claim, is for whoever has
	// waited longest, however many more severe ones come.
	patience = 8
	// tests is the rank of what a person waits for, above every severity.
	tests    = 5
	allRanks = tests + 1
)

// ranks are the deliveries that wait in a lane: those of a higher rank first
// and, within one, in the order in which they came. Those of an ordered webhook
// are all of the lowest, so that they stay in their order. It is not safe for
// concurrent use.
type ranks struct {
	lines  [allRanks]line
	count  int
	came   uint64 // how many ever came: the number of the last
	passed int    // picks in a row that went before one that had waited longer
}

// waiter is a delivery and when it came.
type waiter struct {
	*cybervault.Assignment
	came uint64
}

// line is a queue, from head on.
type line struct {
	waiters []waiter
	head    int
}

// rankOf is where a delivery stands.
func rankOf(a *cybervault.Assignment) int {
	switch {
	case a.Test && a.Attempt <= 1:
		return tests
	case a.Ordered:
		return 0
	}
	return max(a.Severity.Rank(), 0)
}

// severe reports whether a delivery may stand in the reserve.
func severe(a *cybervault.Assignment) bool { return !a.Test && !a.Ordered && a.Severity.Severe() }

func (r *ranks) push(a *cybervault.Assignment) {
	r.came++
	r.count++
	l := &r.lines[rankOf(a)]
	l.waiters = append(l.waiters, waiter{a, r.came})
}

// choose tells whose turn it is: the rank it is in, and whether one that has
// waited longer is passed by.
func (r *ranks) choose() (rank int, passes bool) {
	highest, longest := -1, -1
	for i := range r.lines {
		l := &r.lines[i]
		if l.head == len(l.waiters) {
			continue
		}
		highest = i
		if longest < 0 || l.waiters[l.head].came < r.lines[longest].waiters[r.lines[longest].head].came {
			longest = i
		}
	}
	if highest != tests && r.passed >= patience-1 {
		return longest, false
	}
	return highest, highest != longest
}

// first is the delivery whose turn it is. There must be one.
func (r *ranks) first() *cybervault.Assignment {
	rank, _ := r.choose()
	l := &r.lines[rank]
	return l.waiters[l.head].Assignment
}

// pop takes it out.
func (r *ranks) pop() *cybervault.Assignment {
	rank, passes := r.choose()
	switch {
	case rank == tests:
	case passes:
		r.passed++
	default:
		r.passed = 0
	}
	r.count--
	return r.lines[rank].pop()
}

func (l *line) pop() *cybervault.Assignment {
	a := l.waiters[l.head].Assignment
	l.waiters[l.head] = waiter{}
	l.head++
	if l.head == len(l.waiters) {
		l.waiters, l.head = l.waiters[:0], 0
	} else if l.head >= 1024 && l.head > len(l.waiters)/2 {
		n := copy(l.waiters, l.waiters[l.head:])
		clear(l.waiters[n:])
		l.waiters, l.head = l.waiters[:n], 0
	}
	return a
}

// remove takes out what drop chooses.
func (r *ranks) remove(drop func(*cybervault.Assignment) bool) (out []*cybervault.Assignment) {
	for i := range r.lines {
		l := &r.lines[i]
		kept := l.waiters[:0]
		for _, w := range l.waiters[l.head:] {
			if drop(w.Assignment) {
				out = append(out, w.Assignment)
			} else {
				kept = append(kept, w)
			}
		}
		clear(l.waiters[len(kept):])
		l.waiters, l.head = kept, 0
	}
	r.count -= len(out)
	return out
}
