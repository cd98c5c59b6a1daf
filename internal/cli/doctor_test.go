package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cybervault/cybervault/internal/cli"
)

func doctorSays(status string) string {
	return `{"status":"` + status + `","version":"1.2.3","checked_at":"2026-01-31T12:00:00Z","checks":[
{"name":"disk","status":"ok","summary":"900 MiB free"},
{"name":"destination","status":"` + status + `","subject":"whk_1","summary":"cannot be\nreached \u001b[31m","remedy":"look"}]}`
}

func TestDoctorEndsByTheWorstCheck(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		status string
		flags  []string
		want   int
	}{
		{"ok", nil, cli.ExitDone}, {"warn", nil, cli.ExitDone}, {"warn", []string{"--strict"}, cli.ExitFailed},
		{"fail", nil, cli.ExitFailed}, {"fail", []string{"--json"}, cli.ExitFailed},
	} {
		f := newFakeServer(t, map[string][]answer{"GET /v1/doctor": {{200, doctorSays(test.status)}}})
		env := map[string]string{"CYBERVAULT_SERVER": f.URL, "CYBERVAULT_API_KEY": "key-of-the-test"}
		got := run(t, env, "", append([]string{"doctor"}, test.flags...)...)
		if got.status != test.want {
			t.Errorf("%s %v ended with %d, want %d: %s%s", test.status, test.flags, got.status, test.want, got.stdout, got.stderr)
		}
		if strings.Contains(got.stdout, "\x1b") || len(test.flags) == 0 && !strings.Contains(got.stdout, "destination: whk_1: cannot be; reached") {
			t.Errorf("printed %q", got.stdout)
		}
	}
}

func TestDoctorNamesAnotherVersion(t *testing.T) {
	t.Parallel()
	f := newFakeServer(t, map[string][]answer{"GET /v1/doctor": {{200, strings.Replace(doctorSays("ok"), "1.2.3", "1.0.0", 1)}}})
	got := run(t, map[string]string{"CYBERVAULT_SERVER": f.URL, "CYBERVAULT_API_KEY": "key-of-the-test"}, "", "doctor")
	if !strings.Contains(got.stdout, "the server is 1.0.0, this program 1.2.3") {
		t.Errorf("printed %s", got.stdout)
	}
}

// A server that refuses, or is not there, is looked at from outside; a wrong
// setting is a finding, not a wrong use.
func TestDoctorFromOutside(t *testing.T) {
	t.Parallel()
	f := newFakeServer(t, map[string][]answer{"GET /v1/doctor": {{403, `{"detail":"this API key lacks the scope"}`}}})
	dir := filepath.Join(t.TempDir(), "none")
	for name, test := range map[string]struct {
		env   map[string]string
		words []string
	}{
		"refused":       {map[string]string{"CYBERVAULT_SERVER": f.URL, "CYBERVAULT_API_KEY": "key-of-the-test"}, []string{"FAIL  server", "admin key", "FAIL  data directory: " + dir + ": does not exist"}},
		"not there":     {map[string]string{"CYBERVAULT_SERVER": "http://127.0.0.1:1", "CYBERVAULT_API_KEY": "key-of-the-test"}, []string{"no server answers", "does not exist"}},
		"no key":        {map[string]string{}, []string{"warn  server: was not asked", "does not exist"}},
		"wrong setting": {map[string]string{"CYBERVAULT_RETENTION": "never"}, []string{"FAIL  configuration", "CYBERVAULT_RETENTION"}},
	} {
		got := run(t, test.env, "", "doctor", "--data", dir)
		if got.status != cli.ExitFailed {
			t.Errorf("%s: status %d: %s", name, got.status, got.stdout)
		}
		for _, words := range test.words {
			if !strings.Contains(got.stdout, words) {
				t.Errorf("%s: nothing says %q: %s", name, words, got.stdout)
			}
		}
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("doctor made the data directory")
	}
}

func TestBackupIsUsedWrongly(t *testing.T) {
	t.Parallel()
	env := map[string]string{"CYBERVAULT_API_KEY": "key-of-the-test", "CYBERVAULT_DATABASE_URL": "postgres://db.test/x"}
	for words, args := range map[string][]string{
		"--include-key needs --data": {"backup", "--include-key", "x"},
		"accepts 1 arg":              {"backup"},
		"pg_restore":                 {"restore", "x"},
	} {
		if got := run(t, env, "", args...); got.status != cli.ExitUsage || !strings.Contains(got.stderr, words) {
			t.Errorf("%v: %d %s", args, got.status, got.stderr)
		}
	}
}

// What breaks off leaves no file, and what the server answers is said.
func TestBackupThatFailsLeavesNoFile(t *testing.T) {
	t.Parallel()
	f := newFakeServer(t, map[string][]answer{"GET /v1/backup": {{200, "half a backup"}, {409, `{"detail":"run pg_dump"}`}}})
	env := map[string]string{"CYBERVAULT_SERVER": f.URL, "CYBERVAULT_API_KEY": "key-of-the-test"}
	dir := t.TempDir()
	for range 2 {
		if got := run(t, env, "", "backup", filepath.Join(dir, "b")); got.status != cli.ExitFailed {
			t.Errorf("ended with %d: %s", got.status, got.stderr)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
