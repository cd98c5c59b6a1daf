package deliver_test

import (
	"context"
	"math"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/deliver"
)

func TestRateLimit(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rate float64
		n    int
	}{{0.01, 5}, {0.5, 100}, {1, 300}, {7.5, 500}, {50, 3000}, {1000, 20_000}} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			hook := w.webhook(answering(200, 20*time.Millisecond))
			w.hooks.change(hook.ID, func(h *cybervault.Webhook) { h.RateLimit = c.rate })
			begin := time.Now()
			for range c.n {
				w.publish(hook)
			}
			other := w.webhook(answering(200, 0))
			w.publish(other)
			burst := max(1, math.Ceil(c.rate/10))
			want := time.Duration((float64(c.n) - burst) / c.rate * float64(time.Second))
			pass(want/2 + 5*time.Millisecond)
			if c.rate < 30 && w.d.Running() > 1 {
				t.Errorf("%v/s: %d attempts under way", c.rate, w.d.Running())
			}
			pass(want + time.Minute)
			got := w.net.got(hook.URL)
			if len(got) != c.n || w.queue.count(cybervault.DeliveryDelivered) != c.n+1 {
				t.Fatalf("%v/s: %d attempts for %d deliveries, %d delivered", c.rate, len(got), c.n, w.queue.count(cybervault.DeliveryDelivered))
			}
			// In any span of time: no more than its share, and the burst.
			for i := range got {
				for _, j := range []int{i + 1, i + 10, i + 100, c.n - 1} {
					if j >= c.n || j <= i {
						continue
					}
					if span := got[j].at.Sub(got[i].at); float64(j-i+1) > burst+1e-6+c.rate*span.Seconds()+1e-6 {
						t.Fatalf("%v/s: %d attempts within %v", c.rate, j-i+1, span)
					}
				}
			}
			if took := got[c.n-1].at.Sub(begin); took > want+want/10+2*time.Second {
				t.Errorf("%v/s: %d attempts took %v, want about %v", c.rate, c.n, took, want)
			}
			if at := w.net.got(other.URL)[0].at.Sub(begin); at > 10*time.Millisecond {
				t.Errorf("another webhook waited %v", at)
			}
			w.nothingHeld()
		})
	}
}

func TestALimitIsLiftedWhileDeliveriesWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		hook := w.webhook(answering(200, 0))
		w.hooks.change(hook.ID, func(h *cybervault.Webhook) { h.RateLimit = 0.001 })
		for range 50 {
			w.publish(hook)
		}
		pass(time.Minute)
		if n := len(w.net.got(hook.URL)); n != 1 {
			t.Fatalf("%d attempts in the first minute, want the burst of 1", n)
		}
		if test := w.commit(hook, []byte(`{}`), true); test != (cybervault.DeliveryID{}) {
			pass(time.Second)
			if r := w.queue.get(test); r.status != cybervault.DeliveryDelivered {
				t.Errorf("a test is %s: it does not wait for the rate limit", r.status)
			}
		}
		w.hooks.change(hook.ID, func(h *cybervault.Webhook) { h.RateLimit = 0 })
		w.d.Wake(hook.ID, "")
		pass(time.Second)
		if n := w.queue.count(cybervault.DeliveryDelivered); n != 51 {
			t.Errorf("%d delivered once the limit is lifted, want 51", n)
		}
	})
}

// broken is a world with a breaker and a receiver that fails until it is up.
func broken(t *testing.T, schedule ...time.Duration) (*world, *cybervault.Webhook, *atomic.Bool) {
	t.Helper()
	w := newWorld(t, schedule...)
	w.stop(0)
	w.config.BreakerAfter = deliver.DefaultBreakerAfter
	w.restart()
	var up atomic.Bool
	hook := w.webhook(func(ctx context.Context, _ int) (cybervault.Exchange, error) {
		if up.Load() {
			return cybervault.Exchange{Status: 200}, nil
		}
		return answering(500, 10*time.Millisecond)(ctx, 0)
	})
	return w, hook, &up
}

