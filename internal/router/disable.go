package router

import (
	"context"
	"errors"
	"time"

	"github.com/cybervault/cybervault"
)

// Disable switches a webhook off because of what its receiver does, and says in
// reason why. Its pending deliveries wait. It returns the webhook as it was
// disabled, or nil when there was nothing to do: it is disabled or deleted
// already.
func (r *Router) Disable(ctx context.Context, id cybervault.WebhookID, reason string) (*cybervault.Webhook, error) {
	for {
		current, ok := r.registry.lookup(id)
		if !ok || !current.Live() {
			return nil, nil //nolint:nilnil // nothing was to be done, which is no failure
		}
		w := *current
		w.Status, w.DisabledReason = cybervault.WebhookDisabled, reason
		w.UpdatedAt = r.cfg.Now().UTC().Truncate(time.Microsecond)
		err := r.save(ctx, current, &w)
		if errors.Is(err, errChanged) || errors.Is(err, errStale) {
			continue // somebody changed it at the same moment: look again
		}
		if err != nil {
			return nil, err
		}
		r.changed()
		return &w, nil
	}
}
