package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cybervault/cybervault/test/testenv"
)

const (
	// patience bounds every wait for what is to come; only a failure reaches it.
	patience = 90 * time.Second
	// pace is the pause of a publisher between two events.
	pace = 5 * time.Millisecond
)

// A site is nodes on one database, receivers with a webhook each, and publishers.
type site struct {
	t        *testing.T
	nodes    []*testenv.Server
	ledger   *testenv.Ledger
	hooks    []*hook
	stop     chan struct{}
	end      func() // stops publishing
	running  sync.WaitGroup
	next     atomic.Int64
	acks     atomic.Int64
	refusals atomic.Int64
	slowest  atomic.Int64 // refusal, a time.Duration
}

// A hook is a webhook for everything, and its receiver.
type hook struct {
	receiver *testenv.Receiver
	sink     *testenv.Sink

	mu       sync.Mutex
	arrivals []arrival
	hold     bool // answer nothing
	refuse   int  // refuse one request in so many, so that there is something to claim; 0: none
}

// arrival is a request that the receiver accepted.
type arrival struct {
	event, delivery string
	sequence        int
}

// newSite starts nodes on the database at url, with a webhook for each of the
// settings, such as `,"ordered":true`.
func newSite(t *testing.T, url string, nodes int, settings ...string) *site {
	t.Helper()
	s := &site{t: t, ledger: testenv.NewLedger(t, strings.TrimPrefix(t.Name(), "Test")), stop: make(chan struct{})}
	s.end = sync.OnceFunc(func() { close(s.stop); s.running.Wait() })
	key := filepath.Join(t.TempDir(), "secret.key") // the nodes share it, as they must
	for range nodes {
		s.nodes = append(s.nodes, testenv.StartServer(t, testenv.ServerOptions{
			Args: []string{"--dev", "--database-url", url, "--secret-key-file", key, "--retry-schedule", "200ms,500ms,1s,2s,2s,2s,2s,5s,5s,5s"},
		}))
	}
	for _, more := range settings {
		s.addHook(more)
	}
	return s
}

func (s *site) addHook(more string) {
	s.t.Helper()
	h := &hook{receiver: testenv.NewPlainReceiver(s.t)}
	status, answer := s.nodes[0].Do(http.MethodPost, "/v1/webhooks", `{"url":"`+h.receiver.URL+`/hook","events":["*"]`+more+`}`)
	var made struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(answer, &made); status != http.StatusCreated || err != nil {
		s.t.Fatalf("add a webhook: %d %s", status, answer)
	}
	for _, node := range s.nodes { // what is published at a node before it has heard of a webhook is not for that
		s.wait("a node that knows the webhook", func() bool { return call(node, http.MethodGet, "/v1/webhooks/"+made.ID, "").status == http.StatusOK })
	}
	h.sink = s.ledger.Sink("all"+more, made.ID)
	h.receiver.AnswerWith(h.answer)
	s.hooks = append(s.hooks, h)
}

func (h *hook) answer(w http.ResponseWriter, r *http.Request, got testenv.Received) {
	h.mu.Lock()
	if h.hold {
		h.mu.Unlock()
		<-r.Context().Done()
		return
	}
	if h.refuse > 0 && got.Number%h.refuse == 0 {
		h.mu.Unlock()
		h.sink.Got(got.Header.Get("Webhook-Id"), false)
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	sequence, _ := strconv.Atoi(got.Header.Get("X-CyberVault-Sequence")) // 0 is missed by gapless
	h.arrivals = append(h.arrivals, arrival{got.Header.Get("Webhook-Id"), got.Header.Get("X-CyberVault-Delivery"), sequence})
	h.mu.Unlock()
	h.sink.Got(got.Header.Get("Webhook-Id"), true)
	w.WriteHeader(http.StatusOK)
}

// gapless checks that what has arrived is one delivery for each event, numbered
// 1, 2, 3 … without a gap.
func (h *hook) gapless(t *testing.T) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	numbers, deliveries := map[int]string{}, map[string]string{}
	for _, a := range h.arrivals {
		if event, ok := numbers[a.sequence]; ok && event != a.event {
			t.Errorf("%s and %s both have the sequence number %d", event, a.event, a.sequence)
		}
		if delivery, ok := deliveries[a.event]; ok && delivery != a.delivery {
			t.Errorf("%s came as %s and as %s", a.event, delivery, a.delivery)
		}
		numbers[a.sequence], deliveries[a.event] = a.event, a.delivery
	}
	for n := range len(deliveries) {
		if _, ok := numbers[n+1]; !ok {
			t.Errorf("the sequence number %d is missing of %d", n+1, len(deliveries))
		}
	}
}

// publish has one publisher at each node publish until finish. Each event has a
// key of its own and is offered, to the next node in turn, until it is
// acknowledged: as a publisher must that does not know what became of a call.
func (s *site) publish() {
	s.t.Cleanup(s.end)
	for i := range s.nodes {
		s.running.Go(func() {
			again := time.NewTicker(pace)
			defer again.Stop()
			for {
				select {
				case <-s.stop:
					return
				case <-again.C:
				}
				s.offer(i)
			}
		})
	}
}

