package storetest

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault"
)

func webhookHealth(f *fixture) {
	a, b := f.webhook(), f.webhook()
	want := func(want ...cybervault.WebhookHealth) {
		f.Helper()
		got, err := f.s.Health(f.Context())
		f.must(err)
		if diff := cmp.Diff(want, got); diff != "" {
			f.Errorf("health (-want +got):\n%s", diff)
		}
	}
	want()
	failing := cybervault.WebhookHealth{Webhook: a.ID, Breaker: cybervault.BreakerClosed, FailingSince: start, Failures: 1}
	open := cybervault.WebhookHealth{Webhook: b.ID, Breaker: cybervault.BreakerOpen, FailingSince: start, Failures: 12,
		OpenedAt: start.Add(time.Minute), ProbeAt: start.Add(2 * time.Minute)}
	f.must(f.s.SaveHealth(f.Context(), &failing))
	f.must(f.s.SaveHealth(f.Context(), &open))
	want(failing, open)

	failing.Failures, failing.Breaker, failing.OpenedAt, failing.ProbeAt = 10, cybervault.BreakerHalfOpen, start.Add(time.Hour), start.Add(2*time.Hour)
	f.must(f.s.SaveHealth(f.Context(), &failing))
	want(failing, open)

	f.must(f.s.SaveHealth(f.Context(), &cybervault.WebhookHealth{Webhook: a.ID, Breaker: cybervault.BreakerClosed}))
	want(open)

	gone := *b // nobody wants to know of a deleted one
	gone.DeletedAt = start
	f.must(f.s.SaveWebhook(f.Context(), &gone))
	want()
}

// What one node says of a receiver takes nothing back of what another has said.
func healthOfSeveral(f *fixture) {
	w := f.webhook()
	save := func(h cybervault.WebhookHealth) {
		f.Helper()
		h.Webhook = w.ID
		f.must(f.s.SaveHealth(f.Context(), &h))
	}
	want := func(want cybervault.WebhookHealth) {
		f.Helper()
		want.Webhook = w.ID
		got, err := f.s.Health(f.Context())
		f.must(err)
		if diff := cmp.Diff([]cybervault.WebhookHealth{want}, got); diff != "" {
			f.Errorf("health (-want +got):\n%s", diff)
		}
	}
	at := func(minutes int) time.Time { return start.Add(time.Duration(minutes) * time.Minute) }
	open := cybervault.WebhookHealth{Breaker: cybervault.BreakerOpen, FailingSince: at(1), Failures: 12, OpenedAt: at(5), ProbeAt: at(6)}
	save(open)
	save(cybervault.WebhookHealth{Breaker: cybervault.BreakerClosed, FailingSince: at(2), Failures: 1})
	want(open)
	save(cybervault.WebhookHealth{Breaker: cybervault.BreakerOpen, FailingSince: at(0), Failures: 10, OpenedAt: at(4), ProbeAt: at(5)})
	open.FailingSince = at(0)
	want(open)
	open.OpenedAt, open.ProbeAt, open.Failures = at(7), at(8), 20
	save(open)
	want(open)
	save(cybervault.WebhookHealth{Breaker: cybervault.BreakerClosed})
	open.FailingSince, open.Failures = at(9), 1 // well in between
	save(open)
	want(open)
}

func probes(f *fixture) {
	w := f.webhook()
	h := cybervault.WebhookHealth{Webhook: w.ID, Breaker: cybervault.BreakerOpen, FailingSince: start, Failures: 10, OpenedAt: start.Add(time.Minute), ProbeAt: start.Add(2 * time.Minute)}
	claim := func(h cybervault.WebhookHealth, now time.Time, want bool) {
		f.Helper()
		ours, err := f.s.ClaimProbe(f.Context(), &h, now, now.Add(30*time.Second))
		f.must(err)
		if ours != want {
			f.Errorf("the probe is ours: %t, want %t", ours, want)
		}
	}
	due := h.ProbeAt
	claim(h, due, true) // even if nobody has stored that it opened
	claim(h, due.Add(29*time.Second), false)
	claim(h, due.Add(30*time.Second), true) // whoever had it is lost
	again := h
	again.OpenedAt, again.ProbeAt = due.Add(time.Minute), due.Add(2*time.Minute)
	f.must(f.s.SaveHealth(f.Context(), &again)) // it failed
	claim(h, again.ProbeAt, false)              // who does not know that must hear of it first
	claim(again, again.ProbeAt, true)
	f.must(f.s.SaveHealth(f.Context(), &cybervault.WebhookHealth{Webhook: w.ID, Breaker: cybervault.BreakerClosed, FailingSince: start}))
	got, err := f.s.Health(f.Context())
	f.must(err)
	if len(got) != 1 || got[0].Breaker != cybervault.BreakerHalfOpen || !got[0].ProbeAt.Equal(again.ProbeAt.Add(30*time.Second)) {
		f.Errorf("health while a probe is made: %+v", got)
	}

	// Of many who ask at once, one may.
	other := f.webhook()
	h.Webhook = other.ID
	f.must(f.s.SaveHealth(f.Context(), &h))
	var granted atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if ours, err := f.s.ClaimProbe(f.Context(), &h, due, due.Add(time.Minute)); err != nil {
				f.Error(err)
			} else if ours {
				granted.Add(1)
			}
		})
	}
	wg.Wait()
	if n := granted.Load(); n != 1 {
		f.Errorf("%d may make the probe", n)
	}
}
