package sigma

import (
	"slices"
	"strings"

	"github.com/cybervault/cybervault"
)

// Bounds of what a scratch remembers between records.
const (
	maxRemembered  = 4096
	maxArenaKept   = 1 << 20
	maxNameLearned = 256
)

// scratch is the working memory of one Match. What belongs to the record at hand
// is marked with its epoch, so that nothing has to be cleared.
type scratch struct {
	e     *Engine
	epoch uint32

	values []value
	heads  []int32 // by field: its first value
	held   []uint32
	arena  []byte

	decided    []uint32 // by atom: the epoch, doubled, and the verdict
	nominated  []uint32 // by rule
	candidates []int32
	matched    []int32
	fallback   []fallback

	rec    *cybervault.Record
	names  map[string]nameEntry
	routes map[LogSource][]*bucket
	source LogSource // of the record before
	route  []*bucket
}

// value is one value of the record. Its bytes are put into the arena, folded
// or as they are, when first asked for.
type value struct {
	text string
	raw  []byte // stands for text where the value is the record itself
	next int32  // of the same field, -1 for none
	late bool   // came under a name that is only loosely the field's
	fold place
	same place
}

type place struct{ from, to int32 }

// nameEntry says which fields of the rules a name in the record stands for.
type nameEntry struct {
	exact  int32   // -1 for none
	others []int32 // loosely the same: for those that the record has no exact name for
}

type fallback struct {
	field int32
	text  string
}

func newScratch(e *Engine) *scratch {
	return &scratch{
		e: e, heads: make([]int32, len(e.names)), held: make([]uint32, len(e.names)), decided: make([]uint32, len(e.atoms)),
		nominated: make([]uint32, len(e.rules)), names: map[string]nameEntry{}, routes: map[LogSource][]*bucket{},
	}
}

// release lets go of the record, so that a pooled scratch keeps none alive.
func (s *scratch) release() {
	s.rec = nil
	clear(s.values)
	clear(s.fallback)
	if cap(s.arena) > maxArenaKept {
		s.arena = nil
	}
	if cap(s.values) > maxRemembered {
		s.values = nil
	}
}

func (s *scratch) begin(rec *cybervault.Record) {
	if s.epoch++; s.epoch == 1<<31 {
		s.epoch = 1
		clear(s.held)
		clear(s.decided)
		clear(s.nominated)
	}
	s.rec = rec
	s.values, s.arena, s.candidates, s.matched, s.fallback = s.values[:0], s.arena[:0], s.candidates[:0], s.matched[:0], s.fallback[:0]
	if source := (LogSource{Category: rec.Category, Product: rec.Product, Service: rec.Service}); source != s.source || s.route == nil {
		s.source, s.route = source, s.routeOf(source)
	}
}

func (s *scratch) routeOf(source LogSource) []*bucket {
	r, ok := s.routes[source]
	if !ok {
		if r = s.e.route(source.Category, source.Product, source.Service); r == nil {
			r = []*bucket{}
		}
		if len(s.routes) >= maxRemembered {
			clear(s.routes)
		}
		s.routes[source] = r
	}
	return r
}

// gather takes in the record's values under the fields that rules know.
func (s *scratch) gather(keywords bool) {
	for name, text := range s.rec.Fields {
		s.take(name, text, keywords)
	}
	for name, texts := range s.rec.Multi {
		for _, text := range texts {
			s.take(name, text, keywords)
		}
	}
	for _, f := range s.fallback {
		if s.held[f.field] != s.epoch {
			s.held[f.field] = s.epoch
			s.heads[f.field] = -1
		} else if s.heads[f.field] >= 0 && !s.values[s.heads[f.field]].late {
			continue // the record has the exact name
		}
		s.values = append(s.values, value{text: f.text, next: s.heads[f.field], late: true, fold: none, same: none})
		s.heads[f.field] = int32(len(s.values) - 1)
	}
	if keywords && len(s.rec.Raw) > 0 {
		s.values = append(s.values, value{raw: s.rec.Raw, next: -1, fold: none, same: none})
	}
}

// none is the place of bytes that were not asked for yet.
var none = place{-1, 0}

func (s *scratch) take(name, text string, keywords bool) {
	entry, ok := s.names[name]
	if !ok {
		entry = s.learn(name)
	}
	if entry.exact >= 0 {
		if s.held[entry.exact] != s.epoch {
			s.held[entry.exact] = s.epoch
			s.heads[entry.exact] = -1
		}
		s.values = append(s.values, value{text: text, next: s.heads[entry.exact], fold: none, same: none})
		s.heads[entry.exact] = int32(len(s.values) - 1)
	} else if keywords {
		s.values = append(s.values, value{text: text, next: -1, fold: none, same: none})
	}
	for _, f := range entry.others {
		s.fallback = append(s.fallback, fallback{f, text})
	}
}

func (s *scratch) learn(name string) nameEntry {
	entry := nameEntry{exact: -1}
	if id, ok := s.e.exact[name]; ok && id != keywordField {
		entry.exact = id
	}
	for _, id := range s.e.loose[looseName(name)] {
		if id != entry.exact {
			entry.others = append(entry.others, id)
		}
	}
	if len(name) <= maxNameLearned {
		if len(s.names) >= maxRemembered {
			clear(s.names)
		}
		s.names[strings.Clone(name)] = entry
	}
	return entry
}

