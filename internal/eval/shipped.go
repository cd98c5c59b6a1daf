package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/detect"
	"github.com/cybervault/cybervault/internal/detect/sigma"
	"github.com/cybervault/cybervault/internal/telemetry"
	"github.com/cybervault/cybervault/rules"
)

// shippedFigures say what the shipped rules find in logs of attacks: CloudTrail's
// of one technique each, and captures of Windows hosts.
type shippedFigures struct {
	Rules          int      `json:"rules"`
	Techniques     int      `json:"cloudtrail_techniques"`
	Detected       int      `json:"cloudtrail_detected"` // a threat is published
	Undetected     []string `json:"cloudtrail_undetected"`
	Records        int      `json:"cloudtrail_records"`
	OtherTactic    int      `json:"cloudtrail_records_of_another_tactic"` // matched by rules of level medium or more, none of which has the tactic that the file is named by
	Captures       int      `json:"windows_captures"`
	CapturesFound  int      `json:"windows_captures_detected"`
	CapturesMissed []string `json:"windows_captures_undetected"`
}

func evalShipped(ctx context.Context, dir string) (shippedFigures, error) {
	var out shippedFigures
	engine, wrong, err := detect.LoadRules(detect.RuleSource{FS: rules.FS()})
	if err != nil {
		return out, err
	}
	if len(wrong) > 0 {
		return out, fmt.Errorf("a shipped rule cannot be used: %w", wrong[0])
	}
	out.Rules = len(engine.Rules()) + len(engine.Correlations())
	files, err := filepath.Glob(filepath.Join(dir, "cloudtrail", "stratus", "docs", "detonation-logs", "*.json"))
	if err != nil {
		return out, err
	}
	sort.Strings(files)
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		tactic := strings.Split(name, ".")
		events, hits, err := shippedOn(ctx, engine, file)
		if err != nil {
			return out, err
		}
		out.Techniques++
		if events > 0 {
			out.Detected++
		} else {
			out.Undetected = append(out.Undetected, name)
		}
		for _, rules := range hits {
			out.Records++
			if len(rules) > 0 && !slices.ContainsFunc(rules, func(h sigma.Hit) bool { return slices.Contains(h.Tags, "attack."+tactic[1]) }) {
				out.OtherTactic++
			}
		}
	}
	captures, err := filepath.Glob(filepath.Join(dir, "windows", "security-datasets", "*"))
	if err != nil {
		return out, err
	}
	sort.Strings(captures)
	for _, file := range captures {
		if strings.HasSuffix(file, "LICENSE") || strings.HasSuffix(file, ".md") {
			continue
		}
		events, _, err := shippedOn(ctx, engine, file)
		if err != nil {
			return out, err
		}
		out.Captures++
		if events > 0 {
			out.CapturesFound++
		} else {
			out.CapturesMissed = append(out.CapturesMissed, filepath.Base(file))
		}
	}
	return out, nil
}

// shippedOn runs the whole engine over a file, and returns how many threats it
// publishes, and for each record the rules of level medium or more that it matches.
func shippedOn(ctx context.Context, rules *sigma.Engine, file string) (events int, hits [][]sigma.Hit, err error) {
	log, err := os.ReadFile(file)
	if err != nil {
		return 0, nil, err
	}
	e, err := detect.New(detect.Config{Rules: rules})
	if err != nil {
		return 0, nil, err
	}
	b := e.Begin(cybervault.WorkspaceID{})
	_, err = telemetry.Parse(ctx, bytes.NewReader(log), telemetry.Options{}, func(rec *cybervault.Record) error {
		hits = append(hits, slices.DeleteFunc(rules.Match(rec), func(h sigma.Hit) bool { return h.Severity.Rank() < cybervault.SeverityMedium.Rank() }))
		return b.Add(ctx, rec)
	})
	if err != nil {
		return 0, nil, fmt.Errorf("%s: %w", file, err)
	}
	findings, err := b.End(ctx)
	for _, f := range findings {
		if f.Type == cybervault.EventThreatDetected {
			events++
		}
	}
	return events, hits, err
}
