package api_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault"
)

// A client certificate is shown as a mask, which may be sent back.
func TestClientCertificateIsNotShown(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	path := "/v1/webhooks/" + webhook1.String()
	if got := f.get(request{call: "GET " + path}, 200)["client_certificate"]; got != nil {
		t.Errorf("client_certificate %v without one", got)
	}
	f.webhooks[0].ClientCertificate = "CERTIFICATE AND KEY"
	doc := f.get(request{call: "GET " + path}, 200)
	if doc["client_certificate"] != "***" || strings.Contains(fmt.Sprint(doc), "KEY") {
		t.Errorf("shown: %v", doc)
	}
	f.get(request{call: "PATCH " + path, body: `{"client_certificate":"***","description":"d"}`}, 200)
	if diff := cmp.Diff(cybervault.WebhookChange{Description: new("d")}, f.change); diff != "" {
		t.Error(diff)
	}
}

func TestPreview(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	doc := f.get(request{call: "POST /v1/webhooks/preview", key: readKey, body: `{"filter":"data.n > 1","events":["threat.*"],"since":"2026-01-02T00:00:00Z"}`}, 200)
	want := map[string]any{"examined": 3.0, "matched": 1.0, "errors": 1.0, "sample": []any{
		map[string]any{"id": event1.String(), "event": cybervault.EventThreatDetected, "matched": true, "why": "the filter says true"},
	}}
	if diff := cmp.Diff(want, doc); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]any{"data.n > 1", []string{"threat.*"}, time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)}, f.previewed); diff != "" {
		t.Error(diff)
	}
}
