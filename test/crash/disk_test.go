package crash

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cybervault/cybervault/test/testenv"
)

// A server whose disk is full answers 503 with Retry-After and keeps nothing of
// what it refuses; what it acknowledged is all there, is delivered once there
// is room, and publishing goes on.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	receiver := testenv.NewPlainReceiver(t)
	dir := t.TempDir()
	limit := filepath.Join(dir, "limit")
	write(t, limit, "16384") // blocks of 512 bytes: a file may grow to 8 MiB
	limited := filepath.Join(dir, "cybervault")
	write(t, limited, fmt.Sprintf("#!/bin/sh\nulimit -f \"$(cat %s)\"\nexec %s \"$@\"\n", limit, testenv.Binary(t)))
	if err := os.Chmod(limited, 0o700); err != nil {
		t.Fatal(err)
	}
	server := testenv.StartServer(t, testenv.ServerOptions{Binary: limited, Args: []string{"--dev", "--retry-schedule", "1s,1s,1s,1s,1s,1s,1s,1s"}})
	if status, answer := server.Do(http.MethodPost, "/v1/webhooks", `{"url":"`+receiver.URL+`/hook","events":["*"]}`); status != http.StatusCreated {
		t.Fatalf("add a webhook: %d %s", status, answer)
	}

	acknowledged := map[string]bool{}
	var refused *http.Response
	for i := 0; refused == nil; i++ {
		if i > 1000 {
			t.Fatal("100 MB were published and the disk is not full")
		}
		resp := publishLarge(t, server, i)
		answer, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		switch resp.StatusCode {
		case http.StatusAccepted:
			var receipt struct {
				ID string `json:"id"`
			}
			if err := json.Unmarshal(answer, &receipt); err != nil {
				t.Fatal(err)
			}
			acknowledged[receipt.ID] = true
		default:
			refused = resp
			if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" || !strings.Contains(string(answer), "nothing was kept") {
				t.Errorf("a full disk is answered with %s, Retry-After %q: %s", resp.Status, resp.Header.Get("Retry-After"), answer)
			}
		}
	}
	if stored := storedEvents(t, server); !sameSet(stored, acknowledged) {
		t.Errorf("%d events are stored, %d were acknowledged", len(stored), len(acknowledged))
	}

	server.Stop()
	write(t, limit, "unlimited")
	server.Restart()
	resp := publishLarge(t, server, 1001)
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		t.Errorf("with room again a publish is answered with %s", resp.Status)
	}
	receiver.Wait(patience, "every acknowledged event", func(got []testenv.Received) bool {
		seen := map[string]bool{}
		for _, g := range got {
			seen[g.Header.Get("Webhook-Id")] = true
		}
		for id := range acknowledged {
			if !seen[id] {
				return false
			}
		}
		return true
	})
	everyDeliveryEnds(t, server)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// publishLarge publishes an event of about 100 KiB.
func publishLarge(t *testing.T, server *testenv.Server, i int) *http.Response {
	t.Helper()
	body := fmt.Sprintf(`{"event":"system.alert","data":{"alert_id":"a%d","code":"test","severity":"low","status":"firing","summary":"%s"}}`, i, strings.Repeat("x", 100<<10))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL()+"/v1/events", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+server.APIKey)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// storedEvents lists the ids of all events, page by page.
func storedEvents(t *testing.T, server *testenv.Server) map[string]bool {
	t.Helper()
	ids := map[string]bool{}
	for path := "/v1/events?limit=200"; path != ""; {
		status, answer := server.Do(http.MethodGet, path, "")
		var page struct {
			Data []struct {
				ID string `json:"id"`
			} `json:"data"`
			NextCursor *string `json:"next_cursor"`
		}
		if err := json.Unmarshal(answer, &page); status != http.StatusOK || err != nil {
			t.Fatalf("list events: %d %.200s", status, answer)
		}
		for _, e := range page.Data {
			ids[e.ID] = true
		}
		path = ""
		if page.NextCursor != nil {
			path = "/v1/events?limit=200&cursor=" + *page.NextCursor
		}
	}
	return ids
}

func sameSet(a, b map[string]bool) bool {
	if len(a) != len(b) {
		return false
	}
	for id := range a {
		if !b[id] {
			return false
		}
	}
	return true
}
