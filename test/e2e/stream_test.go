package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault/test/testenv"
)

const alert = `{"event":"system.alert","data":{"alert_id":"alr_019a5b1e-7c00-7000-8000-000000000001","code":"disk_low","severity":"medium","status":"firing",
"summary":"The disk fills.","remedy":"Make room.","subject":"db-1","note":"padding"}}`

// streamItem is one item of the stream, shortened.
type streamItem struct{ ID, Kind, About string }

// following is one connection to the stream.
type following struct {
	t    *testing.T
	body io.ReadCloser
	r    *bufio.Reader
	last string // as an EventSource keeps it
}

// follow opens the stream, at last or now. It is cut when the test ends.
func follow(t *testing.T, server *testenv.Server, query, last string) *following {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL()+"/v1/stream"+query, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+server.APIKey)
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(resp.Body)
		t.Fatalf("the stream after %q: %d %s", last, resp.StatusCode, text)
	}
	f := &following{t: t, body: resp.Body, r: bufio.NewReader(resp.Body), last: last}
	if it, err := f.next(); err != nil || it.Kind != "" || f.last == "" {
		t.Fatalf("the stream begins with %+v, %v", it, err)
	}
	return f
}

// next reads to the next empty line.
func (f *following) next() (it streamItem, err error) {
	var data struct {
		ID         string `json:"id"`
		DeliveryID string `json:"delivery_id"`
		ChangedTo  string `json:"changed_to"`
	}
	for {
		line, err := f.r.ReadString('\n')
		if err != nil {
			return it, err
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch name {
		case "id":
			it.ID = value
		case "event":
			it.Kind = value
		case "data":
			if err := json.Unmarshal([]byte(value), &data); err != nil {
				return it, err
			}
		case "":
			if it.ID != "" {
				f.last = it.ID
			}
			it.About = data.ID
			if data.ChangedTo != "" {
				it.About += " " + data.ChangedTo
			}
			return it, nil
		}
	}
}

// items reads n items, passing over heartbeats.
func (f *following) items(n int) (all []streamItem) {
	f.t.Helper()
	for len(all) < n {
		it, err := f.next()
		if err != nil {
			f.t.Fatalf("the stream ended after %d items of %d: %v", len(all), n, err)
		}
		if it.Kind != "" {
			all = append(all, it)
		}
	}
	return all
}

// A reader that is cut off by kill -9 in the middle of much going on goes on right
// behind its last item: every event that was accepted comes once, and all that it
// read is what another reader reads from the beginning, in the same order.
func TestStreamGoesOnAfterAKill(t *testing.T) {
	onBoth(t, func(t *testing.T, server *testenv.Server) {
		receiver := testenv.NewReceiver(t)
		addWebhook(t, server, receiver, "")
		f := follow(t, server, "", "")
		start := f.last

		accepted := map[string]bool{}
		var mu sync.Mutex
		var publishers sync.WaitGroup
		for range 4 {
			publishers.Go(func() {
				for { // until the server is killed
					status, answer, err := server.Try(t.Context(), http.MethodPost, "/v1/events", threat)
					if err != nil {
						return
					}
					var receipt struct {
						ID string `json:"id"`
					}
					if err := json.Unmarshal(answer, &receipt); err != nil || status != http.StatusAccepted {
						t.Errorf("published: %d, %v", status, err)
						return
					}
					mu.Lock()
					accepted[receipt.ID] = true
					mu.Unlock()
				}
			})
		}
		read := f.items(100)
		server.Kill()
		publishers.Wait()
		for { // what was on its way
			it, err := f.next()
			if err != nil {
				break
			}
			read = append(read, it)
		}
		server.Restart()

		f = follow(t, server, "", f.last)
		last := call[struct {
			ID string `json:"id"`
		}](t, server, http.StatusAccepted, http.MethodPost, "/v1/events", threat)
		accepted[last.ID] = true
		for read[len(read)-1].About != last.ID {
			read = append(read, f.items(1)...)
		}
		again := follow(t, server, "", start)
		if diff := cmp.Diff(again.items(len(read)), read); diff != "" {
			t.Errorf("another reader from the beginning (-it +the one that was cut off):\n%s", diff)
		}
		ids, events := map[string]bool{}, map[string]int{}
		for _, it := range read {
			if ids[it.ID] {
				t.Errorf("the item %s came twice", it.ID)
			}
			if ids[it.ID] = true; it.Kind == "event" {
				events[it.About]++
			}
		}
		for id := range accepted {
			if events[id] != 1 {
				t.Errorf("the event %s, which was accepted, came %d times", id, events[id])
			}
		}
	}, "--dev")
}

// Every step of a delivery's life is told, once, also with filters.
func TestStreamTellsTheLifeOfADelivery(t *testing.T) {
	onBoth(t, func(t *testing.T, server *testenv.Server) {
		receiver := testenv.NewReceiver(t)
		hook := addWebhook(t, server, receiver, "")
		all := follow(t, server, "", "")
		attempts := follow(t, server, "?kinds=attempt,delivery&events=threat.*&webhook="+hook.ID, "")
		call[struct{}](t, server, http.StatusAccepted, http.MethodPost, "/v1/events", alert)
		call[struct{}](t, server, http.StatusAccepted, http.MethodPost, "/v1/events", threat)
		kinds := map[string]int{}
		for _, it := range all.items(8) {
			kinds[it.Kind]++
		}
		if diff := cmp.Diff(map[string]int{"event": 2, "delivery": 4, "attempt": 2}, kinds); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
		got := attempts.items(3)
		id, _, _ := strings.Cut(got[0].About, " ")
		want := []string{"delivery " + id + " pending", "attempt", "delivery " + id + " delivered"}
		for i, it := range got {
			if !strings.HasPrefix(it.Kind+" "+it.About, want[i]) {
				t.Errorf("item %d is %+v, want %s", i, it, want[i])
			}
		}
	}, "--dev")
}

// A reader that does not read is cut off before it has got all, and the server
// goes on as before.
func TestStreamCutsOffASlowReader(t *testing.T) {
	t.Parallel()
	server := testenv.StartServer(t, testenv.ServerOptions{Args: []string{"--dev", "--log-level", "debug"}})
	start := follow(t, server, "", "").last
	large := strings.Replace(alert, "padding", strings.Repeat("x", 200<<10), 1)
	const n = 150 // 30 MB: more than the buffers of two sockets
	for range n {
		call[struct{}](t, server, http.StatusAccepted, http.MethodPost, "/v1/events", large)
	}
	address, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "GET /v1/stream HTTP/1.1\r\nHost: x\r\nX-Request-Id: slow-reader\r\nAuthorization: Bearer %s\r\nLast-Event-ID: %s\r\n\r\n", server.APIKey, start); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for !strings.Contains(server.Log(), "slow-reader") { // it is logged when it has ended
		if time.Now().After(deadline) {
			t.Fatal("a reader that does not read is not cut off")
		}
		<-again.C
		if status, _ := server.Do(http.MethodGet, "/healthz", ""); status != http.StatusOK {
			t.Fatalf("the server is not well: %d", status)
		}
	}
	got, err := io.Copy(io.Discard, conn)
	if err != nil && !errors.Is(err, net.ErrClosed) && !strings.Contains(err.Error(), "reset") {
		t.Errorf("the connection: %v", err)
	}
	if got >= n*200<<10 {
		t.Errorf("it was sent all of %d bytes, though it did not read", got)
	}
	// One that reads gets them all.
	if items := follow(t, server, "", start).items(n); len(items) != n {
		t.Errorf("%d items", len(items))
	}
}
