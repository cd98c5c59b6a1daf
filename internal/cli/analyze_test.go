package cli_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/cli"
)

// attackLog writes an access log with a scanner's SQL injection and an sshd log
// with a password guesser, last written in 2025.
func attackLog(t *testing.T) (access, auth string) {
	t.Helper()
	dir := t.TempDir()
	var b strings.Builder
	for i := range 20 {
		fmt.Fprintf(&b, `203.0.113.42 - - [10/Mar/2025:08:52:%02d +0000] "GET /item?id=%d%%27%%20UNION%%20SELECT%%20password%%20FROM%%20users-- HTTP/1.1" 200 512 "-" "sqlmap/1.8"`+"\n", i, i)
	}
	b.WriteString("this is not a log line\x1b[31m\n")
	access, auth = filepath.Join(dir, "access.log"), filepath.Join(dir, "auth.log")
	files := map[string]string{access: b.String()}
	b.Reset()
	for i := range 30 {
		fmt.Fprintf(&b, "Mar 10 08:40:%02d gate-1 sshd[2246]: Failed password for root from 198.51.100.23 port 4403%d ssh2\n", i, i%10)
	}
	files[auth] = b.String()
	for name, content := range files {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		written := time.Date(2025, 4, 1, 0, 0, 0, 0, time.UTC)
		if err := os.Chtimes(name, written, written); err != nil {
			t.Fatal(err)
		}
	}
	return access, auth
}

func TestAnalyze(t *testing.T) {
	t.Parallel()
	access, auth := attackLog(t)
	got := run(t, nil, "", "analyze", access, auth)
	if got.status != cli.ExitDone {
		t.Fatalf("status %d: %s", got.status, got.stderr)
	}
	for _, want := range []string{"threat.detected", "203.0.113.42", "sql_injection", "auth.suspicious", "198.51.100.23", "2025-03-10 08:40", "incident.created", "SQL injection from 203.0.113.42"} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("the table does not show %q:\n%s", want, got.stdout)
		}
	}
	for _, want := range []string{"50 records", "2 file(s)", "2 incidents", "1 lines unreadable", "access.log:21: "} {
		if !strings.Contains(got.stderr, want) {
			t.Errorf("the summary does not say %q:\n%s", want, got.stderr)
		}
	}
	if strings.Contains(got.stdout+got.stderr, "\x1b") {
		t.Errorf("an escape sequence of the log reaches the terminal: %q", got.stderr)
	}
}

func TestAnalyzeJSON(t *testing.T) {
	t.Parallel()
	access, auth := attackLog(t)
	first := run(t, nil, "", "analyze", "--json", access, auth)
	if again := run(t, nil, "", "analyze", "--json", access, auth); again.stdout != first.stdout {
		t.Errorf("the same files gave other events:\n%s\n%s", first.stdout, again.stdout)
	}
	types := make(map[string]int)
	for line := range strings.Lines(first.stdout) {
		var e cybervault.Envelope
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		types[e.Event]++
		if !e.ID.Time().Equal(e.Timestamp.Truncate(time.Millisecond)) || e.Timestamp.Year() != 2025 || e.Metadata.IdempotencyKey == "" || e.Metadata.EngineVersion == "" {
			t.Errorf("envelope %s: id, timestamp or metadata are not those of the log", line)
		}
	}
	if types["threat.detected"] == 0 || types["auth.suspicious"] == 0 {
		t.Errorf("found %v, want threats and suspicious logins", types)
	}
}

func TestAnalyzeReadsStdinAndNamesWhatItCannotRead(t *testing.T) {
	t.Parallel()
	access, auth := attackLog(t)
	content, err := os.ReadFile(access)
	if err != nil {
		t.Fatal(err)
	}
	if got := run(t, nil, string(content), "analyze", "-"); got.status != cli.ExitDone || !strings.Contains(got.stdout, "203.0.113.42") {
		t.Errorf("from stdin: status %d, %q", got.status, got.stdout)
	}
	missing := filepath.Join(t.TempDir(), "missing.log")
	got := run(t, nil, "", "analyze", auth, missing)
	if got.status != cli.ExitFailed || !strings.Contains(got.stderr, missing) || got.stdout != "" {
		t.Errorf("status %d, stdout %q, stderr %q; want status 1 and the file's name, before anything is read", got.status, got.stdout, got.stderr)
	}
	if got := run(t, nil, "", "analyze", t.TempDir()); got.status != cli.ExitFailed || !strings.Contains(got.stderr, "no file") {
		t.Errorf("of an empty directory: status %d, stderr %q", got.status, got.stderr)
	}
	if got := run(t, nil, "", "analyze", "--format", "csv", auth); got.status != cli.ExitUsage || !strings.Contains(got.stderr, "--format") {
		t.Errorf("of an unknown format: status %d, stderr %q", got.status, got.stderr)
	}
}

