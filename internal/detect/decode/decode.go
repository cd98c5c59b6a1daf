// Package decode undoes the encodings that attacks are hidden in, one layer
// after another, as far as it is certain that something was encoded.
//
// It stands within the detect stage, below web and model, which look at what
// comes out. It judges nothing, and its work is bounded: so many layers of so many
// bytes.
package decode

import (
	"encoding/base64"
	"html"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Encoding is one kind of encoding.
type Encoding uint8

// The encodings that are undone.
const (
	URL Encoding = iota
	Overlong
	Escapes
	Entities
	Base64
	UTF7
	Hex
	Wide
	encodings
)

var names = [encodings]string{"URL encoding", "overlong UTF-8", "JSON escapes", "HTML entities", "base64", "UTF-7", "hex bytes", "full-width letters"}

// String is the encoding's name in words.
func (e Encoding) String() string { return names[e] }

// Bounds.
const (
	MaxLayers  = 6
	MaxBytes   = 64 << 10 // a longer text is left as it is
	minBase64  = 16       // shorter words decode to text by chance
	tinyBase64 = 10       // unless punctuation comes out, which a word's letters rarely give
)

// Reveal undoes one layer after another and names each; the names are empty where
// nothing was encoded.
func Reveal(s string) (text string, undone []Encoding) {
	text = s
	for range MaxLayers {
		next, by, ok := undo(text)
		if !ok || next == text {
			break
		}
		text, undone = next, append(undone, by)
	}
	return text, undone
}

// Join names encodings in words, in the order they were undone.
func Join(undone []Encoding) string {
	words := make([]string, len(undone))
	for i, e := range undone {
		words[i] = e.String()
	}
	return strings.Join(words, ", ")
}

func undo(s string) (string, Encoding, bool) {
	if len(s) > MaxBytes {
		return s, 0, false
	}
	if strings.IndexByte(s, '%') >= 0 {
		if t := percent(s, strings.IndexByte(s, ' ') < 0); t != s {
			return t, URL, true
		}
	}
	if t := overlong(s); t != s {
		return t, Overlong, true
	}
	if strings.IndexByte(s, '\\') >= 0 {
		if t := escapes(s); t != s {
			return t, Escapes, true
		}
	}
	if strings.Contains(s, "&#") || strings.IndexByte(s, '&') >= 0 && strings.IndexByte(s, ';') >= 0 {
		if t := html.UnescapeString(s); t != s {
			return t, Entities, true
		}
	}
	if t, ok := unbase64(s); ok {
		return t, Base64, true
	}
	if strings.Contains(s, "+A") {
		if t := utf7(s); t != s {
			return t, UTF7, true
		}
	}
	if strings.Contains(s, "0x") {
		if t := hexBytes(s); t != s {
			return t, Hex, true
		}
	}
	if t := narrow(s); t != s {
		return t, Wide, true
	}
	return s, 0, false
}

// Query undoes one layer of URL encoding as it is in a query or a form, where a
// plus sign stands for a space.
func Query(s string) string {
	if strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '+') < 0 {
		return s
	}
	return percent(s, true)
}

// Path undoes one layer of URL encoding as it is in a path.
func Path(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	return percent(s, false)
}

// percent undoes %41 and %u0041 as far as it is sound.
func percent(s string, plus bool) string {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '+' && plus:
			out = append(out, ' ')
		case s[i] == '%' && i+2 < len(s):
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				out = append(out, byte(n))
				i += 2
				continue
			}
			if (s[i+1] == 'u' || s[i+1] == 'U') && i+5 < len(s) {
				if n, err := strconv.ParseUint(s[i+2:i+6], 16, 16); err == nil {
					out = utf8.AppendRune(out, rune(n))
					i += 5
					continue
				}
			}
			out = append(out, '%')
		default:
			out = append(out, s[i])
		}
	}
	return string(out)
}

