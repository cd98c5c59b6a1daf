package sigma

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
)

// operand is a value on its way through the modifiers.
type operand struct {
	test    testKind // what the field is compared by; testPattern to begin with
	pattern pattern
	text    string // of a regular expression; the name of a field
	number  float64
	present bool // of testExists
	prefix  netip.Prefix
	before  bool // fieldref with startswith, contains: whether more may stand before, behind
	behind  bool
	origin  int // which of the item's values it comes of
}

// comparison is what the modifiers of an item make of it.
type comparison struct {
	operands []operand
	all      bool
	negated  bool
	cased    bool
	part     string // of a time: minute, hour …
	flags    string // of regular expressions: i, m, s
	compare  string // lt, lte, gt, gte
}

// maxOperands bounds what a value may expand into.
const maxOperands = 10_000

var modifiers = map[string]func(*comparison, *Item) error{
	"all":          func(c *comparison, _ *Item) error { c.all = true; return nil },
	"cased":        func(c *comparison, _ *Item) error { c.cased = true; return nil },
	"neq":          func(c *comparison, _ *Item) error { c.negated = true; return nil },
	"startswith":   func(c *comparison, _ *Item) error { return c.around(false, true) },
	"endswith":     func(c *comparison, _ *Item) error { return c.around(true, false) },
	"contains":     func(c *comparison, _ *Item) error { return c.around(true, true) },
	"windash":      func(c *comparison, _ *Item) error { return c.patterns(pattern.windash) },
	"wide":         func(c *comparison, _ *Item) error { return c.encode(utf16LE) },
	"utf16le":      func(c *comparison, _ *Item) error { return c.encode(utf16LE) },
	"utf16be":      func(c *comparison, _ *Item) error { return c.encode(utf16BE) },
	"utf16":        func(c *comparison, _ *Item) error { return c.encode(utf16BOM) },
	"base64":       func(c *comparison, _ *Item) error { return c.base64(false) },
	"base64offset": func(c *comparison, _ *Item) error { return c.base64(true) },
	"re":           func(c *comparison, item *Item) error { return c.regexps(item) },
	"cidr":         func(c *comparison, _ *Item) error { return c.cidr() },
	"exists":       func(c *comparison, item *Item) error { return c.exists(item) },
	"fieldref":     func(c *comparison, item *Item) error { return c.fieldref(item) },
	"expand":       func(*comparison, *Item) error { return nil }, // done first, so that what it yields goes through the others
	"lt":           func(c *comparison, _ *Item) error { return c.order("lt") },
	"lte":          func(c *comparison, _ *Item) error { return c.order("lte") },
	"gt":           func(c *comparison, _ *Item) error { return c.order("gt") },
	"gte":          func(c *comparison, _ *Item) error { return c.order("gte") },
	"minute":       func(c *comparison, _ *Item) error { return c.timePart("minute") },
	"hour":         func(c *comparison, _ *Item) error { return c.timePart("hour") },
	"day":          func(c *comparison, _ *Item) error { return c.timePart("day") },
	"week":         func(c *comparison, _ *Item) error { return c.timePart("week") },
	"month":        func(c *comparison, _ *Item) error { return c.timePart("month") },
	"year":         func(c *comparison, _ *Item) error { return c.timePart("year") },
	"i":            func(c *comparison, _ *Item) error { return c.flag("i") },
	"m":            func(c *comparison, _ *Item) error { return c.flag("m") },
	"s":            func(c *comparison, _ *Item) error { return c.flag("s") },
}

