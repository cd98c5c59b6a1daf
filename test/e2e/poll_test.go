package e2e

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/cybervault/cybervault/test/testenv"
)

type polled struct {
	Data []struct {
		DeliveryID string            `json:"delivery_id"`
		Headers    map[string]string `json:"headers"`
		Body       string            `json:"body"`
	} `json:"data"`
	NextCursor *string `json:"next_cursor"`
}

func (p *polled) sequences() (all []string) {
	for _, d := range p.Data {
		all = append(all, d.Headers["X-CyberVault-Sequence"])
	}
	return all
}

// A receiver without a public address: what it is handed out verifies as if it had
// been sent, comes again until it is acknowledged, over a kill too, and is
// delivered then.
func TestPoll(t *testing.T) {
	onBoth(t, func(t *testing.T, server *testenv.Server) {
		hook := call[webhook](t, server, http.StatusCreated, http.MethodPost, "/v1/webhooks", `{"url":"poll:","events":["threat.*"],"headers":{"X-Team":"blue"}}`)
		poll := func(query string) polled {
			t.Helper()
			return call[polled](t, server, http.StatusOK, http.MethodGet, "/v1/webhooks/"+hook.ID+"/poll"+query, "")
		}
		if empty := poll("?cursor="); len(empty.Data) != 0 || empty.NextCursor != nil {
			t.Errorf("at first: %+v", empty)
		}
		for range 5 {
			call[struct{}](t, server, http.StatusAccepted, http.MethodPost, "/v1/events", threat)
		}
		first := poll("?limit=3")
		if !slices.Equal(first.sequences(), []string{"1", "2", "3"}) || first.NextCursor == nil {
			t.Fatalf("handed out %v", first.sequences())
		}
		verifier, err := standardwebhooks.NewWebhook(hook.Secret)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range first.Data {
			headers := http.Header{}
			for name, value := range d.Headers {
				headers.Set(name, value)
			}
			if err := verifier.Verify([]byte(d.Body), headers); err != nil {
				t.Errorf("a Standard Webhooks library refuses it: %v", err)
			}
			if d.Headers["X-Team"] != "blue" || d.Headers["X-CyberVault-Attempt"] != "1" || d.Headers["X-CyberVault-Delivery"] != d.DeliveryID {
				t.Errorf("its headers are %v", d.Headers)
			}
			if !json.Valid([]byte(d.Body)) {
				t.Errorf("its body is %s", d.Body)
			}
		}
		server.Kill()
		server.Restart()
		if again := poll("?limit=4"); !slices.Equal(again.sequences(), []string{"1", "2", "3", "4"}) {
			t.Errorf("not acknowledged, and after a kill: handed out %v", again.sequences())
		}
		// The receiver has handled the first three all the same, and says so.
		second := poll("?cursor=" + *first.NextCursor)
		if !slices.Equal(second.sequences(), []string{"4", "5"}) {
			t.Errorf("after the acknowledgement: handed out %v", second.sequences())
		}
		d := call[delivery](t, server, http.StatusOK, http.MethodGet, "/v1/deliveries/"+first.Data[2].DeliveryID, "")
		if d.Status != "delivered" || len(d.Attempts) != 1 || d.Attempts[0].Status != http.StatusOK || d.Attempts[0].Failure != nil {
			t.Errorf("what was acknowledged is %+v", d)
		}
		if d := call[delivery](t, server, http.StatusOK, http.MethodGet, "/v1/deliveries/"+second.Data[0].DeliveryID, ""); d.Status != "pending" || d.AttemptCount != 0 {
			t.Errorf("what was handed out only is %+v", d)
		}
		if twice := poll("?cursor=" + *first.NextCursor); !slices.Equal(twice.sequences(), []string{"4", "5"}) {
			t.Errorf("acknowledged twice: handed out %v", twice.sequences())
		}
		done := poll("?cursor=" + *second.NextCursor)
		if len(done.Data) != 0 || done.NextCursor == nil || *done.NextCursor != *second.NextCursor {
			t.Errorf("with all acknowledged: %+v", done)
		}
		left := call[list[delivery]](t, server, http.StatusOK, http.MethodGet, "/v1/deliveries?status=pending", "")
		if len(left.Data) != 0 {
			t.Errorf("%d deliveries are left", len(left.Data))
		}
	}, "--dev")
}

// A poll that waits is answered when something comes, long before its time.
func TestPollWaits(t *testing.T) {
	onBoth(t, func(t *testing.T, server *testenv.Server) {
		hook := call[webhook](t, server, http.StatusCreated, http.MethodPost, "/v1/webhooks", `{"url":"poll:","events":["*"]}`)
		answered := make(chan polled, 1)
		go func() {
			var p polled
			_, answer, err := server.Try(t.Context(), http.MethodGet, "/v1/webhooks/"+hook.ID+"/poll?wait=60s", "")
			if err == nil {
				err = json.Unmarshal(answer, &p)
			}
			if err != nil {
				t.Error(err)
			}
			answered <- p
		}()
		call[struct{}](t, server, http.StatusAccepted, http.MethodPost, "/v1/events", threat)
		select {
		case p := <-answered:
			if len(p.Data) != 1 {
				t.Errorf("answered %+v", p)
			}
		case <-time.After(patience):
			t.Error("a poll that waits was not woken")
		}
	}, "--dev")
}

// What waits for a URL goes along when its webhook is polled, and back.
func TestPollInsteadOfAURL(t *testing.T) {
	onBoth(t, func(t *testing.T, server *testenv.Server) {
		receiver := testenv.NewReceiver(t)
		hook := addWebhook(t, server, receiver, `,"verification":true`)
		path := "/v1/webhooks/" + hook.ID
		if status, _ := server.Do(http.MethodPatch, path, `{"url":"poll:"}`); status != http.StatusUnprocessableEntity {
			t.Errorf("settings of no use were taken: %d", status)
		}
		call[struct{}](t, server, http.StatusOK, http.MethodPatch, path, `{"url":"poll:","verification":false,"ca_certificate":null}`)
		call[struct{}](t, server, http.StatusAccepted, http.MethodPost, "/v1/events", threat)
		if p := call[polled](t, server, http.StatusOK, http.MethodGet, path+"/poll?wait=10s", ""); len(p.Data) == 0 { // once the test payload has been answered
			t.Error("nothing is handed out")
		}
		ca, err := json.Marshal(map[string]any{"url": receiver.URL + "/hook", "ca_certificate": receiver.CAPEM})
		if err != nil {
			t.Fatal(err)
		}
		call[struct{}](t, server, http.StatusOK, http.MethodPatch, path, string(ca))
		deadline := time.Now().Add(patience)
		for {
			left := call[list[delivery]](t, server, http.StatusOK, http.MethodGet, "/v1/deliveries?status=pending", "")
			if len(left.Data) == 0 {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d deliveries were not sent once there was a URL again", len(left.Data))
			}
		}
	}, "--dev")
}
