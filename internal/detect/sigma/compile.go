package sigma

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cybervault/cybervault"
)

// Options of Compile. The zero value has no placeholders.
type Options struct {
	Placeholders map[string][]string // the values of %name%, without the percent signs
	Pipelines    []*Pipeline         // that CompileAll sends everything through
}

// RuleInfo is what a Hit says of its rule.
type RuleInfo struct {
	ID             string
	Title          string
	Level          string // as Sigma has it; medium where the rule has none
	Severity       cybervault.Severity
	Techniques     []string // ATT&CK ids such as T1059.001, from the tags
	Tags           []string
	FalsePositives []string
	Fields         []string // worth showing to an analyst
	Author         string
	License        string
	LogSource      LogSource
	Rule           *Rule        // nil of a correlation
	Correlation    *Correlation // nil of a rule
	Silent         bool         // a correlation refers to it: it is not reported on its own
}

// exprKind is what a node of a compiled rule does.
type exprKind uint8

const (
	exprAtom exprKind = iota
	exprAnd
	exprOr
	exprNot
	exprAtLeast // count of its kids
)

// expr is a node of a compiled rule.
type expr struct {
	kind  exprKind
	atom  int32
	count int
	kids  []*expr

	// Where an atom comes from, for explanations.
	detection *Detection
	item      *Item
	value     string // as the rule has it, wildcards in place
}

type compiledRule struct {
	info *RuleInfo
	root *expr
}

// compiler interns fields and atoms.
type compiler struct {
	placeholders map[string][]string
	fields       map[string]int32
	names        []string
	atoms        []atom
	interned     map[string]int32
}

func newCompiler(o Options) *compiler {
	return &compiler{placeholders: o.Placeholders, fields: map[string]int32{"": keywordField}, names: []string{""}, interned: map[string]int32{}}
}

// Compile makes an engine of rules. Those that cannot be compiled are left out and
// named in the errors.
func Compile(rules []*Rule, o Options) (*Engine, []*LoadError) {
	c := newCompiler(o)
	var compiled []compiledRule
	var errs []*LoadError
	for _, r := range rules {
		root, err := c.rule(r)
		if err != nil {
			err.ID, err.Title = r.ID, r.Title
			errs = append(errs, err)
			continue
		}
		compiled = append(compiled, compiledRule{newRuleInfo(r), root})
	}
	return newEngine(c, compiled), errs
}

func newRuleInfo(r *Rule) *RuleInfo {
	i := &RuleInfo{
		ID: r.ID, Title: r.Title, Level: r.Level, Severity: cybervault.Severity(r.Level), Tags: r.Tags, FalsePositives: r.FalsePositives,
		Fields: r.Fields, Author: r.Author, License: r.License, LogSource: r.LogSource, Rule: r, Techniques: []string{},
	}
	switch r.Level {
	case "":
		i.Level, i.Severity = "medium", cybervault.SeverityMedium
	case "informational":
		i.Severity = cybervault.SeverityInfo
	}
	for _, tag := range r.Tags {
		id, ok := strings.CutPrefix(strings.ToLower(tag), "attack.t")
		if ok && isTechnique(id) {
			i.Techniques = append(i.Techniques, "T"+id)
		}
	}
	return i
}

// isTechnique reports whether s is the number of a technique: 1059 or 1059.001.
func isTechnique(s string) bool {
	whole, sub, dotted := strings.Cut(s, ".")
	allDigits := func(s string, n int) bool {
		return len(s) == n && strings.Trim(s, "0123456789") == ""
	}
	return allDigits(whole, 4) && (!dotted || allDigits(sub, 3))
}

func (c *compiler) rule(r *Rule) (*expr, *LoadError) {
	detections := make(map[string]*expr, len(r.Detections))
	for _, d := range r.Detections {
		e, err := c.detection(d)
		if err != nil {
			return nil, err
		}
		detections[d.Name] = e
	}
	var roots []*expr
	for _, cond := range r.Conditions {
		e, err := c.condition(cond.Expr, r, detections)
		if err != nil {
			return nil, &LoadError{Pos: cond.Pos, Message: "condition: " + err.Error()}
		}
		roots = append(roots, e)
	}
	if len(roots) == 0 {
		return nil, &LoadError{Pos: r.Pos, Message: "condition: is missing"}
	}
	return join(exprOr, roots), nil
}

