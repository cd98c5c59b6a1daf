package router

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/cybervault/cybervault"
)

// MaxOverlap bounds how long a rotated secret may live on.
const MaxOverlap = 30 * 24 * time.Hour

// Webhooks returns the webhooks of a workspace, newest first.
func (r *Router) Webhooks(_ context.Context, ws cybervault.WorkspaceID) ([]*cybervault.Webhook, error) {
	list := []*cybervault.Webhook{}
	for _, w := range r.registry.current.Load().byID {
		if w.Workspace == ws {
			list = append(list, w)
		}
	}
	slices.SortFunc(list, func(a, b *cybervault.Webhook) int { return int(b.ID.Key() - a.ID.Key()) })
	return list, nil
}

// Webhook returns one webhook, or CodeNotFound.
func (r *Router) Webhook(_ context.Context, ws cybervault.WorkspaceID, id cybervault.WebhookID) (*cybervault.Webhook, error) {
	w, ok := r.registry.lookup(id)
	if !ok || w.Workspace != ws {
		return nil, cybervault.Errorf(cybervault.CodeNotFound, "there is no webhook %s in this workspace", id)
	}
	return w, nil
}

// CreateWebhook adds a webhook with a new secret. With Verification on it is
// sent the test payload at once, and its deliveries are held until it accepts.
func (r *Router) CreateWebhook(ctx context.Context, ws cybervault.WorkspaceID, change cybervault.WebhookChange) (*cybervault.Webhook, error) {
	now := r.cfg.Now().UTC().Truncate(time.Microsecond)
	w := &cybervault.Webhook{
		ID: cybervault.NewID[cybervault.WebhookID](r.cfg.IDs), Workspace: ws,
		Status: cybervault.WebhookEnabled, Accept: cybervault.AcceptDefault,
		Secrets: []cybervault.Secret{cybervault.NewSecret(now)}, CreatedAt: now,
	}
	existing, err := r.Webhooks(ctx, ws)
	if err != nil {
		return nil, err
	}
	if len(existing) >= cybervault.MaxWebhooksPerWorkspace {
		return nil, cybervault.Errorf(cybervault.CodeConflict, "the workspace has %d webhooks, the most it can have: delete one first", len(existing))
	}
	if err := r.change(ctx, w, change); err != nil {
		return nil, err
	}
	if err := r.save(ctx, nil, w); err != nil {
		return nil, err
	}
	r.verifyInBackground(w)
	return w, nil
}

// UpdateWebhook changes settings. A webhook with Verification on whose URL or
// CA changes must be verified again.
func (r *Router) UpdateWebhook(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.WebhookID, change cybervault.WebhookChange) (*cybervault.Webhook, error) {
	old, err := r.Webhook(ctx, ws, id)
	if err != nil {
		return nil, err
	}
	w := *old
	if err := r.change(ctx, &w, change); err != nil {
		return nil, err
	}
	if w.URL != old.URL || w.CACertificate != old.CACertificate {
		w.VerifiedAt = time.Time{}
	}
	if err := r.save(ctx, old, &w); err != nil {
		return nil, err
	}
	if old.Held() && !w.Held() {
		if _, err := r.cfg.Webhooks.FreeHeld(ctx, id); err != nil {
			return nil, err
		}
	}
	r.dispatcher.Wake(id)
	if !old.Held() || w.URL != old.URL || w.CACertificate != old.CACertificate {
		r.verifyInBackground(&w)
	}
	return &w, nil
}

