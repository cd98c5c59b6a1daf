package sigma

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ExprOp is what a node of a condition does.
type ExprOp uint8

// The operations of a condition.
const (
	OpIdent ExprOp = iota // a search identifier: Name
	OpAnd                 // all Args
	OpOr                  // one of Args
	OpNot                 // not Args[0]
	OpOf                  // at least Count of the identifiers that Name matches; all of them if Count is 0
)

// Expr is a node of a condition's tree.
type Expr struct {
	Op    ExprOp
	Name  string // an identifier, a pattern of identifiers with *, or "them"
	Count int
	Args  []*Expr
}

// maxConditionDepth bounds brackets and nots within each other.
const maxConditionDepth = 64

// ParseCondition reads a condition:
//
//	or < and < not < x of pattern < ( … )
func ParseCondition(text string) (*Expr, error) {
	p := &conditionParser{tokens: conditionTokens(text)}
	e, err := p.or(0)
	if err != nil {
		return nil, err
	}
	if t := p.peek(); t != "" {
		if t == "|" {
			return nil, errors.New("aggregations behind a | left Sigma with version 2: write a correlation rule")
		}
		return nil, fmt.Errorf("%q stands where and, or, or the end of the condition was expected", shorten(t))
	}
	return e, nil
}

func conditionTokens(text string) []string {
	var out []string
	start := -1
	flush := func(i int) {
		if start >= 0 {
			out = append(out, text[start:i])
			start = -1
		}
	}
	for i := range len(text) {
		switch c := text[i]; c {
		case ' ', '\t', '\r', '\n':
			flush(i)
		case '(', ')', '|':
			flush(i)
			out = append(out, text[i:i+1])
		default:
			if start < 0 {
				start = i
			}
		}
	}
	flush(len(text))
	return out
}

type conditionParser struct {
	tokens []string
	at     int
}

func (p *conditionParser) peek() string {
	if p.at < len(p.tokens) {
		return p.tokens[p.at]
	}
	return ""
}

func (p *conditionParser) keyword(word string) bool {
	if strings.EqualFold(p.peek(), word) {
		p.at++
		return true
	}
	return false
}

func (p *conditionParser) or(depth int) (*Expr, error) {
	return p.chain(OpOr, "or", depth, p.and)
}

func (p *conditionParser) and(depth int) (*Expr, error) {
	return p.chain(OpAnd, "and", depth, p.not)
}

func (p *conditionParser) chain(op ExprOp, word string, depth int, next func(int) (*Expr, error)) (*Expr, error) {
	first, err := next(depth)
	if err != nil {
		return nil, err
	}
	args := []*Expr{first}
	for p.keyword(word) {
		e, err := next(depth)
		if err != nil {
			return nil, err
		}
		args = append(args, e)
	}
	if len(args) == 1 {
		return first, nil
	}
	return &Expr{Op: op, Args: args}, nil
}

func (p *conditionParser) not(depth int) (*Expr, error) {
	if depth > maxConditionDepth {
		return nil, fmt.Errorf("the condition nests more than %d deep", maxConditionDepth)
	}
	if p.keyword("not") {
		e, err := p.not(depth + 1)
		if err != nil {
			return nil, err
		}
		return &Expr{Op: OpNot, Args: []*Expr{e}}, nil
	}
	if p.keyword("(") {
		e, err := p.or(depth + 1)
		if err != nil {
			return nil, err
		}
		if !p.keyword(")") {
			return nil, errors.New("a bracket is not closed")
		}
		return e, nil
	}
	return p.operand()
}

// operand reads an identifier, or "x of pattern".
func (p *conditionParser) operand() (*Expr, error) {
	t := p.peek()
	switch strings.ToLower(t) {
	case "":
		return nil, errors.New("the condition ends where a search identifier was expected")
	case "and", "or", "of", ")", "|":
		return nil, fmt.Errorf("%q stands where a search identifier was expected", t)
	}
	p.at++
	if !strings.EqualFold(p.peek(), "of") {
		if !isIdentifier(t, false) {
			return nil, fmt.Errorf("%q is no search identifier: use letters, digits, dots, - and _", shorten(t))
		}
		return &Expr{Op: OpIdent, Name: t}, nil
	}
	count, err := quantity(t)
	if err != nil {
		return nil, err
	}
	p.at++
	pattern := p.peek()
	if !isIdentifier(pattern, true) {
		return nil, fmt.Errorf("%q of needs them or a pattern of search identifiers, such as selection_*", t)
	}
	p.at++
	if strings.EqualFold(pattern, "them") {
		pattern = "them"
	}
	return &Expr{Op: OpOf, Name: pattern, Count: count}, nil
}

// quantity reads what stands before of: all is 0.
func quantity(t string) (int, error) {
	switch strings.ToLower(t) {
	case "all":
		return 0, nil
	case "any":
		return 1, nil
	}
	n, err := strconv.Atoi(t)
	if err != nil || n < 1 || n > 10_000 {
		return 0, fmt.Errorf("%q of is unknown: use 1 of, all of, or another number", shorten(t))
	}
	return n, nil
}

func isIdentifier(s string, wild bool) bool {
	for _, r := range s {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '-', r == '.', r > 127:
		case r == '*' && wild:
		default:
			return false
		}
	}
	return s != ""
}

// selects reports whether a pattern of x of takes in an identifier. Those that
// begin with _ are left out unless the pattern begins so too.
func selects(pattern, name string) bool {
	if strings.HasPrefix(name, "_") && !strings.HasPrefix(pattern, "_") {
		return false
	}
	if pattern == "them" {
		return true
	}
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return name == pattern
	}
	first, last := parts[0], parts[len(parts)-1]
	if len(name) < len(first)+len(last) || !strings.HasPrefix(name, first) || !strings.HasSuffix(name, last) {
		return false
	}
	name = name[len(first) : len(name)-len(last)]
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(name, part)
		if i < 0 {
			return false
		}
		name = name[i+len(part):]
	}
	return true
}

// String writes the tree as a condition with all its brackets.
func (e *Expr) String() string {
	switch e.Op {
	case OpIdent:
		return e.Name
	case OpNot:
		return "not " + e.Args[0].String()
	case OpOf:
		if e.Count == 0 {
			return "all of " + e.Name
		}
		return strconv.Itoa(e.Count) + " of " + e.Name
	case OpAnd, OpOr:
	}
	word := " and "
	if e.Op == OpOr {
		word = " or "
	}
	parts := make([]string, len(e.Args))
	for i, a := range e.Args {
		parts[i] = a.String()
	}
	return "(" + strings.Join(parts, word) + ")"
}

func shorten(s string) string {
	if len(s) > 60 {
		return strings.ToValidUTF8(s[:60], "") + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
