package sigma

import (
	"fmt"
	"regexp"
	"strings"
)

// expression is a regular expression, and what it looks ahead for at the start of
// the text, which RE2 has no way to write. All must hold.
type expression struct {
	re      *regexp.Regexp
	ahead   []lookahead
	demands []string // folded literals, one of which re needs
}

type lookahead struct {
	re   *regexp.Regexp
	want bool
}

// newExpression compiles a regular expression of Sigma, with flags such as "is".
func newExpression(text, flags string) (*expression, error) {
	body := translate(text)
	if flags != "" {
		flags = "(?" + flags + ")"
	}
	if m := leadingFlags.FindString(body); m != "" {
		flags, body = flags+m, body[len(m):]
	}
	x := &expression{}
	if rest, ok := strings.CutPrefix(body, "^"); ok && !strings.Contains(flags, "m") {
		// What stands ahead at the very start can be asked on its own.
		for {
			inner, want, after, ok := cutLookahead(rest)
			if !ok {
				break
			}
			re, err := regexp.Compile(flags + "^(?:" + inner + ")")
			if err != nil {
				return nil, expressionError(text, err)
			}
			x.ahead = append(x.ahead, lookahead{re, want})
			rest = after
		}
		body = "^" + rest
	}
	var err error
	if x.re, err = regexp.Compile(flags + body); err != nil {
		return nil, expressionError(text, err)
	}
	x.demands = demanded(flags + body)
	for _, a := range x.ahead {
		if a.want {
			if more := demanded(a.re.String()); better(more, x.demands) {
				x.demands = more
			}
		}
	}
	return x, nil
}

var leadingFlags = regexp.MustCompile(`^\(\?[ims]+\)`)

// cutLookahead takes (?=…) or (?!…) off the start of an expression.
func cutLookahead(s string) (inner string, want bool, rest string, ok bool) {
	if !strings.HasPrefix(s, "(?=") && !strings.HasPrefix(s, "(?!") {
		return "", false, s, false
	}
	depth, class := 0, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			i++
		case class:
			class = c != ']' || s[i-1] == '[' || strings.HasSuffix(s[:i], "[^")
		case c == '[':
			class = true
		case c == '(':
			depth++
		case c == ')':
			if depth--; depth == 0 {
				next := s[i+1:]
				if next != "" && strings.ContainsRune("*+?{|", rune(next[0])) {
					return "", false, s, false
				}
				return s[3:i], s[2] == '=', next, !strings.Contains(topLevel(next), "|")
			}
		}
	}
	return "", false, s, false
}

// topLevel is an expression without what stands in brackets: an alternative there would
// make the lookahead hold for its first branch only.
func topLevel(s string) string {
	var b strings.Builder
	depth, class := 0, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			i++
		case class:
			class = c != ']'
		case c == '[':
			class = true
		case c == '(':
			depth++
		case c == ')':
			depth--
		case depth == 0:
			b.WriteByte(c)
		}
	}
	return b.String()
}

func (x *expression) matchString(s string) bool {
	if !x.re.MatchString(s) {
		return false
	}
	for _, a := range x.ahead {
		if a.re.MatchString(s) != a.want {
			return false
		}
	}
	return true
}

func (x *expression) match(s []byte) bool {
	if !x.re.Match(s) {
		return false
	}
	for _, a := range x.ahead {
		if a.re.Match(s) != a.want {
			return false
		}
	}
	return true
}

// String tells equal expressions.
func (x *expression) String() string {
	if x == nil {
		return ""
	}
	var b strings.Builder
	b.WriteString(x.re.String())
	for _, a := range x.ahead {
		fmt.Fprintf(&b, "\x01%t%s", a.want, a.re)
	}
	return b.String()
}

// translate turns PCRE's spellings into those of RE2 that mean the same.
func translate(expr string) string {
	if !strings.Contains(expr, `\`) {
		return expr
	}
	var b strings.Builder
	class := false
	for i := 0; i < len(expr); i++ {
		c := expr[i]
		if c != '\\' || i+1 == len(expr) {
			switch c {
			case '[':
				class = true
			case ']':
				class = false
			}
			b.WriteByte(c)
			continue
		}
		i++
		switch c := expr[i]; {
		case c == 'Z' && !class:
			b.WriteString(`(?:\n?\z)`)
		case c == 'h' && class:
			b.WriteString(`\t `)
		case c == 'h':
			b.WriteString(`[\t ]`)
		case c == 'R' && !class:
			b.WriteString(`(?:\r\n|[\n\v\f\r])`)
		default:
			b.WriteByte('\\')
			b.WriteByte(c)
		}
	}
	return b.String()
}

// expressionError names what a regular expression has that this engine does not.
func expressionError(text string, err error) error {
	for _, c := range []struct{ mark, what string }{
		{"(?=", "a lookahead"}, {"(?!", "a negative lookahead"}, {"(?<=", "a lookbehind"}, {"(?<!", "a negative lookbehind"},
		{"(?>", "an atomic group"}, {"++", "a possessive quantifier"}, {"*+", "a possessive quantifier"}, {"(?(", "a conditional group"},
	} {
		if strings.Contains(text, c.mark) {
			return fmt.Errorf("the expression has %s (%s), which may take time without bound and is not in the flavour that Sigma names; only lookaheads at the start, behind ^, are understood: "+
				"write it as two items, one of them negated in the condition", c.what, c.mark)
		}
	}
	return fmt.Errorf("not a regular expression: %w", err)
}
