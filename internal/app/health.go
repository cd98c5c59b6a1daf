package app

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/alert"
)

// alertTries bounds how often an alert is offered to a store that refuses it.
const alertTries = 5

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
	pause := time.Second
	for try := 1; ; try++ {
		err := h.raise(ctx, alert.Condition{
			Workspace: w.Workspace, Code: alertWebhookDisabled, Subject: w.ID.String(), Severity: cybervault.SeverityHigh,
			Summary: fmt.Sprintf("The webhook %s was disabled: %s.", w.ID, w.DisabledReason),
			Remedy:  "See its delivery log, put its receiver right or change its URL, then enable it again. What was pending is delivered then; what came meanwhile is skipped and can be replayed.",
		})
		if err == nil {
			return nil
		}
		if try == alertTries || cybervault.ErrorCode(err) != cybervault.CodeUnavailable {
			h.log.Error("there is no alert about a disabled webhook", slog.String("webhook", id.String()), slog.Any("error", err))
			return nil // the webhook is disabled, and says why
		}
		if !rest(ctx, pause) {
			return nil
		}
		pause *= 2
	}
}
