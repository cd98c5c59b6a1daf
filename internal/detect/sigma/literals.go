package sigma

import (
	"regexp/syntax"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxLiterals bounds the alternatives that are demanded of one expression.
const maxLiterals = 32

// demanded returns folded literals of which a regular expression can match no text
// without one; nil where it demands none. The longest are preferred.
func demanded(expr string) []string {
	re, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return nil
	}
	return demandedBy(re)
}

func demandedBy(re *syntax.Regexp) []string {
	switch re.Op {
	case syntax.OpLiteral:
		// Folding once more makes one of all that (?i) takes for the same. U+FFFD
		// is what an expression sees in place of bytes that are no UTF-8.
		if slices.Contains(re.Rune, utf8.RuneError) {
			return nil
		}
		return []string{string(fold(string(re.Rune)))}
	case syntax.OpCapture, syntax.OpPlus:
		return demandedBy(re.Sub[0])
	case syntax.OpRepeat:
		if re.Min > 0 {
			return demandedBy(re.Sub[0])
		}
	case syntax.OpCharClass:
		return classLiterals(re.Rune)
	case syntax.OpConcat:
		return demandedByAll(re.Sub)
	case syntax.OpAlternate:
		var out []string
		for _, sub := range re.Sub {
			lits := demandedBy(sub)
			if lits == nil || len(out)+len(lits) > maxLiterals {
				return nil
			}
			out = append(out, lits...)
		}
		return out
	default:
	}
	return nil
}

// demandedByAll chooses among what the parts of a concatenation demand, with
// neighbouring literals joined first: (?i)ab[cC]d demands abcd.
func demandedByAll(subs []*syntax.Regexp) []string {
	var best, run []string
	settle := func() {
		if better(run, best) {
			best = run
		}
		run = nil
	}
	for _, sub := range subs {
		exact := exactLiterals(sub)
		if exact == nil {
			settle()
			if lits := demandedBy(sub); better(lits, best) {
				best = lits
			}
			continue
		}
		if run == nil {
			run = exact
			continue
		}
		if len(run)*len(exact) > maxLiterals {
			settle()
			run = exact
			continue
		}
		var joined []string
		for _, a := range run {
			for _, b := range exact {
				joined = append(joined, a+b)
			}
		}
		run = joined
	}
	settle()
	return best
}

// exactLiterals returns all folded texts that an expression matches, where they are
// few.
func exactLiterals(re *syntax.Regexp) []string {
	switch re.Op {
	case syntax.OpLiteral, syntax.OpCharClass:
		return demandedBy(re)
	case syntax.OpCapture:
		return exactLiterals(re.Sub[0])
	case syntax.OpAlternate:
		var out []string
		for _, sub := range re.Sub {
			lits := exactLiterals(sub)
			if lits == nil || len(out)+len(lits) > maxLiterals {
				return nil
			}
			out = append(out, lits...)
		}
		return out
	default:
	}
	return nil
}

// classLiterals lists a small class of characters, such as [cC], folded.
func classLiterals(ranges []rune) []string {
	var out []string
	for i := 0; i+1 < len(ranges); i += 2 {
		if ranges[i+1]-ranges[i] > 3 || ranges[i] <= utf8.RuneError && utf8.RuneError <= ranges[i+1] {
			return nil
		}
		for r := ranges[i]; r <= ranges[i+1]; r++ {
			s := string(foldRune(r))
			if !strings.Contains(strings.Join(out, ""), s) {
				out = append(out, s)
			}
			if len(out) > 4 {
				return nil
			}
		}
	}
	return out
}

// better prefers the set whose shortest member is longer, and of equal ones the
// smaller.
func better(a, b []string) bool {
	if len(a) == 0 {
		return false
	}
	if len(b) == 0 {
		return true
	}
	x, y := shortest(a), shortest(b)
	return x > y || x == y && len(a) < len(b)
}

func shortest(set []string) int {
	n := len(set[0])
	for _, s := range set {
		n = min(n, len(s))
	}
	return n
}
