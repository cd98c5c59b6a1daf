package store_test

import (
	"testing"
	"time"

	"github.com/cybervault/cybervault"
)

// BenchmarkSweep is the removal of one event with its delivery and attempt.
func BenchmarkSweep(b *testing.B) {
	x := newBench(b)
	x.publish(b, b.N, func(pubs []*cybervault.Publication) {
		results := make([]*cybervault.Result, len(pubs))
		for i, p := range pubs {
			results[i] = x.result(&p.Deliveries[0])
		}
		x.record(b, results)
	})
	// As if the audit log had read all of it, which a sweep waits for.
	state, err := x.s.AuditState(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	last, err := x.s.LastChange(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	ahead := state
	ahead.Transaction, ahead.Mark = last.Transaction, last.Mark
	if err := x.s.AppendAudit(b.Context(), cybervault.AuditStep{From: state, To: ahead}); err != nil {
		b.Fatal(err)
	}
	expiry := cybervault.Expiry{Before: time.Now().Add(time.Hour), DeadLettersBefore: time.Now().Add(time.Hour)}
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
