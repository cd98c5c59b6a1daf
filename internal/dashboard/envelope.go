package dashboard

import (
	"encoding/json"
	"strings"
)

// token is a run of text of a pretty-printed payload, with the class it is
// coloured by: k for a key, s a string, n a number, l a literal, none for the rest.
type token struct{ Class, Text string }

// maxIndent bounds how far nesting moves text to the right. A payload may be
// nested thousands of levels deep, and a line of white space for each of its
// values would make a page of gigabytes out of it.
const maxIndent = 32

// pretty prints a JSON text with one value a line, as tokens. It never changes
// a value: numbers and escapes stay as they were sent. It stops after limit
// bytes and says so. What is not JSON comes back as it is, up to limit.
func pretty(body []byte, limit int) (tokens []token, wasCut bool) {
	if !json.Valid(body) {
		if wasCut = len(body) > limit; wasCut {
			body = body[:limit]
		}
		return []token{{Text: strings.ToValidUTF8(string(body), "�")}}, wasCut
	}
	var (
		plain strings.Builder
		size  int
		depth int
	)
	flush := func() {
		if plain.Len() > 0 {
			tokens = append(tokens, token{Text: plain.String()})
			plain.Reset()
		}
	}
	put := func(s string) {
		plain.WriteString(s)
		size += len(s)
	}
	newline := func() { put("\n" + strings.Repeat("  ", min(depth, maxIndent))) }
	for i := 0; i < len(body); {
		if size >= limit {
			flush()
			return tokens, true
		}
		switch c := body[i]; c {
		case ' ', '\t', '\r', '\n':
			i++
		case '{', '[':
			put(string(c))
			i++
			if next := skipSpace(body, i); body[next] == '}' || body[next] == ']' {
				put(string(body[next]))
				i = next + 1
				continue
			}
			depth++
			newline()
		case '}', ']':
			depth--
			newline()
			put(string(c))
			i++
		case ',':
			put(",")
			newline()
			i++
		case ':':
			put(": ")
			i++
		default:
			end := scalarEnd(body, i)
			class := scalarClass(body, i, end)
			text := string(body[i:end])
			if room := limit - size; len(text) > room {
				text, wasCut = strings.ToValidUTF8(text[:room], ""), true
			}
			flush()
			tokens = append(tokens, token{class, text})
			size += len(text)
			if wasCut {
				return tokens, true
			}
			i = end
		}
	}
	flush()
	return tokens, false
}

func skipSpace(b []byte, i int) int {
	for b[i] == ' ' || b[i] == '\t' || b[i] == '\r' || b[i] == '\n' {
		i++
	}
	return i
}

// scalarEnd returns the end of the string, number or literal that begins at i.
func scalarEnd(b []byte, i int) int {
	if b[i] == '"' {
		for j := i + 1; ; j++ {
			switch b[j] {
			case '\\':
				j++
			case '"':
				return j + 1
			}
		}
	}
	for i < len(b) && strings.IndexByte(" \t\r\n,:]}", b[i]) < 0 {
		i++
	}
	return i
}

func scalarClass(b []byte, start, end int) string {
	switch c := b[start]; {
	case c == '"':
		for end < len(b) && strings.IndexByte(" \t\r\n", b[end]) >= 0 {
			end++
		}
		if end < len(b) && b[end] == ':' {
			return "k"
		}
		return "s"
	case c == '-' || c >= '0' && c <= '9':
		return "n"
	}
	return "l"
}
