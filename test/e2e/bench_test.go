package e2e

import (
	"context"
	"encoding/json"
	"os/exec"
	"testing"
	"time"

	"github.com/cybervault/cybervault/test/testenv"
)

// The benchmark runs end to end and its ledger is right; how fast it was is
// nobody's failure.
func TestBenchDeliver(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, testenv.Binary(t), "bench", "deliver", "--json", "--events", "500", "--rounds", "1", "--light", "1s")
	cmd.Dir = t.TempDir()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("bench deliver: %v\n%s", err, out)
	}
	var report struct {
		Store         string  `json:"store"`
		EventBytes    int     `json:"event_bytes"`
		ReferencePerS float64 `json:"reference_per_s"`
		DeliveredPerS float64 `json:"delivered_per_s"`
		Ratio         float64 `json:"ratio"`
		PublishAck    struct {
			P50 float64 `json:"p50"`
			P99 float64 `json:"p99"`
		} `json:"publish_ack_ms"`
		Latency struct {
			P50 float64 `json:"p50"`
		} `json:"latency_ms"`
		CPU        float64 `json:"cpu_us_per_delivery"`
		RSS        float64 `json:"rss_mb"`
		Lost       *int    `json:"lost"`
		Duplicates *int    `json:"duplicates"`
		Recorded   bool    `json:"all_recorded"`
	}
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if report.Lost == nil || *report.Lost != 0 || report.Duplicates == nil || *report.Duplicates != 0 || !report.Recorded {
		t.Errorf("the ledger: %s", out)
	}
	if report.Store != "sqlite" || report.EventBytes < 500 || report.EventBytes > 700 || report.ReferencePerS <= 0 || report.DeliveredPerS <= 0 || report.Ratio <= 0 ||
		report.PublishAck.P50 <= 0 || report.PublishAck.P99 < report.PublishAck.P50 || report.Latency.P50 <= 0 || report.CPU <= 0 || report.RSS <= 0 {
		t.Errorf("a figure is missing: %s", out)
	}
}
