package deliver_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/cybervault/cybervault"
)

// act is one thing that happens to the world, and how long after the one before.
type act struct {
	After   time.Duration
	What    string
	Webhook int
	N       int
}

// Whatever receivers answer, however severe deliveries are, and whatever is done
// to webhooks, leases, the database, the clock and the server meanwhile: every
// delivery ends, once, its attempts are counted 1, 2, 3 …, its sequence number is
// the same on each of them, an ordered webhook is in order, and nothing is left in
// memory.
func TestEveryDeliveryEndsExactlyOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		answers := rapid.SliceOfN(rapid.SampledFrom([]string{"ok", "ok", "refuse", "busy", "hang", "slow"}), 1, 12).Draw(rt, "answers")
		acts := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) act {
			return act{
				After: time.Duration(rapid.IntRange(0, 20_000).Draw(rt, "ms")) * time.Millisecond,
				What: rapid.SampledFrom([]string{
					"publish", "publish", "publish", "test", "disable", "enable", "unverify", "verify", "steal", "cancel",
					"break", "recover", "stop", "kill", "limit", "unlimit", "forward", "clock", "reserve", "withdraw", "wake",
				}).Draw(rt, "what"),
				Webhook: rapid.IntRange(0, 2).Draw(rt, "webhook"),
				N:       rapid.IntRange(1, 40).Draw(rt, "n"),
			}
		}), 1, 40).Draw(rt, "acts")
		var failed []string
		synctest.Test(t, func(t *testing.T) { failed = live(t, answers, acts) })
		for _, f := range failed {
			rt.Error(f)
		}
	})
}