// The breaker opens after ten failures over half a minute, lets one attempt
// through at a time, ever more seldom, and closes with the first success. What
// waits does not use up its schedule.
func TestTheBreaker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, hook, up := broken(t, 20*time.Second, 20*time.Second, time.Hour)
		for range 100 {
			w.publish(hook)
		}
		pass(time.Second)
		if h := w.d.Health(hook.ID); len(w.net.got(hook.URL)) != 100 || h.Breaker != cybervault.BreakerClosed || h.Failures != 100 {
			t.Fatalf("after a second: %d attempts, %+v; a bad second opens no breaker", len(w.net.got(hook.URL)), h)
		}
		pass(43 * time.Second) // the second round is at 20 s, the third at 40 s: there it opens
		h := w.d.Health(hook.ID)
		if h.Breaker != cybervault.BreakerOpen || h.ProbeAt.Sub(h.OpenedAt) != 30*time.Second {
			t.Fatalf("the breaker is %+v", h)
		}
		// It is kept as it opens: failures of attempts that were under way then
		// are counted in memory only.
		kept, _ := w.ward.state(hook.ID)
		if kept.Failures <= 200 || kept.Failures > h.Failures {
			t.Errorf("kept: %d failures, of %d", kept.Failures, h.Failures)
		}
		if kept.Failures = h.Failures; kept != h {
			t.Errorf("kept: %+v, want %+v", kept, h)
		}
		w.nothingHeld()
		before := len(w.net.got(hook.URL))
		opened := h.OpenedAt
		for range 50 {
			w.publish(hook)
		}
		pass(40 * time.Minute)
		probes := w.net.got(hook.URL)[before:]
		wait, at := 30*time.Second, opened
		for i, p := range probes {
			if late := p.at.Sub(at) - wait; late < 0 || late > time.Second {
				t.Errorf("probe %d came %v after the one before, want %v", i, p.at.Sub(at), wait)
			}
			at = p.at
			wait = min(2*wait, 10*time.Minute)
		}
		if len(probes) != 7 {
			t.Errorf("%d probes in 40 minutes, want 7", len(probes))
		}
		test := w.commit(hook, []byte(`{}`), true)
		pass(time.Second)
		if r := w.queue.get(test); r.attempts != 1 {
			t.Error("a test waits for the breaker")
		}
		spent := w.queue.count(cybervault.DeliveryDeadLetter)
		w.nothingHeld()

		w.stop(time.Second)
		pass(time.Second)
		w.restart() // which does not forget
		synctest.Wait()
		if h := w.d.Health(hook.ID); h.Breaker != cybervault.BreakerOpen || h.ProbeAt.Before(w.now()) {
			t.Errorf("after a restart: %+v", h)
		}
		up.Store(true)
		pass(10*time.Minute + 10*time.Second)
		if h := w.d.Health(hook.ID); h.Breaker != cybervault.BreakerClosed || h.Failures != 0 || !h.FailingSince.IsZero() {
			t.Errorf("after a success: %+v", h)
		}
		if kept, _ := w.ward.state(hook.ID); kept.Webhook == hook.ID {
			t.Errorf("kept of a webhook that is well: %+v", kept)
		}
		pass(2 * time.Hour)
		if dead, done := w.queue.count(cybervault.DeliveryDeadLetter), w.queue.count(cybervault.DeliveryDelivered); dead != spent || done != 151-spent {
			t.Errorf("%d dead letters, %d delivered; while it was open none may use up its schedule (%d had)", dead, done, spent)
		}
		w.nothingHeld()
	})
}

// Whoever changes a webhook wants to see whether that helped.
func TestAChangeProbesAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, hook, up := broken(t, 35*time.Second, time.Hour)
		for range 20 {
			w.publish(hook)
		}
		pass(50 * time.Second)
		if h := w.d.Health(hook.ID); h.Breaker != cybervault.BreakerOpen {
			t.Fatalf("the breaker is %+v", h)
		}
		up.Store(true)
		id := w.publish(hook)
		w.hooks.change(hook.ID, func(h *cybervault.Webhook) { h.UpdatedAt = w.now() })
		w.d.Wake(hook.ID, "")
		pass(time.Second)
		if r := w.queue.get(id); r.status != cybervault.DeliveryDelivered || w.d.Health(hook.ID).Breaker != cybervault.BreakerClosed {
			t.Errorf("the delivery is %s, health %+v", r.status, w.d.Health(hook.ID))
		}
	})
}
