package sigma

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

var correlationTypes = []string{
	CorrelationEventCount, CorrelationValueCount, CorrelationTemporal, CorrelationTemporalOrdered,
	CorrelationValueSum, CorrelationValueAvg, CorrelationValuePercentile,
}

func (d *decoder) correlation(doc *node) (*Correlation, error) {
	m, err := d.meta(doc)
	if err != nil {
		return nil, err
	}
	n := doc.get("correlation")
	if n.kind != mapNode {
		return nil, failAt(n, "correlation: must be a map")
	}
	c := &Correlation{Meta: m, Rules: texts(n.get("rules")), GroupBy: texts(n.get("group-by"))}
	if t := n.get("type"); t != nil {
		c.Type = t.text
	}
	if !slices.Contains(correlationTypes, c.Type) {
		return nil, failAt(n, "correlation.type: %q is unknown: use %s", shorten(c.Type), strings.Join(correlationTypes, ", "))
	}
	if len(c.Rules) == 0 {
		return nil, failAt(n, "correlation.rules: name at least one rule, by id or name")
	}
	c.rulePos = d.places(n.get("rules"))
	span := n.get("timespan")
	if span == nil {
		return nil, failAt(n, "correlation.timespan: is missing")
	}
	var ok bool
	if c.Timespan, ok = parseTimespan(span.text); !ok {
		return nil, failAt(span, "correlation.timespan: %q is no time: use a number and s, m, h or d, such as 10m", shorten(span.text))
	}
	// Some files have generate beside the section, some within it.
	for _, g := range []*node{n.get("generate"), doc.get("generate")} {
		if g != nil {
			c.Generate = g.text == "true"
		}
	}
	if err := d.aliases(c, n.get("aliases")); err != nil {
		return nil, err
	}
	if err := d.correlationCondition(c, n); err != nil {
		return nil, err
	}
	return c, nil
}

// places is where each of texts stands.
func (d *decoder) places(n *node) []Position {
	if n.kind == scalarNode {
		return []Position{d.at(n)}
	}
	var out []Position
	for _, i := range n.items {
		if i.kind == scalarNode && i.value != NullValue {
			out = append(out, d.at(i))
		}
	}
	return out
}

// parseTimespan reads 30s, 10m, 1h, 7d and 2w; at most a year.
func parseTimespan(s string) (time.Duration, bool) {
	units := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}
	if len(s) < 2 || len(s) > 10 {
		return 0, false
	}
	unit, ok := units[s[len(s)-1]]
	n, err := strconv.ParseUint(s[:len(s)-1], 10, 32)
	if !ok || err != nil || n == 0 {
		return 0, false
	}
	const year = 366 * 24 * time.Hour
	if time.Duration(n) > year/unit {
		return 0, false
	}
	return time.Duration(n) * unit, true
}

func (d *decoder) aliases(c *Correlation, n *node) error {
	if n == nil {
		return nil
	}
	if n.kind != mapNode {
		return failAt(n, "correlation.aliases: must be a map of aliases")
	}
	for i, k := range n.keys {
		v := n.items[i]
		if v.kind != mapNode {
			return failAt(v, "correlation.aliases.%s: must be a map of rules and fields", shorten(k.text))
		}
		a := Alias{Name: k.text}
		for j, rule := range v.keys {
			a.Fields = append(a.Fields, AliasField{Rule: rule.text, Field: v.items[j].text})
		}
		c.Aliases = append(c.Aliases, a)
	}
	return nil
}

func (d *decoder) correlationCondition(c *Correlation, section *node) error {
	temporal := c.Type == CorrelationTemporal || c.Type == CorrelationTemporalOrdered
	n := section.get("condition")
	if n == nil {
		if temporal {
			c.Condition.Pos = d.at(section)
			return nil
		}
		return failAt(section, "correlation.condition: %s needs one, such as gte: 10", c.Type)
	}
	c.Condition.Pos = d.at(n)
	if n.kind == scalarNode && temporal {
		e, err := ParseCondition(n.text)
		if err != nil {
			return failAt(n, "correlation.condition: %s", err)
		}
		c.Condition.Expr = e
		return nil
	}
	if n.kind != mapNode {
		return failAt(n, "correlation.condition: must be a map, such as gte: 10")
	}
	for i, k := range n.keys {
		v := n.items[i]
		switch k.text {
		case "field":
			c.Condition.Fields = texts(v)
		case "gt", "gte", "lt", "lte", "eq", "neq":
			x, err := strconv.ParseFloat(v.text, 64)
			if err != nil {
				return failAt(v, "correlation.condition.%s: %q is no number", k.text, shorten(v.text))
			}
			c.Condition.Terms = append(c.Condition.Terms, Comparison{Op: k.text, Number: x})
		case "percentile":
			x, err := strconv.ParseFloat(v.text, 64)
			if err != nil || x < 0 || x > 100 {
				return failAt(v, "correlation.condition.percentile: %q is not within 0 and 100", shorten(v.text))
			}
			c.Condition.Percentile = x
		default:
			return failAt(k, "correlation.condition.%s: is unknown: use gt, gte, lt, lte, eq or neq", shorten(k.text))
		}
	}
	if len(c.Condition.Terms) == 0 {
		return failAt(n, "correlation.condition: needs gt, gte, lt, lte, eq or neq")
	}
	if !temporal && c.Type != CorrelationEventCount && len(c.Condition.Fields) == 0 {
		return failAt(n, "correlation.condition.field: %s needs the field that it looks at", c.Type)
	}
	return nil
}

func (d *decoder) filter(doc *node) (*Filter, error) {
	m, err := d.meta(doc)
	if err != nil {
		return nil, err
	}
	f := &Filter{Meta: m}
	if f.LogSource, err = d.logSource(doc); err != nil {
		return nil, err
	}
	n := doc.get("filter")
	if n.kind != mapNode {
		return nil, failAt(n, "filter: must be a map of rules, search identifiers and a condition")
	}
	rules := n.get("rules")
	switch f.Rules = texts(rules); {
	case len(f.Rules) == 1 && rules.kind == scalarNode && f.Rules[0] == "any":
		f.Any, f.Rules = true, nil
	case len(f.Rules) == 0:
		return nil, failAt(n, "filter.rules: name the rules to filter, by id or name, or say any")
	}
	f.Detections, f.Conditions, err = d.detections(n, []string{"rules"})
	return f, err
}
