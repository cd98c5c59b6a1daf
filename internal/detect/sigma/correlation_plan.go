package sigma

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cybervault/cybervault"
)

// Bounds of correlations, far above any real one.
const (
	maxCorrelationRules = 64
	maxOrderedExpr      = 12 // rules of a temporal_ordered correlation with an expression
	maxChain            = 8  // correlations that refer to each other
)

// plan is what an engine's correlations were made into.
type plan struct {
	all    []*correlationPlan // those referred to before those that refer to them
	byRule map[*RuleInfo][]edge
}

// edge leads from a rule to a correlation that refers to it.
type edge struct {
	to    *correlationPlan
	pos   int    // in its list of rules
	title string // of the rule, once it has matched
}

type correlationPlan struct {
	c       *Correlation
	info    *RuleInfo
	index   int
	key     string // the same after a restart
	print   string // the same as long as the correlation means the same
	span    int64
	slot    int64
	groupBy [][]string // by rule: what GroupBy stands for in its records
	fields  [][]string // by rule: what Condition.Fields stands for
	parents []edge
	depth   int
}

func (p *correlationPlan) temporal() bool {
	return p.c.Type == CorrelationTemporal || p.c.Type == CorrelationTemporalOrdered
}

// planner of correlations: it finds what they refer to.
type correlationPlanner struct {
	rules   []*RuleInfo
	all     []*Correlation
	failed  []*LoadError // what did not load: whoever refers to it is told so
	done    map[*Correlation]*correlationPlan
	broken  map[*Correlation]bool
	pending []*Correlation
	plan    *plan
	errs    []*LoadError
}

// planCorrelations resolves what correlations refer to. Those that cannot be used
// are left out and named in the errors. Rules and correlations that are referred to
// become silent, unless some correlation says generate.
func planCorrelations(rules []*RuleInfo, all []*Correlation, failed []*LoadError) (*plan, []*LoadError) {
	cp := &correlationPlanner{
		rules: rules, all: all, failed: failed, done: map[*Correlation]*correlationPlan{}, broken: map[*Correlation]bool{},
		plan: &plan{byRule: map[*RuleInfo][]edge{}},
	}
	for _, c := range all {
		cp.resolve(c)
	}
	generated := map[*RuleInfo]bool{}
	mark := func(info *RuleInfo, up edge) {
		generated[info] = generated[info] || up.to.c.Generate
		info.Silent = !generated[info]
	}
	for info, edges := range cp.plan.byRule {
		for _, up := range edges {
			mark(info, up)
		}
	}
	for _, p := range cp.plan.all {
		for _, up := range p.parents {
			mark(p.info, up)
		}
	}
	return cp.plan, cp.errs
}

func (cp *correlationPlanner) fail(c *Correlation, pos Position, format string, args ...any) *correlationPlan {
	cp.errs = append(cp.errs, &LoadError{Pos: pos, ID: c.ID, Title: c.Title, Message: fmt.Sprintf(format, args...)})
	cp.broken[c] = true
	return nil
}

// target is what a correlation refers to: one of both.
type target struct {
	rule        *RuleInfo
	correlation *Correlation
}

// resolve plans a correlation after those that it refers to; nil where it cannot
// be used.
func (cp *correlationPlanner) resolve(c *Correlation) *correlationPlan {
	if p := cp.done[c]; p != nil || cp.broken[c] {
		return p
	}
	if i := slices.Index(cp.pending, c); i >= 0 {
		var chain []string
		for _, on := range append(cp.pending[i:], c) {
			chain = append(chain, on.label())
		}
		return cp.fail(c, c.Pos, "correlation.rules: the correlations refer to each other in a circle: %s", strings.Join(chain, " > "))
	}
	if len(c.Rules) > maxCorrelationRules {
		return cp.fail(c, c.Pos, "correlation.rules: %d rules are too many; %d may be named", len(c.Rules), maxCorrelationRules)
	}
	cp.pending = append(cp.pending, c)
	defer func() { cp.pending = cp.pending[:len(cp.pending)-1] }()

	p := &correlationPlan{c: c, span: int64(c.Timespan), slot: max(int64(c.Timespan)/slots, 1), depth: 1}
	var targets []target
	for i, ref := range c.Rules {
		t, problem := cp.find(c, ref)
		if problem != "" {
			return cp.fail(c, c.rulePosition(i), "correlation.rules: %s", problem)
		}
		if t.correlation != nil {
			child := cp.resolve(t.correlation)
			if cp.broken[c] { // a circle through this one, which is told already
				return nil
			}
			if child == nil {
				return cp.fail(c, c.rulePosition(i), "correlation.rules: %q cannot be used itself", shorten(ref))
			}
			p.depth = max(p.depth, child.depth+1)
		}
		targets = append(targets, t)
	}
	if p.depth > maxChain {
		return cp.fail(c, c.Pos, "correlation.rules: a chain of more than %d correlations", maxChain)
	}
	if message := p.names(cp, targets); message != "" {
		return cp.fail(c, c.Condition.Pos, "%s", message)
	}
	cp.enter(p, targets)
	return p
}

// find looks a reference up: an id, or a name, the file's own first.
func (cp *correlationPlanner) find(c *Correlation, ref string) (target, string) {
	var byName, local []target
	consider := func(m *Meta, t target) bool {
		if m.ID != "" && strings.EqualFold(m.ID, ref) {
			return true
		}
		if m.Name == ref && m.Name != "" {
			byName = append(byName, t)
			if m.Pos.File == c.Pos.File {
				local = append(local, t)
			}
		}
		return false
	}
	for _, r := range cp.rules {
		if t := (target{rule: r}); consider(&r.Rule.Meta, t) {
			return t, ""
		}
	}
	for _, o := range cp.all {
		if t := (target{correlation: o}); consider(&o.Meta, t) {
			return t, ""
		}
	}
	if len(local) > 0 {
		byName = local
	}
	switch len(byName) {
	case 1:
		return byName[0], ""
	case 0:
		for _, f := range cp.failed {
			if f.ID != "" && strings.EqualFold(f.ID, ref) {
				return target{}, fmt.Sprintf("the rule %q could not be loaded: see %s", shorten(ref), f.Pos)
			}
		}
		return target{}, fmt.Sprintf("there is no rule with the id or name %q", shorten(ref))
	}
	return target{}, fmt.Sprintf("%d rules have the name %q: refer to the one that is meant by its id", len(byName), shorten(ref))
}

