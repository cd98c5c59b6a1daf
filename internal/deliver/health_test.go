package deliver_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cybervault/cybervault"
)

func TestGoneDisablesTheWebhook(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Second)
		hook := w.webhook(answering(410, 10*time.Millisecond))
		for range 200 {
			w.publish(hook)
		}
		pass(time.Hour + time.Second) // not in the instant of a sweep
		made := len(w.net.got(hook.URL))
		if made == 0 || made > 4 {
			t.Errorf("%d attempts, want those under way when the first was answered, and none after", made)
		}
		if dead, pending := w.queue.count(cybervault.DeliveryDeadLetter), w.queue.count(cybervault.DeliveryPending); dead != made || pending != 200-made {
			t.Errorf("%d dead letters and %d pending after %d answers of 410", dead, pending, made)
		}
		if got := w.ward.reasons(); !slices.Equal(got, []string{"answered 410 Gone"}) {
			t.Errorf("disabled %q", got)
		}
		w.nothingHeld()

		w.net.mu.Lock()
		w.net.answers[hook.URL] = answering(200, 0)
		w.net.mu.Unlock()
		w.hooks.change(hook.ID, func(h *cybervault.Webhook) { h.Status = cybervault.WebhookEnabled })
		w.d.Wake(hook.ID, "")
		pass(time.Minute)
		if n := w.queue.count(cybervault.DeliveryDelivered); n != 200-made {
			t.Errorf("%d delivered once it is enabled again, want the %d that waited", n, 200-made)
		}
	})
}

// A person who tries a webhook out sees the answer; it has no consequences.
func TestATestDoesNotDisable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.config.DisableAfter = time.Minute
		w.restart()
		hook := w.webhook(answering(410, 0))
		for range 3 {
			w.commit(hook, []byte(`{}`), true)
			pass(time.Hour)
		}
		if got := w.ward.reasons(); len(got) != 0 {
			t.Errorf("disabled: %q", got)
		}
		if h := w.d.Health(hook.ID); h.Failures != 0 || !h.FailingSince.IsZero() {
			t.Errorf("tests count: %+v", h)
		}
	})
}

func TestDisablingIsTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		hook := w.webhook(answering(410, 0))
		w.ward.breaks(errors.New("disk full"))
		w.publish(hook)
		pass(time.Second)
		if h := w.d.Health(hook.ID); len(w.ward.reasons()) != 0 || h.FailingSince.IsZero() {
			t.Fatalf("disabled %q, health %+v", w.ward.reasons(), h)
		}
		w.ward.breaks(nil)
		w.publish(hook)
		pass(time.Second)
		if got := w.ward.reasons(); len(got) != 1 {
			t.Errorf("disabled %q, want it done at the second try", got)
		}
	})
}

func TestThreeDaysOfFailuresDisable(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		after    time.Duration
		answer   answer
		during   func(w *world, hook *cybervault.Webhook, hour int)
		disabled time.Duration // 0: never
	}{
		"all fail":         {after: 72 * time.Hour, answer: answering(500, 0), disabled: 72 * time.Hour},
		"never, if so set": {after: 0, answer: answering(500, 0)},
		"one in between":   {after: 72 * time.Hour, answer: once(50, 200)},
		"then all fail":    {after: 72 * time.Hour, answer: once(5, 200), disabled: 77 * time.Hour},
		"settable":         {after: 10 * time.Hour, answer: silent, disabled: 10 * time.Hour},
		"a restart each day": {after: 72 * time.Hour, answer: answering(500, 0), disabled: 72 * time.Hour, during: func(w *world, _ *cybervault.Webhook, hour int) {
			if hour%24 == 12 {
				w.stop(time.Minute)
				w.restart()
			}
		}},
		"changed meanwhile": {after: 72 * time.Hour, answer: answering(500, 0), disabled: 90 * time.Hour, during: func(w *world, hook *cybervault.Webhook, hour int) {
			if hour == 18 {
				w.hooks.change(hook.ID, func(h *cybervault.Webhook) { h.UpdatedAt = w.now() })
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.stop(0)
				w.config.DisableAfter = c.after
				w.restart()
				hook := w.webhook(c.answer)
				begin := time.Now()
				for hour := range 110 {
					if c.during != nil {
						c.during(w, hook, hour)
					}
					w.publish(hook)
					pass(time.Hour)
					reasons := w.ward.reasons()
					if len(reasons) == 0 {
						continue
					}
					if at := time.Since(begin); c.disabled == 0 || at < c.disabled || at > c.disabled+2*time.Hour {
						t.Fatalf("disabled after %v, want after %v: %q", at, c.disabled, reasons)
					}
					if kept, _ := w.ward.state(hook.ID); kept.Webhook == hook.ID {
						t.Errorf("once disabled, its failures are remembered: %+v", kept)
					}
					return
				}
				if c.disabled != 0 {
					t.Errorf("not disabled after %v", time.Since(begin))
				}
			})
		})
	}
}

// once answers 500 but for attempt n.
func once(n, status int) answer {
	return func(_ context.Context, i int) (cybervault.Exchange, error) {
		if i == n {
			return cybervault.Exchange{Status: status}, nil
		}
		return cybervault.Exchange{Status: 500}, nil
	}
}

// What a receiver does is stored when it changes, and not with each attempt.
func TestHealthIsStoredWhenItChanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		up := true
		hook := w.webhook(func(context.Context, int) (cybervault.Exchange, error) {
			if up {
				return cybervault.Exchange{Status: 200}, nil
			}
			return cybervault.Exchange{Status: 500}, nil
		})
		steps := []struct {
			up           bool
			saves, fails int
		}{{true, 0, 0}, {true, 0, 0}, {false, 1, 1}, {false, 1, 2}, {false, 1, 3}, {true, 2, 0}, {true, 2, 0}, {false, 3, 1}}
		for i, s := range steps {
			up = s.up
			w.publish(hook)
			pass(time.Second)
			kept, saves := w.ward.state(hook.ID)
			if saves != s.saves || kept.FailingSince.IsZero() != s.up || w.d.Health(hook.ID).Failures != s.fails {
				t.Errorf("step %d: %d saves, kept %+v, %d failures", i, saves, kept, w.d.Health(hook.ID).Failures)
			}
		}
		since := w.d.Health(hook.ID).FailingSince
		w.stop(time.Second)
		pass(time.Hour)
		w.restart()
		if h := w.d.Health(hook.ID); !h.FailingSince.Equal(since) || h.Failures != 1 {
			t.Errorf("after a restart: %+v, want it failing since %v", h, since)
		}
		w.hooks.remove(hook.ID)
		w.d.Wake(hook.ID, "")
		w.d.Forget(hook.ID)
		pass(time.Second)
		if kept, _ := w.ward.state(hook.ID); kept.Webhook == hook.ID {
			t.Errorf("kept of a deleted webhook: %+v", kept)
		}
	})
}
