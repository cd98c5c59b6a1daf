package sigma

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// steps make a transformation do what its type says.
var steps = map[string]func(d *decoder, n *node, t *transformation, p *Pipeline) error{
	"field_name_mapping":        (*decoder).fieldMapping,
	"field_name_prefix_mapping": (*decoder).prefixMapping,
	"field_name_prefix": func(_ *decoder, n *node, t *transformation, _ *Pipeline) error {
		prefix, err := textOf(n, "prefix")
		t.field = func(name string) []string { return []string{prefix + name} }
		return err
	},
	"field_name_suffix": func(_ *decoder, n *node, t *transformation, _ *Pipeline) error {
		suffix, err := textOf(n, "suffix")
		t.field = func(name string) []string { return []string{name + suffix} }
		return err
	},
	"drop_detection_item": func(_ *decoder, _ *node, t *transformation, _ *Pipeline) error {
		t.drop = true
		return nil
	},
	"add_condition":         (*decoder).addCondition,
	"change_logsource":      (*decoder).changeLogSource,
	"replace_string":        (*decoder).replaceString,
	"map_string":            (*decoder).mapString,
	"wildcard_placeholders": (*decoder).wildcardPlaceholders,
	// The compiler puts the values of vars in.
	"value_placeholders": func(*decoder, *node, *transformation, *Pipeline) error { return nil },
	"rule_failure": func(_ *decoder, n *node, t *transformation, _ *Pipeline) error {
		message, err := textOf(n, "message")
		t.rule = func(*Rule) error { return errors.New(message) }
		return err
	},
	// What a converter would note for its query; there is none here.
	"set_state": func(*decoder, *node, *transformation, *Pipeline) error { return nil },
}

func textOf(n *node, key string) (string, error) {
	v := n.get(key)
	if v == nil || v.kind != scalarNode {
		return "", failAt(n, "%s: is missing", key)
	}
	return v.text, nil
}

func (d *decoder) transformation(n *node, p *Pipeline) (*transformation, error) {
	if n.kind != mapNode {
		return nil, failAt(n, "transformations: each is a map with a type")
	}
	kind, err := textOf(n, "type")
	if err != nil {
		return nil, err
	}
	t := &transformation{pos: d.at(n)}
	if id := n.get("id"); id != nil {
		t.id = id.text
	}
	step, ok := steps[kind]
	if !ok {
		var known []string
		for name := range steps {
			known = append(known, name)
		}
		slices.Sort(known)
		return nil, failAt(n.get("type"), "type: %q is not supported: use %s", shorten(kind), strings.Join(known, ", "))
	}
	if err := step(d, n, t, p); err != nil {
		return nil, err
	}
	if err := d.fieldConditions(n, t); err != nil {
		return nil, err
	}
	return t, d.ruleConditions(n, t)
}

func (d *decoder) fieldMapping(n *node, t *transformation, _ *Pipeline) error {
	m := n.get("mapping")
	if m == nil || m.kind != mapNode {
		return failAt(n, "mapping: a map of fields and what they become is missing")
	}
	mapping := map[string][]string{}
	for i, k := range m.keys {
		if mapping[k.text] = texts(m.items[i]); len(mapping[k.text]) == 0 {
			return failAt(k, "mapping.%s: must be a field or a list of fields", shorten(k.text))
		}
	}
	t.field = func(name string) []string {
		if to, ok := mapping[name]; ok {
			return to
		}
		return []string{name}
	}
	return nil
}

func (d *decoder) prefixMapping(n *node, t *transformation, _ *Pipeline) error {
	m := n.get("mapping")
	if m == nil || m.kind != mapNode {
		return failAt(n, "mapping: a map of prefixes and what they become is missing")
	}
	t.field = func(name string) []string {
		for i, k := range m.keys {
			if rest, ok := strings.CutPrefix(name, k.text); ok {
				var out []string
				for _, to := range texts(m.items[i]) {
					out = append(out, to+rest)
				}
				if len(out) == 0 { // null: the prefix goes
					out = []string{rest}
				}
				return out
			}
		}
		return []string{name}
	}
	return nil
}

func (d *decoder) addCondition(n *node, t *transformation, _ *Pipeline) error {
	conditions := n.get("conditions")
	if conditions == nil || conditions.kind != mapNode {
		return failAt(n, "conditions: a map of fields and values is missing")
	}
	g, err := d.group(conditions)
	if err != nil {
		return err
	}
	negated := n.get("negated") != nil && n.get("negated").text == "true"
	t.rule = func(r *Rule) error {
		name := fmt.Sprintf("_pipeline_%d", len(r.Detections))
		added := *copyRule(&Rule{Detections: []*Detection{{Name: name, Groups: []Group{g}, Pos: t.pos}}}).Detections[0]
		r.Detections = append(r.Detections, &added)
		is := &Expr{Op: OpIdent, Name: name}
		text := name
		if negated {
			is, text = &Expr{Op: OpNot, Args: []*Expr{is}}, "not "+name
		}
		for i, c := range r.Conditions {
			r.Conditions[i] = &Condition{Text: fmt.Sprintf("%s and (%s)", text, c.Text), Expr: &Expr{Op: OpAnd, Args: []*Expr{is, c.Expr}}, Pos: c.Pos}
		}
		return nil
	}
	return nil
}

func (d *decoder) changeLogSource(n *node, t *transformation, _ *Pipeline) error {
	s, err := d.logSource(&node{kind: mapNode, keys: []*node{{text: "logsource"}}, items: []*node{n}, line: n.line, col: n.col})
	t.rule = func(r *Rule) error {
		s.Definition = r.LogSource.Definition
		r.LogSource = s
		return nil
	}
	if err == nil && s.Category+s.Product+s.Service == "" {
		return failAt(n, "change_logsource: give category, product or service")
	}
	return err
}

