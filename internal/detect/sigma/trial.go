package sigma

import (
	"fmt"
	"strings"

	"github.com/cybervault/cybervault"
)

// Trial is a set's rules and correlations at work on a log, for whoever writes rules.
type Trial struct {
	engine     *Engine
	correlator *Correlator
}

// TrialHit is a rule that a record matches, silent ones too, or a correlation that a
// record made hold anew.
type TrialHit struct {
	Pos         Position
	Silent      bool
	Explanation string
}

// Trial returns one that has seen nothing.
func (s *Set) Trial() *Trial { return &Trial{s.Engine, s.Engine.NewCorrelator()} }

// Add takes in the next record.
func (t *Trial) Add(rec *cybervault.Record) []TrialHit {
	hits := t.engine.Match(rec)
	var out []TrialHit
	for _, h := range hits {
		out = append(out, TrialHit{h.Position(), h.Silent, h.Explanation()})
	}
	for _, h := range t.correlator.Add(hits, rec, rec.Time, "") {
		if h.New {
			out = append(out, TrialHit{h.Position(), h.Silent, h.Explanation()})
		}
	}
	return out
}

// Describe writes for people what an entry is and how it is decided.
func (s *Set) Describe(e *Entry) string {
	var b strings.Builder
	switch {
	case e.Off:
		fmt.Fprintf(&b, "%s\n%s\n", e.Title, e.Why)
	case e.Kind == KindFilter:
		fmt.Fprintf(&b, "%s\na filter, part of %d rules\n", e.Title, e.Applies)
	case e.Kind == KindCorrelation:
		for _, p := range s.Engine.plan.all {
			if p.c.Pos == e.Pos {
				p.describe(&b, s.Engine.plan)
			}
		}
	default:
		plan, ok := s.Engine.Plan(e.ID)
		if !ok {
			plan = e.Title + "\nwithout an id it cannot be explained: give it one\n"
		}
		b.WriteString(plan)
	}
	fmt.Fprintf(&b, "at: %s\n", e.Pos)
	if e.Silent && !e.Off {
		b.WriteString("reported: by the correlations that refer to it alone\n")
	}
	return b.String()
}

func (p *correlationPlan) describe(b *strings.Builder, all *plan) {
	fmt.Fprintf(b, "%s\nmatches of:\n", p.info.Title)
	refers := func(info *RuleInfo, edges []edge) {
		for _, e := range edges {
			if e.to == p {
				fmt.Fprintf(b, "  %s (%s)", p.c.Rules[e.pos], info.Title)
				for i, field := range p.groupBy[e.pos] {
					if field != p.c.GroupBy[i] {
						fmt.Fprintf(b, ", where %s is %s", p.c.GroupBy[i], field)
					}
				}
				b.WriteString("\n")
			}
		}
	}
	for _, r := range all.rulesOf(p) {
		refers(r, all.byRule[r])
	}
	for _, child := range all.all {
		refers(child.info, child.parents)
	}
	if len(p.c.GroupBy) > 0 {
		fmt.Fprintf(b, "with the same: %s\n", strings.Join(p.c.GroupBy, ", "))
	}
	fields := ""
	if len(p.c.Condition.Fields) > 0 {
		fields = " of " + strings.Join(p.c.Condition.Fields, ", ")
	}
	fmt.Fprintf(b, "within %s: %s%s: %s\n", p.c.Timespan, p.c.Type, fields, p.c.Condition.describe(len(p.c.Rules)))
}

// rulesOf lists the rules that a correlation refers to, in the order it names them.
func (pl *plan) rulesOf(p *correlationPlan) []*RuleInfo {
	at := make([]*RuleInfo, len(p.c.Rules))
	for info, edges := range pl.byRule {
		for _, e := range edges {
			if e.to == p && at[e.pos] == nil {
				at[e.pos] = info
			}
		}
	}
	var out []*RuleInfo
	seen := map[*RuleInfo]bool{}
	for _, info := range at {
		if info != nil && !seen[info] {
			seen[info] = true
			out = append(out, info)
		}
	}
	return out
}
