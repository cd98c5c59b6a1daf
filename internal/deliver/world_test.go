package deliver_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/deliver"
)

// settings are the webhooks as the router knows them.
type settings struct {
	mu       sync.Mutex
	byID     map[cybervault.WebhookID]*cybervault.Webhook
	orphaned func(cybervault.WebhookID)
}

func (s *settings) Lookup(id cybervault.WebhookID) (*cybervault.Webhook, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w, ok := s.byID[id]
	return w, ok
}

func (s *settings) Orphaned(_ context.Context, id cybervault.WebhookID) error {
	s.orphaned(id)
	return nil
}

// change replaces a webhook's settings by changed ones.
func (s *settings) change(id cybervault.WebhookID, change func(*cybervault.Webhook)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := *s.byID[id]
	change(&w)
	s.byID[id] = &w
}

func (s *settings) remove(id cybervault.WebhookID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byID, id)
}

// seen is an attempt as the receiver saw it.
type seen struct {
	at      time.Time
	request *deliver.Request
	headers map[string]string
}

// receivers answers attempts, by URL.
type receivers struct {
	mu      sync.Mutex
	answers map[string]func(ctx context.Context, n int) (cybervault.Exchange, error) // n counts the URL's attempts, from 1
	seen    map[string][]seen
	running map[string]int
	peak    map[string]int
}

func (r *receivers) Do(ctx context.Context, req *deliver.Request) (cybervault.Exchange, error) {
	headers := map[string]string{}
	for _, h := range req.Header {
		headers[h.Name] = h.Value
	}
	start := time.Now()
	r.mu.Lock()
	r.seen[req.URL] = append(r.seen[req.URL], seen{start, req, headers})
	n := len(r.seen[req.URL])
	answer := r.answers[req.URL]
	r.running[req.URL]++
	r.peak[req.URL] = max(r.peak[req.URL], r.running[req.URL])
	r.mu.Unlock()
	x, err := answer(ctx, n)
	r.mu.Lock()
	r.running[req.URL]--
	r.mu.Unlock()
	x.URL, x.Elapsed = req.URL, time.Since(start)
	return x, err
}

func (r *receivers) got(url string) []seen {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.seen[url])
}

type answer = func(context.Context, int) (cybervault.Exchange, error)

// answering answers every attempt with a status, after a while.
func answering(status int, after time.Duration) answer {
	return func(ctx context.Context, _ int) (cybervault.Exchange, error) {
		if after > 0 {
			select {
			case <-time.After(after):
			case <-ctx.Done():
				return cybervault.Exchange{}, ctx.Err()
			}
		}
		return cybervault.Exchange{Status: status}, nil
	}
}

// silent never answers.
func silent(ctx context.Context, _ int) (cybervault.Exchange, error) {
	select {
	case <-time.After(cybervault.AttemptTimeout):
		return cybervault.Exchange{Failure: cybervault.FailureTimeout}, nil
	case <-ctx.Done():
		return cybervault.Exchange{}, ctx.Err()
	}
}

// world is a dispatcher with all that surrounds it.
type world struct {
	t      *testing.T
	ids    *cybervault.IDSource
	clock  atomic.Int64 // how far the wall clock has been set, in nanoseconds
	queue  *memQueue
	hooks  *settings
	net    *receivers
	ward   *ward
	d      *deliver.Dispatcher
	node   *node
	config deliver.Config
}

// node is one dispatcher's way to the queue, until it is killed: then nothing it
// does reaches the queue any more, not even what it has handed in.
type node struct {
	*memQueue
	dead atomic.Bool
}

var errDead = errors.New("killed")

func (n *node) Claim(ctx context.Context, c cybervault.Claim) ([]*cybervault.Assignment, error) {
	if n.dead.Load() {
		return nil, errDead
	}
	return n.memQueue.Claim(ctx, c)
}

func (n *node) ClaimOrdered(ctx context.Context, webhook cybervault.WebhookID, limit int, lease cybervault.Lease) ([]*cybervault.Assignment, time.Time, error) {
	if n.dead.Load() {
		return nil, time.Time{}, errDead
	}
	return n.memQueue.ClaimOrdered(ctx, webhook, limit, lease)
}

func (n *node) Record(r *cybervault.Result, done func(error)) error {
	return n.record(r, &n.dead, done)
}

func (n *node) Release(ctx context.Context, assignments []*cybervault.Assignment) error {
	if n.dead.Load() {
		return errDead
	}
	return n.memQueue.Release(ctx, assignments)
}

func (w *world) now() time.Time { return time.Now().Add(time.Duration(w.clock.Load())).Round(0) }

// newWorld must be called inside a synctest bubble. The dispatcher is started,
// and stopped at the end unless the test has done so.
func newWorld(t *testing.T, schedule ...time.Duration) *world {
	t.Helper()
	w := &world{t: t}
	w.queue = newQueue(w.now)
	w.ids = cybervault.NewIDSource(1, 0, w.now)
	w.hooks = &settings{byID: map[cybervault.WebhookID]*cybervault.Webhook{}, orphaned: func(id cybervault.WebhookID) {
		w.queue.end(func(r *row) bool { return r.assignment.Webhook == id })
	}}
	w.net = &receivers{answers: map[string]answer{}, seen: map[string][]seen{}, running: map[string]int{}, peak: map[string]int{}}
	w.ward = &ward{hooks: w.hooks, kept: map[cybervault.WebhookID]cybervault.WebhookHealth{}}
	w.config = deliver.Config{
		Health: w.ward, HealthStore: w.ward,
		Webhooks: w.hooks, Sender: w.net, IDs: w.ids, RetrySchedule: schedule, UserAgent: "CyberVault-Webhooks/test",
		Now: w.now, Logger: slog.New(slog.DiscardHandler),
	}
	w.restart()
	return w
}

