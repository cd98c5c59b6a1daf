package api_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/api"
)

// heldPublisher takes events when it is told to.
type heldPublisher struct {
	*fakes

	asked chan struct{} // one for each batch that has come
	open  chan struct{} // closed: batches are taken
	taken atomic.Int64
}

func (p *heldPublisher) PublishBatch(_ context.Context, _ cybervault.WorkspaceID, reqs []cybervault.PublishRequest) []cybervault.PublishOutcome {
	p.asked <- struct{}{}
	<-p.open
	p.taken.Add(int64(len(reqs)))
	return make([]cybervault.PublishOutcome, len(reqs))
}

// loaded serves an API with a bound of its own on a real connection, so that
// bodies come as they do from callers.
func loaded(t *testing.T, load *api.Load, change func(*api.Config)) *httptest.Server {
	t.Helper()
	f := &fakes{}
	config := api.Config{
		Publisher: f, Webhooks: f, Log: f, Replayer: f, Previewer: f, Replays: f, Catalogue: f, Telemetry: f, Keys: f, Health: f,
		Load: load, Logger: slog.New(slog.DiscardHandler),
	}
	change(&config)
	server := httptest.NewServer(api.New(config))
	t.Cleanup(server.Close)
	return server
}

// send makes a call; unsized hides how long the body is.
func send(t *testing.T, server *httptest.Server, path string, body []byte, unsized bool) (status int, retryAfter, answer string) {
	t.Helper()
	var r io.Reader = bytes.NewReader(body)
	if unsized {
		r = io.MultiReader(r)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+path, r)
	if err != nil {
		t.Error(err)
		return 0, "", ""
	}
	req.Header.Set("Authorization", "Bearer "+adminKey)
	resp, err := server.Client().Do(req)
	if err != nil {
		t.Errorf("%s: %v", path, err)
		return 0, "", ""
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Errorf("%s: %v", path, err)
	}
	return resp.StatusCode, resp.Header.Get("Retry-After"), string(text)
}

// batchOf is a batch of n events with so many bytes each.
func batchOf(n, bytes int) []byte {
	event := `{"event":"system.alert","data":{"summary":"` + strings.Repeat("x", bytes) + `"}}`
	return []byte("[" + strings.TrimSuffix(strings.Repeat(event+",", n), ",") + "]")
}

// However many large batches come at once, with their length or without, their
// bodies never take more than the bound; what does not fit is refused at once
// with the time to come again, and all room is given back.
func TestBodiesAreBoundedTogether(t *testing.T) {
	t.Parallel()
	load := &api.Load{MaxBodiesBytes: 12 << 20}
	publisher := &heldPublisher{fakes: &fakes{}, asked: make(chan struct{}, 200), open: make(chan struct{})}
	server := loaded(t, load, func(c *api.Config) { c.Publisher = publisher })
	const callers, events = 200, 20
	body := batchOf(events, 100<<10) // 2 MiB
	var accepted, refused atomic.Int64
	full := make(chan struct{})
	var once sync.Once
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			status, after, answer := send(t, server, "/v1/events/batch", body, i%2 == 0)
			switch {
			case status == http.StatusOK:
				accepted.Add(1)
			case status == http.StatusServiceUnavailable && after == "1" && strings.Contains(answer, "12 MiB"):
				refused.Add(1)
				once.Do(func() { close(full) })
			default:
				t.Errorf("answered %d, Retry-After %q: %.200s", status, after, answer)
			}
		})
	}
	<-publisher.asked
	<-full // somebody was refused while others wait for their commit
	close(publisher.open)
	wg.Wait()
	stats := load.Stats()
	if stats.MostBodyBytes > load.MaxBodiesBytes || stats.MostBodyBytes < load.MaxBodiesBytes/3 {
		t.Errorf("bodies took up to %d bytes of %d", stats.MostBodyBytes, load.MaxBodiesBytes)
	}
	if stats.BodyBytes != 0 || stats.Requests != 0 {
		t.Errorf("after the last answer: %+v", stats)
	}
	if stats.RefusedMemory != refused.Load() || accepted.Load()+refused.Load() != callers || publisher.taken.Load() != accepted.Load()*events {
		t.Errorf("%d accepted, %d refused, %d events taken: %+v", accepted.Load(), refused.Load(), publisher.taken.Load(), stats)
	}
}

