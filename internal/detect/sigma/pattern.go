package sigma

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"
)

type tokenKind uint8

const (
	literal     tokenKind = iota
	anyChar               // ?
	anyRun                // *
	dashChar              // any of the dashes of windash
	placeholder           // %name%, until expand
)

type patternToken struct {
	kind tokenKind
	text string // of a literal; the name of a placeholder
}

// pattern is a string value with its wildcards.
type pattern []patternToken

// dashes are what windash takes for one another.
var dashes = []string{"-", "/", "\u2013", "\u2014", "\u2015"}

// parsePattern reads a string by Sigma's rules of escaping: a backslash escapes
// * and ? and, before one of those, a backslash; elsewhere it is plain, and two
// are one. With placeholders, %name% is one, and \% a percent sign.
func parsePattern(s string, placeholders bool) pattern {
	var p pattern
	var lit strings.Builder
	flush := func() {
		if lit.Len() > 0 {
			p = append(p, patternToken{literal, lit.String()})
			lit.Reset()
		}
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s) && (s[i+1] == '*' || s[i+1] == '?' || s[i+1] == '\\' || s[i+1] == '%' && placeholders):
			lit.WriteByte(s[i+1])
			i++
		case c == '*':
			flush()
			p = append(p, patternToken{kind: anyRun})
		case c == '?':
			flush()
			p = append(p, patternToken{kind: anyChar})
		case c == '%' && placeholders:
			end := strings.IndexByte(s[i+1:], '%')
			if end <= 0 {
				lit.WriteByte(c)
				continue
			}
			flush()
			p = append(p, patternToken{placeholder, s[i+1 : i+1+end]})
			i += end + 1
		default:
			lit.WriteByte(c)
		}
	}
	flush()
	return p.tidy()
}

// tidy joins neighbours that are one.
func (p pattern) tidy() pattern {
	out := p[:0:0]
	for _, t := range p {
		if n := len(out); n > 0 {
			if t.kind == anyRun && out[n-1].kind == anyRun {
				continue
			}
			if t.kind == literal && out[n-1].kind == literal {
				out[n-1].text += t.text
				continue
			}
		}
		out = append(out, t)
	}
	return out
}

// plain returns the text of a pattern without wildcards.
func (p pattern) plain() (string, bool) {
	switch {
	case len(p) == 0:
		return "", true
	case len(p) == 1 && p[0].kind == literal:
		return p[0].text, true
	}
	return "", false
}

// around puts wildcards before and behind.
func (p pattern) around(before, behind bool) pattern {
	var out pattern
	if before {
		out = append(out, patternToken{kind: anyRun})
	}
	out = append(out, p...)
	if behind {
		out = append(out, patternToken{kind: anyRun})
	}
	return out.tidy()
}

// windash turns each - and / that begins a word, and stands behind none, into
// any of the dashes.
func (p pattern) windash() pattern {
	var out pattern
	for _, t := range p {
		if t.kind != literal {
			out = append(out, t)
			continue
		}
		start := 0
		for i := range len(t.text) {
			if c := t.text[i]; c != '-' && c != '/' {
				continue
			}
			before, _ := utf8.DecodeLastRuneInString(t.text[:i])
			after, _ := utf8.DecodeRuneInString(t.text[i+1:])
			if i > 0 && isWord(before) || i+1 == len(t.text) || !isWord(after) {
				continue
			}
			if i > start {
				out = append(out, patternToken{literal, t.text[start:i]})
			}
			out = append(out, patternToken{kind: dashChar})
			start = i + 1
		}
		if start < len(t.text) {
			out = append(out, patternToken{literal, t.text[start:]})
		}
	}
	return out
}

func isWord(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) }

// folded folds the literals.
func (p pattern) folded() pattern {
	out := make(pattern, len(p))
	for i, t := range p {
		if t.kind == literal {
			t.text = string(fold(t.text))
		}
		out[i] = t
	}
	return out
}

// match reports whether the pattern matches all of s. Where a run of any length
// fails, only the last one is tried further on: any earlier choice of the ones
// before does as well.
func (p pattern) match(s []byte) bool {
	t, i := 0, 0
	star, from := -1, 0
	for {
		if t == len(p) && i == len(s) {
			return true
		}
		if t < len(p) {
			if p[t].kind == anyRun {
				if t == len(p)-1 {
					return true
				}
				star, from = t, i
				t++
				continue
			}
			if n := p[t].take(s[i:]); n >= 0 {
				t++
				i += n
				continue
			}
		}
		if star < 0 || from >= len(s) {
			return false
		}
		_, size := utf8.DecodeRune(s[from:])
		from += size
		if next := p[star+1]; next.kind == literal {
			skip := indexString(s[from:], next.text)
			if skip < 0 {
				return false
			}
			from += skip
		}
		t, i = star+1, from
	}
}

// indexString is bytes.Index with a string.
func indexString(s []byte, sub string) int {
	if len(sub) == 0 {
		return 0
	}
	for at := 0; ; {
		i := bytes.IndexByte(s[at:], sub[0])
		if i < 0 || at+i+len(sub) > len(s) {
			return -1
		}
		if at += i; string(s[at:at+len(sub)]) == sub {
			return at
		}
		at++
	}
}

// take returns how many bytes at the start of s the token matches, -1 for none.
func (t patternToken) take(s []byte) int {
	switch t.kind {
	case literal:
		if len(s) >= len(t.text) && string(s[:len(t.text)]) == t.text {
			return len(t.text)
		}
	case anyChar:
		if len(s) > 0 {
			_, size := utf8.DecodeRune(s)
			return size
		}
	case dashChar:
		for _, d := range dashes {
			if len(s) >= len(d) && string(s[:len(d)]) == d {
				return len(d)
			}
		}
	case anyRun, placeholder:
	}
	return -1
}

// String writes the pattern as a rule would.
func (p pattern) String() string {
	var b strings.Builder
	for _, t := range p {
		switch t.kind {
		case literal:
			b.WriteString(strings.NewReplacer("*", `\*`, "?", `\?`).Replace(t.text))
		case anyChar:
			b.WriteByte('?')
		case anyRun:
			b.WriteByte('*')
		case dashChar:
			b.WriteString("[-/–—―]")
		case placeholder:
			b.WriteString("%" + t.text + "%")
		}
	}
	return b.String()
}
