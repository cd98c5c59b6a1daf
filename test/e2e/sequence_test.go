package e2e

import (
	"net/http"
	"strconv"
	"testing"

	"github.com/cybervault/cybervault/test/testenv"
)

type sequences struct {
	Data []struct {
		Sequence   int64  `json:"sequence"`
		DeliveryID string `json:"delivery_id"`
		EventID    string `json:"event_id"`
		Event      string `json:"event"`
		Status     string `json:"status"`
	} `json:"data"`
	NextFrom *int64 `json:"next_from"`
	Last     int64  `json:"last"`
}

// What a receiver saw under each number is what the server says it was.
func TestReceiverProvesItMissesNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, server *testenv.Server) {
		receiver := testenv.NewReceiver(t)
		hook := addWebhook(t, server, receiver, "")
		const n = 70
		for range n {
			call[struct{}](t, server, http.StatusAccepted, http.MethodPost, "/v1/events", threat)
		}
		seen := map[int64]string{}
		for _, r := range receiver.WaitFor(patience, n) {
			number, err := strconv.ParseInt(r.Header.Get("X-CyberVault-Sequence"), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			seen[number] = r.Header.Get("webhook-id")
		}
		got := call[sequences](t, server, http.StatusOK, http.MethodGet, "/v1/webhooks/"+hook.ID+"/sequence?from=1&to=1000", "")
		if len(got.Data) != n || got.Last != n || got.NextFrom != nil {
			t.Fatalf("%d numbers, last %d, next %v; want %d", len(got.Data), got.Last, got.NextFrom, n)
		}
		for i, d := range got.Data {
			if d.Sequence != int64(i+1) || d.EventID != seen[d.Sequence] || d.Event != "threat.detected" {
				t.Errorf("number %d is %+v; the receiver saw %q", i+1, d, seen[int64(i+1)])
			}
		}
	}, "--dev")
}
