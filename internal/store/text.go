package store

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/cybervault/cybervault"
)

// checkText refuses text that PostgreSQL cannot keep, on either database.
func checkText(field, s string) error {
	if !utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0 {
		return cybervault.Invalid(field, "is not UTF-8 text, or holds a NUL character")
	}
	return nil
}

// addText restricts to rows whose event holds text anywhere in the stored
// envelope, whatever the case. Publishers write the same text in JSON in
// different ways, and neither database folds the case of all letters on its own
// (both fold ASCII), so a few ways of writing it are looked for.
func (c *condition) addText(d dialect, text string) {
	if text == "" {
		return
	}
	spellings := spellings(text)
	args := make([]any, len(spellings))
	for i, s := range spellings {
		args[i] = d.pattern(s)
	}
	c.add("("+strings.Repeat(d.contains+" OR ", len(args)-1)+d.contains+")", args...)
}

// spellings lists the ways in which text may stand in a stored envelope, apart
// from the case of ASCII letters: as it is typed (someone searches for JSON) and
// as a JSON string holds it, with or without HTML, slashes and non-ASCII
// characters escaped; in lower, upper and the given case.
func spellings(text string) []string {
	text = strings.ToValidUTF8(text, string(utf8.RuneError))
	var out []string
	add := func(s string) {
		if !slices.ContainsFunc(out, func(have string) bool { return foldASCII(have) == foldASCII(s) }) {
			out = append(out, s)
		}
	}
	for _, t := range []string{text, strings.ToLower(text), strings.ToUpper(text)} {
		plain := jsonText(t, false)
		add(t)
		add(plain)
		add(jsonText(t, true))
		add(asciiText(plain))
		add(strings.ReplaceAll(asciiText(plain), "/", `\/`))
	}
	return slices.DeleteFunc(out, func(s string) bool { return strings.IndexByte(s, 0) >= 0 }) // stored envelopes hold none
}

func foldASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// jsonText is text as the inside of a JSON string.
func jsonText(text string, html bool) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(html)
	if err := enc.Encode(text); err != nil {
		return text // a string always encodes
	}
	return strings.TrimSuffix(strings.TrimPrefix(b.String(), `"`), "\"\n")
}

// asciiText escapes what is not ASCII in the inside of a JSON string.
func asciiText(text string) string {
	var b strings.Builder
	for _, r := range text {
		if r < utf8.RuneSelf {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	return b.String()
}

// textPattern is a LIKE pattern that finds s anywhere. The character that escapes
// % and _ in it is not the backslash, which PostgreSQL's "escape" encoding uses.
func textPattern(s string) string {
	return "%" + strings.NewReplacer(`!`, `!!`, `%`, `!%`, `_`, `!_`).Replace(s) + "%"
}

// escapedPattern is textPattern for a column in PostgreSQL's "escape" encoding:
// printable ASCII as it is, a backslash doubled, the high bytes in octal.
func escapedPattern(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		switch {
		case c == '\\':
			b.WriteString(`\\`)
		case c >= utf8.RuneSelf:
			fmt.Fprintf(&b, `\%03o`, c)
		default:
			b.WriteByte(c)
		}
	}
	return textPattern(b.String())
}
