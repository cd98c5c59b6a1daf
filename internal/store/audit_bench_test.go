package store_test

import (
	"testing"

	"github.com/cybervault/cybervault"
)

// auditAll reads what the audit log has yet to read, and returns how many entries
// that are.
func (x *bench) auditAll(b testing.TB, state cybervault.AuditState) (leaves int) {
	b.Helper()
	for more := true; more; {
		batch, err := x.s.AuditPending(b.Context(), state, 4096)
		if err != nil {
			b.Fatal(err)
		}
		leaves += len(batch.Leaves)
		state.Transaction, state.Mark, more = batch.Transaction, batch.Mark, batch.More
	}
	return leaves
}

func (x *bench) deliverAll(b testing.TB, n int) {
	b.Helper()
	x.publish(b, n, func(pubs []*cybervault.Publication) {
		results := make([]*cybervault.Result, len(pubs))
		for i, p := range pubs {
			results[i] = x.result(&p.Deliveries[0])
		}
		x.record(b, results)
	})
}

// The rows of what was committed lately are not read back.
func TestAuditReadsNoRowsBack(t *testing.T) {
	t.Parallel()
	x := newBench(t)
	state, err := x.s.AuditState(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const n = 200
	x.deliverAll(t, n)
	if leaves := x.auditAll(t, state); leaves != 2*n || x.s.AuditRead() != 0 {
		t.Errorf("%d entries, and the rows of %d were read; want %d and none", leaves, x.s.AuditRead(), 2*n)
	}
}

// BenchmarkAudit is what the audit log reads and hashes of one event with its
// delivery that has ended.
func BenchmarkAudit(b *testing.B) {
	x := newBench(b)
	state, err := x.s.AuditState(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	x.deliverAll(b, b.N)
	b.ResetTimer()
	if leaves := x.auditAll(b, state); leaves != 2*b.N {
		b.Fatalf("%d entries of %d events with a delivery", leaves, b.N)
	}
}
