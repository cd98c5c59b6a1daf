package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cybervault/cybervault/internal/cli"
)

const rootLogin = `title: Password of root accepted
id: 11111111-2222-4333-8444-555555555555
name: root_login
license: MIT
author: A. Writer
level: high
tags: [attack.t1078]
logsource: {product: linux, service: sshd}
detection:
    keywords: ['Accepted password for root']
    condition: keywords
`

const rootLogins = `---
title: Root again and again
id: 11111111-2222-4333-8444-666666666666
correlation:
    type: event_count
    rules: [root_login]
    timespan: 10m
    condition: {gte: 3}
`

const (
	rootLine  = "Mar 10 08:40:01 gate-1 sshd[2246]: Accepted password for root from 198.51.100.23 port 44030 ssh2\n"
	otherLine = "Mar 10 08:40:01 gate-1 sshd[2246]: Accepted password for eve from 198.51.100.23 port 44030 ssh2\n"
)

// ruleFiles writes files, given as names and contents, into a new directory.
func ruleFiles(t *testing.T, list ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(list); i += 2 {
		name := filepath.Join(dir, list[i])
		if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(list[i+1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func wants(t *testing.T, what, got string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(got, p) {
			t.Errorf("%s does not show %q:\n%s", what, p, got)
		}
	}
}

func TestRulesCheck(t *testing.T) {
	t.Parallel()
	dir := ruleFiles(t, "good.yml", rootLogin+rootLogins, "bad/bad.yml", strings.Replace(rootLogin, "condition: keywords", "condition: other", 1))
	got := run(t, nil, "", "rules", "check", dir)
	if got.status != cli.ExitFailed {
		t.Errorf("status %d", got.status)
	}
	wants(t, "stdout", got.stdout, filepath.Join(dir, "bad/bad.yml")+`:11: condition: "other" is not defined`)
	wants(t, "stderr", got.stderr, "1 rules, 1 correlations and 0 filters are sound, 1 problems")

	good := run(t, nil, "", "rules", "check", "--json", filepath.Join(dir, "good.yml"))
	var answer struct {
		Rules, Correlations int
		Problems            []struct{ File string }
	}
	if err := json.Unmarshal([]byte(good.stdout), &answer); err != nil || good.status != cli.ExitDone || answer.Rules != 1 || answer.Correlations != 1 || answer.Problems == nil {
		t.Errorf("status %d, %v: %s%s", good.status, err, good.stdout, good.stderr)
	}
	if none := run(t, nil, "", "rules", "check", filepath.Join(dir, "none.yml")); none.status != cli.ExitFailed {
		t.Errorf("a file that is not there: status %d", none.status)
	}
}

func TestRulesList(t *testing.T) {
	t.Parallel()
	dir := ruleFiles(t, "good.yml", rootLogin+rootLogins)
	wants(t, "the list", run(t, nil, "", "rules", "list", "--rules", dir).stdout, "Root again and again", "linux/sshd", "T1078", "for correlations", "shipped")
	lines := strings.Split(strings.TrimSpace(run(t, nil, "", "rules", "list", "--rules", dir, "--no-shipped", "--json").stdout), "\n")
	var first struct {
		ID, Author, License string
		On                  bool
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &first); err != nil || len(lines) != 2 || !first.On || first.Author != "A. Writer" || first.License != "MIT" {
		t.Errorf("%v in %d lines: %+v", err, len(lines), first)
	}
}

func TestRulesExplain(t *testing.T) {
	t.Parallel()
	dir := ruleFiles(t, "good.yml", rootLogin+rootLogins, "auth.log", otherLine+rootLine+rootLine+rootLine)
	log := filepath.Join(dir, "auth.log")
	got := run(t, nil, "", "rules", "explain", "root_login", log, "--rules", dir)
	wants(t, "stdout", got.stdout, "Password of root accepted\nrecords of: linux/sshd", `the record contains "accepted password for root"`, "auth.log:2: ", "auth.log:4: ")
	wants(t, "stderr", got.stderr, "4 records, 4 of them of the rule's log source, 3 match")
	got = run(t, nil, "", "rules", "explain", "root again and again", log, "--rules", dir)
	wants(t, "stdout", got.stdout, "root_login (Password of root accepted)", "within 10m0s: event_count: at least 3", "auth.log:4: Root again and again: count 3")
	if got = run(t, nil, "", "rules", "explain", "nothing"); got.status != cli.ExitFailed {
		t.Errorf("an unknown rule: status %d", got.status)
	}
}

func TestRulesTest(t *testing.T) {
	t.Parallel()
	sound := ruleFiles(t, "r.yml", rootLogin, "r.hit.log", otherLine+rootLine, "r.miss.log", otherLine,
		"c.yml", strings.ReplaceAll(strings.ReplaceAll(rootLogin+rootLogins, "11111111", "21111111"), "root_login", "root2"), "c.hit.log", rootLine+rootLine+rootLine, "c.miss.log", rootLine,
		"none.yml", strings.Replace(rootLogin, "11111111", "31111111", 1))
	got := run(t, nil, "", "rules", "test", sound)
	if got.status != cli.ExitDone {
		t.Errorf("status %d: %s%s", got.status, got.stdout, got.stderr)
	}
	wants(t, "stderr", got.stderr, "2 files tried, 0 failures, 1 without")

	for want, files := range map[string][]string{
		`"Password of root accepted" matches nothing in r.hit.log`: {"r.hit.log", otherLine, "r.miss.log", otherLine},
		`"Password of root accepted" matches r.miss.log:2: `:       {"r.hit.log", rootLine, "r.miss.log", otherLine + rootLine},
		"no record in r.miss.log is of the rule's log source":      {"r.hit.log", rootLine, "r.miss.log", strings.ReplaceAll(otherLine, "sshd", "cron")},
		"there is no .hit. telemetry beside it":                    {"r.miss.log", otherLine},
	} {
		dir := ruleFiles(t, append(files, "r.yml", rootLogin)...)
		got := run(t, nil, "", "rules", "test", dir)
		if got.status != cli.ExitFailed {
			t.Errorf("%s: status %d", want, got.status)
		}
		wants(t, "stdout", got.stdout, "FAIL ", want)
	}
}

func TestRulesImport(t *testing.T) {
	t.Parallel()
	from := ruleFiles(t, "linux/r.yml", rootLogin, "linux/bad.yml", "title: Bad\nlogsource: {product: x}\ndetection: {a: {b: c}}\n",
		"linux/old.yml", strings.Replace(rootLogin, "level:", "status: deprecated\nlevel:", 1), "LICENSE", "the terms", ".github/w.yml", "on: push\n", "notes.yml", "a: b\n")
	data := ruleFiles(t, "rules/imported/gone.yml", rootLogin)
	got := run(t, nil, "", "rules", "import", from, "--data", data)
	if got.status != cli.ExitDone {
		t.Fatalf("status %d: %s", got.status, got.stderr)
	}
	wants(t, "stdout", got.stdout, "1 rules in 1 files imported", "1 cannot be used, 1 are deprecated")
	wants(t, "stderr", got.stderr, "linux/bad.yml:3: condition: is missing")
	to := filepath.Join(data, "rules", "imported")
	if b, err := os.ReadFile(filepath.Join(to, "linux", "r.yml")); err != nil || string(b) != rootLogin {
		t.Errorf("the rule was not copied as it is: %v", err)
	}
	if _, err := os.Stat(filepath.Join(to, "LICENSE")); err != nil {
		t.Error("the licence was left behind")
	}
	for _, name := range []string{"gone.yml", "linux/old.yml", "linux/bad.yml", "notes.yml"} {
		if _, err := os.Stat(filepath.Join(to, name)); err == nil {
			t.Errorf("%s is among the imported", name)
		}
	}
	if again := run(t, nil, "", "rules", "import", ruleFiles(t, "a.yml", "a: b\n"), "--data", data); again.status != cli.ExitFailed {
		t.Errorf("importing nothing: status %d", again.status)
	}
	if _, err := os.Stat(filepath.Join(to, "linux", "r.yml")); err != nil {
		t.Error("an import that failed took away what was there")
	}
}
