package router

import (
	"context"
	"errors"
	"log/slog"

	"github.com/cybervault/cybervault"
)

// VerifyWebhook sends the test payload and returns the attempt. An attempt that
// succeeded verifies the webhook and frees what was held.
func (r *Router) VerifyWebhook(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.WebhookID) (*cybervault.Attempt, error) {
	if w, err := r.Webhook(ctx, ws, id); err == nil && w.Polled() {
		return nil, cybervault.Errorf(cybervault.CodeConflict, "the webhook %s is polled: nothing is sent to it, so there is nothing to verify", id)
	}
	tested, attempt, err := r.awaitTest(ctx, ws, id)
	if err != nil || !attempt.Succeeded() {
		return attempt, err
	}
	return attempt, r.markVerified(ctx, tested, attempt)
}

// markVerified stores that a webhook accepted the test payload, provided it
// still is where that was sent.
func (r *Router) markVerified(ctx context.Context, tested *cybervault.Webhook, attempt *cybervault.Attempt) error {
	ctx = context.WithoutCancel(ctx) // the receiver has said yes, whoever still listens
	for {
		current, err := r.Webhook(ctx, tested.Workspace, tested.ID)
		if err != nil {
			return err
		}
		// The attempt went to the URL as it was when it started, which need not
		// be the one it was asked for.
		if current.URL != attempt.URL || current.CACertificate != tested.CACertificate {
			return cybervault.Errorf(cybervault.CodeConflict, "the webhook was changed while it was verified: verify it again")
		}
		w := *current
		w.VerifiedAt = attempt.StartedAt.UTC()
		err = r.save(ctx, current, &w)
		if errors.Is(err, errChanged) || errors.Is(err, errStale) {
			continue // something else about it was changed: look again
		}
		if err != nil {
			return err
		}
		r.freeHeld(ctx, w.ID)
		return nil
	}
}

// StartVerification sends the test payload, without waiting for the answer, to a
// webhook that a change has left waiting for it. before is nil for a new one.
func (r *Router) StartVerification(before, w *cybervault.Webhook) {
	if !w.Held() || !w.Live() {
		return
	}
	if before != nil && before.Held() && before.Live() && before.URL == w.URL && before.CACertificate == w.CACertificate {
		return // it was waiting already
	}
	r.later(func() {
		_, err := r.VerifyWebhook(r.ctx, w.Workspace, w.ID)
		switch {
		case err == nil, r.ctx.Err() != nil:
		case cybervault.ErrorCode(err) == cybervault.CodeNotFound, cybervault.ErrorCode(err) == cybervault.CodeConflict:
			// It was deleted or changed in the meantime; a change verifies anew.
		default:
			r.cfg.Logger.Warn("a webhook could not be sent the test payload", slog.String("webhook", w.ID.String()), slog.Any("error", err))
		}
	})
}

// TestWebhook delivers an event type's example to one webhook, once, marked as
// a test, whether the webhook is enabled and verified or not.
func (r *Router) TestWebhook(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.WebhookID, eventType string) (*cybervault.Delivery, error) {
	test, err := r.publishTest(ctx, ws, id, eventType)
	if err != nil {
		return nil, err
	}
	test.unwatch()
	return r.cfg.Log.Delivery(ctx, ws, test.delivery)
}

// awaitTest sends the test payload and waits for its attempt.
func (r *Router) awaitTest(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.WebhookID) (*cybervault.Webhook, *cybervault.Attempt, error) {
	test, err := r.publishTest(ctx, ws, id, cybervault.EventWebhookTest)
	if err != nil {
		return nil, nil, err
	}
	defer test.unwatch()
	ctx, cancel := context.WithTimeout(ctx, 3*cybervault.AttemptTimeout)
	defer cancel()
	select {
	case a := <-test.attempts:
		return test.webhook, a, nil
	case <-ctx.Done():
	}
	if _, err := r.Webhook(ctx, ws, id); err != nil {
		return nil, nil, err // deleted: no attempt will come
	}
	return nil, nil, &cybervault.Error{Code: cybervault.CodeUnavailable, Err: ctx.Err(),
		Message: "the test payload is on its way, but its attempt has not been recorded yet: see the delivery log for " + test.delivery.String()}
}

// test is a test event that is on disk.
type test struct {
	webhook  *cybervault.Webhook // as it was
	delivery cybervault.DeliveryID
	attempts <-chan *cybervault.Attempt
	unwatch  func()
}

// publishTest commits the example of an event type for one webhook.
func (r *Router) publishTest(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.WebhookID, eventType string) (_ *test, err error) {
	if _, err := r.Webhook(ctx, ws, id); err != nil { // another node may have made it a moment ago
		return nil, err
	}
	snap := r.registry.enter()
	defer r.registry.leave(snap)
	w, ok := snap.byID[id]
	if !ok || w.Workspace != ws {
		return nil, noWebhook(id)
	}
	t, ok := r.cfg.Catalogue.Lookup(ws, eventType)
	if !ok {
		return nil, cybervault.Invalid("event", "%q is not an event type of the catalogue", eventType)
	}
	d, err := r.draft(ctx, ws, &cybervault.PublishRequest{Type: eventType, Data: t.Example}, snap, []*cybervault.Webhook{w}, r.dispatcher.NewLease(), true)
	if err != nil {
		return nil, err
	}
	delivery := d.pub.Deliveries[0].ID
	attempts, unwatch := r.dispatcher.Await(delivery)
	if _, errs := r.cfg.Log.Publish(ctx, []*cybervault.Publication{d.pub}); errs[0] != nil {
		unwatch()
		r.withdraw(d)
		return nil, errs[0]
	}
	r.hand(d)
	r.changed()
	return &test{webhook: w, delivery: delivery, attempts: attempts, unwatch: unwatch}, nil
}