// resolve applies an item's modifiers to its values.
func resolve(item *Item, placeholders map[string][]string) (*comparison, error) {
	c := &comparison{}
	expands := slices.Contains(item.Modifiers, "expand")
	for i, v := range item.Values {
		o := operand{origin: i}
		switch v.Kind {
		case NullValue:
			o.test = testExists
		case StringValue:
			o.pattern = parsePattern(v.Text, expands)
		case NumberValue, BoolValue:
			o.pattern = pattern{{literal, v.Text}}
		}
		c.operands = append(c.operands, o)
	}
	if expands {
		if err := c.expand(placeholders); err != nil {
			return nil, err
		}
	}
	for _, m := range item.Modifiers {
		apply, ok := modifiers[m]
		if !ok {
			return nil, fmt.Errorf("the modifier %q is unknown", shorten(m))
		}
		if err := apply(c, item); err != nil {
			return nil, fmt.Errorf("%s: %w", m, err)
		}
		if len(c.operands) > maxOperands {
			return nil, fmt.Errorf("%s: the values expand into more than %d", m, maxOperands)
		}
	}
	if c.part != "" && c.compare == "" {
		for i := range c.operands {
			if err := toNumber(&c.operands[i], "eq"); err != nil {
				return nil, fmt.Errorf("%s: %w", c.part, err)
			}
		}
	}
	if item.Field == "" {
		c.keywords()
	}
	return c, nil
}

// keywords are found anywhere.
func (c *comparison) keywords() {
	for i, o := range c.operands {
		if o.test == testPattern {
			c.operands[i].pattern = o.pattern.around(true, true)
		}
	}
}

func (c *comparison) patterns(f func(pattern) pattern) error {
	for i, o := range c.operands {
		if o.test != testPattern {
			return errors.New("needs text")
		}
		c.operands[i].pattern = f(o.pattern)
	}
	return nil
}

func (c *comparison) around(before, behind bool) error {
	for i, o := range c.operands {
		switch o.test {
		case testPattern:
			c.operands[i].pattern = o.pattern.around(before, behind)
		case testFieldRef:
			c.operands[i].before, c.operands[i].behind = before, behind
		case testRegexp:
			switch { // a regular expression is sought anywhere unless it says otherwise
			case !before:
				c.operands[i].text = "^(?:" + o.text + ")"
			case !behind:
				c.operands[i].text = "(?:" + o.text + ")$"
			}
		default:
			return errors.New("needs text, a regular expression or a field")
		}
	}
	return nil
}

func (c *comparison) encode(f func(string) string) error {
	return c.patterns(func(p pattern) pattern {
		out := slices.Clone(p)
		for i, t := range out {
			if t.kind == literal {
				out[i].text = f(t.text)
			}
		}
		return out
	})
}

func utf16Bytes(s string, order binary.AppendByteOrder) string {
	var out []byte
	for _, u := range utf16.Encode([]rune(s)) {
		out = order.AppendUint16(out, u)
	}
	return string(out)
}

func utf16LE(s string) string  { return utf16Bytes(s, binary.LittleEndian) }
func utf16BE(s string) string  { return utf16Bytes(s, binary.BigEndian) }
func utf16BOM(s string) string { return "\xff\xfe" + utf16LE(s) }

func (c *comparison) base64(offsets bool) error {
	var out []operand
	for _, o := range c.operands {
		text, ok := o.pattern.plain()
		if o.test != testPattern || !ok || text == "" {
			return errors.New("needs text without wildcards; put it before contains, startswith and endswith")
		}
		if !offsets {
			out = append(out, operand{pattern: pattern{{literal, base64.StdEncoding.EncodeToString([]byte(text))}}, origin: o.origin})
			continue
		}
		for shift := range 3 {
			if enc := shifted(text, shift); enc != "" {
				out = append(out, operand{pattern: pattern{{literal, enc}}, origin: o.origin})
			}
		}
	}
	c.operands = out
	return nil
}

// shifted is the part of text's base64 form that does not depend on what stands
// before and behind it, where shift bytes stand before.
func shifted(text string, shift int) string {
	enc := base64.StdEncoding.EncodeToString([]byte(strings.Repeat(" ", shift) + text))
	from := []int{0, 2, 3}[shift]
	to := len(enc) - []int{0, 3, 2}[(len(text)+shift)%3]
	if from >= to {
		return ""
	}
	return enc[from:to]
}

