package app

import (
	"context"
	"encoding/json"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/catalog"
)

// desk disables a webhook once, and takes events after refusing some.
type desk struct {
	hook      *cybervault.Webhook
	refuse    int
	published []cybervault.PublishRequest
	tries     int
}

func (d *desk) Disable(_ context.Context, _ cybervault.WebhookID, reason string) (*cybervault.Webhook, error) {
	if d.hook.Status == cybervault.WebhookDisabled {
		return nil, nil
	}
	d.hook.Status, d.hook.DisabledReason = cybervault.WebhookDisabled, reason
	return d.hook, nil
}

func (d *desk) Publish(_ context.Context, _ cybervault.WorkspaceID, req cybervault.PublishRequest) (cybervault.PublishReceipt, error) {
	if d.tries++; d.tries <= d.refuse {
		return cybervault.PublishReceipt{}, cybervault.Errorf(cybervault.CodeUnavailable, "disk full")
	}
	d.published = append(d.published, req)
	return cybervault.PublishReceipt{}, nil
}

func TestADisabledWebhookRaisesOneAlert(t *testing.T) {
	t.Parallel()
	for refuse, want := range map[int]int{0: 1, 3: 1, 100: 0} {
		synctest.Test(t, func(t *testing.T) {
			ids := cybervault.NewIDSource(1, 0, time.Now)
			d := &desk{refuse: refuse, hook: &cybervault.Webhook{ID: cybervault.NewID[cybervault.WebhookID](ids), UpdatedAt: time.Now()}}
			h := health{d, slog.New(slog.DiscardHandler)}
			for range 3 {
				if err := h.Disable(t.Context(), d.hook.ID, "answered 410 Gone"); err != nil {
					t.Fatal(err)
				}
			}
			if len(d.published) != want {
				t.Fatalf("%d alerts after %d refusals, want %d", len(d.published), refuse, want)
			}
			if want == 0 {
				return
			}
			types, err := catalog.New()
			if err != nil {
				t.Fatal(err)
			}
			alert := d.published[0]
			if err := types.Validate(d.hook.Workspace, alert.Type, alert.Data); err != nil {
				t.Errorf("the alert breaks its schema: %v", err)
			}
			var data struct{ Code, Subject string }
			if err := json.Unmarshal(alert.Data, &data); err != nil || data.Code != "webhook_disabled" || data.Subject != d.hook.ID.String() {
				t.Errorf("the alert is %s", alert.Data)
			}
		})
	}
}
