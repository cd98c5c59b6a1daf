package sigma

import "math"

// probe is something that the index can look for in a field.
type probe struct {
	field int32
	kind  probeKind
	lit   string // folded
}

type probeKind uint8

const (
	probePresent probeKind = iota // the field has a value
	probeEqual
	probePrefix
	probeSuffix
	probeInside
)

// clause is a set of probes of which a rule needs one; nil where none is known.
type clause []probe

// probes returns what must be found for an atom to hold, nil where it may hold for
// a record that has none of it.
func (a *atom) probes() clause {
	at := func(kind probeKind, lit string) clause { return clause{{a.field, kind, lit}} }
	switch a.test {
	case testExists:
		if !a.present {
			return nil
		}
	case testPattern:
		lit := string(a.lit)
		if a.cased {
			lit = string(fold(lit))
		}
		switch {
		case a.shape == shapeEqual:
			return at(probeEqual, lit)
		case a.shape == shapePrefix:
			return at(probePrefix, lit)
		case a.shape == shapeSuffix:
			return at(probeSuffix, lit)
		case a.shape == shapeContains && lit != "":
			return at(probeInside, lit)
		case a.shape == shapeGlob:
			if kind, lit := a.globProbe(); lit != "" {
				return at(kind, lit)
			}
		}
	case testRegexp:
		if len(a.re.demands) > 0 && shortest(a.re.demands) >= 2 {
			var out clause
			for _, d := range a.re.demands {
				out = append(out, probe{a.field, probeInside, d})
			}
			return out
		}
	case testCIDR, testNumber, testFieldRef:
	}
	return at(probePresent, "")
}

// globProbe is the longest literal of a pattern.
func (a *atom) globProbe() (probeKind, string) {
	best := -1
	for i, t := range a.glob {
		if t.kind == literal && (best < 0 || len(t.text) > len(a.glob[best].text)) {
			best = i
		}
	}
	if best < 0 {
		return probePresent, ""
	}
	lit := string(fold(a.glob[best].text))
	switch best {
	case 0:
		return probePrefix, lit
	case len(a.glob) - 1:
		return probeSuffix, lit
	}
	return probeInside, lit
}

// planner chooses what the index looks for.
type planner struct {
	atoms []atom
	uses  map[probe]int // how many rules of the bucket know a probe
}

// count counts the probes of a rule.
func (p *planner) count(e *expr) {
	if e.kind == exprAtom {
		for _, pr := range p.atoms[e.atom].probes() {
			p.uses[pr]++
		}
	}
	for _, k := range e.kids {
		p.count(k)
	}
}

// cost guesses in how many records a probe is found: the longer its literal the
// fewer, and what many rules look for is common.
func (p *planner) cost(pr probe) float64 {
	if pr.kind == probePresent {
		return 1
	}
	c := math.Max(math.Pow(2, -float64(len(pr.lit))), 1e-4)
	switch pr.kind {
	case probeEqual:
		c = math.Max(c/2, 2e-3)
	case probePrefix, probeSuffix:
		c /= 2
	case probeInside, probePresent:
	}
	return c * (1 + float64(p.uses[pr]))
}

func (p *planner) sum(c clause) (total float64) {
	for _, pr := range c {
		total += p.cost(pr)
	}
	return total
}

// require returns the cheapest clause that a node needs: of an AND that of its
// cheapest part, of an OR those of all its parts together.
func (p *planner) require(e *expr) clause {
	switch e.kind {
	case exprAtom:
		return p.atoms[e.atom].probes()
	case exprAnd:
		var best clause
		for _, k := range e.kids {
			if c := p.require(k); c != nil && (best == nil || p.sum(c) < p.sum(best)) {
				best = c
			}
		}
		return best
	case exprOr, exprAtLeast:
		var out clause
		for _, k := range e.kids {
			c := p.require(k)
			if c == nil {
				return nil
			}
			out = append(out, c...)
		}
		return out
	case exprNot:
	}
	return nil
}
