package api_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/api"
)

// receivers knows one state, whatever the webhook.
type receivers cybervault.WebhookHealth

func (r receivers) Health(cybervault.WebhookID) cybervault.WebhookHealth {
	return cybervault.WebhookHealth(r)
}

func TestAWebhookShowsItsHealth(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		health receivers
		want   map[string]any
	}{
		"well": {receivers{Breaker: cybervault.BreakerClosed},
			map[string]any{"breaker": "closed", "failing_since": nil, "consecutive_failures": 0., "next_probe_at": nil}},
		"open": {receivers{Breaker: cybervault.BreakerOpen, FailingSince: epoch, Failures: 12, OpenedAt: epoch.Add(time.Minute), ProbeAt: epoch.Add(2 * time.Minute)},
			map[string]any{"breaker": "open", "failing_since": epoch.UTC().Format(time.RFC3339), "consecutive_failures": 12.,
				"next_probe_at": epoch.Add(2 * time.Minute).UTC().Format(time.RFC3339)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &fakes{webhooks: []*cybervault.Webhook{sampleWebhook()}, keys: []*cybervault.APIKey{sampleKey()}}
			h := api.New(api.Config{Publisher: f, Webhooks: f, Log: f, Replayer: f, Previewer: f, Replays: f, Catalogue: f, Telemetry: f, Keys: f, Health: f,
				Receivers: c.health, Logger: slog.New(slog.DiscardHandler)})
			r := httptest.NewRequest(http.MethodGet, "/v1/webhooks/"+f.webhooks[0].ID.String(), http.NoBody)
			r.Header.Set("Authorization", "Bearer "+adminKey)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			var got struct {
				Health map[string]any `json:"health"`
			}
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != http.StatusOK {
				t.Fatalf("%d %s: %v", w.Code, w.Body, err)
			}
			if diff := cmp.Diff(c.want, got.Health); diff != "" {
				t.Errorf("health (-want +got):\n%s", diff)
			}
		})
	}
}