// A caller that announces much and sends little holds what it has sent.
func TestAnAnnouncedBodyHoldsNothing(t *testing.T) {
	t.Parallel()
	load := &api.Load{}
	server := loaded(t, load, func(*api.Config) {})
	pipe, feed := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/v1/events/batch", pipe)
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = 30 << 20
	req.Header.Set("Authorization", "Bearer "+adminKey)
	ended := make(chan error, 1)
	go func() {
		resp, err := server.Client().Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		ended <- err
	}()
	if _, err := feed.Write(make([]byte, 512<<10)); err != nil {
		t.Fatal(err)
	}
	if held := load.Stats().MostBodyBytes; held > 1<<20 {
		t.Errorf("512 KiB of 30 MiB hold %d bytes", held)
	}
	_ = feed.CloseWithError(io.ErrUnexpectedEOF)
	<-ended
}

func TestRequestsAreBounded(t *testing.T) {
	t.Parallel()
	load := &api.Load{MaxRequests: 1}
	publisher := &heldPublisher{fakes: &fakes{}, asked: make(chan struct{}, 1), open: make(chan struct{})}
	server := loaded(t, load, func(c *api.Config) { c.Publisher = publisher })
	first := make(chan int)
	go func() {
		status, _, _ := send(t, server, "/v1/events/batch", batchOf(1, 10), false)
		first <- status
	}()
	<-publisher.asked
	if status, after, answer := send(t, server, "/v1/events", []byte(`{}`), false); status != http.StatusServiceUnavailable || after == "" {
		t.Errorf("a second request is answered %d, Retry-After %q: %s", status, after, answer)
	}
	if resp, err := server.Client().Get(server.URL + "/healthz"); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("/healthz: %v, %v", resp, err)
	} else {
		_ = resp.Body.Close()
	}
	close(publisher.open)
	if status := <-first; status != http.StatusOK {
		t.Errorf("the first is answered %d", status)
	}
	if stats := load.Stats(); stats.RefusedRequests != 1 || stats.Requests != 0 {
		t.Errorf("stats: %+v", stats)
	}
}

// What cannot be admitted is refused before its body is looked at; the other
// calls go on, and /readyz says what is the matter.
func TestNothingIsAdmitted(t *testing.T) {
	t.Parallel()
	const why = "the disk has 120 MiB free, less than the reserve of 256 MiB"
	server := loaded(t, nil, func(c *api.Config) {
		c.Admit = func(int64) error { return cybervault.Errorf(cybervault.CodeUnavailable, why) }
		c.Refusing = func() string { return why }
	})
	for _, path := range []string{"/v1/events", "/v1/events/batch", "/v1/telemetry"} {
		status, after, answer := send(t, server, path, []byte("no JSON, and no log either"), false)
		if status != http.StatusServiceUnavailable || after != "10" || !strings.Contains(answer, why) {
			t.Errorf("%s: answered %d, Retry-After %q: %s", path, status, after, answer)
		}
	}
	resp, err := server.Client().Get(server.URL + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(text), `"publishing":"`+why) {
		t.Errorf("/readyz: %d %s, %v", resp.StatusCode, text, err)
	}
}

// Telemetry holds room for its pieces while it is read.
func TestTelemetryIsBoundedTogether(t *testing.T) {
	t.Parallel()
	load := &api.Load{MaxBodiesBytes: 2 << 20}
	server := loaded(t, load, func(*api.Config) {})
	if status, after, _ := send(t, server, "/v1/telemetry", make([]byte, 1<<20), false); status != http.StatusServiceUnavailable || after == "" {
		t.Errorf("a large upload is answered %d", status)
	}
	if status, _, answer := send(t, server, "/v1/telemetry", []byte("a line\n"), false); status != http.StatusOK {
		t.Errorf("a small one is answered %d: %s", status, answer)
	}
	if stats := load.Stats(); stats.BodyBytes != 0 || stats.RefusedMemory != 1 {
		t.Errorf("stats: %+v", stats)
	}
}
