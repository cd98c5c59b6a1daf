package cli_test

import (
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
	for _, want := range []string{"threat.detected", "203.0.113.42", "sql_injection", "auth.suspicious", "198.51.100.23", "2025-03-10 08:40"} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("the table does not show %q:\n%s", want, got.stdout)
		}
	}
	for _, want := range []string{"50 records", "2 file(s)", "1 lines unreadable", "access.log:21: "} {
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
	if got.status != cli.ExitFailed || !strings.Contains(got.stderr, missing) || !strings.Contains(got.stdout, "198.51.100.23") {
		t.Errorf("status %d, stdout %q, stderr %q; want status 1, the file's name, and what was found before it", got.status, got.stdout, got.stderr)
	}
	if got := run(t, nil, "", "analyze", filepath.Dir(auth)); got.status != cli.ExitFailed || !strings.Contains(got.stderr, "is a directory") {
		t.Errorf("of a directory: status %d, stderr %q", got.status, got.stderr)
	}
	if got := run(t, nil, "", "analyze", "--format", "csv", auth); got.status != cli.ExitUsage || !strings.Contains(got.stderr, "--format") {
		t.Errorf("of an unknown format: status %d, stderr %q", got.status, got.stderr)
	}
}
