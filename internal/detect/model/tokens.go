package model

import (
	"strings"
	"unicode/utf8"
)

// token is a piece of a text as the features see it: a word that attacks use is
// itself, any other stands for its kind, so that what was learned of one name
// holds for all.
type token struct {
	text string // "select", "w" (a word), "v" (letters and digits), "0" (a number), "'" …
	kind byte   // category of a word of the lexicon, or 0
	raw  string // as it stands in the text, in lower case
	gap  bool   // white space stood before it
}

// maxTokens bounds the work on one value; a window is no longer than that.
const maxTokens = 2048

// tokenise splits a text, which must be in lower case.
func tokenise(s string) []token {
	out := make([]token, 0, min(len(s)/3+4, maxTokens))
	gap := false
	for i := 0; i < len(s) && len(out) < maxTokens; {
		c := s[i]
		switch {
		case c == ' ' || c == '\t' || c == '\v' || c == '\f':
			gap = true
			i++
			continue
		case c == '\n' || c == '\r':
			j := i + 1
			for j < len(s) && (s[j] == '\n' || s[j] == '\r') {
				j++
			}
			out = append(out, token{text: "nl", raw: "line break", gap: gap})
			i = j
		case letter(c):
			j, plain := i+1, c != '_'
			for j < len(s) && (letter(s[j]) || digit(s[j])) {
				plain = plain && s[j] != '_' && !digit(s[j])
				j++
			}
			out = append(out, word(s[i:j], plain, gap, s[j:]))
			i = j
		case digit(c):
			j := i + 1
			for j < len(s) && (digit(s[j]) || letter(s[j]) && s[j] < 0x80) {
				j++
			}
			out = append(out, number(s[i:j], gap))
			i = j
		case c == '\'' && i > 0 && letter(s[i-1]) && i+1 < len(s) && letter(s[i+1]):
			out = append(out, token{text: "apostrophe", raw: "'", gap: gap}) // of a name, mostly
			i++
		default:
			j := i + 1
			for j < len(s) && s[j] == c {
				j++
			}
			out = append(out, punctuation(s[i:j], gap))
			i = j
		}
		gap = false
	}
	return out
}

func word(w string, plain, gap bool, rest string) token {
	if kind, ok := lexicon[w]; ok {
		return token{text: w, kind: kind, raw: w, gap: gap}
	}
	if len(w) > 4 && len(w) < 22 && w[0] == 'o' && w[1] == 'n' && plain && strings.HasPrefix(strings.TrimLeft(rest, " \t\n\r/"), "=") {
		return token{text: "on*", kind: kindHandler, raw: w, gap: gap}
	}
	if plain {
		return token{text: "w", raw: w, gap: gap}
	}
	return token{text: "v", raw: w, gap: gap}
}

func number(w string, gap bool) token {
	digits := true
	for i := range len(w) {
		digits = digits && digit(w[i])
	}
	switch {
	case digits:
		return token{text: "0", raw: w, gap: gap}
	case strings.HasPrefix(w, "0x"):
		return token{text: "0x", raw: w, gap: gap}
	}
	return token{text: "v", raw: w, gap: gap}
}

// punctuation keeps a single or a double sign; longer runs are one kind each.
func punctuation(run string, gap bool) token {
	switch c := run[0]; {
	case c < 0x20 || c == 0x7f:
		return token{text: "ctl", raw: "control character", gap: gap}
	case len(run) <= 2:
		return token{text: run, raw: run, gap: gap}
	case len(run) <= 4:
		return token{text: run[:3], raw: run, gap: gap}
	}
	return token{text: run[:1] + "*", raw: run[:5] + "…", gap: gap}
}

// letter takes every byte beyond ASCII for one: it is a letter of some language.
func letter(c byte) bool { return c >= 'a' && c <= 'z' || c == '_' || c >= utf8.RuneSelf }
func digit(c byte) bool  { return c >= '0' && c <= '9' }
