package dashboard

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func TestVendoredFilesAreThoseOfTheTable(t *testing.T) {
	t.Parallel()
	table, err := os.ReadFile("static/VENDOR.md")
	if err != nil {
		t.Fatal(err)
	}
	body, err := os.ReadFile("static/htmx.min.js")
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(body)
	if !strings.Contains(string(table), hex.EncodeToString(sum[:])) {
		t.Errorf("VENDOR.md does not name the SHA-256 %x of htmx.min.js", sum)
	}
}

// inline finds what the Content-Security-Policy would refuse, and addresses of other hosts.
var inline = regexp.MustCompile(`(?i)\sstyle=|<style|\son[a-z]+=|<script(?:>|\s(?:[^>]*\s)?(?:type|async))|javascript:|hx-on|(?:src|href|action)="(?:https?:)?//`)

func TestTemplatesHoldNothingInline(t *testing.T) {
	t.Parallel()
	names, err := fs.Glob(templateFiles, "templates/*.html")
	if err != nil || len(names) < 10 {
		t.Fatalf("%d templates (%v)", len(names), err)
	}
	for _, name := range names {
		body, err := templateFiles.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if m := inline.FindString(string(body)); m != "" {
			t.Errorf("%s holds %q", name, m)
		}
	}
	for _, name := range []string{"static/base.css", "static/parts.css", "static/pages.css", "static/app.js"} {
		body, err := staticFiles.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if regexp.MustCompile(`https?://|@import|url\(`).Match(body) {
			t.Errorf("%s asks another address", name)
		}
	}
}

// token values: "--name: light-dark(#light, #dark)".
var pair = regexp.MustCompile(`--([a-z-]+): light-dark\(#([0-9a-f]{6}), #([0-9a-f]{6})\)`)

// colours are the tokens of base.css, by theme and name.
func colours(t *testing.T) [2]map[string]float64 {
	t.Helper()
	css, err := staticFiles.ReadFile("static/base.css")
	if err != nil {
		t.Fatal(err)
	}
	themes := [2]map[string]float64{{}, {}}
	for _, m := range pair.FindAllStringSubmatch(string(css), -1) {
		themes[0][m[1]], themes[1][m[1]] = luminance(t, m[2]), luminance(t, m[3])
	}
	return themes
}

// luminance is the relative luminance of WCAG 2.2.
func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	sum := 0.0
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		n, err := strconv.ParseUint(hex[2*i:2*i+2], 16, 8)
		if err != nil {
			t.Fatal(err)
		}
		c := float64(n) / 255
		if c <= 0.04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+0.055)/1.055, 2.4)
		}
		sum += weight * c
	}
	return sum
}

func contrast(a, b float64) float64 { return (max(a, b) + 0.05) / (min(a, b) + 0.05) }

func TestContrastIsAAInBothThemes(t *testing.T) {
	t.Parallel()
	type need struct {
		front, back string
		ratio       float64 // 4.5 for text, 3 for what is drawn (WCAG 2.2, 1.4.3 and 1.4.11)
	}
	var needs []need
	for _, back := range []string{"canvas", "surface", "sunken", "hover"} {
		needs = append(needs, need{"text", back, 4.5}, need{"soft", back, 4.5}, need{"accent", back, 4.5}, need{"focus", back, 3})
	}
	for _, tone := range []string{"ok", "bad", "warn", "busy", "mute", "critical", "high", "medium", "low", "info"} {
		needs = append(needs, need{tone, tone + "-soft", 4.5})
	}
	for _, fill := range []string{"critical", "high", "medium", "low", "info", "ok", "bad", "mute", "violet", "accent"} {
		needs = append(needs, need{"fill-" + fill, "surface", 3})
	}
	needs = append(needs, need{"on-accent", "accent", 4.5}, need{"on-accent", "accent-hover", 4.5}, need{"accent", "accent-soft", 4.5},
		need{"bad", "surface", 4.5}, need{"warn", "surface", 4.5}, need{"text", "mute-soft", 4.5}, need{"field-line", "surface", 3})
	for i, theme := range colours(t) {
		for _, n := range needs {
			front, ok1 := theme[n.front]
			back, ok2 := theme[n.back]
			if !ok1 || !ok2 {
				t.Fatalf("base.css has no token %s or %s", n.front, n.back)
			}
			if got := contrast(front, back); got < n.ratio {
				t.Errorf("%s: %s on %s has a contrast of %.2f, want %.1f", []string{"light", "dark"}[i], n.front, n.back, got, n.ratio)
			}
		}
	}
}
