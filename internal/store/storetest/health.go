package storetest

import (
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
