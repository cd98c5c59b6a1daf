package store_test

import (
	"testing"

	"github.com/cybervault/cybervault"
)

// BenchmarkAudit is what the audit log reads and hashes of one event with its
// delivery that has ended.
func BenchmarkAudit(b *testing.B) {
	x := newBench(b)
	state, err := x.s.AuditState(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	x.publish(b, b.N, func(pubs []*cybervault.Publication) {
		results := make([]*cybervault.Result, len(pubs))
		for i, p := range pubs {
			results[i] = x.result(&p.Deliveries[0])
		}
		x.record(b, results)
	})
	leaves := 0
	b.ResetTimer()
	for more := true; more; {
		batch, err := x.s.AuditPending(b.Context(), state, 4096)
		if err != nil {
			b.Fatal(err)
		}
		leaves += len(batch.Leaves)
		state.Transaction, state.Mark, more = batch.Transaction, batch.Mark, batch.More
	}
	if leaves != 2*b.N {
		b.Fatalf("%d entries of %d events with a delivery", leaves, b.N)
	}
}
