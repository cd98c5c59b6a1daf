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
	if delete(h.kept, k.Webhook); !k.Well() {
		h.kept[k.Webhook] = *k
	}
	return nil
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