// folded returns a value's bytes, folded.
func (s *scratch) folded(i int32) []byte {
	v := &s.values[i]
	if v.fold.from < 0 {
		from := len(s.arena)
		if v.raw != nil {
			s.arena = appendFold(s.arena, v.raw)
		} else {
			s.arena = appendFold(s.arena, v.text)
		}
		v.fold = place{int32(from), int32(len(s.arena))}
	}
	return s.arena[v.fold.from:v.fold.to]
}

// unfolded returns a value's bytes as they are.
func (s *scratch) unfolded(i int32) []byte {
	v := &s.values[i]
	if v.raw != nil {
		return v.raw
	}
	if v.same.from < 0 {
		from := len(s.arena)
		s.arena = append(s.arena, v.text...)
		v.same = place{int32(from), int32(len(s.arena))}
	}
	return s.arena[v.same.from:v.same.to]
}

// nominate makes rules candidates.
func (s *scratch) nominate(rules []int32) {
	for _, r := range rules {
		if s.nominated[r] != s.epoch {
			s.nominated[r] = s.epoch
			s.candidates = append(s.candidates, r)
		}
	}
}

// match decides the candidates that the index names.
func (s *scratch) match(rec *cybervault.Record) []Hit {
	s.begin(rec)
	if len(s.route) == 0 {
		return nil
	}
	keywords := slices.ContainsFunc(s.route, func(b *bucket) bool { return b.keywords })
	s.gather(keywords)
	for _, b := range s.route {
		s.nominate(b.always)
		for i := range b.fields {
			s.search(&b.fields[i])
		}
	}
	for _, r := range s.candidates {
		if s.holds(s.e.rules[r].root) {
			s.matched = append(s.matched, r)
		}
	}
	if len(s.matched) == 0 {
		return nil
	}
	slices.Sort(s.matched)
	hits := make([]Hit, len(s.matched))
	for i, r := range s.matched {
		hits[i] = s.hit(r)
	}
	return hits
}

func (s *scratch) search(f *fieldIndex) {
	if f.field == keywordField {
		for i := range s.values {
			if !s.values[i].late {
				s.searchValue(f, s.folded(int32(i)))
			}
		}
		return
	}
	if s.held[f.field] != s.epoch {
		return
	}
	s.nominate(f.present)
	for i := s.heads[f.field]; i >= 0; i = s.values[i].next {
		s.searchValue(f, s.folded(i))
	}
}

func (s *scratch) searchValue(f *fieldIndex, v []byte) {
	if f.equal != nil {
		s.nominate(f.equal[string(v)])
	}
	if f.prefix != nil {
		f.prefix.prefixes(v, s)
	}
	if f.suffix != nil {
		f.suffix.suffixes(v, s)
	}
	for _, g := range f.inside {
		g.find(v, s)
	}
}

// holds decides a node.
func (s *scratch) holds(e *expr) bool {
	switch e.kind {
	case exprAtom:
		return s.decide(e.atom)
	case exprAnd:
		for _, k := range e.kids {
			if !s.holds(k) {
				return false
			}
		}
		return true
	case exprOr:
		for _, k := range e.kids { //nolint:modernize // s.holds as a value would be allocated
			if s.holds(k) {
				return true
			}
		}
		return false
	case exprNot:
		return !s.holds(e.kids[0])
	case exprAtLeast:
		n := 0
		for _, k := range e.kids {
			if s.holds(k) {
				n++
			}
		}
		return n >= e.count
	}
	return false
}

// decide decides an atom, once for a record.
func (s *scratch) decide(id int32) bool {
	if d := s.decided[id]; d>>1 == s.epoch {
		return d&1 != 0
	}
	ok := s.compare(&s.e.atoms[id]) >= 0
	s.decided[id] = s.epoch << 1
	if ok {
		s.decided[id] |= 1
	}
	return ok
}

// compare returns the first value that satisfies an atom, -1 for none. For one
// that asks for the absence of a field it returns 0.
func (s *scratch) compare(a *atom) int32 {
	if a.field == keywordField {
		for i := range s.values {
			if !s.values[i].late && s.satisfies(a, int32(i)) {
				return int32(i)
			}
		}
		return -1
	}
	held := s.held[a.field] == s.epoch
	if a.test == testExists {
		switch {
		case held != a.present:
			return -1
		case held:
			return s.heads[a.field]
		}
		return 0
	}
	if !held {
		return -1
	}
	for i := s.heads[a.field]; i >= 0; i = s.values[i].next {
		if s.satisfies(a, i) {
			return i
		}
	}
	return -1
}

func (s *scratch) satisfies(a *atom, i int32) bool {
	switch a.test {
	case testPattern:
		if a.cased {
			return a.matchBytes(s.unfolded(i))
		}
		return a.matchBytes(s.folded(i))
	case testFieldRef:
		if s.held[a.ref] != s.epoch {
			return false
		}
		for j := s.heads[a.ref]; j >= 0; j = s.values[j].next {
			if a.cased && a.matchPair(s.unfolded(i), s.unfolded(j)) || !a.cased && a.matchPair(s.folded(i), s.folded(j)) {
				return true
			}
		}
		return false
	case testRegexp:
		if raw := s.values[i].raw; raw != nil {
			return a.re.match(raw)
		}
	case testCIDR, testNumber, testExists:
	}
	return a.matchText(s.values[i].text)
}
