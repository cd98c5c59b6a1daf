package sigma

import (
	"bytes"
	"fmt"
	"net/netip"
)

// shape is how a pattern is matched, the cheap ways first.
type shape uint8

const (
	shapeEqual    shape = iota
	shapePrefix         // lit*
	shapeSuffix         // *lit
	shapeContains       // *lit*
	shapeAny            // *
	shapeGlob           // anything else
)

// keywordField stands for the whole record: every value, and the raw text.
const keywordField = 0

// atom is one comparison of one field with one value. Rules share equal ones,
// so each is decided once for a record.
type atom struct {
	field   int32
	test    testKind
	shape   shape
	cased   bool
	present bool // of testExists
	before  bool // of testFieldRef: more may stand before the other field's value
	behind  bool
	ref     int32 // the other field
	lit     []byte
	glob    pattern
	re      *expression
	prefix  netip.Prefix
	op      string
	number  float64
	part    string
}

// newAtom makes an atom of an operand; field and ref are for the caller to set.
func newAtom(c *comparison, o operand) (atom, error) {
	a := atom{test: o.test, cased: c.cased, present: o.present, before: o.before, behind: o.behind, prefix: o.prefix, op: o.text, number: o.number, part: c.part}
	switch o.test {
	case testPattern:
		if c.part != "" {
			return a, fmt.Errorf("%s: needs a number", c.part)
		}
		p := o.pattern
		if !c.cased {
			p = p.folded()
		}
		a.shape, a.lit = shapeOf(p)
		if a.shape == shapeGlob {
			a.glob = p
		}
	case testRegexp:
		var err error
		if a.re, err = newExpression(o.text, c.flags); err != nil {
			return a, err
		}
	case testCIDR, testNumber, testExists, testFieldRef:
	}
	return a, nil
}

func shapeOf(p pattern) (shape, []byte) {
	if text, ok := p.plain(); ok {
		return shapeEqual, []byte(text)
	}
	lit := func(i int) bool { return p[i].kind == literal }
	run := func(i int) bool { return p[i].kind == anyRun }
	switch {
	case len(p) == 1 && run(0):
		return shapeAny, nil
	case len(p) == 2 && lit(0) && run(1):
		return shapePrefix, []byte(p[0].text)
	case len(p) == 2 && run(0) && lit(1):
		return shapeSuffix, []byte(p[1].text)
	case len(p) == 3 && run(0) && lit(1) && run(2):
		return shapeContains, []byte(p[1].text)
	}
	return shapeGlob, nil
}

// key tells equal atoms.
func (a *atom) key() string {
	return fmt.Sprintf("%d\x00%d\x00%d\x00%t\x00%t\x00%t\x00%t\x00%d\x00%q\x00%q\x00%q\x00%s\x00%s\x00%v\x00%s",
		a.field, a.test, a.shape, a.cased, a.present, a.before, a.behind, a.ref, a.lit, a.glob, a.re.String(), a.prefix, a.op, a.number, a.part)
}

// matchBytes decides a pattern, on a value folded unless the atom is cased.
func (a *atom) matchBytes(v []byte) bool {
	switch a.shape {
	case shapeEqual:
		return bytes.Equal(v, a.lit)
	case shapePrefix:
		return bytes.HasPrefix(v, a.lit)
	case shapeSuffix:
		return bytes.HasSuffix(v, a.lit)
	case shapeContains:
		return bytes.Contains(v, a.lit)
	case shapeAny:
		return true
	case shapeGlob:
		return a.glob.match(v)
	}
	return false
}

// matchText decides what is not decided on folded bytes.
func (a *atom) matchText(s string) bool {
	switch a.test {
	case testRegexp:
		return a.re.matchString(s)
	case testCIDR:
		addr, ok := address(s)
		return ok && a.prefix.Contains(addr)
	case testNumber:
		if a.part != "" {
			n, ok := timePart(s, a.part)
			return ok && ordered(a.op, n, a.number)
		}
		n, ok := number(s)
		return ok && ordered(a.op, n, a.number)
	case testPattern, testExists, testFieldRef:
	}
	return false
}

// matchPair decides a reference to a field, both values folded or both not.
func (a *atom) matchPair(v, other []byte) bool {
	switch {
	case a.before && a.behind:
		return bytes.Contains(v, other)
	case a.before:
		return bytes.HasSuffix(v, other)
	case a.behind:
		return bytes.HasPrefix(v, other)
	}
	return bytes.Equal(v, other)
}
