package deliver_test

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/cybervault/cybervault"
)

// ward disables webhooks and keeps their health, as router and store do.
type ward struct {
	hooks *settings

	mu       sync.Mutex
	kept     map[cybervault.WebhookID]cybervault.WebhookHealth
	saves    int
	asked    int      // for a probe
	disabled []string // the reasons
	fail     error
}

func (h *ward) Disable(_ context.Context, id cybervault.WebhookID, reason string) error {
	<-time.After(5 * time.Millisecond)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fail != nil {
		return h.fail
	}
	h.disabled = append(h.disabled, reason)
	h.hooks.change(id, func(w *cybervault.Webhook) { w.Status = cybervault.WebhookDisabled })
	return nil
}

func (h *ward) Health(context.Context) (all []cybervault.WebhookHealth, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, k := range h.kept {
		all = append(all, k)
	}
	return all, h.fail
}

func (h *ward) SaveHealth(_ context.Context, k *cybervault.WebhookHealth) error {
	<-time.After(2 * time.Millisecond)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.saves++
	if h.fail != nil {
		return h.fail
	}
	before, known := h.kept[k.Webhook]
	if delete(h.kept, k.Webhook); k.Well() {
		return nil
	}
	merged := *k
	if known {
		if k.OpenedAt.Before(before.OpenedAt) {
			merged.Breaker, merged.OpenedAt, merged.ProbeAt = before.Breaker, before.OpenedAt, before.ProbeAt
		}
		if before.FailingSince.Before(k.FailingSince) {
			merged.FailingSince = before.FailingSince
		}
		merged.Failures = max(before.Failures, k.Failures)
	}
	h.kept[k.Webhook] = merged
	return nil
}

func (h *ward) ClaimProbe(_ context.Context, k *cybervault.WebhookHealth, now, until time.Time) (bool, error) {
	<-time.After(2 * time.Millisecond)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked++
	row, known := h.kept[k.Webhook]
	switch {
	case h.fail != nil:
		return false, h.fail
	case !known:
		row = *k
	case !row.OpenedAt.Equal(k.OpenedAt) || row.Breaker == cybervault.BreakerClosed || row.Breaker == cybervault.BreakerHalfOpen && row.ProbeAt.After(now):
		return false, nil
	}
	row.Breaker, row.ProbeAt = cybervault.BreakerHalfOpen, until
	h.kept[k.Webhook] = row
	return true, nil
}

func (h *ward) reasons() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.disabled)
}

func (h *ward) breaks(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fail = err
}

func (h *ward) state(id cybervault.WebhookID) (kept cybervault.WebhookHealth, saves int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.kept[id], h.saves
}
