package app

import (
	"context"
	"log/slog"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/alert"
)

// health is what the dispatcher does about a receiver that is gone: the router
// disables the webhook, and whoever subscribed to system.alert is told.
type health struct {
	webhooks disabler
	raise    func(ctx context.Context, c alert.Condition) error
	log      *slog.Logger
}

// disabler is the router as health needs it.
type disabler interface {
	Disable(ctx context.Context, id cybervault.WebhookID, reason string) (*cybervault.Webhook, error)
}

// Disable switches a webhook off and raises one alert about it. The webhook
// is disabled by then, so it is not sent its own.
func (h health) Disable(ctx context.Context, id cybervault.WebhookID, reason string) error {
	w, err := h.webhooks.Disable(ctx, id, reason)
	if err != nil || w == nil {
		return err
	}
	h.log.Warn("a webhook was disabled", slog.String("webhook", id.String()), slog.String("reason", reason))
	if err := h.raise(ctx, webhookDisabled(w)); err != nil && ctx.Err() == nil {
		h.log.Warn("the alert about a disabled webhook has to wait", slog.String("webhook", id.String()), slog.Any("error", err))
	}
	return nil // it is disabled, says why, and is seen by the next look
}
