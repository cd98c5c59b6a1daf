package deliver_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/cybervault/cybervault"
)

func TestAWebhooksOwnConcurrency(t *testing.T) {
	t.Parallel()
	for _, most := range []int{1, 3, 100, cybervault.MaxConcurrency} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			hook := w.webhook(answering(200, 100*time.Millisecond))
			w.hooks.change(hook.ID, func(h *cybervault.Webhook) { h.Concurrency = most })
			for range 900 {
				w.publish(hook)
			}
			pass(time.Hour) // the lane starts cautiously
			for range 900 {
				w.publish(hook)
			}
			pass(time.Hour)
			if n := w.queue.count(cybervault.DeliveryDelivered); n != 1800 {
				t.Errorf("%d delivered, want 1800", n)
			}
			if peak := w.net.peak[hook.URL]; peak != most {
				t.Errorf("at most %d attempts at once, want %d reached and not passed", peak, most)
			}
		})
	}
}

// A change of the bound holds for what waits already.
func TestConcurrencyIsChangedWhileDeliveriesWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		hook := w.webhook(answering(200, time.Second))
		for range 900 {
			w.publish(hook)
		}
		pass(10 * time.Second)
		w.hooks.change(hook.ID, func(h *cybervault.Webhook) { h.Concurrency = 2 })
		pass(2500 * time.Millisecond) // an attempt keeps the bound it began with
		if n := w.d.Running(); n > 2 {
			t.Errorf("%d attempts under way, want at most 2", n)
		}
		w.hooks.change(hook.ID, func(h *cybervault.Webhook) { h.Concurrency = 0 })
		pass(time.Minute)
		if n := w.queue.count(cybervault.DeliveryDelivered); n != 900 {
			t.Errorf("%d delivered, want 900", n)
		}
	})
}

// An attempt that was under way when its webhook was changed does not bring the
// old settings back.
func TestAChangeHoldsForWhatComesAfterIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		hook := w.webhook(answering(200, time.Second))
		for range 12 {
			w.publish(hook)
		}
		synctest.Wait()
		w.hooks.change(hook.ID, func(h *cybervault.Webhook) { h.Concurrency = 1 })
		w.d.Wake(hook.ID, "")
		before := len(w.net.got(hook.URL))
		if before < 2 {
			t.Fatalf("%d attempts are under way, too few to show anything", before)
		}
		pass(time.Minute)
		got := w.net.got(hook.URL)
		if len(got) != 12 {
			t.Fatalf("%d attempts, want 12", len(got))
		}
		for i := before + 1; i < len(got); i++ {
			if gap := got[i].at.Sub(got[i-1].at); gap < time.Second {
				t.Errorf("attempt %d began %s after the one before, which takes a second", i+1, gap)
			}
		}
	})
}
