package deliver_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/deliver"
)

const (
	info     = cybervault.SeverityInfo
	medium   = cybervault.SeverityMedium
	high     = cybervault.SeverityHigh
	critical = cybervault.SeverityCritical
)

// order is the deliveries attempted at a webhook, in their order.
func (w *world) order(hook *cybervault.Webhook) (ids []string) {
	for _, s := range w.net.got(hook.URL) {
		ids = append(ids, s.headers["X-CyberVault-Delivery"])
	}
	return ids
}

// place is how many attempts had begun before a delivery's first; -1 if it has had none.
func (w *world) place(hook *cybervault.Webhook, id cybervault.DeliveryID) int {
	return slices.Index(w.order(hook), id.String())
}

// backlog makes a webhook whose receiver is slow, with a full window and far more
// in the store.
func (w *world) backlog(n int, after time.Duration) *cybervault.Webhook {
	hook := w.webhook(answering(200, after))
	for range n {
		w.send(hook, info)
	}
	return hook
}

// A critical event is attempted next, whatever waits: in the window, in the
// store, or with room in neither.
func TestACriticalDeliveryOvertakes(t *testing.T) {
	t.Parallel()
	for _, backlog := range []int{10, deliver.StartWindow + 3000} {
		t.Run(fmt.Sprint(backlog), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				hook := w.backlog(backlog, time.Second)
				pass(1500 * time.Millisecond)
				for _, severity := range []cybervault.Severity{critical, high} {
					before := len(w.net.got(hook.URL))
					id := w.send(hook, severity)
					if r := w.queue.get(id); r.token == 0 {
						t.Errorf("a delivery that is %s was not admitted", severity)
					}
					pass(time.Second)
					// What is under way began before; the next to begin is this one.
					if got := w.place(hook, id); got != before {
						t.Errorf("%d attempts had begun before one that is %s, and %d when it came", got, severity, before)
					}
				}
				pass(time.Hour)
				if got := w.queue.count(cybervault.DeliveryDelivered); got != backlog+2 {
					t.Errorf("%d delivered, want %d", got, backlog+2)
				}
				w.nothingHeld()
			})
		})
	}
}

// Tests go before the most severe.
func TestATestGoesBeforeACritical(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		hook := w.backlog(100, time.Second)
		pass(500 * time.Millisecond)
		first := w.send(hook, critical)
		test := w.commit(hook, []byte(`{}`), true)
		pass(5 * time.Second)
		if a, b := w.place(hook, test), w.place(hook, first); a < 0 || b < 0 || a > b {
			t.Errorf("the test came as number %d, the critical delivery as number %d", a, b)
		}
	})
}

// A critical delivery whose turn comes while the window is full is claimed into
// the reserve.
func TestACriticalRetryOvertakes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3*time.Second)
		var retried cybervault.DeliveryID
		refuse := true
		hook := w.webhook(nil)
		w.net.answers[hook.URL] = func(ctx context.Context, _ int) (cybervault.Exchange, error) {
			if refuse {
				refuse = false
				return cybervault.Exchange{Status: 500}, nil
			}
			return answering(200, time.Second)(ctx, 0)
		}
		retried = w.send(hook, critical)
		pass(10 * time.Millisecond)
		for range deliver.StartWindow + 3000 {
			w.send(hook, info)
		}
		// Retries are jittered by a tenth: it is due within 3.3 s, and begins when
		// one of those under way ends, a second later at the most.
		pass(4400 * time.Millisecond)
		if n := w.count(hook, retried); n != 2 {
			t.Errorf("%d attempts of the critical delivery, want the retry too", n)
		}
		pass(time.Hour)
		if got := w.queue.count(cybervault.DeliveryDelivered); got != deliver.StartWindow+3001 {
			t.Errorf("%d delivered", got)
		}
		w.nothingHeld()
	})
}

// stored puts a delivery into the store that this dispatcher was not told of.
func (w *world) stored(hook *cybervault.Webhook, severity cybervault.Severity, due time.Time) cybervault.DeliveryID {
	run := w.ids.NextRun(2)
	id := cybervault.DeliveryID{UUID: run[1]}
	w.queue.put(cybervault.Assignment{Delivery: id, Event: cybervault.EventID{UUID: run[0]}, Webhook: hook.ID, Severity: severity, Body: []byte(`{}`)}, 0, due, 0)
	return id
}

// One that another node made is found by the sweep, though the window has
// no room until long after.
func TestACriticalDeliveryOfAnotherNodeOvertakes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		hook := w.backlog(deliver.StartWindow+3000, 4*time.Second)
		pass(10 * time.Second)
		other := w.stored(hook, high, w.now())
		pass(deliver.SweepEvery - 10*time.Second + 4100*time.Millisecond)
		if got := w.place(hook, other); got < 0 {
			t.Errorf("not attempted, and %d others were", len(w.net.got(hook.URL)))
		}
	})
}

// Retries from before a restart come in time, one after the other.
func TestCriticalRetriesComeInTimeAfterARestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		hook := w.webhook(answering(200, time.Second))
		w.stop(0)
		for range deliver.StartWindow + 3000 {
			w.stored(hook, info, w.now())
		}
		for _, wait := range []time.Duration{3 * time.Second, 6 * time.Second, 9 * time.Second} {
			w.stored(hook, critical, w.now().Add(wait))
		}
		began := w.now()
		w.restart()
		pass(15 * time.Second)
		var came []time.Duration
		for _, seen := range w.net.got(hook.URL) {
			id, err := cybervault.ParseID[cybervault.DeliveryID](seen.headers["X-CyberVault-Delivery"])
			if err != nil {
				t.Fatal(err)
			}
			if w.queue.get(id).assignment.Severity == critical {
				came = append(came, seen.at.Sub(began))
			}
		}
		for i, at := range came {
			if due := time.Duration(3*(i+1)) * time.Second; at < due || at > due+1100*time.Millisecond {
				t.Errorf("retry %d came after %v, due after %v", i, at, due)
			}
		}
		if len(came) != 3 {
			t.Errorf("%d of 3 retries came within 15 s", len(came))
		}
	})
}