func join(kind exprKind, kids []*expr) *expr {
	if len(kids) == 1 {
		return kids[0]
	}
	return &expr{kind: kind, kids: kids}
}

func (c *compiler) condition(e *Expr, r *Rule, detections map[string]*expr) (*expr, error) {
	switch e.Op {
	case OpIdent:
		d, ok := detections[e.Name]
		if !ok {
			return nil, fmt.Errorf("%q is not defined", e.Name)
		}
		return d, nil
	case OpOf:
		var kids []*expr
		for _, d := range r.Detections {
			if selects(e.Name, d.Name) {
				kids = append(kids, detections[d.Name])
			}
		}
		switch {
		case len(kids) == 0:
			return nil, fmt.Errorf("%s takes in nothing that is defined", e)
		case e.Count == 0:
			return join(exprAnd, kids), nil
		case e.Count == 1:
			return join(exprOr, kids), nil
		case e.Count > len(kids):
			return nil, fmt.Errorf("%s: only %d are defined", e, len(kids))
		}
		return &expr{kind: exprAtLeast, count: e.Count, kids: kids}, nil
	case OpAnd, OpOr, OpNot:
	}
	kids := make([]*expr, 0, len(e.Args))
	for _, a := range e.Args {
		kid, err := c.condition(a, r, detections)
		if err != nil {
			return nil, err
		}
		kids = append(kids, kid)
	}
	switch e.Op {
	case OpNot:
		return &expr{kind: exprNot, kids: kids}, nil
	case OpAnd:
		return join(exprAnd, kids), nil
	default:
		return join(exprOr, kids), nil
	}
}

func (c *compiler) detection(d *Detection) (*expr, *LoadError) {
	var groups []*expr
	for _, g := range d.Groups {
		var items []*expr
		for _, i := range g.Items {
			e, err := c.item(d, i)
			if err != nil {
				name := strings.Join(append([]string{i.Field}, i.Modifiers...), "|")
				return nil, &LoadError{Pos: i.Pos, Message: fmt.Sprintf("%s: %s: %s", d.Name, name, err)}
			}
			items = append(items, e)
		}
		groups = append(groups, join(exprAnd, items))
	}
	return join(exprOr, groups), nil
}

func (c *compiler) item(d *Detection, i *Item) (*expr, error) {
	cmp, err := resolve(i, c.placeholders)
	if err != nil {
		return nil, err
	}
	values := make([][]*expr, len(i.Values)) // what each value became: one or many, any of which will do
	for _, o := range cmp.operands {
		a, err := newAtom(cmp, o)
		if err != nil {
			return nil, err
		}
		if i.Field == "" && a.test == testExists {
			return nil, errors.New("a keyword must be text")
		}
		a.field = c.field(i.Field)
		if a.test == testFieldRef {
			a.ref = c.field(o.text)
		}
		values[o.origin] = append(values[o.origin], &expr{kind: exprAtom, atom: c.intern(a), detection: d, item: i, value: o.String()})
	}
	var kids []*expr
	for _, v := range values {
		if cmp.all {
			kids = append(kids, join(exprOr, v))
		} else {
			kids = append(kids, v...)
		}
	}
	kind := exprOr
	if cmp.all {
		kind = exprAnd
	}
	out := join(kind, kids)
	if cmp.negated {
		out = &expr{kind: exprNot, kids: []*expr{out}}
	}
	return out, nil
}

func (c *compiler) field(name string) int32 {
	id, ok := c.fields[name]
	if !ok {
		id = int32(len(c.names))
		c.fields[name] = id
		c.names = append(c.names, name)
	}
	return id
}

func (c *compiler) intern(a atom) int32 {
	key := a.key()
	id, ok := c.interned[key]
	if !ok {
		id = int32(len(c.atoms))
		c.interned[key] = id
		c.atoms = append(c.atoms, a)
	}
	return id
}

// String writes what a field is compared with.
func (o operand) String() string {
	switch o.test {
	case testRegexp:
		return "/" + o.text + "/"
	case testCIDR:
		return o.prefix.String()
	case testNumber:
		return fmt.Sprintf("%s %v", o.text, o.number)
	case testExists:
		if o.present {
			return "any value"
		}
		return "no value"
	case testFieldRef:
		return "the value of " + o.text
	case testPattern:
	}
	return o.pattern.String()
}
