package doctor

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/cybervault/cybervault"
)

const (
	// stuckLease is how long after its end a lease should have been taken over,
	// and overdue how long after its time a delivery should have been tried.
	stuckLease = 5 * time.Minute
	overdue    = 15 * time.Minute
	// recentDead is how far back dead letters are looked for.
	recentDead = day
)

// live are the webhooks that are sent to.
func live(hooks []*cybervault.Webhook) (out []*cybervault.Webhook) {
	for _, w := range hooks {
		if w.Live() && !w.Polled() {
			out = append(out, w)
		}
	}
	return out
}

// queue looks for deliveries that nobody takes care of.
func (s *Server) queue(ctx context.Context, hooks []*cybervault.Webhook) []cybervault.Check {
	const name = "queue"
	now := s.Now()
	found, err := s.Store.Overdue(ctx, now.Add(-min(stuckLease, overdue)))
	if err != nil {
		return []cybervault.Check{fail(name, "", "cannot be looked at: "+said(err), tryLater)}
	}
	slices.SortFunc(found, func(a, b Overdue) int { return a.DueAt.Compare(b.DueAt) })
	byID := map[cybervault.WebhookID]*cybervault.Webhook{}
	for _, w := range live(hooks) {
		byID[w.ID] = w
	}
	var checks []cybervault.Check
	for _, o := range found {
		w := byID[o.Webhook]
		if w == nil {
			continue // its receiver fetches, or it has just been disabled
		}
		late := now.Sub(o.DueAt)
		switch {
		case o.Leased && late >= stuckLease:
			checks = append(checks, fail(name, w.ID.String(), fmt.Sprintf("a delivery's lease ended %s ago, and nobody has taken it over", span(late)),
				"Look in the logs of all nodes for the cause. A restart of the server gives its leases back."))
		case !o.Leased && late >= overdue && !s.waits(w):
			checks = append(checks, warn(name, w.ID.String(), fmt.Sprintf("a delivery has been due for %s and is not tried", span(late)),
				"Its receiver may be slower than events come: raise the webhook's concurrency, or look at its attempts' times."))
		default:
			continue
		}
		delete(byID, o.Webhook) // one is enough
	}
	return orOK(checks, name, "nothing is overdue")
}

// waits reports whether a webhook's deliveries wait for a reason of their own.
func (s *Server) waits(w *cybervault.Webhook) bool {
	breaker := s.Health(w.ID).Breaker
	return w.Ordered || w.Held() || w.RateLimit > 0 || breaker == cybervault.BreakerOpen || breaker == cybervault.BreakerHalfOpen
}

// states looks how the webhooks stand.
func (s *Server) states(ctx context.Context, hooks []*cybervault.Webhook) []cybervault.Check {
	const name = "webhook"
	var checks []cybervault.Check
	now := s.Now()
	for _, w := range hooks {
		id := w.ID.String()
		if !w.DeletedAt.IsZero() {
			continue
		}
		if !w.Live() {
			if w.DisabledReason != "" {
				checks = append(checks, warn(name, id, "is disabled: "+w.DisabledReason, "Put its receiver right, then enable it: what is pending is delivered then, what came meanwhile was skipped and can be replayed."))
			}
			continue
		}
		if h := s.Health(w.ID); h.Breaker == cybervault.BreakerOpen || h.Breaker == cybervault.BreakerHalfOpen {
			checks = append(checks, warn(name, id, fmt.Sprintf("its receiver has failed for %s, %d attempts in a row; one is made now and then", span(now.Sub(h.FailingSince)), h.Failures),
				"Look at its newest attempts; its deliveries wait meanwhile."))
		}
		if w.Held() {
			checks = append(checks, warn(name, id, "is not verified, and its deliveries are held", "Let its receiver accept the test payload (POST /v1/webhooks/{id}/verify), or switch verification off."))
		}
		n, err := s.Store.DeadLetters(ctx, w.ID, now.Add(-recentDead))
		if err != nil {
			return append(checks, fail(name, id, "its dead letters cannot be counted: "+said(err), tryLater))
		}
		if n > 0 {
			checks = append(checks, warn(name, id, fmt.Sprintf("%d deliveries of the last day have become dead letters", n), "Put its receiver right, then replay them: cybervault webhooks replay."))
		}
	}
	return orOK(checks, name, fmt.Sprintf("%d webhooks, none disabled by the server, failing or with new dead letters", len(hooks)))
}

// span shows a duration in its largest unit.
func span(d time.Duration) string {
	switch {
	case d >= 2*day:
		return fmt.Sprintf("%d days", d/day)
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", d/time.Hour)
	case d >= 2*time.Minute:
		return fmt.Sprintf("%d minutes", d/time.Minute)
	}
	return fmt.Sprintf("%d seconds", max(d, 0)/time.Second)
}

func byStatus(checks []cybervault.Check) {
	rank := map[cybervault.CheckStatus]int{cybervault.CheckFail: 0, cybervault.CheckWarn: 1, cybervault.CheckOK: 2}
	slices.SortStableFunc(checks, func(a, b cybervault.Check) int { return cmp.Compare(rank[a.Status], rank[b.Status]) })
}
