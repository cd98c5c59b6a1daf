package router

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/cybervault/cybervault"
)

// MaxOverlap bounds how long a rotated secret may live on.
const MaxOverlap = 30 * 24 * time.Hour

// MaxSecrets bounds how many secrets of a webhook sign at once.
const MaxSecrets = 8

// Webhooks returns the webhooks of a workspace, newest first.
func (r *Router) Webhooks(_ context.Context, ws cybervault.WorkspaceID) ([]*cybervault.Webhook, error) {
	list := []*cybervault.Webhook{}
	for _, w := range r.registry.current.Load().byID {
		if w.Workspace == ws {
			list = append(list, w)
		}
	}
	slices.SortFunc(list, func(a, b *cybervault.Webhook) int { return oldestFirst(b, a) })
	return list, nil
}

// All returns the webhooks of all workspaces, in no order.
func (r *Router) All() []*cybervault.Webhook {
	return slices.Collect(maps.Values(r.registry.current.Load().byID))
}

// Webhook returns one webhook, or CodeNotFound.
func (r *Router) Webhook(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.WebhookID) (_ *cybervault.Webhook, err error) {
	w, ok := r.registry.lookup(id)
	if !ok && r.cfg.Shared {
		if w, ok, err = r.unheardOf(ctx, ws, id); err != nil {
			return nil, err
		}
	}
	if !ok || w.Workspace != ws {
		return nil, noWebhook(id)
	}
	return w, nil
}

// unheardOf looks for a webhook that another node may have made a moment ago. The
// changes of this node wait for the look only if there is one: asking for what does
// not exist holds nobody up.
func (r *Router) unheardOf(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.WebhookID) (w *cybervault.Webhook, ok bool, err error) {
	stored, err := r.cfg.Webhooks.WebhooksByKey(ctx, []int64{id.Key()})
	if err != nil {
		return nil, false, err
	}
	if !slices.ContainsFunc(stored, func(w *cybervault.Webhook) bool { return w.ID == id && w.Workspace == ws && w.DeletedAt.IsZero() }) {
		return nil, false, nil
	}
	if err := r.Follow(ctx, map[int64]bool{id.Key(): true}); err != nil {
		return nil, false, err
	}
	w, ok = r.registry.lookup(id)
	return w, ok, nil
}

func noWebhook(id cybervault.WebhookID) error {
	return cybervault.Errorf(cybervault.CodeNotFound, "there is no webhook %s in this workspace", id)
}

// CreateWebhook adds a webhook with a new secret. With Verification on its
// deliveries are held until it accepts the test payload, which is the caller's to
// ask for: StartVerification, or VerifyWebhook where somebody waits.
func (r *Router) CreateWebhook(ctx context.Context, ws cybervault.WorkspaceID, change cybervault.WebhookChange) (*cybervault.Webhook, error) {
	now := r.cfg.Now().UTC().Truncate(time.Microsecond)
	w := &cybervault.Webhook{
		ID: cybervault.NewID[cybervault.WebhookID](r.cfg.IDs), Workspace: ws,
		Status: cybervault.WebhookEnabled, Accept: cybervault.AcceptDefault,
		Secrets: []cybervault.Secret{cybervault.NewSecret(now)}, CreatedAt: now,
	}
	if err := r.change(ctx, w, change); err != nil {
		return nil, err
	}
	if err := r.save(ctx, nil, w); err != nil {
		return nil, err
	}
	return w, nil
}

// UpdateWebhook changes settings. A webhook with Verification on whose URL or
// CA changes must be verified again.
func (r *Router) UpdateWebhook(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.WebhookID, change cybervault.WebhookChange) (w *cybervault.Webhook, err error) {
	err = afresh(func() error { w, err = r.updateWebhook(ctx, ws, id, change); return err })
	return w, err
}

func (r *Router) updateWebhook(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.WebhookID, change cybervault.WebhookChange) (*cybervault.Webhook, error) {
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
	inLine := func() {}
	joins := w.InLine() && !old.InLine()
	if joins {
		inLine = r.joining.begin(id)
	}
	if err := r.save(ctx, old, &w); err != nil {
		inLine()
		return nil, err
	}
	if old.Held() && !w.Held() {
		r.freeHeld(ctx, id)
	}
	if joins {
		r.markOrdered(ctx, id, inLine)
	}
	r.dispatcher.Wake(id, "")
	return &w, nil
}

