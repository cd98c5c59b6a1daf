package sigma

import (
	"unicode"
	"unicode/utf8"
)

// foldTable lowers ASCII.
var foldTable = func() (t [256]byte) {
	for i := range t {
		t[i] = byte(i)
		if i >= 'A' && i <= 'Z' {
			t[i] += 'a' - 'A'
		}
	}
	return t
}()

// appendFold appends s so that strings which strings.EqualFold calls equal
// become the same bytes. ASCII is lowered; bytes that are no UTF-8 stay.
func appendFold[T string | []byte](dst []byte, s T) []byte {
	i := 0
	for ; i < len(s) && s[i] < utf8.RuneSelf; i++ {
		dst = append(dst, foldTable[s[i]])
	}
	if i == len(s) {
		return dst
	}
	return appendFoldRunes(dst, string(s[i:]))
}

func appendFoldRunes(dst []byte, s string) []byte {
	for i := 0; i < len(s); {
		if s[i] < utf8.RuneSelf {
			dst = append(dst, foldTable[s[i]])
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 {
			dst = append(dst, s[i])
		} else {
			dst = utf8.AppendRune(dst, foldRune(r))
		}
		i += size
	}
	return dst
}

// foldRune returns the representative of r's case-folding orbit: its lowest
// rune, in lower case if that is ASCII.
func foldRune(r rune) rune {
	lowest := r
	for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
		lowest = min(lowest, next)
	}
	if lowest < utf8.RuneSelf {
		return rune(foldTable[lowest])
	}
	return lowest
}

func fold(s string) []byte { return appendFold(nil, s) }