// names resolves the names in aliases and in the condition.
func (p *correlationPlan) names(cp *correlationPlanner, targets []target) string {
	c := p.c
	for _, a := range c.Aliases {
		for _, f := range a.Fields {
			if t, _ := cp.find(c, f.Rule); !slices.Contains(targets, t) {
				return fmt.Sprintf("correlation.aliases.%s: %q is none of the correlation's rules", shorten(a.Name), shorten(f.Rule))
			}
		}
	}
	for i, t := range targets {
		stands := func(names []string) []string {
			out := slices.Clone(names)
			for n, name := range names {
				for _, a := range c.Aliases {
					for _, f := range a.Fields {
						if to, _ := cp.find(c, f.Rule); a.Name == name && (f.Rule == c.Rules[i] || to == t) {
							out[n] = f.Field
						}
					}
				}
			}
			return out
		}
		p.groupBy, p.fields = append(p.groupBy, stands(c.GroupBy)), append(p.fields, stands(c.Condition.Fields))
	}
	if e := c.Condition.Expr; e != nil {
		if c.Type == CorrelationTemporalOrdered && len(c.Rules) > maxOrderedExpr {
			return fmt.Sprintf("correlation.condition: an expression in order may be over %d rules, not %d", maxOrderedExpr, len(c.Rules))
		}
		return p.known(e)
	}
	return ""
}

func (p *correlationPlan) known(e *Expr) string {
	switch {
	case e.Op == OpIdent && p.position(e.Name) < 0:
		return fmt.Sprintf("correlation.condition: %q is none of the correlation's rules, as they stand in rules", shorten(e.Name))
	case e.Op == OpOf && !slices.ContainsFunc(p.c.Rules, func(name string) bool { return selects(e.Name, name) }):
		return fmt.Sprintf("correlation.condition: %s takes in none of the correlation's rules", e)
	}
	for _, a := range e.Args {
		if message := p.known(a); message != "" {
			return message
		}
	}
	return ""
}

// enter puts a correlation into the plan.
func (cp *correlationPlanner) enter(p *correlationPlan, targets []target) {
	c := p.c
	p.index = len(cp.plan.all)
	p.info = newRuleInfo(&Rule{Meta: c.Meta})
	p.info.Rule, p.info.Correlation = nil, c
	p.key = c.ID
	if p.key == "" {
		p.key = c.Pos.File + "\x00" + c.Title
	}
	bare := c.Condition
	bare.Expr, bare.Pos = nil, Position{}
	p.print = strconv.FormatUint(hashOf(fmt.Sprintf("%s %q %q %d %v %v %v", c.Type, c.Rules, c.GroupBy, c.Timespan, c.Aliases, bare, c.Condition.Expr)), 16)
	cp.plan.all = append(cp.plan.all, p)
	cp.done[c] = p
	highest := ""
	for pos, t := range targets {
		info := t.rule
		if info != nil {
			cp.plan.byRule[info] = append(cp.plan.byRule[info], edge{to: p, pos: pos})
		} else {
			child := cp.done[t.correlation]
			child.parents = append(child.parents, edge{to: p, pos: pos})
			info = child.info
		}
		if slices.Index(levels, info.Level) > slices.Index(levels, highest) {
			highest = info.Level
		}
		if len(c.Tags) == 0 {
			for _, id := range info.Techniques {
				if !slices.Contains(p.info.Techniques, id) {
					p.info.Techniques = append(p.info.Techniques, id)
				}
			}
		}
	}
	if c.Level == "" && highest != "" {
		p.info.Level, p.info.Severity = highest, severityOf(highest)
	}
}

func severityOf(level string) cybervault.Severity {
	if level == "informational" {
		return cybervault.SeverityInfo
	}
	return cybervault.Severity(level)
}

func (c *Correlation) rulePosition(i int) Position {
	if i < len(c.rulePos) {
		return c.rulePos[i]
	}
	return c.Pos
}

// label is what people know a rule by.
func (m *Meta) label() string {
	for _, s := range []string{m.Name, m.ID, m.Title} {
		if s != "" {
			return s
		}
	}
	return m.Pos.String()
}

// Correlations lists the engine's correlations, those that are referred to before
// those that refer to them.
func (e *Engine) Correlations() []*RuleInfo {
	if e.plan == nil {
		return nil
	}
	out := make([]*RuleInfo, len(e.plan.all))
	for i, p := range e.plan.all {
		out[i] = p.info
	}
	return out
}

// CompileAll makes an engine of everything that was read: rules as the pipelines and
// filters make them, and the correlations about them. What cannot be used is left out
// and named in the errors.
func CompileAll(c *Collection, o Options) (*Engine, []*LoadError) {
	c, o, errs := process(c, o)
	rules, uses, wrong := applyFilters(c.Rules, c.Filters, o)
	errs = append(errs, wrong...)
	e, wrong := Compile(rules, o)
	errs = append(errs, wrong...)
	e.filters = uses
	e.plan, wrong = planCorrelations(e.Rules(), c.Correlations, slices.Concat(c.Errors, errs))
	return e, append(errs, wrong...)
}
