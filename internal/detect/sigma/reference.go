package sigma

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/cybervault/cybervault"
)

// Reference decides rules the plain way: each rule of the log source, each
// comparison, on the record's own text. It is what the Engine is tested and
// measured against.
type Reference struct {
	rules []*Rule
	items map[*Item]*comparison
	atoms map[*Item][]atom
}

// NewReference takes the rules that Compile would take.
func NewReference(rules []*Rule, o Options) *Reference {
	ref := &Reference{items: map[*Item]*comparison{}, atoms: map[*Item][]atom{}}
	for _, r := range rules {
		if _, errs := Compile([]*Rule{r}, o); len(errs) > 0 {
			continue
		}
		ref.rules = append(ref.rules, r)
		for _, d := range r.Detections {
			for _, g := range d.Groups {
				for _, i := range g.Items {
					ref.prepare(i, o)
				}
			}
		}
	}
	return ref
}

func (ref *Reference) prepare(i *Item, o Options) {
	c, err := resolve(i, o.Placeholders)
	if err != nil {
		return // Compile said so
	}
	ref.items[i] = c
	for _, op := range c.operands {
		a, err := newAtom(c, op)
		if err != nil {
			return
		}
		ref.atoms[i] = append(ref.atoms[i], a)
	}
}

// Match returns the rules that a record matches, in their order.
func (ref *Reference) Match(rec *cybervault.Record) []*Rule {
	var out []*Rule
	for _, r := range ref.rules {
		if !sourceTakes(r.LogSource, rec) {
			continue
		}
		for _, c := range r.Conditions {
			if ref.condition(c.Expr, r, rec) {
				out = append(out, r)
				break
			}
		}
	}
	return out
}

func sourceTakes(s LogSource, rec *cybervault.Record) bool {
	return slices.Contains(categories(rec.Category), s.Category) && slices.Contains(products(rec.Product), s.Product) &&
		slices.Contains(services(rec.Product, rec.Service), s.Service)
}

func (ref *Reference) condition(e *Expr, r *Rule, rec *cybervault.Record) bool {
	switch e.Op {
	case OpIdent:
		i := slices.IndexFunc(r.Detections, func(d *Detection) bool { return d.Name == e.Name })
		return ref.detection(r.Detections[i], rec)
	case OpNot:
		return !ref.condition(e.Args[0], r, rec)
	case OpAnd:
		return !slices.ContainsFunc(e.Args, func(a *Expr) bool { return !ref.condition(a, r, rec) })
	case OpOr:
		return slices.ContainsFunc(e.Args, func(a *Expr) bool { return ref.condition(a, r, rec) })
	case OpOf:
	}
	all, hold := 0, 0
	for _, d := range r.Detections {
		if selects(e.Name, d.Name) {
			all++
			if ref.detection(d, rec) {
				hold++
			}
		}
	}
	if e.Count == 0 {
		return hold == all
	}
	return hold >= e.Count
}

func (ref *Reference) detection(d *Detection, rec *cybervault.Record) bool {
	return slices.ContainsFunc(d.Groups, func(g Group) bool {
		return !slices.ContainsFunc(g.Items, func(i *Item) bool { return !ref.item(i, rec) })
	})
}

func (ref *Reference) item(i *Item, rec *cybervault.Record) bool {
	c := ref.items[i]
	values, held := valuesOf(rec, i.Field)
	found := make([]bool, len(i.Values))
	for n, o := range c.operands {
		a := &ref.atoms[i][n]
		var ok bool
		switch o.test {
		case testExists:
			ok = held == o.present
		case testFieldRef:
			others, _ := valuesOf(rec, o.text)
			ok = slices.ContainsFunc(values, func(v string) bool {
				return slices.ContainsFunc(others, func(other string) bool {
					p := pattern{{literal, other}}.around(o.before, o.behind)
					return globMatches(p, v, c.cased)
				})
			})
		case testPattern:
			ok = slices.ContainsFunc(values, func(v string) bool { return globMatches(o.pattern, v, c.cased) })
		case testRegexp, testCIDR, testNumber:
			ok = slices.ContainsFunc(values, a.matchText)
		}
		found[o.origin] = found[o.origin] || ok
	}
	if c.all {
		return !slices.Contains(found, false) != c.negated
	}
	return slices.Contains(found, true) != c.negated
}

// valuesOf returns a field's values, under its exact name or else under those that
// differ in case or spaces; of no field, all values and the raw record.
func valuesOf(rec *cybervault.Record, field string) (out []string, held bool) {
	each := func(take func(name string) bool) {
		for name, v := range rec.Fields {
			if take(name) {
				out = append(out, v)
			}
		}
		for name, vs := range rec.Multi {
			if take(name) {
				out = append(out, vs...)
			}
		}
	}
	if field == "" {
		each(func(string) bool { return true })
		if len(rec.Raw) > 0 {
			out = append(out, string(rec.Raw))
		}
		return out, true
	}
	if each(func(name string) bool { return name == field }); len(out) == 0 {
		each(func(name string) bool {
			return strings.EqualFold(strings.ReplaceAll(name, " ", ""), strings.ReplaceAll(field, " ", ""))
		})
	}
	return out, len(out) > 0
}

// globMatches is pattern.match without any of its thought.
func globMatches(p pattern, s string, cased bool) bool {
	if len(p) == 0 {
		return s == ""
	}
	switch t := p[0]; t.kind {
	case anyRun:
		for {
			if globMatches(p[1:], s, cased) {
				return true
			}
			if s == "" {
				return false
			}
			_, size := utf8.DecodeRuneInString(s)
			s = s[size:]
		}
	case literal:
		for want := t.text; want != ""; {
			if s == "" {
				return false
			}
			_, m := utf8.DecodeRuneInString(want)
			_, n := utf8.DecodeRuneInString(s)
			x, y := want[:m], s[:n]
			if x != y && (cased || !strings.EqualFold(x, y) || !utf8.ValidString(x) || !utf8.ValidString(y)) {
				return false
			}
			want, s = want[m:], s[n:]
		}
		return globMatches(p[1:], s, cased)
	case anyChar:
		_, n := utf8.DecodeRuneInString(s)
		return n > 0 && globMatches(p[1:], s[n:], cased)
	case dashChar:
		r, n := utf8.DecodeRuneInString(s)
		return n > 0 && strings.ContainsRune("-/\u2013\u2014\u2015", r) && globMatches(p[1:], s[n:], cased)
	case placeholder:
	}
	return false
}
