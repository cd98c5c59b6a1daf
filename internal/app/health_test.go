package app

import (
	"context"
	"log/slog"
	"testing"
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

// One alert is raised about a disabled webhook, at once or, where the store or the router
// does not take it, by one of the next looks.
func TestADisabledWebhookRaisesOneAlert(t *testing.T) {
	t.Parallel()
	for name, refuse := range map[string][2]int{"both take it": {}, "the store is away": {3, 0}, "the router is away": {0, 3}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlant(t)
			p.refuseStore, p.refuse = refuse[0], refuse[1]
			h := health{&desk{p.hook}, p.keeper.Raise, slog.New(slog.DiscardHandler)}
			for range 3 {
				if err := h.Disable(t.Context(), p.hook.ID, "answered 410 Gone"); err != nil {
					t.Fatal(err)
				}
			}
			want := "webhook_disabled " + p.hook.ID.String() + " firing"
			if refuse == [2]int{} {
				p.notes.want(want)
			}
			for range 5 { // an unavailable store fails the look
				p.at = p.at.Add(10 * time.Second)
				_ = p.a.look(t.Context())
			}
			p.notes.want(want)
		})
	}
}
