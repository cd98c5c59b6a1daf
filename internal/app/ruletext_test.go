package app

import (
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/detect"
)

const (
	rootLogin = `title: Root logs in
id: 1b3f0d0e-8a0f-4f6e-9b8e-2f6a1d0c7a55
name: root_login
status: test
description: |
    Somebody
    is root.
author: Ada
license: MIT
references: [https://example.com/why]
falsepositives: [the night job]
level: high
tags: [attack.initial-access, attack.t1078]
logsource: {product: linux, service: sshd}
detection:
    keywords: ['Accepted password for root']
    condition: keywords`
	manyLogins = `title: Root logs in again and again
id: 6c1f9a52-30f5-4f37-8f0c-5f9d0d1f7e01
correlation:
    type: event_count
    rules: [root_login]
    timespan: 10m
    condition: {gte: 3}`
)

func TestARuleIsExplained(t *testing.T) {
	t.Parallel()
	own := fstest.MapFS{"deep/root.yml": {Data: []byte("# two of them\n---\n" + rootLogin + "\r\n---\n" + manyLogins + "\n")}}
	c := newControls(t, &shelf{})
	c.sources = []detect.RuleSource{{FS: fstest.MapFS{}}, {Name: "/etc/x/../own rules/", FS: own}}
	var err error
	if c.rules, _, err = detect.LoadRules(c.sources...); err != nil {
		t.Fatal(err)
	}
	ws := cybervault.WorkspaceID{}
	if err := c.SetRule(t.Context(), ws, "942100", false, "our search takes SQL"); err != nil {
		t.Fatal(err)
	}
	read := func(id string) *cybervault.RuleDetail {
		t.Helper()
		d, err := c.Rule(t.Context(), ws, id)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	rule := read("1b3f0d0e-8a0f-4f6e-9b8e-2f6a1d0c7a55")
	want := &cybervault.RuleDetail{
		RuleInfo: cybervault.RuleInfo{
			ID: "1b3f0d0e-8a0f-4f6e-9b8e-2f6a1d0c7a55", Title: "Root logs in", Level: cybervault.SeverityHigh, LogSource: "linux/sshd", Techniques: []string{"T1078"}, File: "/etc/own rules/deep/root.yml", Kind: "rule",
		},
		Description: "Somebody\nis root.", Status: "test", Author: "Ada", License: "MIT", References: []string{"https://example.com/why"}, FalsePositives: []string{"the night job"},
		Tags: []string{"attack.initial-access", "attack.t1078"}, Vector: "initial_access", Text: rootLogin, Silent: true,
	}
	if diff := cmp.Diff(want, rule); diff != "" {
		t.Errorf("the rule (-want +got):\n%s", diff)
	}
	if got := read("6c1f9a52-30f5-4f37-8f0c-5f9d0d1f7e01"); got.Kind != "correlation" || got.Text != manyLogins || cmp.Diff([]string{"root_login"}, got.Counts) != "" {
		t.Errorf("the correlation is %+v", got)
	}
	if got := read("942100"); got.Kind != "" || got.Off == nil || got.Off.Reason != "our search takes SQL" || got.Text != "" {
		t.Errorf("a rule that is not Sigma's is %+v", got)
	}
	if off, err := c.RulesOff(t.Context(), ws); err != nil || len(off) != 1 || off["942100"].At.After(time.Now()) {
		t.Errorf("off are %v (%v)", off, err)
	}
	delete(own, "deep/root.yml")
	if got := read(rule.ID); got.Text != "" || got.Title != rule.Title {
		t.Errorf("without its file the rule is %+v", got)
	}
}

func TestTheTextOfARuleIsBounded(t *testing.T) {
	t.Parallel()
	long := "title: x\n# " + strings.Repeat("é", maxRuleText)
	if got := documentAt([]byte(long), 1); len(got) > maxRuleText+len("…") || !strings.HasSuffix(got, "é…") {
		t.Errorf("%d bytes, ending in %q", len(got), got[len(got)-8:])
	}
	for line, want := range map[int]string{1: "a", 3: "b", 4: "b", 6: "c", 99: "c"} {
		if got := documentAt([]byte("a\n---\nb\n\n--- # c\nc"), line); got != want {
			t.Errorf("line %d is of %q, want %q", line, got, want)
		}
	}
}
