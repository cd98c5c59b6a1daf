package store_test

import (
	"testing"
	"time"

	"github.com/cybervault/cybervault"
)

// BenchmarkSweep is the removal of one event with its delivery and attempt.
func BenchmarkSweep(b *testing.B) { benchmarkSweep(b, newBench(b)) }

// BenchmarkPostgresSweep is the same on PostgreSQL, where Rotate leaves nothing
// of it to do.
func BenchmarkPostgresSweep(b *testing.B) { benchmarkSweep(b, newBenchOn(b, postgresConfig(b))) }

// BenchmarkPostgresRotate is the removal of a partition, told for one event.
func BenchmarkPostgresRotate(b *testing.B) {
	x := newBenchOn(b, postgresConfig(b))
	x.fill(b)
	b.ResetTimer()
	swept, err := x.s.Rotate(b.Context(), tomorrow())
	if err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	page, err := x.s.Events(b.Context(), cybervault.EventQuery{Workspace: x.ws})
	if err != nil || len(page.Rows) > 0 {
		b.Fatalf("%d events are left, %v", len(page.Rows), err)
	}
	b.ReportMetric(float64(swept.Events), "events-removed")
}

// tomorrow is when all of today is old.
func tomorrow() cybervault.Expiry {
	at := time.Now().Add(24 * time.Hour)
	return cybervault.Expiry{Before: at, DeadLettersBefore: at}
}

// fill stores b.N events that have been delivered.
func (x *bench) fill(b *testing.B) {
	b.Helper()
	x.publish(b, b.N, func(pubs []*cybervault.Publication) {
		results := make([]*cybervault.Result, len(pubs))
		for i, p := range pubs {
			results[i] = x.result(&p.Deliveries[0])
		}
		x.record(b, results)
	})
	allAudited(b, x.s)
}

func benchmarkSweep(b *testing.B, x *bench) {
	b.Helper()
	x.fill(b)
	expiry := tomorrow()
	var total, longest int64
	b.ResetTimer()
	for position, done := (cybervault.SweepPosition{}), false; !done; {
		began := time.Now()
		step, err := x.s.Sweep(b.Context(), expiry, position)
		if err != nil {
			b.Fatal(err)
		}
		longest = max(longest, time.Since(began).Microseconds())
		total, position, done = total+step.Events, step.Position, step.Done
	}
	if total != int64(b.N) {
		b.Fatalf("removed %d events of %d", total, b.N)
	}
	b.ReportMetric(float64(longest), "µs/longest-step")
}
