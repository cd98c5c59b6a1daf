package bench

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/cybervault/cybervault/internal/detect/sigma"
)

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

const webRule = `title: Shell in the query
id: 4f6b0e6e-5b0e-4c0e-8a53-0c8e1f0a9d11
logsource:
    category: webserver
detection:
    selection:
        cs-uri-query|contains: 'cmd='
    other:
        cs-user-agent|re: 'curl/[0-9]'
    condition: selection and not other
`

func TestDetect(t *testing.T) {
	t.Parallel()
	rules, events := t.TempDir(), t.TempDir()
	write(t, rules, "a.yml", webRule)
	write(t, rules, "broken.yml", "title: T\n")
	var log bytes.Buffer
	for i := range 200 {
		fmt.Fprintf(&log, "192.0.2.1 - - [10/Mar/2025:08:00:00 +0000] \"GET /?%s=%d HTTP/1.1\" 200 5 \"-\" \"Mozilla/5.0\"\n", []string{"cmd", "page"}[i%2], i)
	}
	write(t, events, "access.log", log.String())
	r, err := Detect(t.Context(), DetectOptions{Rules: []string{rules}, Events: events, Rounds: 1, Times: 3, Stride: 1})
	if err != nil {
		t.Fatal(err)
	}
	if r.Rules != 1 || r.NotLoaded != 1 || r.Events != 200 || r.Hits != 100 || r.Differ != 0 || r.TimesRules != 3 || r.PerS <= 0 || r.Reference <= 0 {
		t.Errorf("got %+v", r)
	}
	if _, err := Detect(t.Context(), DetectOptions{Rules: []string{rules}, Events: t.TempDir(), Rounds: 1, Stride: 1}); err == nil {
		t.Error("no events are no error")
	}
}

// TestVary: another rule of the same form, which no event of the first matches.
func TestVary(t *testing.T) {
	t.Parallel()
	rule := sigma.Parse("a.yml", []byte(webRule)).Rules[0]
	other := vary(rule, 3)
	if _, errs := sigma.Compile([]*sigma.Rule{rule, other}, sigma.Options{}); len(errs) > 0 {
		t.Fatal(errs[0])
	}
	if got := other.Detections[0].Groups[0].Items[0].Values[0].Text; got != "fpg=" {
		t.Errorf("got %q", got)
	}
	if got := other.Detections[1].Groups[0].Items[0].Values[0].Text; got != "fxuo/[0-9]" {
		t.Errorf("got %q", got)
	}
	if rule.Detections[0].Groups[0].Items[0].Values[0].Text != "cmd=" || other.ID == rule.ID {
		t.Error("the rule itself was changed")
	}
}

func TestVaryExpression(t *testing.T) {
	t.Parallel()
	for expr, want := range map[string]string{
		`(?i)abc\s[a-z]{1,3}(?:x|yz)`: `(?i)bcd\s[a-z]{1,3}(?:y|za)`,
		`a[b`:                         `a[b`,
		`\w+9`:                        `\w+1`,
	} {
		if got := varyExpression(expr, 1); got != want {
			t.Errorf("%s: got %s, want %s", expr, got, want)
		}
	}
}

func TestCut(t *testing.T) {
	t.Parallel()
	line := append(bytes.Repeat([]byte("{x"), 500), '\n')
	data := bytes.Repeat(line, 2000)
	chunks := cut(data)
	if len(chunks) < 5 || !bytes.Equal(bytes.Join(chunks, nil), data) {
		t.Errorf("%d chunks", len(chunks))
	}
	for _, c := range chunks {
		if c[len(c)-1] != '\n' {
			t.Error("cut within a line")
		}
	}
	if pretty := bytes.Repeat([]byte("{\n  \"a\": 1\n}\n"), 40_000); len(cut(pretty)) > len(pretty)/chunkSize+1 {
		t.Error("records over several lines are cut too often")
	}
}