func (w *world) count(hook *cybervault.Webhook, id cybervault.DeliveryID) (n int) {
	for _, seen := range w.order(hook) {
		if seen == id.String() {
			n++
		}
	}
	return n
}

// The reserve is bounded; what finds it full goes first from the store, in its order.
func TestTheReserveIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		hook := w.backlog(deliver.StartWindow+2000, time.Second)
		pass(500 * time.Millisecond)
		var severe []cybervault.DeliveryID
		for range 3 * deliver.Reserve {
			severe = append(severe, w.send(hook, critical))
		}
		if got := w.d.Lag(); got > deliver.StartWindow+deliver.Reserve {
			t.Errorf("%d in memory, bound %d", got, deliver.StartWindow+deliver.Reserve)
		}
		for range 60 {
			pass(time.Second)
			if got := w.d.Lag(); got > 2*deliver.StartWindow+deliver.Reserve {
				t.Fatalf("%d in memory", got)
			}
		}
		last := -1
		for i, id := range severe {
			at := w.place(hook, id)
			if at < 0 {
				t.Fatalf("severe delivery %d has not been attempted in a minute", i)
			}
			// Workers run at once, so neighbours may change places.
			if at < last-cybervault.DefaultConcurrency {
				t.Errorf("severe delivery %d came as number %d, one before it as number %d", i, at, last)
			}
			last = max(last, at)
		}
		// An eighth is for those that waited longer.
		if most := len(severe)*deliver.Patience/(deliver.Patience-1) + 8*cybervault.DefaultConcurrency; last > most {
			t.Errorf("the last severe delivery was attempted as number %d, want %d at the most", last, most)
		}
		pass(time.Hour)
		w.nothingHeld()
	})
}

// However many critical deliveries come, more than the receiver can take, the
// others get an eighth of the attempts.
func TestNothingStarves(t *testing.T) {
	t.Parallel()
	for _, backlog := range []int{40, deliver.StartWindow + 2000} {
		t.Run(fmt.Sprint(backlog), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				hook := w.webhook(answering(200, 200*time.Millisecond)) // 160 a second
				w.send(hook, critical)
				var patient []cybervault.DeliveryID
				for range backlog {
					w.send(hook, critical)
				}
				for range 40 {
					patient = append(patient, w.send(hook, info))
				}
				start := len(w.net.got(hook.URL))
				for range 600 { // 200 a second, for a minute
					for range 20 {
						w.send(hook, critical)
					}
					pass(100 * time.Millisecond)
				}
				done := 0
				for _, id := range patient {
					if w.place(hook, id) >= 0 {
						done++
					}
				}
				if done != len(patient) {
					t.Errorf("%d of %d info deliveries were attempted among %d attempts", done, len(patient), len(w.net.got(hook.URL))-start)
				}
			})
		})
	}
}

// An ordered webhook knows no severity.
func TestAnOrderedWebhookIgnoresSeverity(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Second)
		hook := w.webhook(answering(200, 50*time.Millisecond))
		w.hooks.change(hook.ID, func(h *cybervault.Webhook) { h.Ordered = true })
		var want []string
		for i := range 300 {
			want = append(want, w.send(hook, []cybervault.Severity{info, critical, medium}[i%3]).String())
		}
		pass(time.Minute)
		if got := w.order(hook); !slices.Equal(got, want) {
			t.Errorf("attempted in another order than that of commit: %d attempts", len(got))
		}
		w.nothingHeld()
	})
}

// A rate limit holds for critical deliveries too, and they go first.
func TestACriticalDeliveryKeepsTheRateLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		hook := w.webhook(answering(200, 0))
		w.hooks.change(hook.ID, func(h *cybervault.Webhook) { h.RateLimit = 2 })
		for range 200 {
			w.send(hook, info)
		}
		pass(time.Second + time.Millisecond)
		before := len(w.net.got(hook.URL))
		var severe []cybervault.DeliveryID
		for range 20 {
			severe = append(severe, w.send(hook, critical))
		}
		pass(12 * time.Second)
		got := w.net.got(hook.URL)
		for i := 1; i < len(got); i++ {
			if gap := got[i].at.Sub(got[i-1].at); gap < 499*time.Millisecond {
				t.Errorf("attempt %d came %v after the one before", i, gap)
			}
		}
		for i, id := range severe {
			if at := w.place(hook, id); at < 0 || at > before+len(severe)*deliver.Patience/(deliver.Patience-1)+1 {
				t.Errorf("critical delivery %d came as number %d, and %d had been attempted when it came", i, at, before)
			}
		}
	})
}

// A backlog that comes back after a restart goes out the most severe first.
func TestARestartGoesOnWithTheMostSevere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		hook := w.webhook(answering(200, time.Second))
		w.stop(0)
		var severe []cybervault.DeliveryID
		for i := range 3000 {
			if i%300 == 299 {
				severe = append(severe, w.stored(hook, critical, w.now()))
			} else {
				w.stored(hook, info, w.now())
			}
		}
		pass(time.Second)
		w.restart()
		pass(3 * time.Second)
		for _, id := range severe {
			if at := w.place(hook, id); at < 0 || at > 2*len(severe) {
				t.Errorf("a critical delivery came as number %d", at)
			}
		}
	})
}
