package testenv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// A Ledger compares what publishers were told with what receivers got and with
// what the server says became of the rest. Each event it is told of must reach
// each of its sinks, or be dead-lettered. Its methods, Settle and Check apart, may
// be called from several goroutines.
type Ledger struct {
	t     testing.TB
	name  string
	began time.Time
	sinks []*Sink

	mu           sync.Mutex
	published    int
	acknowledged map[string]struct{} // event ids
	dead         map[delivery]struct{}
	settled      bool
}

// delivery is one event on its way to one sink.
type delivery struct{ webhook, event string }

// A Sink stands for the receiver of one webhook, of every event there is.
type Sink struct {
	name    string
	webhook string // its id

	mu       sync.Mutex
	accepted map[string]int      // event id -> times
	refused  map[string]struct{} // event ids, until they are accepted
}

// Count is what a ledger has counted. An event that is to go to two sinks counts
// as two in what follows Acknowledged.
type Count struct {
	Name         string  `json:"name"`
	Published    int     `json:"published"`     // events handed to the server
	Acknowledged int     `json:"acknowledged"`  // of those, answered with a receipt
	Delivered    int     `json:"delivered"`     // accepted by a sink, once or more
	Dead         int     `json:"dead_lettered"` // acknowledged, and given up after the last retry
	Duplicates   int     `json:"duplicates"`    // accepted by a sink again
	Lost         int     `json:"lost"`          // acknowledged, and neither
	Seconds      float64 `json:"seconds"`
}

// An API is what a ledger asks what became of its events: a Server.
type API interface {
	Try(ctx context.Context, method, path, body string) (int, []byte, error)
}

// NewLedger begins a ledger; its name says what is tried.
func NewLedger(t testing.TB, name string) *Ledger {
	t.Helper()
	return &Ledger{t: t, name: name, began: time.Now(), acknowledged: map[string]struct{}{}, dead: map[delivery]struct{}{}}
}

// Sink adds the receiver of a webhook. To be called before anything is published.
func (l *Ledger) Sink(name, webhookID string) *Sink {
	s := &Sink{name: name, webhook: webhookID, accepted: map[string]int{}, refused: map[string]struct{}{}}
	l.sinks = append(l.sinks, s)
	return s
}

// Got notes a request that a sink was sent, and whether it accepted it.
func (s *Sink) Got(eventID string, accepted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if accepted {
		s.accepted[eventID]++
		delete(s.refused, eventID)
	} else if s.accepted[eventID] == 0 {
		s.refused[eventID] = struct{}{}
	}
}

// Refused tells how many events a sink was sent and has never accepted.
func (s *Sink) Refused() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.refused)
}

// Accepted tells how many events a sink has accepted.
func (s *Sink) Accepted() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.accepted)
}

// Published notes events that are handed to the server.
func (l *Ledger) Published(events int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.published += events
}

// Acknowledged notes the receipt of an event.
func (l *Ledger) Acknowledged(eventID string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acknowledged[eventID] = struct{}{}
}

// Settle waits until the server says that every delivery has ended, or fails the
// test, and asks which were dead-lettered.
func (l *Ledger) Settle(api API, limit time.Duration) {
	l.t.Helper()
	err := until(limit, nil, func() error {
		for _, status := range []string{"pending", "held"} {
			page, err := deliveries(api, status, 1, "")
			if err != nil {
				return err
			}
			if len(page.Data) > 0 {
				return fmt.Errorf("%s is %s", page.Data[0].ID, status)
			}
		}
		return nil
	})
	l.settled = true
	if err != nil {
		l.t.Errorf("%s: a delivery has not ended: %v", l.name, err)
	}
	for cursor, more := "", true; more; {
		page, err := deliveries(api, "dead_letter", 200, cursor)
		if err != nil {
			l.t.Fatalf("%s: %v", l.name, err)
		}
		for _, d := range page.Data {
			l.dead[delivery{d.WebhookID, d.EventID}] = struct{}{}
		}
		cursor, more = page.NextCursor, page.NextCursor != ""
	}
}

// deliveryPage is a page of GET /v1/deliveries.
type deliveryPage struct {
	Data []struct {
		ID        string `json:"id"`
		EventID   string `json:"event_id"`
		WebhookID string `json:"webhook_id"`
	} `json:"data"`
	NextCursor string `json:"next_cursor"`
}

func deliveries(api API, status string, limit int, cursor string) (page deliveryPage, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	path := fmt.Sprintf("/v1/deliveries?status=%s&limit=%d", status, limit)
	if cursor != "" {
		path += "&cursor=" + cursor
	}
	code, answer, err := api.Try(ctx, http.MethodGet, path, "")
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("list deliveries: %d %s", code, answer)
	}
	return page, errors.Join(err, json.Unmarshal(answer, &page))
}

// Count counts.
func (l *Ledger) Count() Count {
	count, _ := l.count()
	return count
}

// count counts, and lists what is lost.
func (l *Ledger) count() (c Count, lost []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c = Count{Name: l.name, Published: l.published, Acknowledged: len(l.acknowledged), Seconds: time.Since(l.began).Seconds()}
	for _, s := range l.sinks {
		s.mu.Lock()
		c.Delivered += len(s.accepted)
		for _, times := range s.accepted {
			c.Duplicates += times - 1
		}
		for id := range l.acknowledged {
			_, dead := l.dead[delivery{s.webhook, id}]
			switch {
			case s.accepted[id] > 0:
			case dead:
				c.Dead++
			default:
				c.Lost++
				lost = append(lost, id+" to "+s.name)
			}
		}
		s.mu.Unlock()
	}
	return c, lost
}

// String is the ledger in one line.
func (l *Ledger) String() string {
	c := l.Count()
	return fmt.Sprintf("ledger of %s: published %d, acknowledged %d, delivered %d, dead-lettered %d, duplicates %d, lost %d, in %.1f s",
		c.Name, c.Published, c.Acknowledged, c.Delivered, c.Dead, c.Duplicates, c.Lost, c.Seconds)
}

// Check logs the ledger and fails the test if an acknowledged event is lost, or a
// delivery has not ended; Settle comes before it. In the long form it adds the
// count, as a line of JSON, to the file that CYBERVAULT_LEDGER names.
func (l *Ledger) Check(t testing.TB) {
	t.Helper()
	if !l.settled {
		t.Fatal("Settle the ledger first")
	}
	c, lost := l.count()
	t.Log(l)
	if c.Lost > 0 {
		t.Errorf("%s: %d acknowledged events did not arrive, such as %s", l.name, c.Lost, strings.Join(lost[:min(len(lost), 5)], ", "))
	}
	if len(l.sinks) == 0 || c.Acknowledged == 0 {
		t.Errorf("%s: nothing was acknowledged, so nothing is shown", l.name)
	}
	if path := os.Getenv("CYBERVAULT_LEDGER"); path != "" && Torture() > 1 {
		if err := appendLine(path, c); err != nil {
			t.Errorf("%s: write the ledger: %v", l.name, err)
		}
	}
}

// appendLine appends in one write, since tests of several packages do so at once.
func appendLine(path string, value any) error {
	line, err := json.Marshal(value)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(append(line, '\n'))
	return errors.Join(err, file.Close())
}
