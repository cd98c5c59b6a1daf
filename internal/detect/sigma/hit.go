package sigma

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/cybervault/cybervault"
)

// Hit is a rule that a record matches, and what of the record it matched.
type Hit struct {
	*RuleInfo
	Matched []Matched
}

// Matched is one comparison that held.
type Matched struct {
	Selection string // the search identifier
	Field     string // as the rule has it; "" for the whole record
	Pattern   string // what the rule looks for
	Value     string // what the record has, shortened to MaxMatchedBytes
}

// MaxMatchedBytes bounds the value shown in a Matched, MaxMatched how many are
// shown of a hit.
const (
	MaxMatchedBytes = 512
	MaxMatched      = 32
)

// hit explains a rule that holds for the record at hand.
func (s *scratch) hit(r int32) Hit {
	rule := &s.e.rules[r]
	h := Hit{RuleInfo: rule.info}
	s.explain(rule.root, &h.Matched)
	return h
}

// explain adds the comparisons that a node holds by. What holds because
// something is absent has nothing to show.
func (s *scratch) explain(e *expr, out *[]Matched) {
	switch e.kind {
	case exprAtom:
		a := &s.e.atoms[e.atom]
		i := s.shortest(a, s.compare(a))
		if i < 0 || len(*out) >= MaxMatched {
			return
		}
		m := Matched{Selection: e.detection.Name, Field: e.item.Field, Pattern: e.value}
		if a.test != testExists || a.present {
			m.Value = s.shown(a, i)
		}
		if !slices.Contains(*out, m) {
			*out = append(*out, m)
		}
	case exprAnd:
		for _, k := range e.kids {
			s.explain(k, out)
		}
	case exprOr, exprAtLeast:
		for _, k := range e.kids {
			if s.holds(k) {
				s.explain(k, out)
			}
		}
	case exprNot:
	}
}

// shortest chooses the value to show of those that satisfy an atom. A map has no
// order, so the first one found will not do.
func (s *scratch) shortest(a *atom, first int32) int32 {
	if first < 0 || a.test == testExists && !a.present {
		return first
	}
	best := first
	consider := func(i int32) {
		if a.test != testExists && !s.satisfies(a, i) {
			return
		}
		x, y := s.unfolded(i), s.unfolded(best)
		if len(x) < len(y) || len(x) == len(y) && string(x) < string(y) {
			best = i
		}
	}
	if a.field == keywordField {
		for i := range s.values {
			consider(int32(i))
		}
		return best
	}
	for i := s.heads[a.field]; i >= 0; i = s.values[i].next {
		consider(i)
	}
	return best
}

// shown is a value, or of a long one the part around what was found.
func (s *scratch) shown(a *atom, i int32) string {
	v := s.unfolded(i)
	if len(v) <= MaxMatchedBytes {
		return strings.ToValidUTF8(string(v), "\uFFFD")
	}
	from := 0
	if a.test == testPattern && a.shape == shapeContains {
		if at := bytes.Index(s.folded(i), a.lit); at > MaxMatchedBytes/2 {
			from = min(at-MaxMatchedBytes/4, len(v)-MaxMatchedBytes)
		}
	}
	if a.test == testPattern && a.shape == shapeSuffix {
		from = len(v) - MaxMatchedBytes
	}
	part := strings.ToValidUTF8(string(v[from:min(from+MaxMatchedBytes, len(v))]), "")
	if from > 0 {
		part = "…" + part
	}
	if from+MaxMatchedBytes < len(v) {
		part += "…"
	}
	return part
}

// Explanation says in one line what a hit rests on.
func (h Hit) Explanation() string {
	var b strings.Builder
	b.WriteString(h.Title)
	for i, m := range h.Matched {
		if i == 6 {
			fmt.Fprintf(&b, "; and %d more", len(h.Matched)-i)
			break
		}
		b.WriteString(map[bool]string{true: ": ", false: "; "}[i == 0])
		field := m.Field
		if field == "" {
			field = "the record"
		}
		fmt.Fprintf(&b, "%s has %q (%s)", field, m.Value, m.Pattern)
	}
	return b.String()
}

// Detection is the hit as the threat engine reports it.
func (h Hit) Detection(rec *cybervault.Record) cybervault.Detection {
	id := h.ID
	if id == "" {
		id = h.Title
	}
	raw := rec.Raw[:min(len(rec.Raw), cybervault.MaxDetectionRecordBytes)]
	return cybervault.Detection{
		Engine: "sigma", RuleID: id, Title: h.Title, Level: h.Severity, MitreIDs: h.Techniques, Count: 1,
		Record: strings.ToValidUTF8(string(raw), "\uFFFD"), Explanation: h.Explanation(),
	}
}

// Explain returns what a record matches of one rule, by its id; false where it
// does not match or there is no such rule.
func (e *Engine) Explain(rec *cybervault.Record, id string) (Hit, bool) {
	for _, h := range e.Match(rec) {
		if h.ID == id {
			return h, true
		}
	}
	return Hit{}, false
}

// Plan writes for people how a rule is decided: which records are looked at, what
// the index looks for in them, and what is then decided.
func (e *Engine) Plan(id string) (string, bool) {
	n, ok := e.byID[id]
	if !ok {
		return "", false
	}
	r := e.rules[n]
	source := r.info.LogSource
	source.Definition = ""
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nrecords of: %s\n", r.info.Title, source)
	if need := e.buckets[source].needs[n]; need == nil {
		b.WriteString("looked at: each of them\n")
	} else {
		b.WriteString("looked at if one of:\n")
		for _, p := range need {
			fmt.Fprintf(&b, "  %s\n", e.probeText(p))
		}
	}
	b.WriteString("matches if:\n")
	e.planNode(&b, r.root, 1)
	return b.String(), true
}

func (e *Engine) probeText(p probe) string {
	field := e.names[p.field]
	if p.field == keywordField {
		field = "the record"
	}
	switch p.kind {
	case probeEqual:
		return fmt.Sprintf("%s is %q", field, p.lit)
	case probePrefix:
		return fmt.Sprintf("%s begins with %q", field, p.lit)
	case probeSuffix:
		return fmt.Sprintf("%s ends with %q", field, p.lit)
	case probeInside:
		return fmt.Sprintf("%s contains %q", field, p.lit)
	case probePresent:
	}
	return field + " has a value"
}

func (e *Engine) planNode(b *strings.Builder, x *expr, depth int) {
	indent := strings.Repeat("  ", depth)
	switch x.kind {
	case exprAtom:
		field := x.item.Field
		if field == "" {
			field = "the record"
		}
		fmt.Fprintf(b, "%s%s: %s %s\n", indent, x.detection.Name, field, x.value)
		return
	case exprAnd:
		fmt.Fprintf(b, "%sall of\n", indent)
	case exprOr:
		fmt.Fprintf(b, "%sone of\n", indent)
	case exprNot:
		fmt.Fprintf(b, "%snot\n", indent)
	case exprAtLeast:
		fmt.Fprintf(b, "%sat least %d of\n", indent, x.count)
	}
	for _, k := range x.kids {
		e.planNode(b, k, depth+1)
	}
}
