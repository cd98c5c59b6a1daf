package sigma

import (
	"cmp"
	"embed"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Pipeline is a processing pipeline, in the form that pySigma has given it: it
// changes rules before they are compiled, so that rules written for the field names
// of one product are about those of another.
type Pipeline struct {
	Name       string
	Priority   int                 // the lower ones go first
	Vars       map[string][]string // the values of placeholders
	Pos        Position
	transforms []*transformation
}

// transformation is one step of a pipeline, for the rules that all its conditions,
// or one of them, are true of.
type transformation struct {
	id         string
	pos        Position
	conditions []ruleCondition
	either     bool
	negated    bool
	only       fieldCondition
	rule       func(r *Rule) error // changes a copy
	field      func(name string) []string
	value      func(v *Value, i *Item) // likewise
	drop       bool
}

type ruleCondition func(r *Rule, applied []string) bool

// fieldCondition chooses fields; the zero value takes all.
type fieldCondition struct {
	given, exclude bool
	names          []string
	patterns       []*regexp.Regexp
}

func (c *fieldCondition) takes(name string) bool {
	if !c.given {
		return true
	}
	in := slices.Contains(c.names, name) || slices.ContainsFunc(c.patterns, func(re *regexp.Regexp) bool { return re.MatchString(name) })
	return in != c.exclude
}

//go:embed pipelines/*.yml
var pipelineFiles embed.FS

// builtinPipelines are those that come with the program, by their names.
var builtinPipelines = func() map[string]*Pipeline {
	out := map[string]*Pipeline{}
	entries, err := pipelineFiles.ReadDir("pipelines")
	if err != nil {
		panic(err) // they are in the program
	}
	for _, e := range entries {
		data, err := pipelineFiles.ReadFile("pipelines/" + e.Name())
		if err != nil {
			panic(err)
		}
		p, err := ParsePipeline("pipelines/"+e.Name(), data)
		if err != nil {
			panic(err)
		}
		out[strings.TrimSuffix(e.Name(), ".yml")] = p
	}
	return out
}()

// BuiltinPipeline returns one of the pipelines that come with the program. A rule whose
// taxonomy has such a name goes through it without being told to.
func BuiltinPipeline(name string) (*Pipeline, bool) {
	p, ok := builtinPipelines[strings.ToLower(name)]
	return p, ok
}

// BuiltinPipelines lists their names.
func BuiltinPipelines() []string {
	var out []string
	for name := range builtinPipelines {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// ParsePipeline reads a pipeline. Its error is a *LoadError, with the place.
func ParsePipeline(file string, data []byte) (*Pipeline, error) {
	docs, err := parseYAML(data)
	if err != nil {
		return nil, loadError(file, nil, err)
	}
	if len(docs) != 1 || docs[0].kind != mapNode {
		return nil, loadError(file, nil, errors.New("a pipeline is one map: name, priority, vars, transformations"))
	}
	p, err := (&decoder{file: file}).pipeline(docs[0])
	if err != nil {
		return nil, loadError(file, docs[0], err)
	}
	return p, nil
}

func (d *decoder) pipeline(doc *node) (*Pipeline, error) {
	p := &Pipeline{Vars: map[string][]string{}, Pos: d.at(doc)}
	if n := doc.get("name"); n != nil {
		p.Name = n.text
	}
	if n := doc.get("priority"); n != nil {
		var err error
		if p.Priority, err = strconv.Atoi(n.text); err != nil {
			return nil, failAt(n, "priority: %q is no number", shorten(n.text))
		}
	}
	if vars := doc.get("vars"); vars != nil {
		if vars.kind != mapNode {
			return nil, failAt(vars, "vars: must be a map of placeholders and their values")
		}
		for i, k := range vars.keys {
			p.Vars[k.text] = texts(vars.items[i])
		}
	}
	steps := doc.get("transformations")
	switch {
	case steps == nil && len(p.Vars) == 0:
		return nil, failAt(doc, "transformations: is missing")
	case steps == nil:
		return p, nil
	case steps.kind != listNode:
		return nil, failAt(steps, "transformations: must be a list")
	}
	for _, n := range steps.items {
		t, err := d.transformation(n, p)
		if err != nil {
			return nil, err
		}
		p.transforms = append(p.transforms, t)
	}
	return p, nil
}

// process sends rules, filters and correlations through the pipelines that they are for. What a pipeline
// refuses is left out and named in the errors.
func process(c *Collection, o Options) (*Collection, Options, []*LoadError) {
	pipelines := slices.Clone(o.Pipelines)
	slices.SortStableFunc(pipelines, func(x, y *Pipeline) int { return cmp.Compare(x.Priority, y.Priority) })
	vars := map[string][]string{}
	for _, p := range pipelines {
		maps.Copy(vars, p.Vars)
	}
	maps.Copy(vars, o.Placeholders)
	o.Placeholders = vars
	of := func(m *Meta) []*Pipeline {
		if own, ok := BuiltinPipeline(m.Taxonomy); ok && !slices.Contains(pipelines, own) {
			return append([]*Pipeline{own}, pipelines...)
		}
		return pipelines
	}
	out := &Collection{Errors: c.Errors}
	var errs []*LoadError
	for _, r := range c.Rules {
		changed, err := transform(r, of(&r.Meta))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out.Rules = append(out.Rules, changed)
	}
	for _, f := range c.Filters {
		r, err := transform(&Rule{Meta: f.Meta, LogSource: f.LogSource, Detections: f.Detections, Conditions: f.Conditions}, of(&f.Meta))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		changed := *f
		changed.LogSource, changed.Detections, changed.Conditions = r.LogSource, r.Detections, r.Conditions
		out.Filters = append(out.Filters, &changed)
	}
	for _, cor := range c.Correlations {
		out.Correlations = append(out.Correlations, transformCorrelation(cor, of(&cor.Meta)))
	}
	return out, o, errs
}

// transform returns a rule as the pipelines make it; the one given is not changed.
func transform(r *Rule, pipelines []*Pipeline) (*Rule, *LoadError) {
	if len(pipelines) == 0 {
		return r, nil
	}
	r = copyRule(r)
	var applied []string
	for _, p := range pipelines {
		for _, t := range p.transforms {
			if !t.isFor(r, applied) {
				continue
			}
			if t.id != "" {
				applied = append(applied, t.id)
			}
			if t.rule != nil {
				if err := t.rule(r); err != nil {
					return nil, &LoadError{Pos: r.Pos, ID: r.ID, Title: r.Title, Message: fmt.Sprintf("the pipeline's step at %s: %s", t.pos, err)}
				}
			}
			if t.field != nil || t.value != nil || t.drop {
				if err := t.items(r); err != nil {
					return nil, &LoadError{Pos: r.Pos, ID: r.ID, Title: r.Title, Message: fmt.Sprintf("the pipeline's step at %s: %s", t.pos, err)}
				}
			}
		}
	}
	return r, nil
}

func (t *transformation) isFor(r *Rule, applied []string) bool {
	if len(t.conditions) == 0 {
		return !t.negated
	}
	holds := func(c ruleCondition) bool { return c(r, applied) }
	if t.either {
		return slices.ContainsFunc(t.conditions, holds) != t.negated
	}
	return !slices.ContainsFunc(t.conditions, func(c ruleCondition) bool { return !holds(c) }) != t.negated
}

// maxPipelineGroups bounds what the alternatives of fields multiply to.
const maxPipelineGroups = 256

// items changes the comparisons of a rule. A field that stands for several makes a
// group of each: one of them is enough.
func (t *transformation) items(r *Rule) error {
	var left []*Detection
	for _, d := range r.Detections {
		var groups []Group
		for _, g := range d.Groups {
			made := []Group{{}}
			for _, i := range g.Items {
				var next []Group
				for _, choice := range t.item(i) {
					for _, m := range made {
						next = append(next, Group{Items: append(slices.Clone(m.Items), choice)})
					}
				}
				switch {
				case len(next) > maxPipelineGroups:
					return fmt.Errorf("%s: its fields stand for too many others", d.Name)
				case next != nil:
					made = next
				}
			}
			if len(made[0].Items) > 0 {
				groups = append(groups, made...)
			}
		}
		if d.Groups = groups; len(groups) > 0 {
			left = append(left, d)
		}
	}
	if len(left) < len(r.Detections) {
		return errors.New("nothing is left of a search identifier: leave one of its comparisons in place")
	}
	return nil
}

// item returns what may stand in place of a comparison; nothing if it goes.
func (t *transformation) item(i *Item) []*Item {
	if !t.only.takes(i.Field) {
		return []*Item{i}
	}
	switch {
	case t.drop:
		return nil
	case t.value != nil:
		for n := range i.Values {
			t.value(&i.Values[n], i)
		}
	case i.Field != "":
		var out []*Item
		for _, name := range t.field(i.Field) {
			own := *i
			own.Field = name
			out = append(out, &own)
		}
		return out
	}
	return []*Item{i}
}

// transformCorrelation gives a correlation the fields' new names: by the steps that
// are for every rule.
func transformCorrelation(c *Correlation, pipelines []*Pipeline) *Correlation {
	if len(pipelines) == 0 {
		return c
	}
	out := *c
	out.GroupBy, out.Condition.Fields, out.Aliases = slices.Clone(c.GroupBy), slices.Clone(c.Condition.Fields), slices.Clone(c.Aliases)
	for i := range out.Aliases {
		out.Aliases[i].Fields = slices.Clone(out.Aliases[i].Fields)
	}
	isAlias := func(name string) bool {
		return slices.ContainsFunc(c.Aliases, func(a Alias) bool { return a.Name == name })
	}
	for _, p := range pipelines {
		for _, t := range p.transforms {
			if t.field == nil || len(t.conditions) > 0 {
				continue
			}
			rename := func(name *string) {
				if t.only.takes(*name) && !isAlias(*name) {
					*name = t.field(*name)[0]
				}
			}
			for i := range out.GroupBy {
				rename(&out.GroupBy[i])
			}
			for i := range out.Condition.Fields {
				rename(&out.Condition.Fields[i])
			}
			for _, a := range out.Aliases {
				for i := range a.Fields {
					rename(&a.Fields[i].Field)
				}
			}
		}
	}
	return &out
}

func copyRule(r *Rule) *Rule {
	out := *r
	out.Detections = make([]*Detection, len(r.Detections))
	for i, d := range r.Detections {
		own := *d
		own.Groups = make([]Group, len(d.Groups))
		for j, g := range d.Groups {
			own.Groups[j].Items = make([]*Item, len(g.Items))
			for k, item := range g.Items {
				it := *item
				it.Values, it.Modifiers = slices.Clone(item.Values), slices.Clone(item.Modifiers)
				own.Groups[j].Items[k] = &it
			}
		}
		out.Detections[i] = &own
	}
	out.Conditions = slices.Clone(r.Conditions)
	return &out
}