// A directory is all files in it, however they are packed; one that is damaged is
// named, and what it held before the damage is told of with the rest.
func TestAnalyzeADirectory(t *testing.T) {
	t.Parallel()
	access, auth := attackLog(t)
	dir := filepath.Dir(access)
	var packed bytes.Buffer
	zw := gzip.NewWriter(&packed)
	for i := range 400 {
		fmt.Fprintf(zw, "Mar  9 08:40:%02d gate-2 sshd[2246]: Failed password for root from 198.51.100.77 port 4%04d ssh2\n", i%60, i)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	write := func(name string, b []byte) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		written := time.Date(2025, 4, 1, 0, 0, 0, 0, time.UTC)
		if err := os.Chtimes(name, written, written); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(dir, "old", "auth.log.2.gz"), packed.Bytes())
	write(filepath.Join(dir, ".hidden", "auth.log"), []byte("not looked at\n"))
	got := run(t, nil, "", "analyze", dir, access) // which is not read twice
	if got.status != cli.ExitDone || !strings.Contains(got.stderr, "450 records") || !strings.Contains(got.stderr, "3 file(s)") {
		t.Fatalf("status %d: %s", got.status, got.stderr)
	}
	if older, newer := strings.Index(got.stdout, "198.51.100.77"), strings.Index(got.stdout, "198.51.100.23"); older < 0 || newer < older {
		t.Errorf("not in the order of time:\n%s", got.stdout)
	}
	write(filepath.Join(dir, "old", "auth.log.2.gz"), packed.Bytes()[:packed.Len()-20])
	got = run(t, nil, "", "analyze", dir, auth)
	if got.status != cli.ExitFailed || !strings.Contains(got.stderr, "auth.log.2.gz: ") || !strings.Contains(got.stdout, "198.51.100.23") {
		t.Errorf("with a damaged file: status %d, %s%s", got.status, got.stdout, got.stderr)
	}
}

// The settings of a server's engine are those of an analysis.
func TestAnalyzeIsSetUpAsAServer(t *testing.T) {
	t.Parallel()
	_, auth := attackLog(t)
	access := filepath.Join(t.TempDir(), "shop.log")
	var b strings.Builder
	for i := range 40 {
		// What paranoia level 1 lets pass: text with many signs.
		fmt.Fprintf(&b, `shop.example.com:443 203.0.113.7 - - [10/Mar/2025:08:52:%02d +0000] "GET /s?q=a%%22%%22%%60%%60%%3C%%3E%%3C%%3E%d HTTP/1.1" 200 512 "-" "Mozilla/5.0 (X11; Linux x86_64) Firefox/135.0"`+"\n", i, i)
	}
	if err := os.WriteFile(access, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	usual := run(t, nil, "", "analyze", access)
	if usual.status != cli.ExitDone || strings.Contains(usual.stdout, "203.0.113.7") {
		t.Fatalf("status %d:\n%s%s", usual.status, usual.stdout, usual.stderr)
	}
	for name, got := range map[string]result{
		"a flag":     run(t, nil, "", "analyze", "--paranoia", "4", access),
		"a site":     run(t, nil, "", "analyze", "--web-sites", "shop.example.com=4", access),
		"a variable": run(t, map[string]string{"CYBERVAULT_PARANOIA": "4"}, "", "analyze", access),
	} {
		if got.status != cli.ExitDone || !strings.Contains(got.stdout, "203.0.113.7") {
			t.Errorf("%s: status %d:\n%s%s", name, got.status, got.stdout, got.stderr)
		}
	}
	for flag, value := range map[string]string{"--paranoia": "5", "--geoip": filepath.Join(t.TempDir(), "none.mmdb"), "--rules": auth} {
		if got := run(t, nil, "", "analyze", flag, value, auth); got.status != cli.ExitUsage || !strings.Contains(got.stderr, strings.TrimPrefix(flag, "--")) {
			t.Errorf("%s %s: status %d: %s", flag, value, got.status, got.stderr)
		}
	}
}
