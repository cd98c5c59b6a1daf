package storetest

import (
	"time"

	"github.com/cybervault/cybervault"
)

func takePace(f *fixture) {
	w, other := f.webhook(), f.webhook()
	const step = 100 * time.Millisecond
	take := func(w *cybervault.Webhook, step time.Duration, n int, want time.Duration) {
		f.Helper()
		first, err := f.s.TakePace(f.Context(), w.ID, step, 2, n)
		f.must(err)
		if got := first.Sub(f.clock.Now()); got != want {
			f.Errorf("the first of %d may be made in %v, want %v", n, got, want)
		}
	}
	take(w, step, 5, -2*step) // a burst
	take(w, step, 5, 3*step)  // the next node stands behind
	take(w, step, 1, 8*step)
	take(other, step, 1, -2*step)
	f.clock.Move(time.Second)
	take(w, step, 1, -step)
	f.clock.Move(time.Hour) // what nobody took is not kept
	take(w, step, 20, -2*step)
	take(w, step/10, 1, -2*step/10) // another limit begins anew
	take(w, step/10, 1, -step/10)

	// Nothing is left of a webhook that is deleted.
	take(w, step, 5, -2*step)
	gone := *w
	gone.DeletedAt = f.clock.Now()
	f.must(f.s.SaveWebhook(f.Context(), &gone))
	take(w, step, 5, -2*step) // by a node that has not heard of it
	_, err := f.s.CancelDeliveries(f.Context(), w.ID, cybervault.ReasonWebhookDeleted)
	f.must(err)
	take(w, step, 1, -2*step)
}
