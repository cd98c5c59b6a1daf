package e2e

import (
	"net/http"
	"testing"
	"time"

	"github.com/cybervault/cybervault/test/testenv"
)

// An alert fires, is listed, and resolves itself, over a restart too; each is an event.
func TestAnAlertFiresAndResolvesItself(t *testing.T) {
	onBoth(t, func(t *testing.T, server *testenv.Server) {
		gone := testenv.NewPlainReceiver(t)
		gone.AnswerWith(testenv.Status(http.StatusGone))
		id := call[struct{ ID string }](t, server, http.StatusCreated, http.MethodPost, "/v1/webhooks", `{"url":"`+gone.URL+`","events":["threat.detected"]}`).ID
		call[struct{}](t, server, http.StatusAccepted, http.MethodPost, "/v1/events", threat)
		type row struct {
			ID, Code, Subject, Status string
			Resolved                  *time.Time `json:"resolved_at"`
		}
		list := func() []row {
			return call[struct{ Data []row }](t, server, http.StatusOK, http.MethodGet, "/v1/alerts", "").Data
		}
		waitFor(t, func() (bool, any) {
			all := list()
			return len(all) == 1 && all[0].Code == "webhook_disabled" && all[0].Subject == id && all[0].Status == "firing", all
		}, "the alert fires")
		server.Kill()
		server.Restart()
		call[struct{}](t, server, http.StatusOK, http.MethodPatch, "/v1/webhooks/"+id, `{"status":"enabled","url":"`+testenv.NewPlainReceiver(t).URL+`"}`)
		waitFor(t, func() (bool, any) {
			all := list()
			return len(all) == 1 && all[0].Status == "resolved" && all[0].Resolved != nil, all
		}, "the alert is resolved")
		waitFor(t, func() (bool, any) { // it is written down first
			events := endpointEvents(t, server, "system.alert")
			return len(events) == 2 && events[0].Data.Status == "resolved" && events[1].Data.Status == "firing", events
		}, "both are events")
	}, "--dev")
}
