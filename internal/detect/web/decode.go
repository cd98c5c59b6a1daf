package web

import (
	"encoding/base64"
	"html"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"
)

// view is what a parameter holds once an encoding that CRS leaves alone is undone.
type view struct {
	name, value string
	where       string
	encoding    string
}

// Bounds of the decoding: values beyond them are seen by the rules as they are.
const (
	maxViews     = 8       // of one request
	maxViewBytes = 4 << 10 // of one value
	minBase64    = 16      // shorter words decode to text by chance
)

// hidden undoes, in the parameters of query and form, what CRS does not:
// base64, JSON escapes, HTML entities, and a third layer of URL encoding (CRS
// undoes two). Only what comes out as different text is given back.
func hidden(r *Request) []view {
	if strings.IndexByte(r.Target, '?') < 0 && r.Body == "" {
		return nil
	}
	var out []view
	_, query, _ := strings.Cut(r.Target, "?")
	out = hiddenIn(out, query, "ARGS_GET:")
	if r.Body != "" && form(r.Headers) {
		out = hiddenIn(out, r.Body, "ARGS_POST:")
	}
	return out
}

func form(headers [][2]string) bool {
	for _, h := range headers {
		if strings.EqualFold(h[0], "Content-Type") {
			return strings.HasPrefix(strings.ToLower(h[1]), "application/x-www-form-urlencoded")
		}
	}
	return true
}

func hiddenIn(out []view, query, where string) []view {
	for query != "" && len(out) < maxViews {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		name, raw, ok := strings.Cut(pair, "=")
		if !ok || len(raw) < 6 || len(raw) > maxViewBytes {
			continue
		}
		value := unescapeURL(raw)
		if text, encoding := reveal(value); encoding != "" {
			out = append(out, view{"v", text, where + printable(unescapeURL(name), 60), encoding})
		}
	}
	return out
}

// reveal undoes one layer after another, four at most, and names those that
// CRS would not have undone.
func reveal(s string) (text, encodings string) {
	text = s
	var undone []string
	for range 4 {
		switch next, encoding := undo(text); {
		case encoding == "" || next == text || len(next) > maxViewBytes:
			return text, strings.Join(undone, ", ")
		default:
			text, undone = next, append(undone, encoding)
		}
	}
	return text, strings.Join(undone, ", ")
}

func undo(s string) (string, string) {
	if strings.Contains(s, "%") {
		if t := unescapeURL(s); t != s {
			return t, "URL encoding"
		}
	}
	if strings.Contains(s, `\u00`) {
		if t := unescapeJSON(s); t != s {
			return t, "JSON escapes"
		}
	}
	if strings.IndexByte(s, '&') >= 0 && strings.IndexByte(s, ';') >= 0 {
		if t := html.UnescapeString(s); t != s {
			return t, "HTML entities"
		}
	}
	if t, ok := unbase64(s); ok {
		return t, "base64"
	}
	return s, ""
}

// unescapeURL undoes one layer of URL encoding as far as it is sound.
func unescapeURL(s string) string {
	if strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '+') < 0 {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '+':
			out = append(out, ' ')
		case s[i] == '%' && i+2 < len(s):
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				out = append(out, byte(n))
				i += 2
				continue
			}
			out = append(out, '%')
		default:
			out = append(out, s[i])
		}
	}
	return string(out)
}

func unescapeJSON(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+5 < len(s) && s[i+1] == 'u' {
			if n, err := strconv.ParseUint(s[i+2:i+6], 16, 16); err == nil {
				b.WriteRune(rune(n))
				i += 5
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// unbase64 decodes s if it is base64, in either alphabet, of printable text.
func unbase64(s string) (string, bool) {
	// A plus sign in a query stands for a space unless it was escaped; senders
	// of base64 often forget to.
	t := strings.TrimRight(strings.ReplaceAll(s, " ", "+"), "=")
	if len(t) < minBase64 || len(t)%4 == 1 {
		return "", false
	}
	t = strings.NewReplacer("-", "+", "_", "/").Replace(t)
	b, err := base64.RawStdEncoding.DecodeString(t)
	if err != nil || !utf8.Valid(b) {
		return "", false
	}
	for _, c := range b {
		if c < 0x20 && c != '\n' && c != '\r' && c != '\t' || c == 0x7f {
			return "", false
		}
	}
	return string(b), true
}

// escapeAll URL-encodes a value so that one decoding gives exactly it back.
func escapeAll(s string) string { return url.QueryEscape(s) }
