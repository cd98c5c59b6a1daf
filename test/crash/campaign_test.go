package crash

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/cybervault/cybervault/internal/failpoint"
	"github.com/cybervault/cybervault/test/testenv"
)

// quickRetries end within the patience of a test, and leave a delivery that meets
// a fault nearly every time enough attempts to get through.
const quickRetries = "100ms,200ms,200ms,200ms,200ms,200ms,200ms,200ms,200ms,200ms,200ms,500ms,500ms,1s,1s,1s,1s,1s"

// nowhere is a failpoint that no server comes to.
const nowhere = failpoint.StopDrained + ":1000000"

// A campaign publishes to a server that is killed under it, again and again,
// until everything is acknowledged. A seed decides what is decided by chance.
type campaign struct {
	t      *testing.T
	ledger *testenv.Ledger
	server *testenv.Server
	inbox  *inbox
	clock  *clock
	random *rand.Rand // for the test's own goroutine

	publishers, batch int
	padding           string // makes the events that are published larger
	forgets           bool   // the server has removed old events, keys and all

	mu           sync.Mutex
	last         int               // number of the last event made
	left         []int             // numbers of events that are not acknowledged
	ids          map[string]string // idempotency key -> event id
	acknowledged int
	watch        func() // told after each acknowledgement
}

// newCampaign starts a server and a receiver that takes most of what it is sent.
func newCampaign(t *testing.T, name string, options testenv.ServerOptions) *campaign {
	t.Helper()
	c := beginCampaign(t, name)
	if options.Failpoint == "" {
		options.Failpoint = nowhere
	}
	options.Args = append([]string{"--dev", "--retry-schedule", quickRetries}, options.Args...)
	c.server = testenv.StartServer(t, options)
	c.subscribe()
	return c
}

// beginCampaign makes a campaign that has no server yet.
func beginCampaign(t *testing.T, name string) *campaign {
	t.Helper()
	seed := seed(t)
	c := &campaign{
		t: t, ledger: testenv.NewLedger(t, name), random: rand.New(rand.NewPCG(seed, 1)), ids: map[string]string{},
		publishers: 4, batch: 20,
	}
	if testenv.Torture() > 1 {
		c.batch = 100
	}
	c.inbox = newInbox(t, seed)
	return c
}

// seed is what chance depends on: of CYBERVAULT_SEED, or a new one, which is told.
func seed(t *testing.T) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv("CYBERVAULT_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("CYBERVAULT_SEED is no number: %v", err)
		}
	}
	t.Logf("the seed is %d: CYBERVAULT_SEED has the same one used again", seed)
	return seed
}

// subscribe adds the webhook that gets everything.
func (c *campaign) subscribe() {
	c.t.Helper()
	c.inbox.sink = c.ledger.Sink("the inbox", hook(c.t, c.server, c.inbox.url))
}

// hook adds a webhook and returns its id.
func hook(t *testing.T, server *testenv.Server, url string) string {
	t.Helper()
	status, answer := server.Do(http.MethodPost, "/v1/webhooks", `{"url":"`+url+`/hook","events":["system.alert"]}`)
	var made struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(answer, &made); status != http.StatusCreated || err != nil {
		t.Fatalf("add a webhook: %d %s", status, answer)
	}
	return made.ID
}

// publishOne publishes an event and returns its id.
func publishOne(t *testing.T, server *testenv.Server, name string) string {
	t.Helper()
	status, answer := server.Do(http.MethodPost, "/v1/events", `{"event":"system.alert","data":{"alert_id":"`+name+`","code":"test","severity":"low","status":"firing","summary":"`+name+`"}}`)
	var receipt struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(answer, &receipt); status != http.StatusAccepted || err != nil {
		t.Fatalf("publish: %d %s", status, answer)
	}
	return receipt.ID
}

// make adds n events to those that are to be published.
func (c *campaign) make(n int) {
	for range n {
		c.last++
		c.left = append(c.left, c.last)
	}
	c.ledger.Published(n)
}

// after has do called, once, when n more events are acknowledged. It must not
// wait for one.
func (c *campaign) after(n int, do func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n += c.acknowledged
	c.watch = func() {
		if c.acknowledged >= n {
			c.watch = nil
			do()
		}
	}
}

// publish offers the server what is not acknowledged, each event once, some of
// what is, as a publisher would who is not sure, and returns when all is
// answered or refused.
func (c *campaign) publish() {
	c.mu.Lock()
	todo := c.left
	c.left = nil
	if !c.forgets && c.last > len(todo) && len(todo) > 0 {
		todo = append(todo, 1+c.random.IntN(c.last)) // most likely acknowledged before
	}
	c.mu.Unlock()
	batches := make(chan []int)
	var wg sync.WaitGroup
	for range c.publishers {
		wg.Go(func() {
			for batch := range batches {
				c.offer(batch)
			}
		})
	}
	for len(todo) > 0 {
		n := min(c.batch, len(todo))
		batches <- todo[:n]
		todo = todo[n:]
	}
	close(batches)
	wg.Wait()
}

