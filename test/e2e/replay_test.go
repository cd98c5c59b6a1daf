package e2e

import (
	"net/http"
	"testing"
	"time"

	"github.com/cybervault/cybervault/test/testenv"
)

type replay struct {
	ID      string     `json:"id"`
	Status  string     `json:"status"`
	Matched int        `json:"matched"`
	Created int        `json:"created"`
	Sample  []delivery `json:"sample"`
}

const longAgo = `"since":"2026-01-01T00:00:00Z"`

// waitReplay asks for a replay until done says so.
func waitReplay(t *testing.T, server *testenv.Server, id string, done func(replay) bool) replay {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		r := call[replay](t, server, http.StatusOK, http.MethodGet, "/v1/replays/"+id, "")
		if done(r) {
			return r
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %s the replay is %+v", patience, r)
		}
	}
}

// waitDelivered waits until n deliveries have ended well.
func waitDelivered(t *testing.T, server *testenv.Server, n int) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		got := len(call[list[delivery]](t, server, http.StatusOK, http.MethodGet, "/v1/deliveries?limit=200&status=delivered", "").Data)
		if got == n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %s %d of %d are delivered", patience, got, n)
		}
	}
}

// A replay goes on after kill -9, and brings each event exactly one more time.
func TestReplayOfManySurvivesACrash(t *testing.T) {
	onBoth(t, func(t *testing.T, server *testenv.Server) {
		receiver := testenv.NewReceiver(t)
		hook := addWebhook(t, server, receiver, "")
		const n = 60
		for range n {
			call[struct{}](t, server, http.StatusAccepted, http.MethodPost, "/v1/events", threat)
		}
		receiver.WaitFor(patience, n)
		waitDelivered(t, server, n)
		path := "/v1/webhooks/" + hook.ID + "/replay"
		plan := call[replay](t, server, http.StatusOK, http.MethodPost, path, `{`+longAgo+`,"events":["threat.*"],"dry_run":true}`)
		if plan.Matched != n || len(plan.Sample) != 10 {
			t.Fatalf("the dry run says %d and shows %d", plan.Matched, len(plan.Sample))
		}
		begun := call[replay](t, server, http.StatusAccepted, http.MethodPost, path, `{`+longAgo+`,"rate":20}`)
		waitReplay(t, server, begun.ID, func(r replay) bool { return r.Created > 5 })
		server.Kill()
		server.Restart()
		if r := waitReplay(t, server, begun.ID, func(r replay) bool { return r.Status != "running" }); r.Status != "done" || r.Created != n || r.Matched != n {
			t.Fatalf("the replay ended as %+v", r)
		}
		again := map[string]int{}
		for _, d := range call[list[delivery]](t, server, http.StatusOK, http.MethodGet, "/v1/deliveries?limit=200", "").Data {
			if d.ReplayOf != nil {
				again[*d.ReplayOf]++
			}
		}
		if len(again) != n {
			t.Errorf("%d deliveries were replayed, want %d", len(again), n)
		}
		for id, times := range again {
			if times != 1 {
				t.Errorf("%s was replayed %d times", id, times)
			}
		}
		receiver.WaitFor(patience, 2*n)
	}, "--dev")
}

func TestReplayOfManyIsCancelledAndRefused(t *testing.T) {
	onBoth(t, func(t *testing.T, server *testenv.Server) {
		receiver := testenv.NewReceiver(t)
		hook := addWebhook(t, server, receiver, "")
		const n = 5
		for range n {
			call[struct{}](t, server, http.StatusAccepted, http.MethodPost, "/v1/events", threat)
		}
		receiver.WaitFor(patience, n)
		waitDelivered(t, server, n)
		path := "/v1/webhooks/" + hook.ID
		begun := call[replay](t, server, http.StatusAccepted, http.MethodPost, path+"/replay", `{`+longAgo+`,"rate":1}`)
		if r := call[replay](t, server, http.StatusOK, http.MethodPost, "/v1/replays/"+begun.ID+"/cancel", ""); r.Status != "cancelled" || r.Created >= n {
			t.Errorf("cancelled: %+v", r)
		}
		call[struct{}](t, server, http.StatusConflict, http.MethodPost, "/v1/replays/"+begun.ID+"/cancel", "")
		if all := call[list[replay]](t, server, http.StatusOK, http.MethodGet, "/v1/replays", ""); len(all.Data) != 1 || all.Data[0].ID != begun.ID {
			t.Errorf("the list: %+v", all)
		}
		for _, body := range []string{`{`, `{}`, `{` + longAgo + `,"rate":0}`, `{` + longAgo + `,"status":"pending"}`, `{` + longAgo + `,"until":"2025-01-01T00:00:00Z"}`} {
			if status, answer := server.Do(http.MethodPost, path+"/replay", body); status != http.StatusUnprocessableEntity && status != http.StatusBadRequest {
				t.Errorf("%s: answered %d: %s", body, status, answer)
			}
		}
		call[webhook](t, server, http.StatusOK, http.MethodPatch, path, `{"status":"disabled"}`)
		call[struct{}](t, server, http.StatusConflict, http.MethodPost, path+"/replay", `{`+longAgo+`}`)
	}, "--dev")
}
