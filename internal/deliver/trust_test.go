package deliver_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cybervault/cybervault"
)

// A node that has lost sight of the queue begins no attempt: another one may have
// its deliveries by now. It goes on by itself.
func TestNothingIsAttemptedWithoutTrust(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var lost atomic.Bool
		w.config.Trusted = func() bool { return !lost.Load() }
		w.restart()
		hook := w.webhook(answering(200, 0))
		w.publish(hook)
		pass(time.Second)
		lost.Store(true)
		const n = 20
		for range n {
			w.publish(hook)
		}
		w.d.Wake(hook.ID, "")
		pass(10 * time.Second)
		if got := len(w.net.got(hook.URL)); got != 1 {
			t.Fatalf("%d attempts, want that of before", got)
		}
		lost.Store(false)
		pass(time.Second)
		if got := w.queue.count(cybervault.DeliveryDelivered); got != n+1 {
			t.Errorf("%d delivered a second after, want %d", got, n+1)
		}
		if got := len(w.net.got(hook.URL)); got != n+1 {
			t.Errorf("%d attempts, want %d", got, n+1)
		}
		w.nothingHeld()
	})
}

// What a node held when it was cut off may be another one's when it comes back: it
// is given back and claimed anew, not attempted under the old lease.
func TestLeasesFromBeforeACutAreVoid(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var lost atomic.Bool
		var from atomic.Int64
		w.config.Trusted = func() bool { return !lost.Load() }
		w.config.LeasesFrom = func() time.Time {
			if us := from.Load(); us != 0 {
				return time.UnixMicro(us)
			}
			return time.Time{}
		}
		w.restart()
		hook := w.webhook(answering(200, 0))
		w.publish(hook)
		pass(time.Second)
		lost.Store(true)
		const n = 20
		for range n {
			w.publish(hook)
		}
		pass(10 * time.Second)
		// Another node has taken one of them over.
		taken := w.queue.steal(func(r *row) bool { return r.status == cybervault.DeliveryPending }, w.now().Add(time.Minute))
		from.Store(w.now().UnixMicro())
		lost.Store(false)
		pass(5 * time.Second)
		if got := w.queue.count(cybervault.DeliveryDelivered); got != n {
			t.Errorf("%d delivered, want %d: all but what another node has", got, n)
		}
		if got := len(w.net.got(hook.URL)); got != n {
			t.Errorf("%d attempts, want %d", got, n)
		}
		if r := w.queue.get(taken); r.status != cybervault.DeliveryPending {
			t.Errorf("what another node has is %s", r.status)
		}
	})
}

// What another node has cancelled is not attempted here.
func TestWhatAnotherNodeEndedIsDropped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var lost atomic.Bool
		w.config.Trusted = func() bool { return !lost.Load() }
		w.restart()
		hook := w.webhook(answering(200, 0))
		lost.Store(true)
		a := w.publish(hook)
		w.publish(hook)
		w.queue.end(func(r *row) bool { return r.assignment.Delivery == a })
		w.d.DropAny(a)
		lost.Store(false)
		pass(2 * time.Second)
		if got := len(w.net.got(hook.URL)); got != 1 {
			t.Errorf("%d attempts, want that of the other delivery", got)
		}
		w.nothingHeld()
	})
}