// live carries out the acts and reports what is wrong in the end.
func live(t *testing.T, answers []string, acts []act) (failed []string) {
	w := newWorld(t, time.Second, 10*time.Second, time.Minute)
	w.stop(0)
	w.config.BreakerAfter = 10
	w.restart()
	made, healed := 0, false
	receive := func(ctx context.Context, _ int) (cybervault.Exchange, error) {
		w.net.mu.Lock()
		made++
		kind := answers[made%len(answers)]
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
	}
	hooks := []*cybervault.Webhook{w.webhook(receive), w.webhook(receive), w.webhook(receive)}
	w.ordered(hooks[2], func(s string) {
		w.net.mu.Lock()
		defer w.net.mu.Unlock()
		failed = append(failed, s)
	})
	furthest := int64(0)
	var all []cybervault.DeliveryID
	broken := false
	type place struct {
		webhook  cybervault.WebhookID
		severity cybervault.Severity
	}
	reserved := map[place]int{}
	withdraw := func() {
		for p, n := range reserved {
			for range n {
				w.d.Withdraw(p.webhook, 1000, p.severity)
			}
		}
		clear(reserved)
	}
	mend := func() {
		if broken {
			w.queue.recover()
			broken = false
		}
	}
	severities := cybervault.Severities()
	for _, a := range acts {
		pass(a.After)
		hook := hooks[a.Webhook]
		switch a.What {
		case "publish":
			for i := range a.N {
				if !broken { // the publisher is refused otherwise
					all = append(all, w.send(hook, severities[(a.N+i/3)%len(severities)]))
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
		case "unverify":
			w.hooks.change(hook.ID, func(h *cybervault.Webhook) { h.Verification = true })
		case "verify":
			w.hooks.change(hook.ID, func(h *cybervault.Webhook) { h.Verification = false })
			w.d.Wake(hook.ID, "")
		case "steal": // leases end early, and another node has them when it dies
			w.queue.mu.Lock()
			n := a.N
			for _, r := range w.queue.rows {
				if n > 0 && r.status == cybervault.DeliveryPending && r.token != 0 {
					r.token, r.due = -1, w.now().Add(30*time.Second)
					n--
				}
			}
			w.queue.mu.Unlock()
		case "cancel":
			if len(all) > 0 && !broken {
				id := all[a.N%len(all)]
				w.queue.end(func(r *row) bool { return r.assignment.Delivery == id })
				w.d.Drop(w.queue.get(id).assignment.Webhook, id)
			}
		case "break":
			if !broken {
				w.queue.breakDown()
				broken = true
			}
		case "recover":
			mend()
		case "stop":
			mend()
			withdraw()
			w.stop(time.Duration(a.N) * 100 * time.Millisecond)
			if held := w.d.HeldBytes(); held != 0 {
				failed = append(failed, fmt.Sprintf("%d bytes held after a stop", held))
			}
			w.restart()
		case "kill":
			mend()
			clear(reserved) // its publishers went down with it
			w.kill(a.N%2 == 0)
		case "forward":
			w.clock.Add(int64(time.Duration(a.N) * time.Second))
		case "clock": // somebody sets it, by hours, either way
			furthest = max(furthest, w.clock.Load())
			w.clock.Add(int64(time.Duration(a.N-20) * 20 * time.Minute))
		case "reserve":
			p := place{hook.ID, severities[a.N%len(severities)]}
			for range 50 * a.N {
				if w.d.Admit(p.webhook, 1000, p.severity, false) {
					reserved[p]++
				}
			}
		case "limit":
			w.hooks.change(hook.ID, func(h *cybervault.Webhook) { h.RateLimit, h.Concurrency = float64(a.N)/4, a.N })
			w.d.Wake(hook.ID, "")
		case "unlimit":
			w.hooks.change(hook.ID, func(h *cybervault.Webhook) { h.RateLimit, h.Concurrency = 0, 0 })
			w.d.Wake(hook.ID, "")
		case "withdraw":
			withdraw()
		case "wake":
			w.d.Wake(hook.ID, "")
		}
	}
	mend()
	withdraw()
	w.clock.Store(max(w.clock.Load(), furthest)) // a clock that was set back delays what was due by the right one
	w.net.mu.Lock()
	healed = true // while the breaker is open, schedules are not used up
	w.net.mu.Unlock()
	for _, hook := range hooks {
		if h, _ := w.hooks.Lookup(hook.ID); h.Live() && !h.Held() && h.RateLimit == 0 {
			continue // nobody changes it: what is left must be found without
		}
		w.hooks.change(hook.ID, func(h *cybervault.Webhook) {
			h.Status, h.Verification, h.RateLimit = cybervault.WebhookEnabled, false, 0
		})
		w.d.Wake(hook.ID, "")
	}
	pass(time.Hour)
	for _, hook := range hooks {
		for _, seen := range w.net.got(hook.URL) {
			id, err := cybervault.ParseID[cybervault.DeliveryID](seen.headers["X-CyberVault-Delivery"])
			if err != nil || seen.headers["X-CyberVault-Sequence"] != strconv.FormatInt(w.queue.get(id).assignment.Sequence, 10) {
				failed = append(failed, fmt.Sprintf("%s was sent with sequence number %q, %v", id, seen.headers["X-CyberVault-Sequence"], err))
			}
		}
	}
	for _, id := range all {
		r := w.queue.get(id)
		if !r.status.Ended() {
			failed = append(failed, fmt.Sprintf("%s is stranded: %s, %d attempts, due %v, token %d", id, r.status, r.attempts, r.due.Sub(w.now()), r.token))
		}
		ends := 0
		for i, result := range r.results {
			if result.Attempt.Number != i+1 {
				failed = append(failed, fmt.Sprintf("%s: record %d is of attempt %d", id, i, result.Attempt.Number))
			}
			if result.Status.Ended() {
				ends++
			}
		}
		if want := 1; r.status != cybervault.DeliveryCancelled && ends != want {
			failed = append(failed, fmt.Sprintf("%s is %s and has ended %d times", id, r.status, ends))
		}
		if r.status == cybervault.DeliveryCancelled && ends != 0 {
			failed = append(failed, fmt.Sprintf("%s was cancelled and then ended", id))
		}
	}
	return append(failed, w.leftBehind()...)
}
