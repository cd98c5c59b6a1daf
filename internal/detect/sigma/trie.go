package sigma

import (
	"slices"
	"sort"
)

// trie finds which of many literals a text begins with. It is three flat
// arrays: a node's edges are neighbours, sorted by their byte.
type trie struct {
	first  []int32 // of a node's edges; those of the next node end them
	labels []byte
	target []int32
	out    []int32 // list of rules at a node, -1 for none
	lists  [][]int32
}

// newTrie makes a trie of literals and the rules they lead to.
func newTrie(lits map[string][]int32) *trie {
	if len(lits) == 0 {
		return nil
	}
	keys := make([]string, 0, len(lits))
	for k := range lits {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	t := &trie{}
	type span struct{ lo, hi, depth int }
	queue := []span{{0, len(keys), 0}}
	for i := 0; i < len(queue); i++ { // breadth first, so that a node's number is its place in the queue
		s := queue[i]
		t.first = append(t.first, int32(len(t.labels)))
		out := int32(-1)
		if len(keys[s.lo]) == s.depth {
			out = int32(len(t.lists))
			t.lists = append(t.lists, lits[keys[s.lo]])
			s.lo++
		}
		t.out = append(t.out, out)
		for lo := s.lo; lo < s.hi; {
			b := keys[lo][s.depth]
			hi := lo + sort.Search(s.hi-lo, func(n int) bool { return keys[lo+n][s.depth] > b })
			t.labels = append(t.labels, b)
			t.target = append(t.target, int32(len(queue)))
			queue = append(queue, span{lo, hi, s.depth + 1})
			lo = hi
		}
	}
	t.first = append(t.first, int32(len(t.labels)))
	return t
}

// next follows a byte, to -1 where no literal goes on so.
func (t *trie) next(n int32, b byte) int32 {
	lo, hi := t.first[n], t.first[n+1]
	for hi-lo > 8 {
		mid := (lo + hi) / 2
		if t.labels[mid] <= b {
			lo = mid
		} else {
			hi = mid
		}
	}
	for ; lo < hi; lo++ {
		if t.labels[lo] == b {
			return t.target[lo]
		}
	}
	return -1
}

// prefixes gives s the rules of each literal that text begins with.
func (t *trie) prefixes(text []byte, s *scratch) {
	n := int32(0)
	for i := 0; ; i++ {
		if o := t.out[n]; o >= 0 {
			s.nominate(t.lists[o])
		}
		if i == len(text) {
			return
		}
		if n = t.next(n, text[i]); n < 0 {
			return
		}
	}
}

// suffixes does so for literals stored backwards that text ends with.
func (t *trie) suffixes(text []byte, s *scratch) {
	n := int32(0)
	for i := len(text) - 1; ; i-- {
		if o := t.out[n]; o >= 0 {
			s.nominate(t.lists[o])
		}
		if i < 0 {
			return
		}
		if n = t.next(n, text[i]); n < 0 {
			return
		}
	}
}
