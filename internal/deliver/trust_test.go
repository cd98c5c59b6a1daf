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
