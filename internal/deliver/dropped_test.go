package deliver_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/deliver"
)

// slowClaims is a queue whose answers to claims take a second.
type slowClaims struct{ *node }

func (q slowClaims) Claim(ctx context.Context, c cybervault.Claim) ([]*cybervault.Assignment, error) {
	claimed, err := q.node.Claim(ctx, c)
	pass(time.Second)
	return claimed, err
}

// Whoever cancels a delivery is told that no attempt begins any more: not even of
// one that was on its way into the window, by a claim or by its birth.
func TestWhatWasDroppedOnItsWayIsNotAttempted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		hook := w.webhook(answering(200, 0))
		cancel := func(id cybervault.DeliveryID) {
			w.queue.end(func(r *row) bool { return r.assignment.Delivery == id })
			w.d.Drop(hook.ID, id)
		}
		// By its birth: the place is reserved, and the commit under way.
		run := w.ids.NextRun(2)
		a := &cybervault.Assignment{Delivery: cybervault.DeliveryID{UUID: run[1]}, Webhook: hook.ID, Event: cybervault.EventID{UUID: run[0]},
			Severity: cybervault.SeverityHigh, Attempt: 1, Body: []byte(`{}`)}
		if !w.d.Admit(hook.ID, len(a.Body), a.Severity, false) {
			t.Fatal("an empty window has no place")
		}
		a.Lease = w.d.NewLease()
		w.queue.put(*a, 0, a.Lease.Until, a.Lease.Token)
		cancel(a.Delivery)
		w.d.Dispatch([]*cybervault.Assignment{a})
		synctest.Wait()
		w.nothingHeld()

		// By a claim: the lease is on disk, and the answer under way.
		w.stop(0)
		ids := []cybervault.DeliveryID{w.publish(hook), w.publish(hook)}
		w.config.Queue = slowClaims{w.node}
		w.d = deliver.New(w.config)
		if err := w.d.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		d := w.d
		t.Cleanup(func() { d.Stop(context.Background()) })
		pass(500 * time.Millisecond)
		cancel(ids[0])
		pass(10 * time.Second)
		if got := w.net.got(hook.URL); len(got) != 1 || got[0].headers["X-CyberVault-Delivery"] != ids[1].String() {
			t.Errorf("attempted %v, want the one that was not cancelled alone", got)
		}
		w.nothingHeld()
	})
}
