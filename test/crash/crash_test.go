package crash

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cybervault/cybervault/test/testenv"
)

const (
	publishes  = 5000
	publishers = 16
	killAfter  = publishes / 2
	patience   = 2 * time.Minute
)

// databases are the stores that every crash is tried on.
var databases = map[string]func(t *testing.T) []string{
	"sqlite":   func(*testing.T) []string { return nil },
	"postgres": func(t *testing.T) []string { return []string{"--database-url", testenv.Postgres(t)} },
}

// A server that is killed in the middle of 5,000 publishes, with a receiver that
// refuses one in five, loses nothing that it acknowledged: after a restart each
// event is delivered, with the same bytes whenever it is sent, and under the
// same webhook-id.
func TestKilledInTheMiddleOfPublishing(t *testing.T) {
	t.Parallel()
	for name, args := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, args(t))
		})
	}
}

func run(t *testing.T, args []string) {
	t.Helper()
	receiver := testenv.NewPlainReceiver(t)
	var accepted sync.Map // webhook-id of what was answered 200
	receiver.AnswerWith(func(w http.ResponseWriter, _ *http.Request, got testenv.Received) {
		if got.Number%5 == 0 {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		accepted.Store(got.Header.Get("Webhook-Id"), true)
	})
	server := testenv.StartServer(t, testenv.ServerOptions{
		Args: append([]string{"--dev", "--retry-schedule", "100ms,200ms,400ms,1s,1s,1s,1s,1s,1s,1s,1s,1s"}, args...),
	})
	if status, answer := server.Do(http.MethodPost, "/v1/webhooks", `{"url":"`+receiver.URL+`/hook","events":["*"]}`); status != http.StatusCreated {
		t.Fatalf("add a webhook: %d %s", status, answer)
	}

	p := &publisher{server: server, half: make(chan struct{})}
	done := p.start(publishes)
	<-p.half
	server.Kill()
	<-done
	before := p.acknowledged()
	server.Restart()
	// The same keys again: what was acknowledged is recognised, the rest is published.
	<-p.start(publishes)
	acknowledged := p.acknowledged()
	if len(before) < killAfter || len(acknowledged) != publishes {
		t.Fatalf("acknowledged %d before the kill and %d in all; want at least %d and %d", len(before), len(acknowledged), killAfter, publishes)
	}
	for key, id := range before {
		if acknowledged[key] != id {
			t.Errorf("%s was acknowledged as %s and, published again, as %s", key, id, acknowledged[key])
		}
	}

	received := receiver.Wait(patience, "every acknowledged event", func([]testenv.Received) bool {
		missing := 0
		for _, id := range acknowledged {
			if _, ok := accepted.Load(id); !ok {
				missing++
			}
		}
		return missing == 0
	})
	bodies := map[string][]byte{}
	for _, got := range received {
		id := got.Header.Get("Webhook-Id")
		if first, ok := bodies[id]; ok && !bytes.Equal(first, got.Body) {
			t.Errorf("%s was sent with different bytes:\n%s\n%s", id, first, got.Body)
		}
		bodies[id] = got.Body
	}
	if len(bodies) != publishes {
		t.Errorf("the receiver got %d distinct events, %d were published", len(bodies), publishes)
	}
	t.Logf("ledger: published %d, acknowledged before the kill %d, requests %d, refused or sent twice %d, lost 0",
		publishes, len(before), len(received), len(received)-publishes)
	everyDeliveryEnds(t, server)
}

// everyDeliveryEnds waits until the log says of each delivery that it was delivered.
func everyDeliveryEnds(t *testing.T, server *testenv.Server) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		status, answer := server.Do(http.MethodGet, "/v1/deliveries?status=pending&limit=1", "")
		var page struct {
			Data []json.RawMessage `json:"data"`
		}
		if err := json.Unmarshal(answer, &page); status != http.StatusOK || err != nil {
			t.Fatalf("list deliveries: %d %s", status, answer)
		}
		if len(page.Data) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("still pending after %s: %s", patience, answer)
		}
	}
	for _, status := range []string{"dead_letter", "held", "cancelled", "skipped"} {
		if code, answer := server.Do(http.MethodGet, "/v1/deliveries?status="+status, ""); code != http.StatusOK || !bytes.Contains(answer, []byte(`"data":[]`)) {
			t.Errorf("deliveries that are %s: %d %s", status, code, answer)
		}
	}
}

// publisher publishes events, each under a key of its own, and remembers what
// was acknowledged.
type publisher struct {
	server *testenv.Server
	half   chan struct{} // closed once killAfter publishes are acknowledged
	count  atomic.Int64
	ids    sync.Map // key -> event id
}

func (p *publisher) acknowledged() map[string]string {
	ids := map[string]string{}
	p.ids.Range(func(key, id any) bool { ids[key.(string)] = id.(string); return true })
	return ids
}

// start publishes n events and closes the channel it returns when all of them
// have been tried.
func (p *publisher) start(n int) <-chan struct{} {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range publishers {
		wg.Go(func() {
			for {
				i := next.Add(1)
				if i > int64(n) {
					return
				}
				p.publish(fmt.Sprintf("key-%d", i))
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	return done
}

func (p *publisher) publish(key string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	status, answer, err := p.server.Try(ctx, http.MethodPost, "/v1/events",
		`{"event":"system.alert","idempotency_key":"`+key+`","data":{"alert_id":"`+key+`","code":"test","severity":"low","status":"firing","summary":"`+key+`"}}`)
	if err != nil || status != http.StatusAccepted && status != http.StatusOK {
		return // not acknowledged
	}
	var receipt struct {
		ID string `json:"id"`
	}
	if json.Unmarshal(answer, &receipt) != nil || receipt.ID == "" {
		return
	}
	p.ids.Store(key, receipt.ID)
	if p.count.Add(1) == killAfter {
		close(p.half)
	}
}
