package deliver_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/deliver"
)

// A node whose clock is ahead of the store's believes that a retry is due before
// it is. It must not spend the time until then asking.
func TestAClockAheadDoesNotAskAllTheTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Minute)
		ahead := 10 * time.Second
		w.queue.now = func() time.Time { return w.now().Add(-ahead) }
		hook := w.webhook(once(1, 500))
		w.commit(hook, []byte("{}"), false)
		<-time.After(2 * time.Minute)
		synctest.Wait()
		if n := len(w.net.got(hook.URL)); n != 2 {
			t.Errorf("%d requests", n)
		}
		w.queue.mu.Lock()
		defer w.queue.mu.Unlock()
		if most := int(ahead/(50*time.Millisecond)) + 50; w.queue.claims > most || w.queue.claims < 10 {
			t.Errorf("asked %d times, at most %d", w.queue.claims, most)
		}
	})
}

// A clock that is set forward makes due what a timer would still wait for: the next
// time that the lane sets an alarm, it sees so.
func TestAClockSetForwardRingsTheAlarm(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 24*time.Hour)
		hook := w.webhook(answering(500, 0))
		w.commit(hook, []byte("{}"), false)
		<-time.After(61 * time.Second) // a sweep has been, the next is to come
		w.clock.Add(int64(30 * 24 * time.Hour))
		w.commit(hook, []byte("{}"), false)
		<-time.After(5 * time.Second)
		synctest.Wait()
		if n := len(w.net.got(hook.URL)); n != 3 {
			t.Errorf("%d requests, want one of each delivery and the first one's retry", n)
		}
	})
}

// The store moves leases with a clock that is set back, so that they end when they
// would have. What waits in the window must not be attempted by them any longer.
func TestALeaseEndsWhateverTheClockIsSetTo(t *testing.T) {
	t.Parallel()
	for name, by := range map[string]time.Duration{"back": -time.Hour, "ahead": time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				hook := w.webhook(answering(200, 4*time.Second))
				w.hooks.change(hook.ID, func(h *cybervault.Webhook) { h.Concurrency = 1 })
				const n = 30 // two minutes' work
				for range n {
					w.publish(hook)
				}
				pass(time.Second)
				w.queue.mu.Lock()
				w.clock.Add(int64(by))
				for _, r := range w.queue.rows {
					if by < 0 && r.status == cybervault.DeliveryPending {
						r.due = r.due.Add(by)
					}
				}
				w.queue.mu.Unlock()
				w.d.Wake(hook.ID, "") // as any publish does: the lane claims what has no lease any more
				pass(10 * time.Minute)
				if got := w.queue.count(cybervault.DeliveryDelivered); got != n {
					t.Errorf("%d delivered, want %d", got, n)
				}
				_, stale, _ := w.queue.counts()
				if by > 0 {
					stale-- // the attempt that was under way
				}
				if got := len(w.net.got(hook.URL)); stale > 0 || by < 0 && got != n || got > n+1 {
					t.Errorf("%d attempts for %d deliveries, and %d results came too late", got, n, stale)
				}
				w.nothingHeld()
			})
		})
	}
}

// pensive is a queue that takes a while to say what is due next.
type pensive struct{ *node }

func (p pensive) NextDue(ctx context.Context, webhook cybervault.WebhookID, least cybervault.Severity) (time.Time, error) {
	<-time.After(10 * time.Millisecond)
	return p.node.NextDue(ctx, webhook, least)
}

// What falls due between a claim and the answer to what is due next is claimed at
// once, and not when the sweep finds it.
func TestWhatFallsDueDuringAClaimIsClaimed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.stop(0)
		w.config.Queue = pensive{w.node}
		w.d = deliver.New(w.config)
		defer w.stop(0)
		hook := w.webhook(answering(200, 0))
		put := func(in time.Duration) {
			run := w.ids.NextRun(2)
			w.queue.put(cybervault.Assignment{Delivery: cybervault.DeliveryID{UUID: run[1]}, Event: cybervault.EventID{UUID: run[0]},
				Webhook: hook.ID, Body: []byte("{}")}, 0, w.now().Add(in), 0)
		}
		put(0)
		put(5 * time.Millisecond)
		w.d.Wake(hook.ID, "")
		pass(100 * time.Millisecond)
		if n := len(w.net.got(hook.URL)); n != 2 {
			t.Errorf("%d attempts, want 2", n)
		}
	})
}
