package router

import (
	"context"

	"github.com/cybervault/cybervault"
)

// ReplayDelivery makes a new delivery of the same event to the same webhook. It
// carries the same bytes and the same webhook-id, so a receiver recognises it.
func (r *Router) ReplayDelivery(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.DeliveryID) (*cybervault.Delivery, error) {
	if err := r.admit(); err != nil {
		return nil, err
	}
	replay, err := r.addReplay(ctx, ws, id)
	if err != nil {
		return nil, err
	}
	r.dispatcher.Wake(replay.Webhook, replay.Severity)
	r.changed()
	return r.cfg.Log.Delivery(ctx, ws, replay.ID)
}

func (r *Router) addReplay(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.DeliveryID) (*cybervault.NewDelivery, error) {
	snap := r.registry.enter()
	defer r.registry.leave(snap)
	original, err := r.cfg.Log.Delivery(ctx, ws, id)
	if err != nil {
		return nil, err
	}
	w, ok := snap.byID[original.Webhook]
	switch {
	case !ok:
		return nil, cybervault.Errorf(cybervault.CodeConflict, "the webhook of this delivery was deleted: nothing can be replayed to it")
	case !w.Live():
		return nil, cybervault.Errorf(cybervault.CodeConflict, "the webhook %s is disabled: enable it first", w.ID)
	}
	event, err := r.cfg.Log.Event(ctx, ws, original.Event)
	if err != nil {
		return nil, err
	}
	replay := &cybervault.NewDelivery{
		ID: cybervault.NewID[cybervault.DeliveryID](r.cfg.IDs), Webhook: w.ID, Status: cybervault.DeliveryPending,
		Severity: original.Severity, ReplayOf: original.ID,
	}
	if w.Held() {
		replay.Status = cybervault.DeliveryHeld
	}
	ctx = cybervault.WithDeed(ctx, cybervault.Deed{Action: "delivery.replay", Target: id.String(), After: map[string]any{"delivery": replay.ID}})
	return replay, r.cfg.Log.AddDelivery(ctx, event, replay)
}

// CancelDelivery ends a delivery that has not ended yet. An attempt that is
// under way may still reach the receiver; its answer is not recorded.
func (r *Router) CancelDelivery(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.DeliveryID) (*cybervault.Delivery, error) {
	if err := r.cfg.Log.CancelDelivery(ctx, ws, id, cybervault.ReasonCancelled); err != nil {
		return nil, err
	}
	r.changed()
	d, err := r.cfg.Log.Delivery(ctx, ws, id)
	if err == nil {
		r.dispatcher.Drop(d.Webhook, id)
	}
	return d, err
}
