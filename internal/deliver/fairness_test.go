package deliver_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/deliver"
)

// huge is a backlog that no window holds.
const huge = 100_000

// buried makes a webhook with a huge backlog in the store, and has it taken up.
func (w *world) buried(a answer) *cybervault.Webhook {
	hook := w.webhook(a)
	severities := cybervault.Severities()
	for i := range huge {
		w.stored(hook, severities[i%len(severities)], w.now())
	}
	w.d.Wake(hook.ID, "")
	return hook
}

// latencies publishes to a webhook in a steady rhythm, one in ten to be retried
// from the store, and returns how long after its time each attempt began.
func (w *world) latencies() (late []time.Duration) {
	const n, every, retry = 200, 50 * time.Millisecond, time.Second
	hook := w.webhook(nil)
	w.hooks.change(hook.ID, func(h *cybervault.Webhook) { h.RetrySchedule = []time.Duration{retry} })
	w.net.answers[hook.URL] = func(ctx context.Context, n int) (cybervault.Exchange, error) {
		if h := w.net.got(hook.URL)[n-1].headers; h["X-CyberVault-Attempt"] == "1" && strings.HasSuffix(h["X-CyberVault-Sequence"], "0") {
			return answering(500, time.Millisecond)(ctx, n)
		}
		return answering(200, time.Millisecond)(ctx, n)
	}
	due := map[string]time.Time{}
	for range n {
		due[w.publish(hook).String()] = time.Now()
		pass(every)
	}
	pass(5 * time.Second)
	for _, s := range w.net.got(hook.URL) {
		id := s.headers["X-CyberVault-Delivery"]
		if s.headers["X-CyberVault-Attempt"] == "1" {
			late = append(late, s.at.Sub(due[id]))
			continue
		}
		parsed, err := cybervault.ParseID[cybervault.DeliveryID](id)
		if err != nil {
			w.t.Fatal(err)
		}
		late = append(late, s.at.Sub(w.queue.get(parsed).results[0].NextAttemptAt))
	}
	return late
}

// A webhook with a huge backlog delays no other, whether its receiver takes
// fast, hangs, or fails: attempts to the other begin as they do without it.
func TestABacklogDelaysNoOtherWebhook(t *testing.T) {
	t.Parallel()
	alone := func(t *testing.T) (late []time.Duration) {
		synctest.Test(t, func(t *testing.T) { late = newWorld(t).latencies() })
		return late
	}(t)
	for name, a := range map[string]answer{"slow": answering(200, time.Second), "hangs": silent, "fails": answering(500, 200*time.Millisecond)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, time.Second, time.Minute)
				buried := w.buried(a)
				pass(time.Second)
				beside := w.latencies()
				if len(w.net.got(buried.URL)) == 0 {
					t.Fatal("the backlog was not worked on: the test shows nothing")
				}
				// Timers are exact in virtual time; a claim's commit takes 2 ms.
				if got, want := slices.Max(beside), slices.Max(alone); len(beside) != len(alone) || got > want+time.Millisecond {
					t.Errorf("%d attempts beside a backlog, up to %v late; %d and %v without it", len(beside), got, len(alone), want)
				}
			})
		})
	}
}

// However long the backlog, the window, the reserve and what is in hand are all
// that is in memory.
func TestAHugeBacklogTakesNoMoreMemory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		hook := w.buried(answering(200, time.Second))
		severities := cybervault.Severities()
		for i := range 300 { // and more all the time
			pass(100 * time.Millisecond)
			for range 10 {
				w.send(hook, severities[i%len(severities)])
			}
			window, _ := w.d.Bounds(hook.ID)
			if got, bound := w.d.Lag(), window+deliver.Reserve; got > bound {
				t.Fatalf("%d deliveries in memory, bound %d", got, bound)
			}
			if _, held, promised := w.d.Severe(); held+promised > deliver.Reserve {
				t.Fatalf("%d places of the reserve are held and %d promised", held, promised)
			}
		}
	})
}

// The bodies of severe deliveries have a bound of their own above that of all.
func TestTheReserveOfAllWebhooksIsBoundedInBytes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		body := make([]byte, cybervault.MaxEventBytes)
		const hooks, each = 20, 40
		var all []*cybervault.Webhook
		for range hooks {
			all = append(all, w.webhook(answering(200, time.Second)))
		}
		most := int64(0)
		for _, severity := range []cybervault.Severity{info, critical} {
			for range each {
				for _, hook := range all {
					w.commitAs(hook, body, severity, false)
				}
			}
			most = max(most, w.d.HeldBytes())
			if bound := int64(deliver.WindowBytes + len(body)*hooks*12); severity == info && most > bound {
				t.Errorf("%d MiB held by the usual, more than %d", most>>20, bound>>20)
			}
		}
		if most <= deliver.WindowBytes {
			t.Errorf("%d MiB held: severe deliveries have no bytes of their own", most>>20)
		}
		for range 600 {
			pass(10 * time.Millisecond)
			most = max(most, w.d.HeldBytes())
		}
		// A lane that has nothing to do may hold a few more, and its workers have
		// some in hand.
		if bound := int64(deliver.WindowBytes + deliver.SpareBytes + hooks*(8+4)*len(body)); most > bound {
			t.Errorf("%d MiB held, more than %d", most>>20, bound>>20)
		}
		pass(time.Hour)
		if n := w.queue.count(cybervault.DeliveryDelivered); n != 2*hooks*each {
			t.Errorf("%d delivered, want %d", n, 2*hooks*each)
		}
		w.nothingHeld()
	})
}
