package detect

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/detect/sigma"
	"github.com/cybervault/cybervault/internal/detect/web"
)

// Exceptions tell whether people wanted something left out. They never change and
// are safe for concurrent use.
type Exceptions struct {
	all    []cybervault.Exception
	fields *sigma.Engine // one rule for each that asks for fields, by its id
}

// NewExceptions compiles exceptions. The error has code CodeInvalid and names the
// field of the exception that cannot be used.
func NewExceptions(all []cybervault.Exception) (*Exceptions, error) {
	x := &Exceptions{all: slices.Clone(all)}
	var rules []*sigma.Rule
	for i := range x.all {
		e := &x.all[i]
		if len(e.Where) == 0 {
			continue
		}
		group := sigma.Group{}
		for _, field := range slices.Sorted(maps.Keys(e.Where)) {
			name, rest, _ := strings.Cut(field, "|")
			item := &sigma.Item{Field: name}
			if rest != "" {
				item.Modifiers = strings.Split(strings.ToLower(rest), "|")
			}
			for _, v := range e.Where[field] {
				item.Values = append(item.Values, sigma.Value{Kind: sigma.StringValue, Text: v})
			}
			group.Items = append(group.Items, item)
		}
		rule := &sigma.Rule{
			Meta:       sigma.Meta{ID: e.ID.String(), Title: e.Reason, Level: "low"},
			Detections: []*sigma.Detection{{Name: "where", Groups: []sigma.Group{group}}},
			Conditions: []*sigma.Condition{{Text: "where", Expr: &sigma.Expr{Op: sigma.OpIdent, Name: "where"}}},
		}
		if _, wrong := sigma.Compile([]*sigma.Rule{rule}, sigma.Options{}); len(wrong) > 0 {
			return nil, cybervault.Invalid("where", "%s", strings.TrimPrefix(wrong[0].Message, "where: "))
		}
		rules = append(rules, rule)
	}
	if len(rules) > 0 {
		var wrong []*sigma.LoadError
		if x.fields, wrong = sigma.Compile(rules, sigma.Options{}); len(wrong) > 0 {
			return nil, fmt.Errorf("exceptions that are right one by one are not together: %w", wrong[0])
		}
	}
	return x, nil
}

// matched returns the ids of the exceptions whose fields a record has.
func (x *Exceptions) matched(rec *cybervault.Record) map[string]bool {
	if x.fields == nil {
		return nil
	}
	hits := x.fields.Match(withNames(rec))
	if len(hits) == 0 {
		return nil
	}
	out := make(map[string]bool, len(hits))
	for _, h := range hits {
		out[h.ID] = true
	}
	return out
}

// withNames is the record with the fields that exceptions know every record by.
func withNames(rec *cybervault.Record) *cybervault.Record {
	r := *rec
	r.Category, r.Product, r.Service = "", "", ""
	r.Fields = make(map[string]string, len(rec.Fields)+4)
	maps.Copy(r.Fields, rec.Fields)
	for name, value := range map[string]string{"source_ip": rec.SourceIP, "user": rec.User, "host": rec.Host, "source": rec.Source} {
		if value != "" && r.Fields[name] == "" {
			r.Fields[name] = value
		}
	}
	return &r
}

// Hides returns the first exception that hides what the named rule found in a
// record, nil if there is none. Names are the rule's id and the vector or pattern.
func (x *Exceptions) Hides(rec *cybervault.Record, names ...string) *cybervault.Exception {
	return x.hides(x.matched(rec), func(*cybervault.Exception) bool { return false }, names...)
}

func (x *Exceptions) hides(matched map[string]bool, ended func(*cybervault.Exception) bool, names ...string) *cybervault.Exception {
	for i := range x.all {
		e := &x.all[i]
		if e.Rule != "*" && !slices.Contains(names, e.Rule) || ended(e) {
			continue
		}
		if len(e.Where) == 0 || matched[e.ID.String()] {
			return e
		}
	}
	return nil
}

// controls are what one workspace wants left out.
type controls struct {
	off        map[string]cybervault.RuleOff
	exceptions *Exceptions
}

// SetControls replaces what people of a workspace want left out, from now on. The
// error is that of NewExceptions, and nothing is changed by it.
func (e *Engine) SetControls(ws cybervault.WorkspaceID, c *cybervault.Controls) error {
	x, err := NewExceptions(c.Exceptions)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.controls[ws] = &controls{maps.Clone(c.Off), x}
	return nil
}

// veil says what of one record is to be left out. The zero value leaves out nothing.
type veil struct {
	b       *Batch
	c       *controls
	rec     *cybervault.Record
	matched map[string]bool
	asked   bool
}

func (b *Batch) veil(rec *cybervault.Record) veil {
	c := b.e.controls[b.ws]
	if c == nil || len(c.off) == 0 && len(c.exceptions.all) == 0 {
		return veil{}
	}
	return veil{b: b, c: c, rec: rec}
}

// hides reports whether a rule that goes by these names is off, or excepted for the
// record, and counts it.
func (v *veil) hides(names ...string) bool {
	if v.c == nil {
		return false
	}
	hidden := false
	for _, n := range names {
		_, off := v.c.off[n]
		hidden = hidden || off
	}
	if !hidden && len(v.c.exceptions.all) > 0 {
		if !v.asked {
			v.asked, v.matched = true, v.c.exceptions.matched(v.rec)
		}
		now := v.b.e.cfg.Now()
		hidden = v.c.exceptions.hides(v.matched, func(e *cybervault.Exception) bool { return e.Ended(now) }, names...) != nil
	}
	if hidden {
		v.b.e.hidden++
	}
	return hidden
}

// visible returns the matches that are not to be left out.
func (v *veil) visible(matches []web.Match) []web.Match {
	if v.c == nil || len(matches) == 0 {
		return matches
	}
	return slices.DeleteFunc(slices.Clone(matches), func(m web.Match) bool { return v.hides(m.ID(), m.Vector) })
}
