package cli_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault/internal/cli"
)

const tailItems = `retry: 2000
id: start

id: one
event: event
data: {"id":"wh_01946a2e-1c00-7000-8000-000000000001","event":"threat.detected","timestamp":"2025-01-15T14:32:00Z","data":{"severity":"high"}}

id: two
event: delivery
data: {"id":"dlv_1","event":"threat.detected","webhook_id":"whk_1","status":"delivered","changed_to":"pending"}

: still here
id: quiet

`

const tailMore = `id: three
event: attempt
data: {"number":1,"delivery_id":"dlv_1","event":"threat.detected","webhook_id":"whk_1","succeeded":false,"failure":"status","status":503}

`

// A connection that is cut is made again, right behind what was printed last.
func TestTailGoesOnAfterACut(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var asked []string
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked = append(asked, r.URL.RawQuery+" after "+r.Header.Get("Last-Event-ID"))
		n := len(asked)
		mu.Unlock()
		w.Header().Set("Content-Type", "text/event-stream")
		switch n {
		case 1:
			_, _ = w.Write([]byte(tailItems + "id: half\nevent: event\ndata: {\"id\""))
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		case 2:
			_, _ = w.Write([]byte(tailMore))
		case 3:
			cancel()
		}
	}))
	defer server.Close()
	var out, errs bytes.Buffer
	env := world(map[string]string{"CYBERVAULT_SERVER": server.URL, "CYBERVAULT_API_KEY": "k"}, nil, &out, &errs, "events", "tail", "--events", "threat.*", "--kinds", "event,delivery,attempt")
	if status := cli.Run(ctx, env); status != cli.ExitDone {
		t.Errorf("status %d: %s", status, &errs)
	}
	want := `event     threat.detected  wh_01946a2e-1c00-7000-8000-000000000001  {"severity":"high"}
delivery  threat.detected  dlv_1  pending  whk_1
attempt   threat.detected  dlv_1  failed  number 1  503  status  whk_1
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("printed (-want +got):\n%s", diff)
	}
	mu.Lock()
	defer mu.Unlock()
	const query = "events=threat.%2A&kinds=event%2Cdelivery%2Cattempt after "
	if diff := cmp.Diff([]string{query, query + "quiet", query + "three"}, asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

func TestTailAsJSON(t *testing.T) {
	t.Parallel()
	served := 0
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if served++; served > 1 {
			cancel()
			return
		}
		_, _ = fmt.Fprint(w, tailMore)
	}))
	defer server.Close()
	var out, errs bytes.Buffer
	env := world(map[string]string{"CYBERVAULT_SERVER": server.URL, "CYBERVAULT_API_KEY": "k"}, nil, &out, &errs, "events", "tail", "--json", "--after", "two")
	if status := cli.Run(ctx, env); status != cli.ExitDone || !strings.HasPrefix(out.String(), `{"id":"three","kind":"attempt","data":{"number":1,`) || strings.Count(out.String(), "\n") != 1 {
		t.Errorf("status %d, printed %s%s", status, &out, &errs)
	}
}

// What would be refused again is not asked again.
func TestTailRefused(t *testing.T) {
	t.Parallel()
	f := newFakeServer(t, map[string][]answer{"GET /v1/stream": {{410, `{"status":410,"detail":"this position is gone","code":"gone"}`}}})
	got := run(t, map[string]string{"CYBERVAULT_SERVER": f.URL, "CYBERVAULT_API_KEY": "k"}, "", "events", "tail", "--after", "old")
	if got.status != cli.ExitFailed || len(f.requests()) != 1 {
		t.Errorf("%+v after %d requests", got, len(f.requests()))
	}
	got = run(t, map[string]string{"CYBERVAULT_SERVER": "http://127.0.0.1:1", "CYBERVAULT_API_KEY": "k"}, "", "events", "tail")
	if got.status != cli.ExitFailed || !strings.Contains(got.stderr, "no server answers") {
		t.Errorf("without a server: %+v", got)
	}
}
