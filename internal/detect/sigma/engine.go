package sigma

import (
	"slices"
	"strings"
	"sync"

	"github.com/cybervault/cybervault"
)

// Engine tells which of its rules a record matches. It never changes and is
// safe for concurrent use.
type Engine struct {
	rules   []compiledRule
	atoms   []atom
	names   []string // of fields, by their number
	exact   map[string]int32
	loose   map[string][]int32 // fields by their loose names
	buckets map[LogSource]*bucket
	byID    map[string]int32
	scratch sync.Pool
	plan    *plan // of correlations; nil for none
	filters []FilterUse
}

// bucket holds the rules of one log source and what to look for in its
// records.
type bucket struct {
	rules    []int32
	always   []int32 // rules that nothing is required for
	fields   []fieldIndex
	keywords bool // some rule is about the whole record
	needs    map[int32]clause
}

// fieldIndex leads from a field's values to the rules that might match.
type fieldIndex struct {
	field   int32
	present []int32 // rules for which any value will do
	equal   map[string][]int32
	prefix  *trie
	suffix  *trie
	inside  []*grams
}

func newEngine(c *compiler, rules []compiledRule) *Engine {
	e := &Engine{rules: rules, atoms: c.atoms, names: c.names, exact: c.fields, loose: map[string][]int32{}, buckets: map[LogSource]*bucket{}, byID: map[string]int32{}}
	for id, name := range c.names {
		if id != keywordField {
			key := looseName(name)
			e.loose[key] = append(e.loose[key], int32(id))
		}
	}
	for i, r := range rules {
		source := r.info.LogSource
		source.Definition = ""
		b := e.buckets[source]
		if b == nil {
			b = &bucket{}
			e.buckets[source] = b
		}
		b.rules = append(b.rules, int32(i))
		if r.info.ID != "" {
			if _, taken := e.byID[r.info.ID]; !taken {
				e.byID[r.info.ID] = int32(i)
			}
		}
	}
	for _, b := range e.buckets {
		b.index(e)
	}
	e.scratch.New = func() any { return newScratch(e) }
	return e
}

// Rules lists the engine's rules, in the order they were given.
func (e *Engine) Rules() []*RuleInfo {
	out := make([]*RuleInfo, len(e.rules))
	for i, r := range e.rules {
		out[i] = r.info
	}
	return out
}

// index chooses for each rule what to look for, and files it there.
func (b *bucket) index(e *Engine) {
	p := &planner{atoms: e.atoms, uses: map[probe]int{}}
	for _, r := range b.rules {
		p.count(e.rules[r].root)
	}
	b.needs = make(map[int32]clause, len(b.rules))
	filed := map[int32]map[probeKind]map[string][]int32{}
	for _, r := range b.rules {
		root := e.rules[r].root
		b.keywords = b.keywords || e.aboutRecord(root)
		need := p.require(root)
		if need == nil || slices.ContainsFunc(need, func(pr probe) bool { return pr.field == keywordField && pr.kind == probePresent }) {
			b.always = append(b.always, r)
			continue
		}
		b.needs[r] = need
		for _, pr := range need {
			if filed[pr.field] == nil {
				filed[pr.field] = map[probeKind]map[string][]int32{}
			}
			if filed[pr.field][pr.kind] == nil {
				filed[pr.field][pr.kind] = map[string][]int32{}
			}
			lit := pr.lit
			if pr.kind == probeSuffix {
				lit = reversed(lit)
			}
			list := filed[pr.field][pr.kind][lit]
			if len(list) == 0 || list[len(list)-1] != r {
				filed[pr.field][pr.kind][lit] = append(list, r)
			}
		}
	}
	for field, kinds := range filed {
		b.fields = append(b.fields, fieldIndex{
			field: field, present: kinds[probePresent][""], equal: kinds[probeEqual],
			prefix: newTrie(kinds[probePrefix]), suffix: newTrie(kinds[probeSuffix]), inside: newGrams(kinds[probeInside]),
		})
	}
	slices.SortFunc(b.fields, func(x, y fieldIndex) int { return int(x.field - y.field) })
}

func (e *Engine) aboutRecord(x *expr) bool {
	return x.kind == exprAtom && e.atoms[x.atom].field == keywordField || slices.ContainsFunc(x.kids, e.aboutRecord)
}

// looseName is what a field's name is known by where no name is exactly the same:
// case does not count, and Sigma strips the spaces of names such as "Source Name".
func looseName(name string) string {
	return strings.ReplaceAll(string(fold(name)), " ", "")
}

func reversed(s string) string {
	b := []byte(s)
	slices.Reverse(b)
	return string(b)
}

// Match returns the rules that a record matches, in the order they were given to
// Compile; nil, without having allocated, where there is none.
func (e *Engine) Match(rec *cybervault.Record) []Hit {
	s := e.scratch.Get().(*scratch)
	hits := s.match(rec)
	s.release()
	e.scratch.Put(s)
	return hits
}
