package e2e

import (
	"context"
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cybervault/cybervault/bench"
	"github.com/cybervault/cybervault/test/testenv"
)

// benchFlags make a scenario as small as it can be.
var benchFlags = []string{"--json", "--events", "300", "--rounds", "2", "--light", "1s", "--reference", "60ms", "--webhooks", "150",
	"--history", "2000", "--backlog", "1000"}

// Every scenario runs end to end and its ledger is right; how fast it was is
// nobody's failure.
func TestBenchDeliver(t *testing.T) {
	t.Parallel()
	onEither, err := bench.Named("all")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range onEither {
		t.Run(s.Name, func(t *testing.T) {
			report := runBench(t, s.Name)
			if report.Scenario != s.Name || report.About != s.About || report.Store != "sqlite" || report.EventBytes < 500 || report.EventBytes > 700 || report.Webhooks < 1 ||
				report.Machine.Cores < 1 {
				t.Errorf("what was measured is not said: %+v", report)
			}
			if report.Lost != 0 || report.Duplicates != 0 || !report.AllRecorded {
				t.Errorf("the ledger: %d lost, %d duplicates, all recorded: %v", report.Lost, report.Duplicates, report.AllRecorded)
			}
			if report.DeliveredPerS <= 0 || report.CPUPerDelivery <= 0 || report.RSS <= 0 {
				t.Errorf("a figure is missing: %+v", report)
			}
			if check, ok := benchChecks[s.Name]; ok {
				check(t, report)
			} else if len(report.Ratios) != 2 || len(report.Rates) != 2 || len(report.References) != 2 || report.ReferencePerS <= 0 || report.Ratio <= 0 || report.ReferenceAt < 16 {
				t.Errorf("the rounds: %+v", report)
			}
		})
	}
}

// benchChecks look at what scenarios report in a form of their own.
var benchChecks = map[string]func(*testing.T, *bench.Report){
	"light": func(t *testing.T, r *bench.Report) {
		if r.Events != 100 || r.PublishAck == nil || r.PublishAck.P50 <= 0 || r.PublishAck.P99 < r.PublishAck.P50 ||
			r.Latency == nil || r.Latency.P50 <= 0 || r.Latency.P99 < r.Latency.P50 {
			t.Errorf("the times: %+v, %+v", r.PublishAck, r.Latency)
		}
	},
	"stalled": func(t *testing.T, r *bench.Report) {
		wantParts(t, r, "90 alone", "90 beside 10 that never answer")
		wantKept(t, r)
	},
	"webhooks": func(t *testing.T, r *bench.Report) {
		wantParts(t, r, "1", "100", "150")
		if r.MostTo100 <= 0 || r.Parts[2].Webhooks != 150 || r.Parts[2].CreatedPerS <= 0 {
			t.Errorf("the numbers of webhooks: %+v", r)
		}
	},
	"history": func(t *testing.T, r *bench.Report) {
		wantParts(t, r, "an empty store", "a long log")
		wantKept(t, r)
		if r.History != 2000 || r.SeededPerS <= 0 || len(r.Pages) != 14 || r.SlowestPage <= 0 {
			t.Errorf("the log: %+v", r)
		}
		for _, p := range r.Pages {
			empty := strings.Contains(p.Query, "status=pending") || strings.Contains(p.Query, "bench.quiet")
			if p.Median <= 0 || p.Max < p.Median || p.Runs != 20 || empty && p.Rows != 0 {
				t.Errorf("%+v", p)
			}
		}
	},
	"backlog": func(t *testing.T, r *bench.Report) {
		wantParts(t, r, "no backlog", "beside a backlog")
		wantKept(t, r)
		if r.Backlog != 1000 || r.SeededPerS <= 0 || r.ReadyS <= 0 || r.FirstDeliveryS < r.ReadyS {
			t.Errorf("the backlog: %+v", r)
		}
	},
	"https": func(t *testing.T, r *bench.Report) {
		wantParts(t, r, bench.ProtocolHTTP1, bench.ProtocolHTTP2)
		if r.Parts[0].ProtocolUsed != "HTTP/1.1" || r.Parts[1].ProtocolUsed != "HTTP/2.0" || r.Ratio != min(r.Parts[0].Ratio, r.Parts[1].Ratio) {
			t.Errorf("the protocols: %+v", r)
		}
	},
}

// wantParts checks that each of these has figures of its own.
func wantParts(t *testing.T, r *bench.Report, names ...string) {
	t.Helper()
	if len(r.Parts) != len(names) {
		t.Fatalf("%d parts, want %d: %+v", len(r.Parts), len(names), r.Parts)
	}
	for i, p := range r.Parts {
		if p.Name != names[i] || len(p.Rates) != 2 || p.DeliveredPerS <= 0 || p.Ratio <= 0 || p.ReferencePerS <= 0 || p.RSS <= 0 {
			t.Errorf("part %d, %s: %+v", i, names[i], p)
		}
	}
}

func wantKept(t *testing.T, r *bench.Report) {
	t.Helper()
	if len(r.Keeps) != 2 || r.Kept <= 0 {
		t.Errorf("what is kept: %v, %v", r.Kept, r.Keeps)
	}
}

// A server that is measured on PostgreSQL has a schema of its own there, also
// where two are set side by side.
func TestPostgresBenchDeliver(t *testing.T) {
	t.Parallel()
	url := testenv.Postgres(t)
	for _, scenario := range []string{"batch", "backlog"} {
		report := runBench(t, scenario, "--database-url", url)
		if report.Store != "postgres" || report.Lost != 0 || report.Duplicates != 0 || !report.AllRecorded || report.DeliveredPerS <= 0 || report.Ratio <= 0 {
			t.Errorf("%s: %+v", scenario, report)
		}
	}
	// What restarts it here does not: it only has to run.
	report := runBench(t, "nodes", "--database-url", url, "--restart-database", "true")
	wantParts(t, report, "1 node", "2 nodes", "3 nodes", "3 nodes, the database restarted")
	if report.Lost != 0 || report.Duplicates != 0 || !report.AllRecorded {
		t.Errorf("nodes: %+v", report)
	}
}

func runBench(t *testing.T, scenario string, flags ...string) *bench.Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, testenv.Binary(t), slices.Concat([]string{"bench", "deliver", "--scenario", scenario}, benchFlags, flags)...)
	cmd.Dir = t.TempDir()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("bench deliver --scenario %s: %v\n%s", scenario, err, out)
	}
	report := &bench.Report{}
	if err := json.Unmarshal(out, report); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return report
}

// Every page of the dashboard is asked for, and weighs what is promised.
func TestBenchDashboard(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), testenv.Binary(t), "bench", "dashboard", "--json", "--deliveries", "2000")
	raw, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	var r bench.DashboardReport
	if err := json.Unmarshal(raw, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Pages) < 20 || len(r.Searches) != 4 || r.Reference.Median <= 0 || r.Slowest <= 0 || r.Ratio <= 0 {
		t.Errorf("%+v", r)
	}
	for _, p := range r.Pages {
		if strings.HasPrefix(p.Query, "/deliveries?status=dead") && p.Rows == 0 {
			t.Errorf("%+v has no rows", p)
		}
	}
	if r.Searches[0].Rows != 50 || r.Searches[1].Rows != 0 {
		t.Errorf("the searches find %+v", r.Searches)
	}
	if r.Scripts == 0 || r.Scripts > 60_000 || len(r.Foreign) > 0 {
		t.Errorf("%d bytes of scripts, from elsewhere %v", r.Scripts, r.Foreign)
	}
}