// change applies settings to w and checks the outcome.
func (r *Router) change(ctx context.Context, w *cybervault.Webhook, c cybervault.WebhookChange) error {
	set(&w.URL, c.URL)
	set(&w.Events, c.Events)
	set(&w.Description, c.Description)
	set(&w.Accept, c.Accept)
	set(&w.Headers, c.Headers)
	set(&w.RetrySchedule, c.RetrySchedule)
	set(&w.Verification, c.Verification)
	set(&w.CACertificate, c.CACertificate)
	if c.Status != nil && *c.Status != w.Status {
		w.Status, w.DisabledReason = *c.Status, ""
		if w.Status == cybervault.WebhookDisabled {
			w.DisabledReason = "disabled by a person"
		}
	}
	if err := w.Check(); err != nil {
		return err
	}
	if err := r.cfg.Destinations.CheckURL(ctx, w.URL); err != nil {
		return err
	}
	if w.CACertificate != "" {
		if err := r.cfg.Destinations.CheckCACertificate(w.CACertificate); err != nil {
			return err
		}
	}
	w.UpdatedAt = r.cfg.Now().UTC().Truncate(time.Microsecond)
	return nil
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

// save stores a webhook that was made from old (nil for a new one), makes it
// known, and returns once every publish that went by the old settings has
// committed. CodeConflict when somebody else changed it in the meantime.
func (r *Router) save(ctx context.Context, old, w *cybervault.Webhook) error {
	settled, err := r.swap(ctx, old, w)
	if err != nil {
		return err
	}
	<-settled
	return nil
}

func (r *Router) swap(ctx context.Context, old, w *cybervault.Webhook) (settled <-chan struct{}, err error) {
	r.changes.Lock()
	defer r.changes.Unlock()
	if current, _ := r.registry.lookup(w.ID); current != old {
		return nil, cybervault.Errorf(cybervault.CodeConflict, "the webhook was changed by somebody else at the same moment: look at it and try again")
	}
	if err := r.cfg.Webhooks.SaveWebhook(ctx, w); err != nil {
		return nil, err
	}
	return r.registry.replace(w, !w.DeletedAt.IsZero()), nil
}

// DeleteWebhook removes a webhook and cancels its deliveries that have not
// ended. The log keeps what it has.
func (r *Router) DeleteWebhook(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.WebhookID) error {
	old, err := r.Webhook(ctx, ws, id)
	if err != nil {
		return err
	}
	w := *old
	w.DeletedAt = r.cfg.Now().UTC()
	w.Secrets, w.Headers = nil, nil
	if err := r.save(ctx, old, &w); err != nil {
		return err
	}
	r.dispatcher.Forget(id)
	_, err = r.cfg.Webhooks.CancelDeliveries(ctx, id, cybervault.ReasonWebhookDeleted)
	return err
}

// RotateSecret gives a webhook a new secret. The one before lives on for
// overlap (zero ends it at once).
func (r *Router) RotateSecret(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.WebhookID, overlap time.Duration) (*cybervault.Webhook, error) {
	if overlap < 0 || overlap > MaxOverlap {
		return nil, cybervault.Invalid("overlap", "%s is not between 0s and %s", cybervault.FormatDuration(overlap), cybervault.FormatDuration(MaxOverlap))
	}
	old, err := r.Webhook(ctx, ws, id)
	if err != nil {
		return nil, err
	}
	now := r.cfg.Now().UTC().Truncate(time.Microsecond)
	w := *old
	w.UpdatedAt = now
	w.Secrets = []cybervault.Secret{cybervault.NewSecret(now)}
	for i, s := range old.Secrets {
		if i == 0 || s.ExpiresAt.After(now.Add(overlap)) {
			s.ExpiresAt = now.Add(overlap)
		}
		if s.ExpiresAt.After(now) {
			w.Secrets = append(w.Secrets, s)
		}
	}
	if err := r.save(ctx, old, &w); err != nil {
		return nil, err
	}
	return &w, nil
}

// VerifyWebhook sends the test payload and returns the attempt. An attempt that
// succeeded verifies the webhook and frees what was held.
func (r *Router) VerifyWebhook(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.WebhookID) (*cybervault.Attempt, error) {
	w, err := r.Webhook(ctx, ws, id)
	if err != nil {
		return nil, err
	}
	attempt, err := r.sendTest(ctx, w, cybervault.EventWebhookTest)
	if err != nil || !attempt.Succeeded() {
		return attempt, err
	}
	current, err := r.Webhook(ctx, ws, id)
	if err != nil {
		return attempt, err
	}
	if current.URL != w.URL || current.CACertificate != w.CACertificate {
		return attempt, cybervault.Errorf(cybervault.CodeConflict, "the webhook was changed while it was verified: verify it again")
	}
	verified := *current
	verified.VerifiedAt = attempt.StartedAt.UTC()
	if err := r.save(ctx, current, &verified); err != nil {
		return attempt, err
	}
	if _, err := r.cfg.Webhooks.FreeHeld(ctx, id); err != nil {
		return attempt, err
	}
	r.dispatcher.Wake(id)
	return attempt, nil
}

func (r *Router) verifyInBackground(w *cybervault.Webhook) {
	if !w.Held() || !w.Live() {
		return
	}
	r.background.Go(func() {
		if _, err := r.VerifyWebhook(r.ctx, w.Workspace, w.ID); err != nil && r.ctx.Err() == nil {
			r.cfg.Logger.Warn("a new webhook could not be sent the test payload", slog.String("webhook", w.ID.String()), slog.Any("error", err))
		}
	})
}

// sendTest commits a test event for one webhook and waits for its attempt.
func (r *Router) sendTest(ctx context.Context, w *cybervault.Webhook, eventType string) (*cybervault.Attempt, error) {
	d, err := r.draftTest(w, eventType)
	if err != nil {
		return nil, err
	}
	attempts, stop := r.dispatcher.Await(d.pub.Deliveries[0].ID)
	defer stop()
	if err := r.commitTest(ctx, d); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*cybervault.AttemptTimeout)
	defer cancel()
	select {
	case a := <-attempts:
		return a, nil
	case <-ctx.Done():
		return nil, &cybervault.Error{Code: cybervault.CodeUnavailable, Err: ctx.Err(),
			Message: "the test payload is on its way, but its attempt has not been recorded yet: see the delivery log for " + d.pub.Deliveries[0].ID.String()}
	}
}

func (r *Router) draftTest(w *cybervault.Webhook, eventType string) (*draft, error) {
	t, ok := r.cfg.Catalogue.Lookup(w.Workspace, eventType)
	if !ok {
		return nil, cybervault.Invalid("event", "%q is not an event type of the catalogue", eventType)
	}
	return r.draft(w.Workspace, &cybervault.PublishRequest{Type: eventType, Data: t.Example}, []*cybervault.Webhook{w}, r.dispatcher.NewLease(), true)
}

func (r *Router) commitTest(ctx context.Context, d *draft) error {
	_, errs := r.cfg.Log.Publish(ctx, []*cybervault.Publication{d.pub})
	if errs[0] != nil {
		r.withdraw(d)
		return errs[0]
	}
	r.hand(d)
	r.changed()
	return nil
}

// TestWebhook delivers an event type's example to one webhook, once, marked as
// a test.
func (r *Router) TestWebhook(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.WebhookID, eventType string) (*cybervault.Delivery, error) {
	w, err := r.Webhook(ctx, ws, id)
	if err != nil {
		return nil, err
	}
	d, err := r.draftTest(w, eventType)
	if err != nil {
		return nil, err
	}
	if err := r.commitTest(ctx, d); err != nil {
		return nil, err
	}
	return r.cfg.Log.Delivery(ctx, ws, d.pub.Deliveries[0].ID)
}
