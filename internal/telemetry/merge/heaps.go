package merge

import (
	"container/heap"
	"time"

	"github.com/cybervault/cybervault"
)

// source is one input on its way: it waits for its time, then is read.
type source struct {
	index  int
	input  *Input
	report *InputReport
	begins time.Time // while it waits: the earliest of its first records

	chunks chan []*cybervault.Record
	ready  []*cybervault.Record // of the chunk at hand
	held   items                // its window
	bytes  int                  // of what is held
	clock  time.Time            // of the last record that had a time
	seen   int
}

// at is where the source stands: its next record, or its beginning.
func (s *source) at() time.Time {
	if len(s.held) > 0 {
		return s.held[0].at
	}
	return s.begins
}

func less(a, b *source) bool {
	if ta, tb := a.at(), b.at(); !ta.Equal(tb) {
		return ta.Before(tb)
	}
	return a.index < b.index
}

// sources is a heap, the one that is due next in front.
type sources []*source

func (s *sources) Len() int           { return len(*s) }
func (s *sources) Less(i, j int) bool { return less((*s)[i], (*s)[j]) }
func (s *sources) Swap(i, j int)      { (*s)[i], (*s)[j] = (*s)[j], (*s)[i] }
func (s *sources) Push(x any)         { *s = append(*s, x.(*source)) }

func (s *sources) Pop() any {
	last := len(*s) - 1
	x := (*s)[last]
	(*s)[last] = nil
	*s = (*s)[:last]
	return x
}

func (s *sources) add(x *source) { heap.Push(s, x) }
func (s *sources) removeFirst()  { heap.Pop(s) }
func (s *sources) fixFirst()     { heap.Fix(s, 0) }

func (s *sources) first() *source {
	if len(*s) == 0 {
		return nil
	}
	return (*s)[0]
}

// item is a record that waits for its turn.
type item struct {
	rec   *cybervault.Record
	at    time.Time
	place int // in its input
}

// items is a heap, the earliest in front. It does without container/heap, which
// would allocate for every record.
type items []item

func (h *items) before(i, j int) bool {
	a, b := &(*h)[i], &(*h)[j]
	if !a.at.Equal(b.at) {
		return a.at.Before(b.at)
	}
	return a.place < b.place
}

func (h *items) push(x item) {
	*h = append(*h, x)
	s := *h
	for i := len(s) - 1; i > 0; {
		parent := (i - 1) / 2
		if !h.before(i, parent) {
			return
		}
		s[i], s[parent] = s[parent], s[i]
		i = parent
	}
}

func (h *items) pop() item {
	s := *h
	top, last := s[0], len(s)-1
	s[0], s[last] = s[last], item{}
	s = s[:last]
	*h = s
	for i := 0; ; {
		child := 2*i + 1
		if child >= len(s) {
			return top
		}
		if child+1 < len(s) && h.before(child+1, child) {
			child++
		}
		if !h.before(child, i) {
			return top
		}
		s[i], s[child] = s[child], s[i]
		i = child
	}
}
