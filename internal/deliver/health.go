package deliver

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/cybervault/cybervault"
)

// Health acts on receivers that are gone for good.
type Health interface {
	// Disable switches a webhook off, for a reason in words, and tells people of
	// it. A webhook that is disabled already is left as it is.
	Disable(ctx context.Context, id cybervault.WebhookID, reason string) error
}

// HealthStore keeps how receivers have been answering: the store.
type HealthStore interface {
	// Health returns what is kept of the webhooks that are not well.
	Health(ctx context.Context) ([]cybervault.WebhookHealth, error)
	// SaveHealth keeps that of one, as far as no other node knows better.
	SaveHealth(ctx context.Context, h *cybervault.WebhookHealth) error
	// ClaimProbe asks whether this node may make the probe of a breaker that is
	// open as h says; no other node may then until a time.
	ClaimProbe(ctx context.Context, h *cybervault.WebhookHealth, now, until time.Time) (bool, error)
}

// DefaultDisableAfter is for how long every attempt to a webhook must have
// failed until it is disabled.
const DefaultDisableAfter = 72 * time.Hour

// Health tells how a webhook's receiver has been answering.
func (d *Dispatcher) Health(id cybervault.WebhookID) cybervault.WebhookHealth {
	d.mu.Lock()
	l, kept := d.lanes[id], d.kept[id]
	d.mu.Unlock()
	if l == nil {
		return wellOr(kept, id)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.health
}

func wellOr(kept cybervault.WebhookHealth, id cybervault.WebhookID) cybervault.WebhookHealth {
	if kept.Breaker == "" {
		return cybervault.WebhookHealth{Webhook: id, Breaker: cybervault.BreakerClosed}
	}
	if kept.Breaker == cybervault.BreakerHalfOpen { // its probe went down with the server
		kept.Breaker = cybervault.BreakerOpen
	}
	return kept
}

// remember takes up what the store keeps from before the start.
func (d *Dispatcher) remember(ctx context.Context) error {
	if d.cfg.HealthStore == nil {
		return nil
	}
	kept, err := d.cfg.HealthStore.Health(ctx)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, h := range kept {
		d.kept[h.Webhook] = h
	}
	return nil
}

// note moves the webhook's health by how an attempt went. A lane whose receiver
// takes what it is sent has nothing to note.
func (l *lane) note(w *cybervault.Webhook, x *cybervault.Exchange, now time.Time) {
	h := &l.health
	if x.Failure == "" {
		if h.Failures > 0 || h.Breaker != cybervault.BreakerClosed {
			l.recover()
		}
		return
	}
	h.Failures++
	if h.FailingSince.IsZero() {
		h.FailingSince = now.Truncate(time.Microsecond)
		l.save()
	} else if l.unsaved {
		l.save()
	}
	l.trip()
	switch {
	case x.Status == http.StatusGone:
		l.disable("answered 410 Gone")
	case l.d.cfg.DisableAfter > 0 && now.Sub(later(h.FailingSince, w.UpdatedAt)) >= l.d.cfg.DisableAfter:
		// A webhook that was changed is given its time anew.
		l.disable(fmt.Sprintf("every attempt has failed for %s", cybervault.FormatDuration(l.d.cfg.DisableAfter)))
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// recover forgets that the receiver failed.
func (l *lane) recover() {
	open := l.health.Breaker != cybervault.BreakerClosed
	l.health, l.forgiven = wellOr(cybervault.WebhookHealth{}, l.webhook), true
	l.save()
	if open {
		l.holdOff, l.granted = time.Time{}, time.Time{}
		l.refill() // what has been waiting for this
	}
}

// disable has the webhook disabled. Nothing is attempted meanwhile, so that what
// waits stays pending; should it fail, the next failed attempt asks again.
func (l *lane) disable(reason string) {
	if l.disabling || l.stopped || l.d.cfg.Health == nil {
		return
	}
	l.disabling = true
	l.d.workers.Go(func() {
		err := l.d.cfg.Health.Disable(l.d.ctx, l.webhook, reason)
		if err != nil && l.d.ctx.Err() == nil {
			l.d.cfg.Logger.Error("a webhook could not be disabled; the next failed attempt tries again",
				slog.String("webhook", l.webhook.String()), slog.Any("error", err))
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.disabling = false
		if err == nil {
			l.recover() // what comes after it is enabled again counts from there
		}
		l.hire()
		l.refill()
	})
}

// save keeps the lane's health in the store, in the background: the newest state
// is what counts, so a state that was overtaken is never written. What the store
// keeps is only added to, so that a receiver has been well in between is said first.
func (l *lane) save() {
	l.said = time.Now()
	if l.unsaved = true; l.saving || l.d.cfg.HealthStore == nil {
		return
	}
	l.saving = true
	l.d.workers.Go(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		defer func() { l.saving = false }()
		for l.unsaved {
			state, forgiven := l.health, l.forgiven
			l.unsaved, l.forgiven = false, false
			if forgiven && !state.Well() {
				state, l.unsaved = wellOr(cybervault.WebhookHealth{}, l.webhook), true
			}
			l.mu.Unlock()
			err := l.d.cfg.HealthStore.SaveHealth(l.d.ctx, &state)
			l.mu.Lock()
			l.said = time.Now()
			if err != nil {
				l.unsaved, l.forgiven = true, l.forgiven || forgiven // kept with the next failure
				l.d.noteHealth(l.webhook, err)
				return
			}
		}
	})
}

func (d *Dispatcher) noteHealth(id cybervault.WebhookID, err error) {
	if d.ctx.Err() == nil {
		d.cfg.Logger.Warn("a webhook's health was not stored", slog.String("webhook", id.String()), slog.Any("error", err))
	}
}
