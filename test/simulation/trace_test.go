package simulation

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"
)

// trace is what could be seen of a run. Its sum is the same whenever the seed is:
// entries of one instant are added up, so that their order does not count, and
// instants are chained.
type trace struct {
	began   time.Time
	sum     uint64
	instant uint64 // of the entries at the last one
	last    time.Time
	entries []traced
	keep    int // entries
	ended   bool
}

// traced is one entry. delivery is 0 where it is about none.
type traced struct {
	at       time.Time
	delivery int
	text     string
}

func (t *trace) add(delivery int, format string, args ...any) {
	if t.ended {
		return
	}
	now := time.Now()
	if !now.Equal(t.last) {
		t.sum = mix(t.sum ^ t.instant ^ uint64(t.last.Sub(t.began)))
		t.instant, t.last = 0, now
	}
	text := fmt.Sprintf(format, args...)
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %s", delivery, text)
	t.instant += mix(h.Sum64())
	t.entries = append(t.entries, traced{now, delivery, text})
	if len(t.entries) > 2*t.keep {
		t.entries = append(t.entries[:0], t.entries[len(t.entries)-t.keep:]...)
	}
}

// total is the sum so far.
func (t *trace) total() uint64 { return mix(t.sum ^ t.instant ^ uint64(t.last.Sub(t.began))) }

// about tells the last entries that concern a delivery, or none.
func (t *trace) about(delivery, most int) string {
	var lines []string
	for i := len(t.entries) - 1; i >= 0 && len(lines) < most; i-- {
		if e := t.entries[i]; delivery == 0 || e.delivery == 0 || e.delivery == delivery {
			lines = append(lines, fmt.Sprintf("  %14s  %s", e.at.Sub(t.began), label(e)))
		}
	}
	var b strings.Builder
	for _, line := range slices.Backward(lines) {
		b.WriteString(line + "\n")
	}
	return b.String()
}

func label(e traced) string {
	if e.delivery == 0 {
		return e.text
	}
	return fmt.Sprintf("#%d %s", e.delivery, e.text)
}