func (s *site) offer(node int) {
	key := fmt.Sprintf("key-%d", s.next.Add(1))
	s.ledger.Published(1)
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	deadline := time.After(patience)
	for try := 0; ; try++ {
		a := call(s.nodes[(node+try)%len(s.nodes)], http.MethodPost, "/v1/events", event(key))
		switch a.status {
		case http.StatusAccepted, http.StatusOK:
			s.ledger.Acknowledged(a.id())
			s.acks.Add(1)
			return
		case 0: // the node is not there
		case http.StatusServiceUnavailable:
			s.refusals.Add(1)
			for now := int64(a.took); ; {
				if before := s.slowest.Load(); now <= before || s.slowest.CompareAndSwap(before, now) {
					break
				}
			}
			a.checkRefusal(s.t)
		default:
			s.t.Errorf("a publication is answered with %d %s", a.status, a.body)
			return
		}
		select {
		case <-again.C:
		case <-deadline:
			s.t.Errorf("%s was not acknowledged within %s: %d %s %v", key, patience, a.status, a.body, a.err)
			return
		}
	}
}

func event(key string) string {
	return `{"event":"system.alert","idempotency_key":"` + key + `","data":{"alert_id":"` + key + `","code":"test","severity":"low","status":"firing","summary":"` + key + `"}}`
}

// waitAcks waits until so many more events are acknowledged.
func (s *site) waitAcks(more int64) {
	s.t.Helper()
	want := s.acks.Load() + more
	s.wait(fmt.Sprintf("%d more acknowledgements", more), func() bool { return s.acks.Load() >= want })
}

// finish ends publishing, waits until every delivery has ended and checks the ledger.
func (s *site) finish() {
	s.t.Helper()
	s.end()
	s.t.Logf("refused with 503 and offered again: %d; the slowest refusal took %s", s.refusals.Load(), time.Duration(s.slowest.Load()).Round(10*time.Millisecond))
	s.ledger.Settle(s.nodes[0], patience)
	s.ledger.Check(s.t)
	for _, h := range s.hooks {
		h.gapless(s.t)
	}
}

func (s *site) wait(what string, done func() bool) {
	s.t.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	deadline := time.After(patience)
	for !done() {
		select {
		case <-again.C:
		case <-deadline:
			s.t.Fatalf("waited %s for %s", patience, what)
		}
	}
}

// An answer of a node; status 0 where there was none.
type answer struct {
	path   string
	status int
	header http.Header
	body   []byte
	took   time.Duration
	err    error
}

func (a *answer) id() string {
	var receipt struct {
		ID string `json:"id"`
	}
	_ = json.Unmarshal(a.body, &receipt) // an empty id is not found by the ledger
	return receipt.ID
}

// checkRefusal checks that a 503 says what to do.
func (a *answer) checkRefusal(t *testing.T) {
	t.Helper()
	if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" || !bytes.Contains(a.body, []byte("try again")) {
		t.Errorf("%s is answered with %d, Retry-After %q: %s %v; want 503 that says to try again", a.path, a.status, a.header.Get("Retry-After"), a.body, a.err)
	}
}

func call(node *testenv.Server, method, path, body string) *answer {
	return callAs(node.APIKey, node, method, path, body)
}

// callAs is call with another API key.
func callAs(key string, node *testenv.Server, method, path, body string) *answer {
	began := time.Now()
	a := &answer{path: path}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, node.URL()+path, strings.NewReader(body))
	if err != nil {
		a.err = err
		return a
	}
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		a.err = err
		return a
	}
	defer resp.Body.Close()
	if a.body, a.err = io.ReadAll(resp.Body); a.err == nil {
		a.status, a.header, a.took = resp.StatusCode, resp.Header, time.Since(began)
	}
	return a
}

// ready reports whether a node takes calls.
func ready(node *testenv.Server) bool {
	return call(node, http.MethodGet, "/readyz", "").status == http.StatusOK
}

// refuses waits until a node says that it is not ready, and checks that it is
// alive and answers every call at once with a 503 that says what to do. It
// returns how long the node took to notice.
func (s *site) refuses(node *testenv.Server, paths ...string) {
	s.t.Helper()
	began := time.Now()
	s.wait("a node that is not ready", func() bool { return !ready(node) })
	noticed := time.Since(began)
	if a := call(node, http.MethodGet, "/healthz", ""); a.status != http.StatusOK {
		s.t.Errorf("/healthz: %d %s %v", a.status, a.body, a.err)
	}
	call(node, http.MethodPost, "/v1/events", event(fmt.Sprintf("refused-%d", s.next.Add(1)))).checkRefusal(s.t)
	slowest := time.Duration(0)
	for _, path := range paths {
		a := call(node, http.MethodGet, path, "")
		slowest = max(slowest, a.took)
		if a.status != http.StatusServiceUnavailable {
			s.t.Errorf("GET %s: %d %.300s %v, want 503", path, a.status, a.body, a.err)
		}
	}
	s.t.Logf("not ready after %s; the slowest answer after that took %s", noticed.Round(10*time.Millisecond), slowest.Round(10*time.Millisecond))
}

// lists are calls that only read.
var lists = []string{"/v1/events", "/v1/deliveries?status=pending"}

// recovers waits until a node is ready again and publishing goes on.
func (s *site) recovers(nodes ...*testenv.Server) {
	s.t.Helper()
	began := time.Now()
	for _, node := range nodes {
		s.wait("a node that is ready again", func() bool { return ready(node) })
	}
	readyAfter := time.Since(began)
	s.waitAcks(20)
	s.t.Logf("ready again after %s, 20 more acknowledged after %s", readyAfter.Round(10*time.Millisecond), time.Since(began).Round(10*time.Millisecond))
}
