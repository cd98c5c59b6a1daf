package detect_test

import (
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/detect"
	"github.com/cybervault/cybervault/internal/detect/sample"
	"github.com/cybervault/cybervault/internal/telemetry"
)

// event is what tests look at of a finding's data, of either type.
type event struct {
	ThreatID    string                 `json:"threat_id"`
	AuthID      string                 `json:"auth_id"`
	Severity    string                 `json:"severity"`
	SourceIP    *string                `json:"source_ip"`
	TargetAsset *string                `json:"target_asset"`
	Vector      string                 `json:"vector"`
	Pattern     string                 `json:"pattern"`
	User        *string                `json:"user"`
	Confidence  float64                `json:"confidence"`
	MitreID     *string                `json:"mitre_id"`
	Count       int                    `json:"count"`
	FirstSeen   time.Time              `json:"first_seen"`
	LastSeen    time.Time              `json:"last_seen"`
	Detections  []cybervault.Detection `json:"detections"`
}

func str(p *string) string {
	if p == nil {
		return "null"
	}
	return *p
}

// feed puts a log through an engine as one batch.
func feed(t testing.TB, e *detect.Engine, ws cybervault.WorkspaceID, source string, r io.Reader) []cybervault.Finding {
	t.Helper()
	ctx := context.Background()
	b := e.Begin(ws)
	sum, err := telemetry.Parse(ctx, r, telemetry.Options{Source: source, Now: func() time.Time {
		return time.Date(2026, 3, 11, 0, 0, 0, 0, time.UTC)
	}}, func(rec *cybervault.Record) error { return b.Add(ctx, rec) })
	if err != nil {
		t.Fatal(err)
	}
	if sum.Unreadable > 0 {
		t.Fatalf("%d unreadable lines, the first: %+v", sum.Unreadable, sum.Samples[0])
	}
	fs, err := b.End(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return fs
}

func newEngine(t testing.TB, cfg detect.Config) *detect.Engine {
	t.Helper()
	e, err := detect.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func decode(t testing.TB, f cybervault.Finding) event {
	t.Helper()
	var ev event
	if err := json.Unmarshal(f.Data, &ev); err != nil {
		t.Fatal(err)
	}
	return ev
}

func TestSample(t *testing.T) {
	t.Parallel()
	e := newEngine(t, detect.Config{})
	fs := feed(t, e, cybervault.WorkspaceID{}, sample.AccessLogSource, sample.AccessLog())
	fs = append(fs, feed(t, e, cybervault.WorkspaceID{}, sample.AuthLogSource, sample.AuthLog())...)
	var got []string
	for _, f := range fs {
		ev := decode(t, f)
		got = append(got, strings.Join([]string{f.Type, ev.Vector + ev.Pattern, ev.Severity, str(ev.SourceIP), str(ev.TargetAsset), str(ev.MitreID)}, " "))
		if ev.Confidence <= 0.5 || ev.Confidence >= 1 {
			t.Errorf("%s: confidence %v", got[len(got)-1], ev.Confidence)
		}
		if len(ev.Detections) == 0 || len(ev.Detections) > 10 {
			t.Errorf("%d detections", len(ev.Detections))
		}
		for _, d := range ev.Detections {
			if d.Explanation == "" || d.Record == "" || d.Title == "" || d.Count < 1 || len(d.MitreIDs) == 0 {
				t.Errorf("a detection that does not explain itself: %+v", d)
			}
		}
		t.Logf("%s %.3f count %d %v", got[len(got)-1], ev.Confidence, ev.Count, ev.Detections[0].Explanation)
	}
	want := []string{
		"threat.detected sql_injection high 203.0.113.77 shop.example.com T1190",
		"threat.detected reconnaissance low 203.0.113.201 shop.example.com T1595.003",
		"auth.suspicious brute_force medium 198.51.100.23 gate-1 T1110.001",
		"auth.suspicious success_after_failures critical 198.51.100.140 gate-1 T1110.001",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
