package sigma

import (
	"fmt"
	"strings"
)

// FilterUse says of how many rules a filter became a part.
type FilterUse struct {
	Filter *Filter
	Rules  int
}

// Filters lists the engine's filters and how many rules each of them is a part of.
func (e *Engine) Filters() []FilterUse { return e.filters }

// applyFilters joins filters to the rules that they name. The rules given are not
// changed: one that a filter applies to is replaced by a copy. A filter that cannot
// be used is left out, so that it takes no rule with it.
func applyFilters(rules []*Rule, filters []*Filter, o Options) ([]*Rule, []FilterUse, []*LoadError) {
	out := append([]*Rule(nil), rules...)
	var uses []FilterUse
	var errs []*LoadError
	for n, f := range filters {
		alone := &Rule{Meta: f.Meta, LogSource: f.LogSource, Detections: f.Detections, Conditions: f.Conditions}
		if _, wrong := Compile([]*Rule{alone}, o); len(wrong) > 0 {
			errs = append(errs, wrong...)
			continue
		}
		use := FilterUse{Filter: f}
		prefix := fmt.Sprintf("_filter_%d_", n)
		named := map[string]bool{} // that some rule answers to
		for i, r := range out {
			ref, ok := f.names(r)
			if !ok {
				continue
			}
			named[ref] = true
			if f.LogSource.takesIn(r.LogSource) {
				out[i] = filtered(out[i], f, prefix)
				use.Rules++
			}
		}
		for _, ref := range f.Rules {
			if !named[ref] {
				errs = append(errs, &LoadError{Pos: f.Pos, ID: f.ID, Title: f.Title, Message: fmt.Sprintf("filter.rules: there is no rule with the id or name %q", shorten(ref))})
			}
		}
		if use.Rules == 0 && (f.Any || len(named) > 0) {
			errs = append(errs, &LoadError{Pos: f.Pos, ID: f.ID, Title: f.Title, Message: fmt.Sprintf("logsource: no rule that the filter names is for records of %s, so it filters nothing", f.LogSource)})
		}
		uses = append(uses, use)
	}
	return out, uses, errs
}

// names reports whether a filter is for a rule, and by which reference.
func (f *Filter) names(r *Rule) (string, bool) {
	if f.Any {
		return "", true
	}
	for _, ref := range f.Rules {
		if r.ID != "" && strings.EqualFold(r.ID, ref) || r.Name != "" && r.Name == ref {
			return ref, true
		}
	}
	return "", false
}

// takesIn reports whether another source is this one or a part of it.
func (s LogSource) takesIn(o LogSource) bool {
	part := func(mine, other string) bool { return mine == "" || mine == other }
	return part(s.Category, o.Category) && part(s.Product, o.Product) && part(s.Service, o.Service)
}

// filtered is a rule whose conditions hold only where one of the filter's does. The
// filter's identifiers get names of their own, which no pattern of the rule takes in.
func filtered(r *Rule, f *Filter, prefix string) *Rule {
	out := *r
	out.Detections = append([]*Detection(nil), r.Detections...)
	for _, d := range f.Detections {
		own := *d
		own.Name = prefix + d.Name
		out.Detections = append(out.Detections, &own)
	}
	all := make([]*Expr, 0, len(f.Conditions))
	texts := make([]string, 0, len(f.Conditions))
	for _, c := range f.Conditions {
		all = append(all, renamed(c.Expr, f.Detections, prefix))
		texts = append(texts, "("+c.Text+")")
	}
	of := all[0]
	if len(all) > 1 {
		of = &Expr{Op: OpOr, Args: all}
	}
	out.Conditions = nil
	for _, c := range r.Conditions {
		text := fmt.Sprintf("(%s) and %s", c.Text, strings.Join(texts, " or "))
		out.Conditions = append(out.Conditions, &Condition{Text: text, Expr: &Expr{Op: OpAnd, Args: []*Expr{c.Expr, of}}, Pos: c.Pos})
	}
	return &out
}

// renamed is a condition over identifiers that have got a prefix. A pattern becomes
// what it takes in, since the prefix begins with the _ that patterns leave out.
func renamed(e *Expr, dets []*Detection, prefix string) *Expr {
	switch e.Op {
	case OpIdent:
		return &Expr{Op: OpIdent, Name: prefix + e.Name}
	case OpOf:
		if e.Count > 1 {
			pattern := e.Name
			if pattern == "them" {
				pattern = "*"
			}
			return &Expr{Op: OpOf, Name: prefix + pattern, Count: e.Count}
		}
		out := &Expr{Op: OpOr}
		if e.Count == 0 {
			out.Op = OpAnd
		}
		for _, d := range dets {
			if selects(e.Name, d.Name) {
				out.Args = append(out.Args, &Expr{Op: OpIdent, Name: prefix + d.Name})
			}
		}
		return out
	case OpAnd, OpOr, OpNot:
	}
	out := &Expr{Op: e.Op, Args: make([]*Expr, len(e.Args))}
	for i, a := range e.Args {
		out.Args[i] = renamed(a, dets, prefix)
	}
	return out
}
