package model

import (
	"encoding/base64"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"strings"
)

// grammar makes texts at random from templates, in which «name» stands for one
// choice of the list of that name. The same seed makes the same texts.
type grammar struct {
	rng   *rand.Rand
	lists map[string][]string
}

func newGrammar(seed uint64, lists ...map[string][]string) *grammar {
	g := &grammar{rng: rand.New(rand.NewPCG(seed, 0x63766d6f64656c)), lists: map[string][]string{}}
	for _, m := range lists {
		maps.Copy(g.lists, m)
	}
	return g
}

func (g *grammar) pick(list []string) string { return list[g.rng.IntN(len(list))] }
func (g *grammar) odds(p float64) bool       { return g.rng.Float64() < p }

// expand makes one text of a template.
func (g *grammar) expand(template string) string {
	for range 256 { // no list names itself, but lists name each other
		before, rest, ok := strings.Cut(template, "«")
		if !ok {
			return template
		}
		name, after, _ := strings.Cut(rest, "»")
		template = before + g.one(name) + after
	}
	return template
}

func (g *grammar) one(name string) string {
	switch name {
	case "n":
		return fmt.Sprint(g.rng.IntN(10))
	case "nn":
		return fmt.Sprint(g.rng.IntN(9000) + 10)
	case "id":
		return g.letters("abcdefghijklmnopqrstuvwxyz", 3+g.rng.IntN(7))
	case "alnum":
		return g.letters("abcdefghijklmnopqrstuvwxyz0123456789", 4+g.rng.IntN(20))
	case "hex":
		return g.letters("0123456789abcdef", 8+g.rng.IntN(32))
	case "b64":
		raw := make([]byte, 6+g.rng.IntN(60))
		for i := range raw {
			raw[i] = byte(g.rng.Uint32())
		}
		return base64.StdEncoding.EncodeToString(raw)
	case "prose":
		return g.prose(2 + g.rng.IntN(9))
	case "essay":
		return g.prose(20 + g.rng.IntN(60))
	case "anyword":
		return g.pick(vocabulary)
	case "lexword":
		return g.pick(commonLexicon)
	}
	list, ok := g.lists[name]
	if !ok {
		panic("model: no list «" + name + "»") // a mistake in a template, which every run would meet
	}
	return g.pick(list)
}

func (g *grammar) letters(of string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = of[g.rng.IntN(len(of))]
	}
	return string(b)
}

// prose is words in a row, with the punctuation of people: a fifth of the words
// are such as attacks use, too.
func (g *grammar) prose(words int) string {
	var b strings.Builder
	for i := range words {
		if i > 0 {
			b.WriteString(g.pick(gaps))
		}
		switch {
		case g.odds(0.2):
			b.WriteString(g.pick(commonLexicon))
		case g.odds(0.05):
			b.WriteString(g.expand("«oddword»"))
		default:
			b.WriteString(g.pick(vocabulary))
		}
	}
	if g.odds(0.3) {
		b.WriteString(g.pick([]string{".", "!", "?", "...", ":)", "?!"}))
	}
	return b.String()
}

// gaps are what stands between words: mostly a space.
var gaps = append(strings.Split(strings.Repeat(" |", 30), "|")[:30], ", ", ", ", ". ", " - ", "; ", ": ", " / ", " & ", "\n", " (", ") ", "/", "-", " + ", " = ", "? ", "! ", " \"", "\" ", " '", "' ", "\r\n")

// encoded wraps a text in one to three encodings that Reveal undoes, as clients
// and attackers do alike: an encoding alone must not speak for an attack.
func (g *grammar) encoded(s string) string {
	for range 1 + g.rng.IntN(3) {
		switch g.rng.IntN(6) {
		case 0, 1:
			s = url.QueryEscape(s)
		case 2:
			s = base64.StdEncoding.EncodeToString([]byte(s))
		case 3:
			s = base64.RawURLEncoding.EncodeToString([]byte(s))
		case 4:
			s = spellSigns(s, func(r rune) string { return fmt.Sprintf(`\u%04x`, r) })
		case 5:
			s = spellSigns(s, func(r rune) string { return fmt.Sprintf(`&#%d;`, r) })
		}
	}
	return s
}

// spellSigns spells out every ASCII character that is neither letter nor digit.
func spellSigns(s string, spell func(rune) string) string {
	var b strings.Builder
	for _, r := range s {
		if r < 0x80 && !letter(byte(r)|0x20) && !digit(byte(r)) {
			b.WriteString(spell(r))
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}