// change applies settings to w and checks the outcome.
func (r *Router) change(ctx context.Context, w *cybervault.Webhook, c cybervault.WebhookChange) error {
	before := *w
	set(&w.URL, c.URL)
	set(&w.Events, c.Events)
	set(&w.Description, c.Description)
	set(&w.Accept, c.Accept)
	set(&w.Headers, c.Headers)
	set(&w.RetrySchedule, c.RetrySchedule)
	set(&w.Verification, c.Verification)
	set(&w.CACertificate, c.CACertificate)
	set(&w.Filter, c.Filter)
	set(&w.RateLimit, c.RateLimit)
	set(&w.Concurrency, c.Concurrency)
	set(&w.Ordered, c.Ordered)
	set(&w.ClientCertificate, c.ClientCertificate)
	if c.Status != nil && *c.Status != w.Status {
		w.Status, w.DisabledReason = *c.Status, ""
		if w.Status == cybervault.WebhookDisabled {
			w.DisabledReason = cybervault.DisabledByPerson
		}
	}
	if err := changeChannel(w, c, r.cfg.Now().UTC().Truncate(time.Microsecond)); err != nil {
		return err
	}
	if err := w.Check(); err != nil {
		return err
	}
	if err := r.checkDestinations(ctx, w, &before); err != nil {
		return err
	}
	if w.CACertificate != "" && w.CACertificate != before.CACertificate {
		if err := r.cfg.Destinations.CheckCACertificate(w.CACertificate); err != nil {
			return err
		}
	}
	if w.ClientCertificate != "" && w.ClientCertificate != before.ClientCertificate {
		if err := r.cfg.Destinations.CheckClientCertificate(w.ClientCertificate); err != nil {
			return err
		}
	}
	if w.Filter != "" && w.Filter != before.Filter {
		if _, err := r.filters.compile(w.Filter); err != nil {
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

// errChanged says that a webhook is not any more what a change was made from.
var errChanged = cybervault.Errorf(cybervault.CodeConflict, "the webhook was changed by somebody else at the same moment: look at it and try again")

// alone waits until nobody else changes what is known of webhooks, or the call is
// broken off.
func (r *Router) alone(ctx context.Context) (end func(), err error) {
	select {
	case r.changes <- struct{}{}:
		return func() { <-r.changes }, nil
	case <-ctx.Done():
		return nil, &cybervault.Error{Code: cybervault.CodeUnavailable, Err: ctx.Err(), Message: "nothing was changed: the call was broken off while it waited for another webhook's change"}
	}
}

func (r *Router) swap(ctx context.Context, old, w *cybervault.Webhook) (settled <-chan struct{}, err error) {
	end, err := r.alone(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	if current, _ := r.registry.lookup(w.ID); current != old {
		if r.cfg.Shared {
			return nil, errStale // most likely another node's change, heard of just now
		}
		return nil, errChanged
	}
	if old == nil && r.registry.count(w.Workspace) >= cybervault.MaxWebhooksPerWorkspace {
		return nil, cybervault.Errorf(cybervault.CodeConflict, "the workspace has %d webhooks, the most it can have: delete one first", cybervault.MaxWebhooksPerWorkspace)
	}
	if err := r.cfg.Webhooks.SaveWebhook(ctx, w); err != nil {
		if old == nil || cybervault.ErrorCode(err) != cybervault.CodeConflict {
			return nil, err
		}
		if err := r.follow(ctx, []int64{w.ID.Key()}); err != nil {
			return nil, err
		}
		return nil, errStale
	}
	return r.registry.replace(w, !w.DeletedAt.IsZero()), nil
}

// DeleteWebhook removes a webhook and cancels its deliveries that have not
// ended. The log keeps what it has.
func (r *Router) DeleteWebhook(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.WebhookID) error {
	return afresh(func() error { return r.deleteWebhook(ctx, ws, id) })
}

func (r *Router) deleteWebhook(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.WebhookID) error {
	old, err := r.Webhook(ctx, ws, id)
	if err != nil {
		return err
	}
	w := *old
	w.DeletedAt = r.cfg.Now().UTC()
	w.Secrets, w.Headers, w.ClientCertificate, w.Channel = nil, nil, "", cybervault.Channel{}
	if err := r.save(ctx, old, &w); err != nil {
		return err
	}
	r.afterDelete(ctx, id)
	return nil
}

// afterDelete cancels what a deleted webhook has left.
func (r *Router) afterDelete(ctx context.Context, id cybervault.WebhookID) {
	r.dispatcher.Forget(id)
	r.finish(ctx, "cancel the deliveries of a deleted webhook", id, func(ctx context.Context) error {
		_, err := r.cfg.Webhooks.CancelDeliveries(ctx, id, cybervault.ReasonWebhookDeleted)
		return err
	})
}

// RotateSecret gives a webhook a new secret, and with SignatureEd25519 a new key
// pair. Those before live on for overlap (zero ends them at once).
func (r *Router) RotateSecret(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.WebhookID, overlap time.Duration) (*cybervault.Webhook, error) {
	if overlap < 0 || overlap > MaxOverlap {
		return nil, cybervault.Invalid("overlap", "%s is not between 0s and %s", cybervault.FormatDuration(overlap), cybervault.FormatDuration(MaxOverlap))
	}
	var rotated *cybervault.Webhook
	err := afresh(func() (err error) { rotated, err = r.rotateSecret(ctx, ws, id, overlap); return err })
	return rotated, err
}

func (r *Router) rotateSecret(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.WebhookID, overlap time.Duration) (*cybervault.Webhook, error) {
	old, err := r.Webhook(ctx, ws, id)
	if err != nil {
		return nil, err
	}
	now := r.cfg.Now().UTC().Truncate(time.Microsecond)
	if live := len(old.Secrets); overlap > 0 && live >= MaxSecrets && old.Secrets[live-1].ExpiresAt.After(now) {
		return nil, cybervault.Errorf(cybervault.CodeConflict, "the webhook has %d live secrets, the most it can have: wait until one has ended, or rotate with an overlap of 0s", live)
	}
	w := *old
	w.UpdatedAt = now
	w.SigningKeys = rotateKeys(old.SigningKeys, now, overlap)
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
