package deliver_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/deliver"
)

// row is a delivery as the store keeps it.
type row struct {
	assignment cybervault.Assignment // what a claim returns; attempt and lease are made anew
	status     cybervault.DeliveryStatus
	attempts   int
	due        time.Time // when anyone may claim it: the next attempt's time, or the lease's end
	token      int64
	results    []*cybervault.Result
}

// memQueue behaves as the store does: leases, due times, fencing, commits that
// take a moment, and a database that can be in trouble.
type memQueue struct {
	now    func() time.Time
	commit time.Duration
	slow   atomic.Int64 // nanoseconds more that a release takes

	mu       sync.Mutex
	rows     map[cybervault.DeliveryID]*row
	sequence map[cybervault.WebhookID]int64
	trouble  chan struct{} // not nil: refuses; closed when it is over
	refused  int
	stale    int
	released int
	records  sync.WaitGroup // results on their way
}

var errTrouble = errors.New("disk full")

func newQueue(now func() time.Time) *memQueue {
	return &memQueue{now: now, commit: 2 * time.Millisecond, rows: map[cybervault.DeliveryID]*row{}, sequence: map[cybervault.WebhookID]int64{}}
}

// transact runs fn as a transaction: after the time a commit takes, or not at all.
func (q *memQueue) transact(fn func()) error {
	if q.commit > 0 {
		<-time.After(q.commit)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.trouble != nil {
		q.refused++
		return errTrouble
	}
	fn()
	return nil
}

func (q *memQueue) breakDown() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.trouble = make(chan struct{})
}

func (q *memQueue) recover() {
	q.mu.Lock()
	defer q.mu.Unlock()
	close(q.trouble)
	q.trouble = nil
}

func (q *memQueue) Claim(_ context.Context, webhook cybervault.WebhookID, limit int, lease cybervault.Lease) (claimed []*cybervault.Assignment, err error) {
	err = q.transact(func() {
		now := q.now()
		var due []*row
		for _, r := range q.rows {
			if r.assignment.Webhook == webhook && r.status == cybervault.DeliveryPending && !r.due.After(now) {
				due = append(due, r)
			}
		}
		slices.SortFunc(due, func(a, b *row) int {
			if c := a.due.Compare(b.due); c != 0 {
				return c
			}
			return int(a.assignment.Delivery.Key() - b.assignment.Delivery.Key())
		})
		for _, r := range due[:min(limit, len(due))] {
			a := r.assignment
			a.Attempt, a.Lease = r.attempts+1, lease
			r.token, r.due = lease.Token, lease.Until
			claimed = append(claimed, &a)
		}
	})
	return claimed, err
}

func (q *memQueue) ClaimOrdered(_ context.Context, webhook cybervault.WebhookID, limit int, lease cybervault.Lease) (claimed []*cybervault.Assignment, next time.Time, err error) {
	err = q.transact(func() {
		now := q.now()
		var line []*row
		for _, r := range q.rows {
			if r.assignment.Webhook == webhook && !r.status.Ended() {
				line = append(line, r)
			}
		}
		slices.SortFunc(line, func(a, b *row) int { return int(a.assignment.Sequence - b.assignment.Sequence) })
		for _, r := range line[:min(limit, len(line))] {
			if r.due.After(now) {
				next = r.due
				return
			}
			a := r.assignment
			a.Attempt, a.Lease, a.Ordered = r.attempts+1, lease, !a.Test
			r.token, r.due = lease.Token, lease.Until
			claimed = append(claimed, &a)
		}
	})
	return claimed, next, err
}

func (q *memQueue) NextDue(_ context.Context, webhook cybervault.WebhookID) (due time.Time, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.trouble != nil {
		return due, errTrouble
	}
	for _, r := range q.rows {
		if r.assignment.Webhook == webhook && r.status == cybervault.DeliveryPending && (due.IsZero() || r.due.Before(due)) {
			due = r.due
		}
	}
	return due, nil
}

func (q *memQueue) Backlogs(context.Context) ([]cybervault.Backlog, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.trouble != nil {
		return nil, errTrouble
	}
	earliest := map[cybervault.WebhookID]time.Time{}
	for _, r := range q.rows {
		if t, ok := earliest[r.assignment.Webhook]; r.status == cybervault.DeliveryPending && (!ok || r.due.Before(t)) {
			earliest[r.assignment.Webhook] = r.due
		}
	}
	var out []cybervault.Backlog
	for id, t := range earliest {
		out = append(out, cybervault.Backlog{Webhook: id, DueAt: t})
	}
	return out, nil
}