func (c *comparison) regexps(item *Item) error {
	if slices.Contains(item.Modifiers, "expand") {
		return errors.New("cannot stand beside expand")
	}
	for i, v := range item.Values {
		if v.Kind == NullValue || i >= len(c.operands) || c.operands[i].test != testPattern {
			return errors.New("needs a regular expression")
		}
		c.operands[i] = operand{test: testRegexp, text: v.Text, origin: i}
	}
	return nil
}

func (c *comparison) flag(f string) error {
	if len(c.operands) == 0 || c.operands[0].test != testRegexp {
		return errors.New("stands behind re only")
	}
	if !strings.Contains(c.flags, f) {
		c.flags += f
	}
	return nil
}

func (c *comparison) cidr() error {
	for i, o := range c.operands {
		text, ok := o.pattern.plain()
		p, err := netip.ParsePrefix(text)
		if a, aerr := netip.ParseAddr(text); aerr == nil {
			p, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		if o.test != testPattern || !ok || err != nil {
			return fmt.Errorf("%q is no network: use one such as 10.0.0.0/8 or fe80::/10", shorten(o.pattern.String()))
		}
		c.operands[i] = operand{test: testCIDR, prefix: p.Masked(), origin: o.origin}
	}
	return nil
}

func (c *comparison) exists(item *Item) error {
	if item.Field == "" || len(item.Values) != 1 || item.Values[0].Kind != BoolValue && item.Values[0].Text != "true" && item.Values[0].Text != "false" {
		return errors.New("needs a field, and one value, true or false")
	}
	c.operands = []operand{{test: testExists, present: item.Values[0].Text == "true"}}
	return nil
}

func (c *comparison) fieldref(item *Item) error {
	if item.Field == "" {
		return errors.New("needs a field")
	}
	for i, o := range c.operands {
		before := len(o.pattern) > 0 && o.pattern[0].kind == anyRun
		behind := len(o.pattern) > 0 && o.pattern[len(o.pattern)-1].kind == anyRun
		if o.test != testPattern || i >= len(item.Values) || item.Values[i].Text == "" {
			return errors.New("needs the name of a field")
		}
		c.operands[i] = operand{test: testFieldRef, text: item.Values[i].Text, before: before, behind: behind, origin: i}
	}
	return nil
}

func toNumber(o *operand, op string) error {
	text, ok := o.pattern.plain()
	n, err := strconv.ParseFloat(text, 64)
	if o.test != testPattern || !ok || err != nil {
		return fmt.Errorf("%q is no number", shorten(o.pattern.String()))
	}
	*o = operand{test: testNumber, number: n, text: op, origin: o.origin}
	return nil
}

func (c *comparison) order(op string) error {
	if c.compare != "" {
		return fmt.Errorf("stands beside %s; use two items", c.compare)
	}
	c.compare = op
	for i := range c.operands {
		if err := toNumber(&c.operands[i], op); err != nil {
			return err
		}
	}
	return nil
}

func (c *comparison) timePart(part string) error {
	if c.part != "" {
		return fmt.Errorf("stands beside %s", c.part)
	}
	c.part = part
	return nil
}

// expand puts in the values of placeholders.
func (c *comparison) expand(values map[string][]string) error {
	var out []operand
	for _, o := range c.operands {
		if o.test != testPattern {
			out = append(out, o)
			continue
		}
		done := []pattern{nil}
		for _, t := range o.pattern {
			choices := []pattern{{t}}
			if t.kind == placeholder {
				given, ok := values[t.text]
				if !ok || len(given) == 0 {
					return fmt.Errorf("the placeholder %%%s%% has no values: give them in a processing pipeline (value_placeholders)", shorten(t.text))
				}
				choices = choices[:0]
				for _, g := range given {
					choices = append(choices, parsePattern(g, false))
				}
			}
			var next []pattern
			for _, d := range done {
				for _, choice := range choices {
					next = append(next, slices.Concat(d, choice))
				}
			}
			if done = next; len(done) > maxOperands {
				return fmt.Errorf("the placeholders expand into more than %d values", maxOperands)
			}
		}
		for _, p := range done {
			p = p.tidy()
			out = append(out, operand{pattern: p, origin: o.origin})
		}
	}
	c.operands = out
	return nil
}
