package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cybervault/cybervault/test/testenv"
)

// post publishes with a header's answer to look at.
func post(ctx context.Context, server *testenv.Server, path, body string) (status int, retryAfter string, answer []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL()+path, strings.NewReader(body))
	if err != nil {
		return 0, "", nil, err
	}
	req.Header.Set("Authorization", "Bearer "+server.APIKey)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header.Get("Retry-After"), answer, err
}

// metric reads one value of /metrics.
func metric(t *testing.T, server *testenv.Server, name string) float64 {
	t.Helper()
	_, text := server.Do(http.MethodGet, "/metrics", "")
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

// With less room than the reserve everything that publishes is refused, in words
// that say what to do; what was accepted before is still delivered, the other
// calls go on, and with a smaller reserve so does publishing.
func TestTheDiskReserveRefusesPublishing(t *testing.T) {
	t.Parallel()
	receiver := testenv.NewPlainReceiver(t)
	receiver.AnswerWith(testenv.Status(http.StatusTeapot))
	args := []string{"--dev", "--retry-schedule", "2s,2s,2s,2s,2s,2s,2s,2s"}
	server := testenv.StartServer(t, testenv.ServerOptions{Args: args})
	hook := addWebhook(t, server, receiver, "")
	before := call[published](t, server, http.StatusAccepted, http.MethodPost, "/v1/events", threat)
	receiver.WaitFor(patience, 1)
	server.Stop()
	server.RestartWith("--disk-reserve", "100TiB")

	first := deliveriesOf(t, server, before.ID)[0]
	for path, body := range map[string]string{
		"/v1/events": threat, "/v1/events/batch": "[" + threat + "]", "/v1/telemetry": "a line\n",
		"/v1/deliveries/" + first.ID + "/replay": "", "/v1/webhooks/" + hook.ID + "/replay": `{` + longAgo + `}`,
	} {
		status, after, answer, err := post(t.Context(), server, path, body)
		if err != nil || status != http.StatusServiceUnavailable || after == "" {
			t.Errorf("%s: %d, Retry-After %q, %v: %s", path, status, after, err, answer)
		}
		for _, part := range []string{"the disk that holds", "MiB free", "less than the reserve of 104857600 MiB", "--disk-reserve"} {
			if !strings.Contains(string(answer), part) {
				t.Errorf("%s does not say %q: %s", path, part, answer)
			}
		}
	}
	ready := call[struct{ Status, Publishing string }](t, server, http.StatusOK, http.MethodGet, "/readyz", "")
	if ready.Status != "ready" || !strings.Contains(ready.Publishing, "--disk-reserve") {
		t.Errorf("/readyz: %+v", ready)
	}
	if n := metric(t, server, `cybervault_publish_refused_total{reason="disk"}`); n < 5 {
		t.Errorf("%v refusals are counted, want 5 at least", n)
	}
	receiver.AnswerWith(testenv.Status(http.StatusOK))
	waitDelivery(t, server, first.ID, func(d delivery) bool { return d.Status == "delivered" })
	receiver.Wait(patience, "the alert", func(all []testenv.Received) bool {
		for _, got := range all {
			if got.Header.Get("X-CyberVault-Event") == "system.alert" && strings.Contains(string(got.Body), `"disk_low"`) {
				return true
			}
		}
		return false
	})

	server.Stop()
	server.RestartWith("--disk-reserve", "1MiB")
	call[published](t, server, http.StatusAccepted, http.MethodPost, "/v1/events", threat)
}

// Two hundred large batches at once: each is answered, with what was stored or
// with 503 and Retry-After; what was accepted is stored, nothing else is, and
// the server's memory stays bounded.
func TestTooManyLargeBatches(t *testing.T) {
	onBoth(t, func(t *testing.T, server *testenv.Server) {
		const callers, events = 200, 10
		var mu sync.Mutex
		accepted, refused := map[string]bool{}, 0
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				var body strings.Builder
				for n := range events {
					fmt.Fprintf(&body, `{"event":"system.alert","data":{"alert_id":"a%d-%d","code":"test","severity":"low","status":"firing","summary":"%s"}}`+"\n",
						i, n, strings.Repeat("x", 60<<10))
				}
				status, after, answer, err := post(t.Context(), server, "/v1/events/batch", body.String())
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil && status == http.StatusServiceUnavailable && after != "":
					refused++
				case err == nil && status == http.StatusOK:
					if err := noteAccepted(answer, accepted); err != nil {
						t.Error(err)
					}
				default:
					t.Errorf("a batch: %d, Retry-After %q, %v: %.200s", status, after, err, answer)
				}
			})
		}
		wg.Wait()
		stored := map[string]bool{}
		for path := "/v1/events?limit=200"; path != ""; {
			page := call[list[struct {
				ID string `json:"id"`
			}]](t, server, http.StatusOK, http.MethodGet, path, "")
			for _, e := range page.Data {
				stored[e.ID] = true
			}
			path = ""
			if page.NextCursor != nil {
				path = "/v1/events?limit=200&cursor=" + *page.NextCursor
			}
		}
		for id := range accepted {
			if !stored[id] {
				t.Errorf("%s was accepted and is not stored", id)
			}
		}
		if len(stored) != len(accepted) || len(accepted) == 0 {
			t.Errorf("%d events are stored, %d were accepted", len(stored), len(accepted))
		}
		t.Logf("%d batches were refused, %d events accepted", refused, len(accepted))
		if held := metric(t, server, "cybervault_request_body_bytes"); held != 0 {
			t.Errorf("%v bytes of bodies are held after the last answer", held)
		}
		// 120 MiB were sent; what Go has taken of the system is bounded by 128 MiB of bodies, their envelopes, and the garbage below the limit.
		if taken := metric(t, server, "go_memstats_sys_bytes"); taken > 1200<<20 {
			t.Errorf("the server took %v MiB", int(taken)>>20)
		}
	}, "--dev")
}

// noteAccepted notes the events of a batch that were stored; each of the others
// must say 503.
func noteAccepted(answer []byte, accepted map[string]bool) error {
	var batch struct {
		Data []struct {
			Status  int
			Receipt *struct {
				ID string `json:"id"`
			}
		}
	}
	if err := json.Unmarshal(answer, &batch); err != nil {
		return err
	}
	for _, item := range batch.Data {
		switch {
		case item.Receipt != nil:
			accepted[item.Receipt.ID] = true
		case item.Status != http.StatusServiceUnavailable:
			return fmt.Errorf("an event of a batch is answered %d", item.Status)
		}
	}
	return nil
}

// waitFor asks until it is so; what it saw last is shown when it never is.
func waitFor(t *testing.T, ask func() (bool, any), what string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		ok, seen := ask()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %s, %s: %v", patience, what, seen)
		}
	}
}
