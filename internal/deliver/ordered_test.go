package deliver_test

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/deliver"
)

// before lists the deliveries that had not ended when a later one was attempted.
// Tests stand in no line.
func (w *world) before(hook *cybervault.Webhook, sequence int64) (living []int64) {
	w.queue.mu.Lock()
	defer w.queue.mu.Unlock()
	for _, r := range w.queue.rows {
		if r.assignment.Webhook == hook.ID && !r.assignment.Test && r.assignment.Sequence < sequence && !r.status.Ended() {
			living = append(living, r.assignment.Sequence)
		}
	}
	return living
}

// ordered makes a webhook ordered and checks each attempt it gets.
func (w *world) ordered(hook *cybervault.Webhook, complain func(string)) {
	w.hooks.change(hook.ID, func(h *cybervault.Webhook) { h.Ordered = true })
	w.net.mu.Lock()
	defer w.net.mu.Unlock()
	a := w.net.answers[hook.URL]
	w.net.answers[hook.URL] = func(ctx context.Context, n int) (cybervault.Exchange, error) {
		got := w.net.got(hook.URL)
		headers := got[n-1].headers
		sequence, _ := strconv.ParseInt(headers["X-CyberVault-Sequence"], 10, 64)
		if headers["X-CyberVault-Test"] == "" {
			if living := w.before(hook, sequence); len(living) > 0 {
				complain(fmt.Sprintf("%d was attempted while %v had not ended", sequence, living))
			}
		}
		return a(ctx, n)
	}
}

func TestAnOrderedWebhookHoldsBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 10*time.Second, time.Minute)
		hook := w.webhook(func(ctx context.Context, n int) (cybervault.Exchange, error) {
			if n >= 6 && n <= 7 || n == 12 {
				return answering(500, 5*time.Millisecond)(ctx, n)
			}
			return answering(200, 5*time.Millisecond)(ctx, n)
		})
		w.ordered(hook, func(s string) { t.Error(s) })
		begin := time.Now()
		for range 300 {
			w.publish(hook)
		}
		pass(5 * time.Second)
		if n := w.queue.count(cybervault.DeliveryDelivered); n != 5 {
			t.Errorf("%d delivered behind a failure, want 5", n)
		}
		w.nothingHeld()
		pass(2 * time.Minute)
		got := w.net.got(hook.URL)
		if n := w.queue.count(cybervault.DeliveryDelivered); n != 300 || len(got) != 303 {
			t.Errorf("%d delivered in %d attempts, want 300 in 303", n, len(got))
		}
		// 10 s, a minute and 10 s of waiting, 300 times 5 ms and a commit.
		if took := got[len(got)-1].at.Sub(begin); took > 100*time.Second {
			t.Errorf("it took %v", took)
		}
		if peak := w.net.peak[hook.URL]; peak != 1 {
			t.Errorf("%d attempts at once", peak)
		}
		w.nothingHeld()
	})
}

// A test stops the line for as long as it takes, and no longer.
func TestATestOfAnOrderedWebhook(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		hook := w.webhook(answering(200, time.Second))
		w.ordered(hook, func(s string) { t.Error(s) })
		test := w.commit(hook, []byte(`{}`), true)
		pass(100 * time.Millisecond)
		next := w.publish(hook)
		pass(2500 * time.Millisecond)
		if a, b := w.queue.get(test), w.queue.get(next); a.status != cybervault.DeliveryDelivered || b.status != cybervault.DeliveryDelivered {
			t.Errorf("the test is %s, what came after it %s", a.status, b.status)
		}
	})
}

// What cannot be delivered holds back until it has ended, and no longer.
func TestADeadLetterLetsTheNextGo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Minute)
		hook := w.webhook(func(_ context.Context, n int) (cybervault.Exchange, error) {
			if n <= 3 {
				return cybervault.Exchange{Status: 500}, nil
			}
			return cybervault.Exchange{Status: 200}, nil
		})
		w.ordered(hook, func(s string) { t.Error(s) })
		w.publish(hook)
		second := w.publish(hook)
		w.publish(hook)
		pass(90 * time.Second)
		w.queue.end(func(r *row) bool { return r.assignment.Delivery == second }) // which waits for its retry
		w.d.Drop(hook.ID, second)
		pass(time.Second)
		if dead, done := w.queue.count(cybervault.DeliveryDeadLetter), w.queue.count(cybervault.DeliveryDelivered); dead != 1 || done != 1 {
			t.Errorf("%d dead letters, %d delivered", dead, done)
		}
	})
}

// Deliveries claimed by the old setting are not attempted by the new one.
func TestAWebhookIsMadeOrdered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Second)
		hook := w.webhook(answering(200, 100*time.Millisecond))
		for range 200 {
			w.publish(hook)
		}
		pass(50 * time.Millisecond)
		under := w.d.Running()
		var off atomic.Bool
		w.ordered(hook, func(s string) {
			if !off.Load() {
				t.Error(s)
			}
		})
		w.d.Wake(hook.ID, "")
		pass(time.Minute)
		if n := w.queue.count(cybervault.DeliveryDelivered); n != 200 {
			t.Errorf("%d delivered, want 200; %d were under way at the change", n, under)
		}
		off.Store(true)
		w.hooks.change(hook.ID, func(h *cybervault.Webhook) { h.Ordered = false })
		w.d.Wake(hook.ID, "")
		for range 100 {
			w.publish(hook)
		}
		pass(5 * time.Second)
		if n := w.queue.count(cybervault.DeliveryDelivered); n != 300 || w.net.peak[hook.URL] < 10 {
			t.Errorf("%d delivered, %d at once, after order was switched off", n, w.net.peak[hook.URL])
		}
	})
}

