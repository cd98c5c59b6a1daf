package router

import (
	"context"
	"errors"

	"github.com/cybervault/cybervault"
)

// Several nodes share a store, and each has all webhooks in memory. What another
// node changed is made known here, with everything that follows from it on this
// node: a publish that went by the old settings may have committed after the
// other node freed, cancelled or put in line what there was.

// staleTries is how often a change is made anew from what another node stored in
// the meantime.
const staleTries = 10

// errStale says that this node had not heard of a webhook's newest change yet. It
// has by now.
var errStale = errors.New("another node has changed the webhook")

// Follow reads webhooks anew that other nodes have changed, by their row keys.
func (r *Router) Follow(ctx context.Context, keys map[int64]bool) error {
	list := make([]int64, 0, len(keys))
	for key := range keys {
		list = append(list, key)
	}
	end, err := r.alone(ctx)
	if err != nil {
		return err
	}
	defer end()
	return r.follow(ctx, list)
}

// FollowAll reads all webhooks anew.
func (r *Router) FollowAll(ctx context.Context) error {
	end, err := r.alone(ctx)
	if err != nil {
		return err
	}
	defer end()
	stored, err := r.cfg.Webhooks.Webhooks(ctx)
	if err != nil {
		return err
	}
	there := make(map[cybervault.WebhookID]bool, len(stored))
	for _, w := range stored {
		there[w.ID] = true
		r.learn(w)
	}
	var gone []int64
	for id := range r.registry.current.Load().byID {
		if !there[id] {
			gone = append(gone, id.Key())
		}
	}
	if err := r.follow(ctx, gone); err != nil {
		return err
	}
	for _, key := range gone { // or was never stored, by a database that took over
		for id, w := range r.registry.current.Load().byID {
			if id.Key() == key {
				lost := *w
				lost.DeletedAt, lost.Revision = r.cfg.Now(), w.Revision+1
				r.learn(&lost)
			}
		}
	}
	return nil
}

// follow is to be called while nobody else makes changes: see alone.
func (r *Router) follow(ctx context.Context, keys []int64) error {
	stored, err := r.cfg.Webhooks.WebhooksByKey(ctx, keys)
	if err != nil {
		return err
	}
	for _, w := range stored {
		r.learn(w)
	}
	return nil
}

// learn makes a webhook known as it is stored, unless this node knows that already.
// It is read while nobody else makes changes, so that what is stored is the truth,
// even where it is older: a database that took over need not have heard of
// everything.
func (r *Router) learn(w *cybervault.Webhook) {
	old, known := r.registry.lookup(w.ID)
	gone := !w.DeletedAt.IsZero()
	if known && old.Revision == w.Revision || !known && gone {
		return
	}
	joins, joined := w.InLine() && !gone && known && !old.InLine(), func() {}
	if joins {
		joined = r.joining.begin(w.ID)
	}
	settled := r.registry.replace(w, gone)
	if r.dispatcher == nil { // it finds everything when it starts
		joined()
		return
	}
	r.later(func() {
		<-settled
		if gone {
			r.afterDelete(r.ctx, w.ID)
			return
		}
		if known && old.Held() && !w.Held() {
			r.freeHeld(r.ctx, w.ID)
		}
		if joins {
			r.markOrdered(r.ctx, w.ID, joined)
		}
		r.dispatcher.Wake(w.ID, "")
	})
	r.changed()
}

// afresh makes a change of a webhook, again from what is stored where this node
// had not heard of another one's change.
func afresh(change func() error) (err error) {
	for range staleTries {
		if err = change(); !errors.Is(err, errStale) {
			return err
		}
	}
	return errChanged
}
