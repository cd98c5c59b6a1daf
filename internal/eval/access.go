package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/detect"
	"github.com/cybervault/cybervault/internal/detect/web"
	"github.com/cybervault/cybervault/internal/telemetry"
)

// accessFigures say what becomes of a real access log, with the gate and without.
type accessFigures struct {
	Records          int      `json:"records"`
	Unreadable       int      `json:"unreadable"`
	GatedPerSecond   float64  `json:"gated_lines_per_s"`
	UngatedPerSecond float64  `json:"ungated_lines_per_s"`
	GatedCPU         float64  `json:"gated_cpu_us_per_line"` // processor time, which other work on the machine does not change much
	UngatedCPU       float64  `json:"ungated_cpu_us_per_line"`
	GatedAsked       int64    `json:"gated_rule_set_asked"`
	UngatedAsked     int64    `json:"ungated_rule_set_asked"`
	LostByGate       int      `json:"verdicts_changed_by_gate"`
	Matching         int      `json:"requests_matching"`
	Findings         []string `json:"findings"`
}

func evalAccess(ctx context.Context, dir string) (accessFigures, error) {
	var out accessFigures
	log, err := os.ReadFile(filepath.Join(dir, "web", "apache", "access.log"))
	if err != nil {
		return out, err
	}
	measure := func(noGate bool) (perSecond, cpu float64, asked int64, findings []cybervault.Finding, e *detect.Engine, err error) {
		if e, err = detect.New(detect.Config{NoGate: noGate}); err != nil {
			return
		}
		if err = e.Warm(); err != nil {
			return
		}
		start, used := time.Now(), cpuTime()
		b := e.Begin(cybervault.WorkspaceID{})
		sum, err := telemetry.Parse(ctx, bytes.NewReader(log), telemetry.Options{Source: "access.log"}, func(rec *cybervault.Record) error {
			return b.Add(ctx, rec)
		})
		if err != nil {
			return
		}
		if findings, err = b.End(ctx); err != nil {
			return
		}
		perSecond = float64(sum.Records) / time.Since(start).Seconds()
		cpu = float64((cpuTime() - used).Microseconds()) / float64(sum.Records)
		out.Records, out.Unreadable = sum.Records, sum.Unreadable
		asked = e.Stats().RuleSetAsked
		return
	}
	var gated, ungated *detect.Engine
	var findings []cybervault.Finding
	if out.GatedPerSecond, out.GatedCPU, out.GatedAsked, findings, gated, err = measure(false); err != nil {
		return out, err
	}
	if out.UngatedPerSecond, out.UngatedCPU, out.UngatedAsked, _, ungated, err = measure(true); err != nil {
		return out, err
	}
	for _, f := range findings {
		var d struct {
			SourceIP   string                 `json:"source_ip"`
			Vector     string                 `json:"vector"`
			Severity   string                 `json:"severity"`
			Confidence float64                `json:"confidence"`
			Count      int                    `json:"count"`
			Detections []cybervault.Detection `json:"detections"`
		}
		if err := json.Unmarshal(f.Data, &d); err != nil {
			return out, err
		}
		out.Findings = append(out.Findings, fmt.Sprintf("%s %s from %s, %s, confidence %.3f, %d records: %s",
			f.Type, d.Vector, d.SourceIP, d.Severity, d.Confidence, d.Count, d.Detections[0].Explanation))
	}
	_, err = telemetry.Parse(ctx, bytes.NewReader(log), telemetry.Options{}, func(rec *cybervault.Record) error {
		with, err := gated.Inspect(rec)
		if err != nil {
			return err
		}
		without, err := ungated.Inspect(rec)
		if err != nil {
			return err
		}
		if !sameRules(with, without) {
			out.LostByGate++
		}
		if len(with) > 0 {
			out.Matching++
		}
		return nil
	})
	return out, err
}

// cpuTime is the processor time that this process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func sameRules(a, b []web.Match) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].RuleID != b[i].RuleID {
			return false
		}
	}
	return true
}
