package detect_test

import (
	"bytes"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/detect"
)

const ruleFile = `
title: Shadow Copies Deleted
id: 00000000-0000-4000-8000-000000000001
tags: [attack.t1490, attack.defense-evasion, attack.impact]
logsource: {product: windows, category: process_creation}
detection:
  selection: {Image|endswith: '\vssadmin.exe', CommandLine|contains: 'delete shadows'}
  condition: selection
level: LEVEL
---
title: Not Good
id: 00000000-0000-4000-8000-000000000002
logsource: {product: windows}
detection:
  selection: {Image: x}
  condition: selection and
`

func rulesOf(t *testing.T, level string) (detect.Config, []string) {
	t.Helper()
	file := &fstest.MapFile{Data: []byte(strings.ReplaceAll(ruleFile, "LEVEL", level))}
	engine, wrong, err := detect.LoadRules(
		detect.RuleSource{FS: fstest.MapFS{"a/one.yml": &fstest.MapFile{Data: []byte(strings.ReplaceAll(strings.ReplaceAll(ruleFile, "LEVEL", "low"), "vssadmin", "other"))}}},
		detect.RuleSource{Name: "own", FS: fstest.MapFS{"two.yml": file}})
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, e := range wrong {
		said = append(said, e.Error())
	}
	return detect.Config{Rules: engine}, said
}

func shadows(n int) []*cybervault.Record {
	return signIns(n, time.Minute, func(int) *cybervault.Record {
		return &cybervault.Record{Product: "windows", Category: "process_creation", Service: "sysmon", Host: "ws1", User: "ann",
			Fields: map[string]string{"Image": `C:\Windows\System32\vssadmin.exe`, "CommandLine": "vssadmin delete shadows /all"}}
	})
}

func TestSigmaRules(t *testing.T) {
	t.Parallel()
	config, wrong := rulesOf(t, "high")
	if len(wrong) != 2 || !strings.HasPrefix(wrong[1], "own/two.yml:") || !strings.HasPrefix(wrong[0], "a/one.yml:") {
		t.Errorf("said %q", wrong)
	}
	e := newEngine(t, config)
	b := e.Begin(wsA)
	for _, r := range shadows(7) {
		if err := b.Add(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	fs, err := b.End(t.Context())
	if err != nil || len(fs) != 1 {
		t.Fatalf("%d findings, %v", len(fs), err)
	}
	ev := decode(t, fs[0])
	if ev.Vector != "defense_evasion" || ev.Severity != "high" || str(ev.MitreID) != "T1490" || str(ev.TargetAsset) != "ws1" || ev.SourceIP != nil || ev.Count != 7 {
		t.Errorf("%s", fs[0].Data)
	}
	if d := ev.Detections; len(d) != 1 || d[0].Engine != "sigma" || d[0].RuleID != "00000000-0000-4000-8000-000000000001" || d[0].Count != 7 ||
		!strings.Contains(d[0].Explanation, "vssadmin") {
		t.Errorf("%+v", d)
	}
	if fs[0].Gist.User != "ann" {
		t.Errorf("%+v", fs[0].Gist)
	}
	e.SetRules(nil)
	b = e.Begin(wsB)
	for _, r := range shadows(3) {
		if err := b.Add(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if fs, err := b.End(t.Context()); err != nil || len(fs) > 0 {
		t.Errorf("with no rules: %d findings, %v", len(fs), err)
	}
}

// A rule of a low level alone wakes nobody up.
func TestALowRule(t *testing.T) {
	t.Parallel()
	config, _ := rulesOf(t, "low")
	b := newEngine(t, config).Begin(wsA)
	for _, r := range shadows(200) {
		if err := b.Add(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if fs, err := b.End(t.Context()); err != nil || len(fs) > 0 {
		t.Errorf("%d findings, %v", len(fs), err)
	}
}

const correlationFile = `
title: Logged In As Another
id: 00000000-0000-4000-8000-000000000003
name: switched
tags: [attack.privilege-escalation, attack.t1078]
logsource: {product: linux, service: app}
detection:
  selection: {message|startswith: 'switched'}
  condition: selection
level: low
---
title: Many Switched
id: 00000000-0000-4000-8000-000000000004
tags: [attack.privilege-escalation, attack.t1078]
correlation:
  type: event_count
  rules: [switched]
  group-by: [GROUP]
  timespan: 10m
  condition: {gte: 5}
level: high
`

// A correlation is an event once it holds, over a restart too; the rule that it is
// made of is none.
func TestCorrelations(t *testing.T) {
	t.Parallel()
	for group, source := range map[string]string{"src_ip": "203.0.113.9", "user": "null"} {
		engine, wrong, err := detect.LoadRules(detect.RuleSource{FS: fstest.MapFS{"c.yml": &fstest.MapFile{Data: []byte(strings.ReplaceAll(correlationFile, "GROUP", group))}}})
		if err != nil || len(wrong) > 0 {
			t.Fatal(wrong, err)
		}
		e := newEngine(t, detect.Config{Rules: engine})
		all := signIns(9, time.Minute, func(int) *cybervault.Record {
			return &cybervault.Record{Product: "linux", Service: "app", Host: "gate", SourceIP: "203.0.113.9", User: "ann",
				Fields: map[string]string{"message": "switched to root", "src_ip": "203.0.113.9", "user": "ann"}}
		})
		var fs []cybervault.Finding
		for i, r := range all {
			b := e.Begin(wsA)
			if err := b.Add(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			more, err := b.End(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if i < 4 && len(more) > 0 {
				t.Errorf("%s: found after %d records: %s", group, i+1, more[0].Data)
			}
			fs = append(fs, more...)
			var saved bytes.Buffer
			if err := e.Save(&saved); err != nil {
				t.Fatal(err)
			}
			e = newEngine(t, detect.Config{Rules: engine})
			if err := e.Load(&saved); err != nil {
				t.Fatal(err)
			}
		}
		if len(fs) != 1 {
			t.Fatalf("%s: %d findings", group, len(fs))
		}
		ev := decode(t, fs[0])
		if ev.Vector != "privilege_escalation" || ev.Severity != "high" || ev.Count != 5 || len(ev.Detections) != 1 || ev.Detections[0].RuleID != "00000000-0000-4000-8000-000000000004" || str(ev.SourceIP) != source {
			t.Errorf("%s: %s", group, fs[0].Data)
		}
	}
}
