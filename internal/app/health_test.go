package app

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cybervault/cybervault"
)

// desk disables a webhook once.
type desk struct{ hook *cybervault.Webhook }

func (d *desk) Disable(_ context.Context, _ cybervault.WebhookID, reason string) (*cybervault.Webhook, error) {
	if d.hook.Status == cybervault.WebhookDisabled {
		return nil, nil
	}
	d.hook.Status, d.hook.DisabledReason = cybervault.WebhookDisabled, reason
	return d.hook, nil
}

func TestADisabledWebhookRaisesOneAlert(t *testing.T) {
	t.Parallel()
	for refuse, want := range map[int]bool{0: true, 3: true, 100: false} {
		synctest.Test(t, func(t *testing.T) {
			n := newNotes(t)
			n.refuseStore = refuse
			d := &desk{&cybervault.Webhook{ID: cybervault.NewID[cybervault.WebhookID](n.ids), Workspace: n.workspace, UpdatedAt: time.Now()}}
			h := health{d, n.keeper.Raise, slog.New(slog.DiscardHandler)}
			for range 3 {
				if err := h.Disable(t.Context(), d.hook.ID, "answered 410 Gone"); err != nil {
					t.Fatal(err)
				}
			}
			if want {
				n.want("webhook_disabled " + d.hook.ID.String() + " firing")
			} else {
				n.want()
			}
		})
	}
}