// Whatever is answered, and whatever happens to the server, its database, its
// clock and its leases: an ordered webhook is sent a delivery only when all
// before it have ended, and all end.
func TestAnOrderedWebhookIsInOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		answers := rapid.SliceOfN(rapid.SampledFrom([]string{"ok", "ok", "ok", "refuse", "busy", "hang", "slow"}), 1, 12).Draw(rt, "answers")
		acts := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) act {
			return act{
				After: time.Duration(rapid.IntRange(0, 20_000).Draw(rt, "ms")) * time.Millisecond,
				What: rapid.SampledFrom([]string{
					"publish", "publish", "publish", "test", "disable", "enable", "cancel", "break", "stop", "kill", "lost", "forward", "clock", "limit", "wake",
				}).Draw(rt, "what"),
				N: rapid.IntRange(1, 40).Draw(rt, "n"),
			}
		}), 1, 30).Draw(rt, "acts")
		var failed []string
		synctest.Test(t, func(t *testing.T) { failed = inOrder(t, answers, acts) })
		for _, f := range failed {
			rt.Error(f)
		}
	})
}

func inOrder(t *testing.T, answers []string, acts []act) (failed []string) {
	w := newWorld(t, time.Second, 10*time.Second, time.Minute)
	w.stop(0)
	w.config.BreakerAfter = deliver.DefaultBreakerAfter
	w.restart()
	healed := false
	hook := w.webhook(func(ctx context.Context, n int) (cybervault.Exchange, error) {
		kind := answers[n%len(answers)]
		w.net.mu.Lock()
		if healed {
			kind = "ok"
		}
		w.net.mu.Unlock()
		switch kind {
		case "refuse":
			return answering(500, 10*time.Millisecond)(ctx, 0)
		case "busy":
			return cybervault.Exchange{Status: 503, RetryAfter: 20 * time.Second}, nil
		case "hang":
			return silent(ctx, 0)
		case "slow":
			return answering(200, 4*time.Second)(ctx, 0)
		}
		return answering(200, time.Millisecond)(ctx, 0)
	})
	w.ordered(hook, func(s string) {
		w.net.mu.Lock()
		defer w.net.mu.Unlock()
		failed = append(failed, s)
	})
	broken := false
	mend := func() {
		if broken {
			w.queue.recover()
			broken = false
		}
	}
	var all []cybervault.DeliveryID
	var furthest int64
	for _, a := range acts {
		pass(a.After)
		switch a.What {
		case "publish":
			for i := range a.N {
				if !broken {
					all = append(all, w.send(hook, cybervault.Severities()[(a.N+i)%5]))
				}
			}
		case "test":
			if !broken {
				all = append(all, w.commit(hook, []byte(`{}`), true))
			}
		case "disable":
			w.hooks.change(hook.ID, func(h *cybervault.Webhook) { h.Status = cybervault.WebhookDisabled })
		case "enable":
			w.hooks.change(hook.ID, func(h *cybervault.Webhook) { h.Status = cybervault.WebhookEnabled })
			w.d.Wake(hook.ID, "")
		case "cancel":
			if len(all) > 0 && !broken {
				id := all[a.N%len(all)]
				w.queue.end(func(r *row) bool { return r.assignment.Delivery == id })
				w.d.Drop(hook.ID, id)
			}
		case "break":
			if broken {
				mend()
			} else {
				w.queue.breakDown()
				broken = true
			}
		case "kill":
			mend()
			w.kill(a.N%2 == 0)
		case "clock":
			furthest = max(furthest, w.clock.Load())
			w.clock.Add(int64(time.Duration(a.N-20) * 20 * time.Minute))
		case "stop", "lost":
			mend()
			w.stop(time.Duration(a.N) * 100 * time.Millisecond)
			w.queue.mu.Lock()
			for _, r := range w.queue.rows { // the leases of a lost node go on for a while
				if a.What == "lost" && r.status == cybervault.DeliveryPending && !r.due.After(w.now()) && r.assignment.Sequence%2 == 0 {
					r.token, r.due = -1, w.now().Add(20*time.Second)
				}
			}
			w.queue.mu.Unlock()
			w.restart()
		case "forward":
			w.clock.Add(int64(time.Duration(a.N) * time.Second))
		case "limit":
			w.hooks.change(hook.ID, func(h *cybervault.Webhook) { h.RateLimit = float64(a.N-1) / 4 })
			w.d.Wake(hook.ID, "")
		case "wake":
			w.d.Wake(hook.ID, "")
		}
	}
	mend()
	w.clock.Store(max(w.clock.Load(), furthest))
	w.net.mu.Lock()
	healed = true
	w.net.mu.Unlock()
	w.hooks.change(hook.ID, func(h *cybervault.Webhook) { h.Status, h.RateLimit = cybervault.WebhookEnabled, 0 })
	w.d.Wake(hook.ID, "")
	pass(3 * time.Hour)
	for _, id := range all {
		if r := w.queue.get(id); !r.status.Ended() {
			failed = append(failed, fmt.Sprintf("%d is stranded: %s, %d attempts, due %v", r.assignment.Sequence, r.status, r.attempts, r.due.Sub(w.now())))
		}
	}
	return append(failed, w.leftBehind()...)
}