func (d *decoder) replaceString(n *node, t *transformation, _ *Pipeline) error {
	text, err := textOf(n, "regex")
	if err != nil {
		return err
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return failAt(n.get("regex"), "regex: %s", err)
	}
	to, err := textOf(n, "replacement")
	if err != nil {
		return err
	}
	to = groupReference.ReplaceAllString(strings.ReplaceAll(to, "$", "$$"), "$${$1}")
	t.value = func(v *Value, _ *Item) {
		if v.Kind == StringValue {
			v.Text = re.ReplaceAllString(v.Text, to)
		}
	}
	return nil
}

// groupReference is how the replacements of pySigma name a group.
var groupReference = regexp.MustCompile(`\\(\d)`)

func (d *decoder) mapString(n *node, t *transformation, _ *Pipeline) error {
	m := n.get("mapping")
	if m == nil || m.kind != mapNode {
		return failAt(n, "mapping: a map of values and what they become is missing")
	}
	for i, k := range m.keys {
		if m.items[i].kind != scalarNode {
			return failAt(m.items[i], "mapping.%s: must be one value", shorten(k.text))
		}
	}
	t.value = func(v *Value, _ *Item) {
		if to := m.get(v.Text); to != nil && v.Kind == StringValue {
			v.Text = to.text
		}
	}
	return nil
}

var placeholderText = regexp.MustCompile(`%([^%\s]+)%`)

// wildcardPlaceholders takes any text for a placeholder that no var has values for.
func (d *decoder) wildcardPlaceholders(n *node, t *transformation, p *Pipeline) error {
	include, exclude := texts(n.get("include")), texts(n.get("exclude"))
	t.value = func(v *Value, i *Item) {
		if v.Kind != StringValue || !slices.Contains(i.Modifiers, "expand") {
			return
		}
		v.Text = placeholderText.ReplaceAllStringFunc(v.Text, func(found string) string {
			name := strings.Trim(found, "%")
			_, known := p.Vars[name]
			if known || len(include) > 0 && !slices.Contains(include, name) || slices.Contains(exclude, name) {
				return found
			}
			return "*"
		})
	}
	return nil
}

func (d *decoder) fieldConditions(n *node, t *transformation) error {
	all := n.get("field_name_conditions")
	if all == nil {
		return nil
	}
	if all.kind != listNode || len(all.items) != 1 {
		return failAt(all, "field_name_conditions: must be a list of one condition")
	}
	c := all.items[0]
	kind, err := textOf(c, "type")
	if err != nil {
		return err
	}
	if kind != "include_fields" && kind != "exclude_fields" {
		return failAt(c, "field_name_conditions.type: %q is not supported: use include_fields or exclude_fields", shorten(kind))
	}
	t.only = fieldCondition{given: true, exclude: kind == "exclude_fields"}
	names := texts(c.get("fields"))
	mode := "plain"
	for _, key := range []string{"mode", "match_type"} {
		if m := c.get(key); m != nil {
			mode = m.text
		}
	}
	if len(names) == 0 {
		return failAt(c, "fields: is missing")
	}
	if mode == "plain" {
		t.only.names = names
		return nil
	}
	for _, name := range names {
		re, err := regexp.Compile("^(?:" + name + ")$")
		if err != nil {
			return failAt(c, "fields: %s", err)
		}
		t.only.patterns = append(t.only.patterns, re)
	}
	return nil
}

func (d *decoder) ruleConditions(n *node, t *transformation) error {
	if op := n.get("rule_cond_op"); op != nil {
		if op.text != "and" && op.text != "or" {
			return failAt(op, "rule_cond_op: %q is neither and nor or", shorten(op.text))
		}
		t.either = op.text == "or"
	}
	if not := n.get("rule_cond_not"); not != nil {
		t.negated = not.text == "true"
	}
	all := n.get("rule_conditions")
	if all == nil {
		return nil
	}
	if all.kind != listNode {
		return failAt(all, "rule_conditions: must be a list")
	}
	for _, c := range all.items {
		cond, err := d.ruleCondition(c)
		if err != nil {
			return err
		}
		t.conditions = append(t.conditions, cond)
	}
	return nil
}

func (d *decoder) ruleCondition(c *node) (ruleCondition, error) {
	kind, err := textOf(c, "type")
	if err != nil {
		return nil, err
	}
	switch kind {
	case "logsource":
		s, err := d.logSource(&node{kind: mapNode, keys: []*node{{text: "logsource"}}, items: []*node{c}})
		return func(r *Rule, _ []string) bool { return s.takesIn(r.LogSource) }, err
	case "contains_field", "contains_detection_item":
		field, err := textOf(c, "field")
		return func(r *Rule, _ []string) bool { return r.mentions(field) }, err
	case "tag":
		tag, err := textOf(c, "tag")
		return func(r *Rule, _ []string) bool { return slices.Contains(r.Tags, tag) }, err
	case "taxonomy":
		name, err := textOf(c, "taxonomy")
		return func(r *Rule, _ []string) bool { return strings.EqualFold(r.Taxonomy, name) }, err
	case "processing_item_applied":
		id, err := textOf(c, "processing_item_id")
		return func(_ *Rule, applied []string) bool { return slices.Contains(applied, id) }, err
	}
	return nil, failAt(c, "rule_conditions.type: %q is not supported: use logsource, contains_field, tag, taxonomy or processing_item_applied", shorten(kind))
}

func (r *Rule) mentions(field string) bool {
	return slices.ContainsFunc(r.Detections, func(d *Detection) bool {
		return slices.ContainsFunc(d.Groups, func(g Group) bool {
			return slices.ContainsFunc(g.Items, func(i *Item) bool { return i.Field == field })
		})
	})
}