// overlong undoes UTF-8 that spells an ASCII character with more bytes than it
// needs, which no encoder does and lenient decoders take.
func overlong(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		low := func(n int) (byte, bool) { // the character that n bytes from i spell, if it is ASCII
			if i+n > len(s) {
				return 0, false
			}
			for _, b := range []byte(s[i+1 : i+n-1]) {
				if b != 0x80 && (b != 0x81 || n == 2) {
					return 0, false
				}
			}
			last := s[i+n-1]
			high := c & 1
			if n > 2 {
				high = s[i+n-2] & 1
			}
			return high<<6 | last&0x3f, last&0xc0 == 0x80
		}
		n := 0
		switch c {
		case 0xc0, 0xc1:
			n = 2
		case 0xe0:
			n = 3
		case 0xf0:
			n = 4
		}
		if n > 0 {
			if b, ok := low(n); ok {
				out = append(out, b)
				i += n - 1
				continue
			}
		}
		out = append(out, c)
	}
	return string(out)
}

// escapes undoes \u0041, \u{41} and \x41.
func escapes(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			digits, end := "", 0
			switch {
			case s[i+1] == 'x':
				digits, end = s[i+2:i+4], i+3
			case s[i+1] == 'u' && s[i+2] == '{':
				if n := strings.IndexByte(s[i+3:min(len(s), i+10)], '}'); n > 0 {
					digits, end = s[i+3:i+3+n], i+3+n
				}
			case s[i+1] == 'u' && i+5 < len(s):
				digits, end = s[i+2:i+6], i+5
			}
			if n, err := strconv.ParseUint(digits, 16, 21); err == nil {
				b.WriteRune(rune(n))
				i = end
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// unbase64 decodes s if it is base64, in either alphabet, of printable text.
func unbase64(s string) (string, bool) {
	if _, tail, ok := strings.Cut(s, ";base64,"); ok && strings.HasPrefix(s, "data:") {
		s = tail
	}
	if len(s) < tinyBase64 {
		return "", false
	}
	for i := range len(s) { // most values end here
		if c := s[i]; !alphanumeric(c) && c != '+' && c != '/' && c != '-' && c != '_' && c != '=' && c != ' ' {
			return "", false
		}
	}
	// A plus sign in a query stands for a space unless it was escaped; senders
	// of base64 often forget to.
	t := strings.TrimRight(strings.ReplaceAll(s, " ", "+"), "=")
	if len(t) < tinyBase64 || len(t)%4 == 1 {
		return "", false
	}
	t = strings.NewReplacer("-", "+", "_", "/").Replace(t)
	b, err := base64.RawStdEncoding.DecodeString(t)
	if err != nil || !utf8.Valid(b) {
		return "", false
	}
	punctuation := false
	for _, c := range b {
		if c < 0x20 && c != '\n' && c != '\r' && c != '\t' || c == 0x7f {
			return "", false
		}
		punctuation = punctuation || c < 0x80 && !alphanumeric(c) && c != ' '
		if c >= 0x80 && len(t) < minBase64 {
			return "", false
		}
	}
	return string(b), len(t) >= minBase64 || punctuation
}

func alphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// utf7 undoes the shifted characters of UTF-7 that are ASCII: +ADw- is <.
func utf7(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '+' && i+3 < len(s) && s[i+1] == 'A' {
			end := i + 1
			for end < len(s) && (alphanumeric(s[end]) || s[end] == '+' || s[end] == '/') {
				end++
			}
			if raw, err := base64.RawStdEncoding.DecodeString(s[i+1 : end]); err == nil && len(raw) >= 2 && len(raw)%2 == 0 {
				text := make([]byte, 0, len(raw)/2)
				for j := 0; j < len(raw) && raw[j] == 0; j += 2 {
					text = append(text, raw[j+1])
				}
				if len(text) == len(raw)/2 {
					b.Write(text)
					if i = end - 1; end < len(s) && s[end] == '-' {
						i++
					}
					continue
				}
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// hexBytes undoes 0x2e0x2f, in which paths are written to lenient filters.
func hexBytes(s string) string {
	return strings.NewReplacer("0x2e", ".", "0x2E", ".", "0x2f", "/", "0x2F", "/", "0x5c", `\`, "0x5C", `\`).Replace(s)
}

// narrow undoes the full-width forms of ASCII, which some databases fold.
func narrow(s string) string {
	if !strings.Contains(s, "\xef\xbc") && !strings.Contains(s, "\xef\xbd") {
		return s
	}
	return strings.Map(func(r rune) rune {
		if r >= 0xff01 && r <= 0xff5e {
			return r - 0xfee0
		}
		return r
	}, s)
}
