package decode

import (
	"encoding/base64"
	"net/url"
	"strings"
	"testing"
)

func TestReveal(t *testing.T) {
	t.Parallel()
	const attack = "<script>alert(1)</script>"
	b64 := base64.StdEncoding.EncodeToString
	for _, c := range []struct{ in, want, by string }{
		{url.QueryEscape(url.QueryEscape(url.QueryEscape(attack))), attack, "URL encoding, URL encoding, URL encoding"},
		{"%u003cscript%u003e", "<script>", "URL encoding"},
		{b64([]byte(attack)), attack, "base64"},
		{b64([]byte(b64([]byte(attack)))), attack, "base64, base64"},
		{base64.RawURLEncoding.EncodeToString([]byte("' or 1=1")), "' or 1=1", "base64"},
		{`\u003cscript\u003e`, "<script>", "JSON escapes"},
		{`\x3cscript\u{3e}`, "<script>", "JSON escapes"},
		{"&lt;script&#62;", "<script>", "HTML entities"},
		{"..%c0%af..%c0%afetc", "../../etc", "URL encoding, overlong UTF-8"},
		{"\xc0\xae\xc0\xae\xe0\x80\xaf", "../", "overlong UTF-8"},
		{"\xf0\x80\x80\xae", ".", "overlong UTF-8"},
		{"\xc1\x9c", `\`, "overlong UTF-8"},
		{"+ADw-script+AD4-", "<script>", "UTF-7"},
		{"0x2e0x2e0x2fetc", "../etc", "hex bytes"},
		{"\uff1cscript\uff1e", "<script>", "full-width letters"},
		{"data:text/html;base64," + b64([]byte(attack)), attack, "base64"},
		// What is not encoded stays as it is.
		{"plain", "plain", ""},
		{"internationalisation", "internationalisation", ""},
		{"100% sure", "100% sure", ""},
		{"AT&T; R&D", "AT&T; R&D", ""},
		{`C:\users\x`, `C:\users\x`, ""},
		{"1234567890123456", "1234567890123456", ""},
		{"d41d8cd98f00b204e9800998ecf8427e", "d41d8cd98f00b204e9800998ecf8427e", ""},
		{"größe", "größe", ""},
	} {
		got, undone := Reveal(c.in)
		if got != c.want || Join(undone) != c.by {
			t.Errorf("%q: %q by %q, want %q by %q", c.in, got, Join(undone), c.want, c.by)
		}
	}
	deep := attack
	for range MaxLayers + 2 {
		deep = url.QueryEscape(deep)
	}
	if got, undone := Reveal(deep); len(undone) != MaxLayers || got == attack {
		t.Errorf("%d layers undone", len(undone))
	}
	if _, undone := Reveal(strings.Repeat("%41", MaxBytes)); undone != nil {
		t.Error("a text beyond the bound was decoded")
	}
	if got := Query("a+b%20c%zz"); got != "a b c%zz" {
		t.Errorf("query: %q", got)
	}
	if got := Path("a+b%20c"); got != "a+b c" {
		t.Errorf("path: %q", got)
	}
}

func FuzzReveal(f *testing.F) {
	f.Add("%2525..%c0%af")
	f.Add("+ADw-\xe0\x80\\u{1f600}&#x3c;")
	f.Fuzz(func(t *testing.T, s string) {
		text, undone := Reveal(s)
		if len(undone) == 0 && text != s {
			t.Errorf("%q became %q by nothing", s, text)
		}
		if len(undone) > MaxLayers || len(text) > 4*len(s)+16 {
			t.Errorf("%d bytes became %d in %d layers", len(s), len(text), len(undone))
		}
	})
}
