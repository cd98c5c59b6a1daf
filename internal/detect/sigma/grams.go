package sigma

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// grams finds which of many literals stand anywhere in a text. Each literal is
// filed under its rarest run of q bytes; a text is gone over once, each of its
// runs looked up in a bitmap, and what that lets through is compared in full.
//
// It does the work of an Aho-Corasick automaton with some 40 bytes a literal
// instead of a row of the automaton for each of its bytes, and its cost for a
// text hardly grows with the number of literals.
type grams struct {
	q       int // 1 to 4
	shift   uint
	bitmap  []uint64
	heads   []int32 // by the upper bits of the hash; -1 for none
	narrow  uint
	entries []gramEntry
}

type gramEntry struct {
	gram  uint32
	off   int32 // of the gram in lit
	next  int32
	lit   []byte
	rules []int32
}

const gramMultiplier = 0x9E3779B1

// newGrams makes tables for the literals, by their lengths; the longest first.
func newGrams(lits map[string][]int32) []*grams {
	byLength := [5][]string{}
	for lit := range lits {
		q := min(len(lit), 4)
		byLength[q] = append(byLength[q], lit)
	}
	var out []*grams
	for q := 4; q >= 1; q-- {
		if len(byLength[q]) > 0 {
			slices.Sort(byLength[q])
			out = append(out, newGramTable(q, byLength[q], lits))
		}
	}
	return out
}

func newGramTable(q int, keys []string, lits map[string][]int32) *grams {
	uses := map[uint32]int{}
	for _, k := range keys {
		for i := 0; i+q <= len(k); i++ {
			uses[gramAt(k, i, q)]++
		}
	}
	size := uint(bits.Len(uint(len(keys)))) + 1 // heads: two to four a literal
	g := &grams{q: q, narrow: 32 - size, shift: 32 - min(size+4, 26), heads: make([]int32, 1<<size)}
	g.bitmap = make([]uint64, max(1<<(32-g.shift)/64, 1))
	for i := range g.heads {
		g.heads[i] = -1
	}
	for _, k := range keys {
		best, least := 0, 1<<30
		for i := 0; i+q <= len(k); i++ {
			gram := gramAt(k, i, q)
			if cost := uses[gram]*8 + commonness(k[i:i+q]); cost < least {
				best, least = i, cost
			}
		}
		gram := gramAt(k, best, q)
		h := gram * gramMultiplier
		g.bitmap[h>>g.shift>>6] |= 1 << (h >> g.shift & 63)
		slot := h >> g.narrow
		g.entries = append(g.entries, gramEntry{gram, int32(best), g.heads[slot], []byte(k), lits[k]})
		g.heads[slot] = int32(len(g.entries) - 1)
	}
	return g
}

// commonness guesses how often a run of bytes occurs in logs: letters that
// English uses most count most.
func commonness(s string) int {
	n := 0
	for i := range len(s) {
		switch c := s[i]; {
		case c == 'e' || c == 't' || c == 's' || c == 'i' || c == 'n' || c == 'o' || c == 'r' || c == ' ' || c == '\\' || c == '0':
			n += 4
		case c >= 'a' && c <= 'z' || c == '.' || c >= '1' && c <= '9':
			n += 2
		}
	}
	return n
}

func gramAt(s string, i, q int) (v uint32) {
	for j := range q {
		v |= uint32(s[i+j]) << (8 * j)
	}
	return v
}

// find gives s the rules of each literal that stands in text.
func (g *grams) find(text []byte, s *scratch) {
	if len(text) < g.q {
		return
	}
	if g.q == 4 {
		for i := 0; i+4 <= len(text); i++ {
			v := binary.LittleEndian.Uint32(text[i:])
			h := v * gramMultiplier
			if b := h >> g.shift; g.bitmap[b>>6]&(1<<(b&63)) != 0 {
				g.confirm(text, i, v, s)
			}
		}
		return
	}
	mask := uint32(1)<<(8*g.q) - 1
	v := uint32(0)
	for i, c := range text {
		v = v>>8 | uint32(c)<<(8*(g.q-1))
		if i+1 < g.q {
			continue
		}
		h := v & mask * gramMultiplier
		if b := h >> g.shift; g.bitmap[b>>6]&(1<<(b&63)) != 0 {
			g.confirm(text, i+1-g.q, v&mask, s)
		}
	}
}

func (g *grams) confirm(text []byte, at int, gram uint32, s *scratch) {
	for e := g.heads[gram*gramMultiplier>>g.narrow]; e >= 0; {
		entry := &g.entries[e]
		e = entry.next
		from := at - int(entry.off)
		if entry.gram == gram && from >= 0 && from+len(entry.lit) <= len(text) && string(text[from:from+len(entry.lit)]) == string(entry.lit) {
			s.nominate(entry.rules)
		}
	}
}
