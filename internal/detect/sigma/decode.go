package sigma

import (
	"slices"
	"strings"
)

// decoder makes rules of YAML nodes. Its errors carry their place.
type decoder struct {
	file string
}

func (d *decoder) at(n *node) Position { return Position{d.file, n.line, n.col} }

// levels that Sigma knows, lowest first.
var levels = []string{"informational", "low", "medium", "high", "critical"}

func (d *decoder) meta(doc *node) (Meta, error) {
	m := Meta{Pos: d.at(doc)}
	for key, to := range map[string]*string{
		"id": &m.ID, "name": &m.Name, "title": &m.Title, "status": &m.Status, "description": &m.Description, "license": &m.License,
		"author": &m.Author, "date": &m.Date, "modified": &m.Modified, "taxonomy": &m.Taxonomy, "level": &m.Level,
	} {
		if n := doc.get(key); n != nil && n.kind == scalarNode {
			*to = strings.TrimSpace(n.text)
		}
	}
	m.Level = strings.ToLower(m.Level)
	if m.Level != "" && !slices.Contains(levels, m.Level) {
		return m, failAt(doc.get("level"), "level: %q is unknown: use %s", shorten(m.Level), strings.Join(levels, ", "))
	}
	if m.Title == "" {
		return m, failAt(doc, "title: is missing: say what the rule finds")
	}
	for key, to := range map[string]*[]string{
		"references": &m.References, "tags": &m.Tags, "falsepositives": &m.FalsePositives, "fields": &m.Fields, "scope": &m.Scope,
	} {
		*to = texts(doc.get(key))
	}
	if related := doc.get("related"); related != nil && related.kind == listNode {
		for _, r := range related.items {
			if id := r.get("id"); id != nil {
				rel := Related{ID: id.text}
				if t := r.get("type"); t != nil {
					rel.Type = t.text
				}
				m.Related = append(m.Related, rel)
			}
		}
	}
	return m, nil
}

// texts takes a list of scalars, or a single one, leaving out what is neither.
func texts(n *node) []string {
	if n == nil {
		return nil
	}
	items := n.items
	if n.kind == scalarNode {
		items = []*node{n}
	}
	var out []string
	for _, i := range items {
		if i.kind == scalarNode && i.value != NullValue {
			out = append(out, i.text)
		}
	}
	return out
}

func (d *decoder) rule(doc *node) (*Rule, error) {
	m, err := d.meta(doc)
	if err != nil {
		return nil, err
	}
	r := &Rule{Meta: m}
	if r.LogSource, err = d.logSource(doc); err != nil {
		return nil, err
	}
	detection := doc.get("detection")
	if detection == nil || detection.kind != mapNode {
		return nil, failAt(doc, "detection: a map of search identifiers and a condition is missing")
	}
	r.Detections, r.Conditions, err = d.detections(detection, nil)
	return r, err
}

func (d *decoder) logSource(doc *node) (LogSource, error) {
	n := doc.get("logsource")
	if n == nil || n.kind != mapNode {
		return LogSource{}, failAt(doc, "logsource: a map of category, product and service is missing")
	}
	var s LogSource
	for key, to := range map[string]*string{"category": &s.Category, "product": &s.Product, "service": &s.Service, "definition": &s.Definition} {
		v := n.get(key)
		if v == nil {
			continue
		}
		if v.kind != scalarNode {
			return s, failAt(v, "logsource.%s: must be a string", key)
		}
		*to = strings.TrimSpace(v.text)
	}
	s.Category, s.Product, s.Service = strings.ToLower(s.Category), strings.ToLower(s.Product), strings.ToLower(s.Service)
	return s, nil
}