// restart starts a new dispatcher on the same queue.
func (w *world) restart() {
	w.t.Helper()
	w.node = &node{memQueue: w.queue}
	w.config.Queue = w.node
	w.d = deliver.New(w.config)
	if err := w.d.Start(w.t.Context()); err != nil {
		w.t.Fatalf("Start: %v", err)
	}
	d := w.d
	w.t.Cleanup(func() {
		d.Stop(context.Background())
		w.queue.records.Wait()
	})
}

func (w *world) stop(patience time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	w.d.Stop(ctx)
}

// kill ends the dispatcher as kill -9 does, in the middle of whatever it does, and
// starts another one on the same queue. An embedded store knows at its start that
// the leases are nobody's; otherwise they end by themselves.
func (w *world) kill(embedded bool) {
	w.node.dead.Store(true)
	w.stop(0)
	if embedded {
		w.queue.mu.Lock()
		for _, r := range w.queue.rows {
			if r.status == cybervault.DeliveryPending && r.token != 0 {
				r.token, r.due = 0, w.now()
			}
		}
		w.queue.mu.Unlock()
	}
	w.restart()
}

// webhook adds a webhook whose receiver answers so.
func (w *world) webhook(a answer) *cybervault.Webhook {
	id := cybervault.NewID[cybervault.WebhookID](w.ids)
	hook := &cybervault.Webhook{
		ID: id, URL: "https://receiver.example/" + id.String(), Events: []string{"*"}, Status: cybervault.WebhookEnabled,
		Accept: cybervault.AcceptDefault, Secrets: []cybervault.Secret{cybervault.NewSecret(w.now())},
	}
	w.net.mu.Lock()
	w.net.answers[hook.URL] = a
	w.net.mu.Unlock()
	w.hooks.mu.Lock()
	w.hooks.byID[id] = hook
	w.hooks.mu.Unlock()
	return hook
}

// commit stores a delivery as the router does.
func (w *world) commit(hook *cybervault.Webhook, body []byte, test bool) cybervault.DeliveryID {
	return w.commitAs(hook, body, cybervault.SeverityInfo, test)
}

// commitAs stores a delivery of a severity: claimed at birth where the dispatcher
// admits it.
func (w *world) commitAs(hook *cybervault.Webhook, body []byte, severity cybervault.Severity, test bool) cybervault.DeliveryID {
	run := w.ids.NextRun(2)
	a := &cybervault.Assignment{
		Delivery: cybervault.DeliveryID{UUID: run[1]}, Webhook: hook.ID, Event: cybervault.EventID{UUID: run[0]},
		EventType: cybervault.EventThreatDetected, Severity: severity, Attempt: 1, Test: test, Body: body,
	}
	admitted := w.d.Admit(hook.ID, len(body), severity, test)
	due := w.now()
	if admitted {
		a.Lease = w.d.NewLease()
		due = a.Lease.Until
	}
	w.queue.mu.Lock()
	w.queue.sequence[hook.ID]++
	a.Sequence = w.queue.sequence[hook.ID]
	w.queue.mu.Unlock()
	w.queue.put(*a, 0, due, a.Lease.Token)
	if admitted {
		w.d.Dispatch([]*cybervault.Assignment{a})
	} else {
		w.d.Wake(hook.ID, severity)
	}
	return a.Delivery
}

func (w *world) publish(hook *cybervault.Webhook) cybervault.DeliveryID {
	return w.commit(hook, []byte(`{"id":"wh_1"}`), false)
}

// send publishes a delivery of a severity.
func (w *world) send(hook *cybervault.Webhook, severity cybervault.Severity) cybervault.DeliveryID {
	return w.commitAs(hook, []byte(`{"id":"wh_1"}`), severity, false)
}

// pass lets virtual time pass. A timer that is over when it is received from is
// run by whoever receives, not by the clock, and when two do that at once the race
// detector of Go 1.26 breaks down (golang.org/issue/78156).
func pass(d time.Duration) {
	if d > 0 {
		<-time.After(d)
	}
}

// leftBehind says what is still held in memory.
func (w *world) leftBehind() (out []string) {
	if n, b, r := w.d.Lag(), w.d.HeldBytes(), w.d.Reserved(); n != 0 || b != 0 || r != 0 {
		out = append(out, fmt.Sprintf("left behind: %d deliveries in memory, %d bytes, %d reserved places", n, b, r))
	}
	if severe, held, promised := w.d.Severe(); severe != 0 || held != 0 || promised != 0 {
		out = append(out, fmt.Sprintf("left behind: %d severe deliveries, %d places of the reserve held, %d promised", severe, held, promised))
	}
	return out
}

// nothingHeld checks that no place and no byte is left behind.
func (w *world) nothingHeld() {
	w.t.Helper()
	for _, s := range w.leftBehind() {
		w.t.Error(s)
	}
	if n := w.d.Running(); n != 0 {
		w.t.Errorf("%d attempts are still counted as running", n)
	}
}
