package e2e

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/cybervault/cybervault/test/testenv"
)

// An event type of the workspace's own is published, chosen, checked, tested and
// replayed like a core one, also after a restart.
func TestOwnEventType(t *testing.T) {
	onBoth(t, func(t *testing.T, server *testenv.Server) {
		const path = "/v1/event-types/acme.badge.reused"
		receiver := testenv.NewReceiver(t)
		hook := addWebhook(t, server, receiver, "")
		call[webhook](t, server, http.StatusOK, http.MethodPatch, "/v1/webhooks/"+hook.ID, `{"events":["acme.badge.reused"]}`)
		event := `{"event":"acme.badge.reused","data":{"badge":"B-17"}}`
		call[struct{}](t, server, http.StatusUnprocessableEntity, http.MethodPost, "/v1/events", event)

		definition := `{"severity":"high","description":"d","schema":{"type":"object","required":["badge"]},"example":{"badge":"sample"}}`
		call[struct{}](t, server, http.StatusCreated, http.MethodPut, path, definition)
		call[struct{}](t, server, http.StatusOK, http.MethodPut, path, definition)
		server.Stop()
		server.Restart()

		if got := call[published](t, server, http.StatusAccepted, http.MethodPost, "/v1/events", event); got.Deliveries != 1 {
			t.Errorf("%d deliveries", got.Deliveries)
		}
		receiver.WaitFor(patience, 1)
		call[struct{}](t, server, http.StatusUnprocessableEntity, http.MethodPost, "/v1/events", strings.Replace(event, `"badge":`, `"badg":`, 1))
		call[struct{}](t, server, http.StatusAccepted, http.MethodPost, "/v1/webhooks/"+hook.ID+"/test", `{"event":"acme.badge.reused"}`)
		got := receiver.WaitFor(patience, 2)
		if !slices.ContainsFunc(got, func(r testenv.Received) bool {
			return r.Header.Get("X-CyberVault-Test") == "true" && strings.Contains(string(r.Body), `"badge":"sample"`)
		}) {
			t.Error("the example was not sent as a test")
		}

		call[struct{}](t, server, http.StatusConflict, http.MethodDelete, path, "")
		call[webhook](t, server, http.StatusOK, http.MethodPatch, "/v1/webhooks/"+hook.ID, `{"events":["*"]}`)
		call[struct{}](t, server, http.StatusNoContent, http.MethodDelete, path, "")
		call[struct{}](t, server, http.StatusUnprocessableEntity, http.MethodPost, "/v1/events", event)
		type log struct {
			Data []struct{ ID string } `json:"data"`
		}
		kept := call[log](t, server, http.StatusOK, http.MethodGet, "/v1/deliveries?event=acme.badge.reused", "")
		if len(kept.Data) != 2 {
			t.Fatalf("%d deliveries are kept", len(kept.Data))
		}
		call[struct{}](t, server, http.StatusAccepted, http.MethodPost, "/v1/deliveries/"+kept.Data[1].ID+"/replay", "")
		receiver.WaitFor(patience, 3)
	}, "--allow-destination", "127.0.0.0/8")
}

// An event type that is added on the dashboard is one that programs publish; it is
// refused there as the API refuses it, and cannot be taken from under a webhook.
func TestEventTypesOnTheDashboard(t *testing.T) {
	onBoth(t, func(t *testing.T, server *testenv.Server) {
		ann := newBrowser(t, server)
		ann.open(link(t, server), nil, 200)
		ann.open("/setup", url.Values{"email": {"ann@example.com"}, "password": {"correct horse battery"}}, 200)
		const types = "/settings/event-types"
		form := url.Values{"type": {"door.opened"}, "severity": {"high"}, "description": {"A door was opened."}, "schema": {`{"type":"object","required":["door"]}`}, "example": {`{}`}}
		if _, page := ann.open(types, form, http.StatusUnprocessableEntity); !strings.Contains(page, "door") {
			t.Error("an example that the schema refuses is taken")
		}
		form.Set("example", `{"door":"4"}`)
		if at, page := ann.open(types, form, 200); at != types+"/door.opened" || !strings.Contains(page, "The event type is saved") {
			t.Fatalf("after adding the type we are at %s", at)
		}
		call[struct{}](t, server, http.StatusAccepted, http.MethodPost, "/v1/events", `{"event":"door.opened","data":{"door":"4"}}`)
		call[struct{}](t, server, http.StatusUnprocessableEntity, http.MethodPost, "/v1/events", `{"event":"door.opened","data":{}}`)
		form.Set("schema", "")
		ann.open(types+"/door.opened", form, 200)
		call[struct{}](t, server, http.StatusAccepted, http.MethodPost, "/v1/events", `{"event":"door.opened","data":{}}`)
		hook := addWebhook(t, server, testenv.NewReceiver(t), "")
		call[webhook](t, server, http.StatusOK, http.MethodPatch, "/v1/webhooks/"+hook.ID, `{"events":["door.opened"]}`)
		ann.open(types+"/door.opened/delete", url.Values{}, http.StatusConflict)
		call[struct{}](t, server, http.StatusNoContent, http.MethodDelete, "/v1/webhooks/"+hook.ID, "")
		if at, _ := ann.open(types+"/door.opened/delete", url.Values{}, 200); at != types {
			t.Errorf("after deleting the type we are at %s", at)
		}
		if _, page := ann.open("/settings/audit-log", nil, 200); !strings.Contains(page, "door.opened") {
			t.Error("the audit log does not name the type")
		}
	}, "--dev")
}