// detections reads search identifiers and their condition. The skipped keys are
// neither.
func (d *decoder) detections(n *node, skip []string) ([]*Detection, []*Condition, error) {
	var out []*Detection
	var conditions []*Condition
	for i, k := range n.keys {
		v := n.items[i]
		switch {
		case slices.Contains(skip, k.text):
		case k.text == "condition":
			var err error
			if conditions, err = d.conditions(v); err != nil {
				return nil, nil, err
			}
		case k.text == "timeframe" && v.kind == scalarNode: // of the correlations before version 2, which no condition uses
		default:
			// Any name will do: what a condition cannot name, a pattern may take in.
			det := &Detection{Name: k.text, Pos: d.at(k)}
			if err := d.groups(det, v); err != nil {
				return nil, nil, err
			}
			out = append(out, det)
		}
	}
	if len(conditions) == 0 {
		return nil, nil, failAt(n, "condition: is missing")
	}
	if len(out) == 0 {
		return nil, nil, failAt(n, "no search identifier is defined")
	}
	for _, c := range conditions {
		if err := d.resolves(c.Expr, out); err != nil {
			return nil, nil, &yamlError{c.Pos.Line, c.Pos.Column, "condition: " + err.Error()}
		}
	}
	return out, conditions, nil
}

func (d *decoder) conditions(n *node) ([]*Condition, error) {
	items := []*node{n}
	if n.kind == listNode {
		items = n.items
	}
	var out []*Condition
	for _, i := range items {
		if i.kind != scalarNode || i.text == "" {
			return nil, failAt(i, "condition: must be a string")
		}
		e, err := ParseCondition(i.text)
		if err != nil {
			return nil, failAt(i, "condition: %s", err)
		}
		out = append(out, &Condition{Text: i.text, Expr: e, Pos: d.at(i)})
	}
	return out, nil
}

// resolves reports an identifier or pattern that nothing is defined for.
func (d *decoder) resolves(e *Expr, dets []*Detection) error {
	switch e.Op {
	case OpIdent:
		if !slices.ContainsFunc(dets, func(det *Detection) bool { return det.Name == e.Name }) {
			return failAt(&node{}, "%q is not defined", e.Name)
		}
	case OpOf:
		if !slices.ContainsFunc(dets, func(det *Detection) bool { return selects(e.Name, det.Name) }) {
			return failAt(&node{}, "%s takes in nothing that is defined", e)
		}
	case OpAnd, OpOr, OpNot:
	}
	for _, a := range e.Args {
		if err := d.resolves(a, dets); err != nil {
			return err
		}
	}
	return nil
}

// groups reads what a search identifier stands for: a map, a list of maps, a
// list of keywords, or a list of both.
func (d *decoder) groups(det *Detection, n *node) error {
	switch n.kind {
	case mapNode:
		g, err := d.group(n)
		if err != nil {
			return err
		}
		det.Groups = append(det.Groups, g)
	case listNode:
		if len(n.items) == 0 {
			return failAt(n, "%s: the list is empty", det.Name)
		}
		var keywords []Value
		for _, i := range n.items {
			if i.kind == scalarNode {
				keywords = append(keywords, d.value(i))
				continue
			}
			if err := d.groups(det, i); err != nil {
				return err
			}
		}
		if len(keywords) > 0 {
			det.Groups = append(det.Groups, Group{Items: []*Item{{Values: keywords, Pos: d.at(n)}}})
		}
	case scalarNode:
		if n.value == NullValue {
			return failAt(n, "%s: is empty", det.Name)
		}
		det.Groups = append(det.Groups, Group{Items: []*Item{{Values: []Value{d.value(n)}, Pos: d.at(n)}}})
	}
	return nil
}

func (d *decoder) group(n *node) (Group, error) {
	var g Group
	for i, k := range n.keys {
		parts := strings.Split(k.text, "|")
		item := &Item{Field: strings.TrimSpace(parts[0]), Pos: d.at(k)}
		for _, m := range parts[1:] {
			item.Modifiers = append(item.Modifiers, strings.ToLower(strings.TrimSpace(m)))
		}
		values := []*node{n.items[i]}
		if values[0].kind == listNode {
			values = values[0].items
		}
		if len(values) == 0 {
			return g, failAt(k, "%s: the list of values is empty", shorten(k.text))
		}
		for _, v := range values {
			if v.kind != scalarNode {
				return g, failAt(v, "%s: a value must be a string, a number, true, false or null", shorten(k.text))
			}
			item.Values = append(item.Values, d.value(v))
		}
		g.Items = append(g.Items, item)
	}
	if len(g.Items) == 0 {
		return g, failAt(n, "the map is empty")
	}
	return g, nil
}

func (d *decoder) value(n *node) Value {
	return Value{Kind: n.value, Text: n.text, Pos: d.at(n)}
}
