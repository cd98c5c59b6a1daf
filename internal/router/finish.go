package router

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/cybervault/cybervault"
)

// What follows a change of a webhook (freeing what was held, cancelling what is
// left) takes more than the transaction that stores the change. It is therefore
// tried until it works, and found again after a crash: held deliveries by New,
// deliveries of a deleted webhook by Orphaned.

// finish does what must follow a change that is on disk, in the background if it
// does not work at once. The change itself stands, so the caller is not failed.
func (r *Router) finish(ctx context.Context, step string, id cybervault.WebhookID, do func(context.Context) error) {
	err := do(context.WithoutCancel(ctx))
	if err == nil {
		return
	}
	r.cfg.Logger.Warn("a webhook's change is stored, but not all that follows from it; trying again",
		slog.String("step", step), slog.String("webhook", id.String()), slog.Any("error", err))
	r.later(func() {
		pause := time.Second
		for do(r.ctx) != nil {
			select {
			case <-r.ctx.Done():
				return
			case <-time.After(pause):
			}
			pause = min(2*pause, 30*time.Second)
		}
	})
}

// freeHeld makes the held deliveries of a webhook pending and has them claimed.
func (r *Router) freeHeld(ctx context.Context, id cybervault.WebhookID) {
	r.finish(ctx, "free held deliveries", id, func(ctx context.Context) error {
		// The webhook may need to be verified anew by the time this works.
		if w, ok := r.registry.lookup(id); !ok || w.Held() {
			return nil
		}
		_, err := r.cfg.Webhooks.FreeHeld(ctx, id)
		r.dispatcher.Wake(id, "")
		return err
	})
}

// othersKnow is how long after a change no publish of another node goes by the
// settings before: it has heard of it, and what was under way has committed.
const othersKnow = 3 * time.Second

// markOrdered has what a webhook holds delivered in order from now on. done is
// called once all of it is in line, what other nodes published before they heard
// of it included.
func (r *Router) markOrdered(ctx context.Context, id cybervault.WebhookID, done func()) {
	if !r.cfg.Shared {
		r.putInLine(ctx, id, done)
		return
	}
	r.putInLine(ctx, id, func() {
		r.later(func() {
			select {
			case <-time.After(othersKnow):
				r.putInLine(r.ctx, id, done)
			case <-r.ctx.Done():
			}
		})
	})
}

func (r *Router) putInLine(ctx context.Context, id cybervault.WebhookID, done func()) {
	r.finish(ctx, "put deliveries in line", id, func(ctx context.Context) error {
		if w, ok := r.registry.lookup(id); !ok || !w.InLine() {
			done()
			return nil
		}
		_, err := r.cfg.Webhooks.MarkOrdered(ctx, id)
		r.dispatcher.Wake(id, "")
		if err == nil {
			done()
		}
		return err
	})
}

// markForgotten finishes what a server that was killed may have left undone.
func (r *Router) markForgotten(ctx context.Context, webhooks []*cybervault.Webhook) error {
	for _, w := range webhooks {
		if !w.InLine() {
			continue
		}
		if _, err := r.cfg.Webhooks.MarkOrdered(ctx, w.ID); err != nil {
			return err
		}
	}
	return nil
}

// freeForgotten frees what a server that was killed left held although its
// webhook is verified. It runs before there is a dispatcher, whose start finds
// what was freed.
func (r *Router) freeForgotten(ctx context.Context, webhooks []*cybervault.Webhook) error {
	const together = 16 // they share commits
	_, held, err := r.cfg.Webhooks.Pending(ctx)
	if err != nil || held == 0 {
		return err
	}
	var (
		wg    sync.WaitGroup
		once  sync.Once
		first error
		slots = make(chan struct{}, together)
	)
	for _, w := range webhooks {
		if w.Held() {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if _, err := r.cfg.Webhooks.FreeHeld(ctx, w.ID); err != nil {
				once.Do(func() { first = err })
			}
		})
	}
	wg.Wait()
	return first
}

// Orphaned cancels what is left of a webhook that was deleted. The store, not
// what this node happens to know, says whether it was.
func (r *Router) Orphaned(ctx context.Context, id cybervault.WebhookID) error {
	if _, ok := r.registry.lookup(id); ok {
		return nil
	}
	stored, err := r.cfg.Webhooks.Webhooks(ctx)
	if err != nil {
		return err
	}
	for _, w := range stored {
		if w.ID == id {
			return nil
		}
	}
	_, err = r.cfg.Webhooks.CancelDeliveries(ctx, id, cybervault.ReasonWebhookDeleted)
	return err
}
