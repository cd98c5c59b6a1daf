package deliver_test

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cybervault/cybervault"
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
	claims   int
	looks    int // at all backlogs
	asked    int // whose a lease is
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

func (q *memQueue) Claim(_ context.Context, c cybervault.Claim) (claimed []*cybervault.Assignment, err error) {
	err = q.transact(func() {
		q.claims++
		now := q.now()
		var due [5][]*row
		longest, since := 0, time.Time{}
		for _, r := range q.rows {
			if rank := rankOf(r); r.assignment.Webhook == c.Webhook && r.status == cybervault.DeliveryPending && !r.due.After(now) && rank >= c.Least.Rank() {
				due[rank] = append(due[rank], r)
				if since.IsZero() || r.due.Before(since) || r.due.Equal(since) && rank > longest {
					longest, since = rank, r.due
				}
			}
		}
		room := max(c.Limit-c.Patient, 0)
		for rank := len(due) - 1; rank >= 0; rank-- {
			if rank == longest {
				room = c.Limit
			}
			slices.SortFunc(due[rank], func(a, b *row) int {
				return cmp.Or(a.due.Compare(b.due), cmp.Compare(a.assignment.Delivery.Key(), b.assignment.Delivery.Key()))
			})
			for _, r := range due[rank][:max(min(room-len(claimed), len(due[rank])), 0)] {
				a := r.assignment
				a.Attempt, a.Lease = r.attempts+1, c.Lease
				r.token, r.due = c.Lease.Token, c.Lease.Until
				claimed = append(claimed, &a)
			}
		}
	})
	return claimed, err
}

func rankOf(r *row) int { return max(r.assignment.Severity.Rank(), 0) }

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

func (q *memQueue) Holds(_ context.Context, a *cybervault.Assignment) (held bool, err error) {
	err = q.transact(func() {
		r := q.rows[a.Delivery]
		held = r.status == cybervault.DeliveryPending && r.token == a.Lease.Token
		q.asked++
	})
	return held, err
}

// MarkOrdered does nothing: whatever is of an ordered webhook stands in line here.
func (*memQueue) MarkOrdered(context.Context, cybervault.WebhookID) (int64, error) { return 0, nil }

func (q *memQueue) NextDue(_ context.Context, webhook cybervault.WebhookID, least cybervault.Severity) (due time.Time, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.trouble != nil {
		return due, errTrouble
	}
	for _, r := range q.rows {
		if r.assignment.Webhook == webhook && r.status == cybervault.DeliveryPending && rankOf(r) >= least.Rank() && (due.IsZero() || r.due.Before(due)) {
			due = r.due
		}
	}
	return due, nil
}

func (q *memQueue) Backlogs(context.Context) ([]cybervault.Backlog, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.looks++
	if q.trouble != nil {
		return nil, errTrouble
	}
	earliest := map[cybervault.WebhookID]*cybervault.Backlog{}
	for _, r := range q.rows {
		if r.status != cybervault.DeliveryPending {
			continue
		}
		b := earliest[r.assignment.Webhook]
		if b == nil {
			b = &cybervault.Backlog{Webhook: r.assignment.Webhook, DueAt: r.due}
			earliest[b.Webhook] = b
		}
		if r.due.Before(b.DueAt) {
			b.DueAt = r.due
		}
		if r.assignment.Severity.Severe() && (b.SevereAt.IsZero() || r.due.Before(b.SevereAt)) {
			b.SevereAt = r.due
		}
	}
	var out []cybervault.Backlog
	for _, b := range earliest {
		out = append(out, *b)
	}
	return out, nil
}

func (q *memQueue) Record(r *cybervault.Result, done func(error)) error {
	return q.record(r, &atomic.Bool{}, done)
}

// record keeps a result while the database is in trouble, as the store does,
// unless it is lost with its node.
func (q *memQueue) record(r *cybervault.Result, dead *atomic.Bool, done func(error)) error {
	q.records.Go(func() {
		for {
			var err error
			lost := false
			if q.transact(func() {
				if lost = dead.Load(); !lost {
					err = q.finish(r)
				}
			}) == nil {
				if !lost {
					done(err)
				}
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
	pass(time.Duration(q.slow.Load()))
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

func (q *memQueue) lookedAt() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.looks
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
// steal gives one delivery to another node, until a time.
func (q *memQueue) steal(match func(*row) bool, until time.Time) (id cybervault.DeliveryID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for key, r := range q.rows {
		if match(r) {
			r.token, r.due = 4711, until
			return key
		}
	}
	return id
}

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