// Record keeps a result while the database is in trouble, as the store does.
func (q *memQueue) Record(r *cybervault.Result, done func(error)) error {
	q.records.Go(func() {
		for {
			var err error
			if q.transact(func() { err = q.finish(r) }) == nil {
				done(err)
				return
			}
			q.mu.Lock()
			over := q.trouble
			q.mu.Unlock()
			if over != nil {
				<-over
			}
		}
	})
	return nil
}

func (q *memQueue) finish(r *cybervault.Result) error {
	d := q.rows[r.Attempt.Delivery]
	if d.status != cybervault.DeliveryPending || d.token != r.Lease.Token || d.token == 0 {
		q.stale++
		return cybervault.Errorf(cybervault.CodeConflict, "the lease has ended")
	}
	d.status, d.attempts, d.token, d.due = r.Status, r.Attempt.Number, 0, r.NextAttemptAt
	d.results = append(d.results, r)
	return nil
}

func (q *memQueue) Release(_ context.Context, assignments []*cybervault.Assignment) error {
	<-time.After(time.Duration(q.slow.Load()))
	return q.transact(func() {
		for _, a := range assignments {
			if d := q.rows[a.Delivery]; d.status == cybervault.DeliveryPending && d.token == a.Lease.Token {
				d.token, d.due = 0, q.now()
				q.released++
			}
		}
	})
}

// put stores a pending delivery as some other node left it.
func (q *memQueue) put(a cybervault.Assignment, attempts int, due time.Time, token int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.rows[a.Delivery] = &row{assignment: a, status: cybervault.DeliveryPending, attempts: attempts, due: due, token: token}
}

// counts returns what the queue has counted.
func (q *memQueue) counts() (released, stale, refused int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.released, q.stale, q.refused
}

// end ends the living deliveries that match, as cancelling does.
func (q *memQueue) end(match func(*row) bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range q.rows {
		if !r.status.Ended() && match(r) {
			r.status, r.token = cybervault.DeliveryCancelled, 0
		}
	}
}

// get returns a copy of a row.
func (q *memQueue) get(id cybervault.DeliveryID) row {
	q.mu.Lock()
	defer q.mu.Unlock()
	return *q.rows[id]
}

func (q *memQueue) count(status cybervault.DeliveryStatus) (n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range q.rows {
		if r.status == status {
			n++
		}
	}
	return n
}

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
	config deliver.Config
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
		Queue: w.queue, Webhooks: w.hooks, Sender: w.net, IDs: w.ids, RetrySchedule: schedule, UserAgent: "CyberVault-Webhooks/test",
		Now: w.now, Logger: slog.New(slog.DiscardHandler),
	}
	w.restart()
	return w
}

// restart starts a new dispatcher on the same queue.
func (w *world) restart() {
	w.t.Helper()
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

// commit stores a delivery as the router does: claimed at birth where the
// dispatcher admits it.
func (w *world) commit(hook *cybervault.Webhook, body []byte, test bool) cybervault.DeliveryID {
	run := w.ids.NextRun(2)
	a := &cybervault.Assignment{
		Delivery: cybervault.DeliveryID{UUID: run[1]}, Webhook: hook.ID, Event: cybervault.EventID{UUID: run[0]},
		EventType: cybervault.EventThreatDetected, Attempt: 1, Test: test, Body: body,
	}
	admitted := w.d.Admit(hook.ID, len(body), test)
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
		w.d.Wake(hook.ID)
	}
	return a.Delivery
}

func (w *world) publish(hook *cybervault.Webhook) cybervault.DeliveryID {
	return w.commit(hook, []byte(`{"id":"wh_1"}`), false)
}

// pass lets virtual time pass.
func pass(d time.Duration) { <-time.After(d) }

// nothingHeld checks that no place and no byte is left behind.
func (w *world) nothingHeld() {
	w.t.Helper()
	if n, b, r := w.d.Lag(), w.d.HeldBytes(), w.d.Reserved(); n != 0 || b != 0 || r != 0 {
		w.t.Errorf("left behind: %d deliveries in memory, %d bytes, %d reserved places", n, b, r)
	}
	if n := w.d.Running(); n != 0 {
		w.t.Errorf("%d attempts are still counted as running", n)
	}
}
