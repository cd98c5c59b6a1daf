package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/detect"
	"github.com/cybervault/cybervault/internal/telemetry"
	"github.com/cybervault/cybervault/rules"
)

// scenariosFigures say in how many of CrowdSec's tests of attack scenarios the
// address that attacked is that of an event. Tests are taken whose log is read:
// more than half of its lines are records that name an address.
type scenariosFigures struct {
	Scenarios int      `json:"scenarios"`
	Found     int      `json:"found"`
	Missed    []string `json:"missed"`
}

var (
	logFileLine = regexp.MustCompile(`(?m)^log_file:\s*(\S+)`)
	logTypeLine = regexp.MustCompile(`(?m)^log_type:\s*(\S+)`)
	sourceLine  = regexp.MustCompile(`^"([0-9a-fA-F.:]+)" in results`)
	resultLine  = regexp.MustCompile(`results\[(\d+)\]\.Overflow\.Alert\.GetScenario\(\) == "([^"]+)"`)
)

func evalScenarios(ctx context.Context, dir string) (scenariosFigures, error) {
	var out scenariosFigures
	tests, err := filepath.Glob(filepath.Join(dir, "crowdsec-hub", "tests", "*", "scenario.assert"))
	if err != nil {
		return out, err
	}
	sort.Strings(tests)
	for _, assert := range tests {
		folder := filepath.Dir(assert)
		config, err := os.ReadFile(filepath.Join(folder, "config.yaml"))
		if err != nil {
			return out, err
		}
		file, kind := logFileLine.FindSubmatch(config), logTypeLine.FindSubmatch(config)
		if file == nil || kind == nil {
			continue
		}
		log, err := os.ReadFile(filepath.Join(folder, string(file[1])))
		if err != nil {
			continue // a test without its log
		}
		expected, err := os.ReadFile(assert)
		if err != nil {
			return out, err
		}
		sources, scenario := map[string]bool{}, ""
		for line := range strings.SplitSeq(string(expected), "\n") {
			if m := sourceLine.FindStringSubmatch(line); m != nil {
				sources[m[1]] = true
			}
			if m := resultLine.FindStringSubmatch(line); m != nil {
				scenario = m[2]
			}
		}
		if len(sources) == 0 {
			continue
		}
		found, web, err := attackers(ctx, log)
		if err != nil {
			return out, fmt.Errorf("%s: %w", folder, err)
		}
		if !web {
			continue // a log of something else
		}
		out.Scenarios++
		missing := ""
		for ip := range sources {
			if !found[ip] {
				missing = ip
			}
		}
		if missing == "" {
			out.Found++
		} else {
			out.Missed = append(out.Missed, fmt.Sprintf("%s (%s): %s", filepath.Base(folder), scenario, missing))
		}
	}
	return out, nil
}

// attackers runs the engine over a log and returns the addresses of its events,
// and whether most of the log was read.
func attackers(ctx context.Context, log []byte) (map[string]bool, bool, error) {
	shipped, _, err := detect.LoadRules(detect.RuleSource{FS: rules.FS()})
	if err != nil {
		return nil, false, err
	}
	e, err := detect.New(detect.Config{Rules: shipped})
	if err != nil {
		return nil, false, err
	}
	b := e.Begin(cybervault.WorkspaceID{})
	judged := 0
	sum, err := telemetry.Parse(ctx, bytes.NewReader(log), telemetry.Options{Now: func() time.Time {
		return time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	}}, func(rec *cybervault.Record) error {
		if rec.SourceIP != "" {
			judged++
		}
		return b.Add(ctx, rec)
	})
	if err != nil {
		return nil, false, err
	}
	findings, err := b.End(ctx)
	if err != nil {
		return nil, false, err
	}
	found := map[string]bool{}
	for _, f := range findings {
		var d struct {
			SourceIP string `json:"source_ip"`
		}
		if err := json.Unmarshal(f.Data, &d); err != nil {
			return nil, false, err
		}
		found[d.SourceIP] = true
	}
	return found, judged*2 > sum.Records+sum.Unreadable, nil
}
