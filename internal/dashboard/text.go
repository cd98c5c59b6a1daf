package dashboard

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// How much of a text from outside a page shows.
const (
	shownInList   = 120      // characters of a name, URL or summary in a list
	shownInDetail = 2_000    // characters of a header value or URL on its own page
	shownPayload  = 96 << 10 // bytes of a pretty-printed payload; the raw bytes are a link away
)

// visible replaces, in a finished page, what would act instead of being read:
// control characters (terminal escapes among them) by their Unicode pictures,
// and the marks that turn the direction of text, or have no width, by their
// code points. It runs over every page as a whole, so that no template can
// forget it.
func visible(html []byte) []byte {
	clean := true
	for i := 0; i < len(html) && clean; i++ {
		c := html[i]
		clean = c >= ' ' && c < 0x7f || c == '\n' || c == '\t'
	}
	if clean {
		return html
	}
	var b bytes.Buffer
	b.Grow(len(html) + 64)
	for len(html) > 0 {
		r, n := utf8.DecodeRune(html)
		switch {
		case r == '\n' || r == '\t':
			b.WriteByte(html[0])
		case r == '\r': // html/template keeps it; browsers read it as the end of a line
			b.WriteString("␍")
		case r < ' ':
			b.WriteRune(0x2400 + r)
		case r == 0x7f:
			b.WriteString("␡")
		case r == utf8.RuneError && n == 1:
			b.WriteString("�")
		case hidden(r):
			fmt.Fprintf(&b, "⟨U+%04X⟩", r)
		default:
			b.Write(html[:n])
		}
		html = html[n:]
	}
	return b.Bytes()
}

// hidden reports whether a character changes how others are shown, or cannot be
// seen at all. U+200C and U+200D stay: Persian, Indic scripts and emoji need them.
func hidden(r rune) bool {
	switch {
	case r >= 0x80 && r <= 0x9f, // C1 controls
		r == 0x061c, r == 0x200e, r == 0x200f, // direction marks
		r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x206f, // embeddings, overrides, isolates
		r == 0x200b, r == 0x2028, r == 0x2029, r >= 0x2060 && r <= 0x2064, r == 0xfeff, r == 0x00ad,
		r >= 0xe0000 && r <= 0xe007f: // tag characters
		return true
	}
	return false
}

// cut shortens s to at most n characters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	i := 0
	for at := range s {
		if i == n {
			return s[:at] + "…"
		}
		i++
	}
	return s
}

// cutNoted shortens s and says how much is missing.
func cutNoted(s string, n int) string {
	short := cut(s, n)
	if len(short) < len(s) && short != s {
		return short + " (" + byteCount(len(s)) + " in all)"
	}
	return s
}

// firstLine returns the first line of s, shortened.
func firstLine(s string, n int) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return cut(strings.TrimSpace(s), n)
}

// count writes a number with thin groups: "12,345".
func count[N int | int64](n N) string {
	s := strconv.FormatInt(int64(n), 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// plural writes "1 event", "2 events".
func plural[N int | int64](n N, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return count(n) + " " + many
}

// byteCount writes a size: "312 bytes", "4.2 KiB".
func byteCount(n int) string {
	switch {
	case n == 1:
		return "1 byte"
	case n < 1<<10:
		return strconv.Itoa(n) + " bytes"
	case n < 1<<20:
		return strconv.FormatFloat(float64(n)/(1<<10), 'f', 1, 64) + " KiB"
	case n < 1<<30:
		return strconv.FormatFloat(float64(n)/(1<<20), 'f', 1, 64) + " MiB"
	default:
		return strconv.FormatFloat(float64(n)/(1<<30), 'f', 1, 64) + " GiB"
	}
}
