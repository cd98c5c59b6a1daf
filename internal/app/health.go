package app

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/cybervault/cybervault"
)

// alertTries bounds how often an alert is offered to a store that refuses it.
const alertTries = 5

// health is what the dispatcher does about a receiver that is gone: the router
// disables the webhook, and whoever subscribed to system.alert is told.
type health struct {
	webhooks disabler
	log      *slog.Logger
}

// disabler is the router as health needs it.
type disabler interface {
	Disable(ctx context.Context, id cybervault.WebhookID, reason string) (*cybervault.Webhook, error)
	Publish(ctx context.Context, ws cybervault.WorkspaceID, req cybervault.PublishRequest) (cybervault.PublishReceipt, error)
}

// Disable switches a webhook off and publishes one alert about it. The webhook
// is disabled by then, so it is not sent its own.
func (h health) Disable(ctx context.Context, id cybervault.WebhookID, reason string) error {
	w, err := h.webhooks.Disable(ctx, id, reason)
	if err != nil || w == nil {
		return err
	}
	h.log.Warn("a webhook was disabled", slog.String("webhook", id.String()), slog.String("reason", reason))
	alert := disabledAlert(w)
	pause := time.Second
	for try := 1; ; try++ {
		// The key makes one alert of however many tries were taken by the store.
		_, err := h.webhooks.Publish(ctx, w.Workspace, alert)
		if err == nil {
			return nil
		}
		if try == alertTries || cybervault.ErrorCode(err) != cybervault.CodeUnavailable {
			h.log.Error("the alert about a disabled webhook could not be published", slog.String("webhook", id.String()), slog.Any("error", err))
			return nil // the webhook is disabled, and says why
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause *= 2
	}
}

// disabledAlert is the event that tells of a webhook disabled by the server.
func disabledAlert(w *cybervault.Webhook) cybervault.PublishRequest {
	id := fmt.Sprintf("alr_webhook_disabled_%s_%d", w.ID, w.UpdatedAt.UnixMicro())
	data, err := json.Marshal(map[string]string{
		"alert_id": id,
		"code":     "webhook_disabled",
		"severity": "high",
		"status":   "firing",
		"summary":  fmt.Sprintf("The webhook %s was disabled: %s.", w.ID, w.DisabledReason),
		"remedy":   "See its delivery log, put its receiver right or change its URL, then enable it again. What was pending is delivered then; what came meanwhile is skipped and can be replayed.",
		"subject":  w.ID.String(),
	})
	if err != nil {
		data = nil // strings always encode
	}
	return cybervault.PublishRequest{Type: cybervault.EventSystemAlert, Data: data, IdempotencyKey: id}
}