// offer publishes a batch and notes which of its events are acknowledged.
func (c *campaign) offer(numbers []int) {
	var body strings.Builder
	for i, n := range numbers {
		body.WriteString([]string{"[", ","}[min(i, 1)])
		fmt.Fprintf(&body, `{"event":"system.alert","idempotency_key":"key-%d","data":{"alert_id":"a%d","code":"test","severity":"low","status":"firing","summary":"event %d%s"}}`, n, n, n, c.padding)
	}
	body.WriteString("]")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	status, answer, err := c.server.Try(ctx, http.MethodPost, "/v1/events/batch", body.String())
	var receipts struct {
		Data []struct {
			Status  int `json:"status"`
			Receipt *struct {
				ID string `json:"id"`
			} `json:"receipt"`
		} `json:"data"`
	}
	if err == nil && status == http.StatusOK {
		err = json.Unmarshal(answer, &receipts)
	}
	if err == nil && status != http.StatusOK && status != http.StatusServiceUnavailable {
		c.t.Errorf("publish a batch: %d %s", status, answer)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, n := range numbers {
		key := fmt.Sprintf("key-%d", n)
		if err != nil || i >= len(receipts.Data) || receipts.Data[i].Receipt == nil {
			if c.ids[key] == "" {
				c.left = append(c.left, n)
			}
			continue
		}
		id := receipts.Data[i].Receipt.ID
		if first := c.ids[key]; first != "" {
			if first != id {
				c.t.Errorf("%s was acknowledged as %s and, published again, as %s", key, first, id)
			}
			continue
		}
		c.ids[key] = id
		c.ledger.Acknowledged(id)
		if c.acknowledged++; c.watch != nil {
			c.watch()
		}
	}
}

// finish publishes the rest to a server that is left alone, waits until each
// delivery has ended and checks the ledger.
func (c *campaign) finish() {
	c.t.Helper()
	for range 5 {
		if c.publish(); len(c.left) == 0 {
			break
		}
	}
	if len(c.left) > 0 {
		c.t.Fatalf("%d events are not acknowledged by a server that is left alone", len(c.left))
	}
	c.ledger.Settle(c.server, patience)
	c.ledger.Check(c.t)
	c.inbox.check(c.t)
}

// An inbox is a receiver that answers as one does whose network is bad, and that
// keeps little of what it is sent.
type inbox struct {
	url  string
	sink *testenv.Sink
	well bool // answers everything with 200

	mu        sync.Mutex
	hold      *hold // nil: every request is answered at once
	random    *rand.Rand
	sequences map[int64]string  // sequence -> event id
	bodies    map[string]uint32 // event id -> checksum
	wrong     []string
}

func newInbox(t *testing.T, seed uint64) *inbox {
	t.Helper()
	in := &inbox{random: rand.New(rand.NewPCG(seed, 2)), sequences: map[int64]string{}, bodies: map[string]uint32{}}
	server := httptest.NewServer(http.HandlerFunc(in.serve))
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	in.url = server.URL
	return in
}

func (in *inbox) serve(w http.ResponseWriter, r *http.Request) {
	sum := crc32.NewIEEE()
	if _, err := io.Copy(sum, r.Body); err != nil {
		return // the sender is gone
	}
	in.mu.Lock()
	hold := in.hold
	in.mu.Unlock()
	if hold != nil && !hold.pass(r.Context()) {
		return
	}
	id := r.Header.Get("Webhook-Id")
	sequence, err := strconv.ParseInt(r.Header.Get("X-CyberVault-Sequence"), 10, 64)
	in.mu.Lock()
	chance := in.random.IntN(100)
	if in.well {
		chance = 100
	}
	if first, ok := in.bodies[id]; ok && first != sum.Sum32() {
		in.wrong = append(in.wrong, id+" was sent with different bytes")
	}
	in.bodies[id] = sum.Sum32()
	if first, ok := in.sequences[sequence]; err != nil || ok && first != id {
		in.wrong = append(in.wrong, fmt.Sprintf("%s and %s have the sequence %d (%v)", first, id, sequence, err))
	}
	in.sequences[sequence] = id
	in.mu.Unlock()
	// Its word counts from the status on, whatever becomes of the body after it.
	in.sink.Got(id, chance < 2 || chance >= 10)
	switch {
	case chance < 2: // in the middle of an answer that says yes
		hangUp(w, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
	case chance < 4: // without one
		hangUp(w, "")
	case chance < 10:
		w.WriteHeader(http.StatusInternalServerError)
	}
}

// A hold keeps requests waiting for their answer.
type hold struct {
	held    chan struct{} // gets one when a request waits
	release chan struct{} // to be closed: all are answered
}

// holdAnswers has the inbox answer nothing until the hold is released.
func (in *inbox) holdAnswers() *hold {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.hold = &hold{held: make(chan struct{}, 1), release: make(chan struct{})}
	return in.hold
}

// pass waits until the hold is released, and reports whether the sender is still there.
func (h *hold) pass(ctx context.Context) bool {
	select {
	case h.held <- struct{}{}:
	default:
	}
	select {
	case <-h.release:
		return true
	case <-ctx.Done():
		return false
	}
}

// hangUp writes some bytes and resets the connection.
func hangUp(w http.ResponseWriter, first string) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	_, _ = io.WriteString(conn, first)
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // RST instead of FIN
	}
	_ = conn.Close()
}

// check looks at what was sent: no number of the sequence is missing or taken
// twice, so that nothing was sent that the store does not know, and nothing the
// store knows was left out.
func (in *inbox) check(t *testing.T) {
	t.Helper()
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, wrong := range in.wrong[:min(len(in.wrong), 10)] {
		t.Error(wrong)
	}
	if len(in.sequences) != len(in.bodies) {
		t.Errorf("%d events were sent under %d sequence numbers", len(in.bodies), len(in.sequences))
	}
	for n := range int64(len(in.sequences)) {
		if _, ok := in.sequences[n+1]; !ok {
			t.Fatalf("the sequence has no %d, and %d in all", n+1, len(in.sequences))
		}
	}
}
