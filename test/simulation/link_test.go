package simulation

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/store"
)

// link is a node's way to the store. Every call takes a time of its own there and
// back, to the nanosecond, decided by chance and by what the call is about: so no
// two calls reach the store at the same instant, and their order is the seed's,
// not that of the goroutines. Whatever the store did is told to the ledger at the
// instant at which it did it. A node that was killed reaches nothing any more, and
// hears of nothing: the answer to what it has handed in is lost.
type link struct {
	w    *world
	node *node
	s    *store.Store

	mu    sync.Mutex
	calls map[uint64]uint64 // how many of a kind there were about one subject
}

// The kinds of calls.
const (
	callClaim uint64 = iota + 1
	callNextDue
	callRecord
	callRelease
	callBacklogs
	callHealth
	callPublish
	callRead
	callCancel
	callWebhooks
	callSave
	callFree
	callMark
	callReplay
	callStep
	callLine
	callAcknowledge
	callHolds
	callProbe
)

var (
	errKilled  = cybervault.Errorf(cybervault.CodeUnavailable, "the node was killed")
	errTrouble = cybervault.Errorf(cybervault.CodeUnavailable, "the database is in trouble")
)

// call makes one call. fn does it, and tells the ledger, while nobody else does.
func (l *link) call(kind, subject uint64, fn func() error) error {
	l.mu.Lock()
	key := mix(kind) ^ subject
	l.calls[key]++
	n := l.calls[key]
	l.mu.Unlock()
	if !l.w.countCall(fmt.Sprintf("%s calls %d about %d, time %d", l.node, kind, subject, n)) {
		<-time.After(time.Second)
		return errKilled
	}
	r := l.w.plan.seed.rand(ofLink, uint64(l.node.incarnation), kind, subject, n)
	if !l.pass(l.delay(r.Uint64())) {
		return errKilled
	}
	if err := l.do(fn); err != nil {
		l.pass(l.delay(r.Uint64()))
		return err
	}
	if !l.pass(l.delay(r.Uint64())) {
		return errKilled
	}
	return nil
}

// mostCalls is several times what the longest runs need. Whoever makes more goes
// round in circles.
const mostCalls = 60_000

// countCall notes a call, and reports false once there were too many.
func (w *world) countCall(text string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trace.add(0, "%s", text)
	if w.calls++; w.calls == mostCalls {
		w.fail(0, "does not come to rest: %d calls to the store", w.calls)
	}
	return w.calls < mostCalls
}

func (l *link) do(fn func() error) error {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if l.node.dead() {
		return errKilled
	}
	if l.w.trouble {
		return errTrouble
	}
	return fn()
}

// delay is how long a way takes: mostly less than a millisecond or two, seldom
// seconds.
func (l *link) delay(x uint64) time.Duration {
	most := 200 * time.Microsecond
	switch y := mix(x) % 200; {
	case y == 0:
		most = 3 * time.Second
	case y < 10:
		most = 100 * time.Millisecond
	case y < 100:
		most = 2 * time.Millisecond
	}
	return time.Duration(1 + x%uint64(most))
}

// pass lets a while go by, and reports whether the node is alive after it.
func (l *link) pass(d time.Duration) bool {
	timer := time.NewTimer(d + l.node.stalledFor())
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.node.killed:
	}
	return !l.node.dead()
}

// hook is a webhook as a subject.
func (l *link) hook(id cybervault.WebhookID) uint64 {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if h := l.w.ledger.hooks[id]; h != nil {
		return uint64(h.n)
	}
	return 0
}

// delivery is a delivery as a subject.
func (l *link) delivery(id cybervault.DeliveryID) uint64 {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if e := l.w.ledger.deliveries[id]; e != nil {
		return uint64(e.n)
	}
	return 0
}

// set is a subject made of deliveries, in any order.
func (l *link) set(assignments []*cybervault.Assignment) (subject uint64) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	for _, a := range assignments {
		if e := l.w.ledger.deliveries[a.Delivery]; e != nil {
			subject += mix(uint64(e.n))
		}
	}
	return subject
}

func (l *link) Claim(ctx context.Context, c cybervault.Claim) (claimed []*cybervault.Assignment, err error) {
	err = l.call(callClaim, l.hook(c.Webhook), func() error {
		claimed, err = l.s.Claim(context.WithoutCancel(ctx), c)
		l.w.trace.add(0, "%s claims %d, %d for the patient, least %q: %d", l.node, c.Limit, c.Patient, c.Least, len(claimed))
		if err == nil {
			l.w.ledger.claimed(l.node, c.Webhook, c.Lease, claimed, false)
		}
		return err
	})
	return kept(claimed, err)
}

func (l *link) ClaimOrdered(ctx context.Context, webhook cybervault.WebhookID, limit int, lease cybervault.Lease) (claimed []*cybervault.Assignment, next time.Time, err error) {
	err = l.call(callClaim, l.hook(webhook), func() error {
		claimed, next, err = l.s.ClaimOrdered(context.WithoutCancel(ctx), webhook, limit, lease)
		if err == nil {
			l.w.ledger.claimed(l.node, webhook, lease, claimed, true)
		}
		return err
	})
	claimed, err = kept(claimed, err)
	return claimed, l.apart(next, webhook), err
}

// apart moves a time that is to come by nanoseconds that the store does not keep,
// for each webhook by others. Timers that are set to the same instant fire in an
// order that nobody can know beforehand.
func (l *link) apart(t time.Time, webhook cybervault.WebhookID) time.Time {
	if !t.After(l.node.now()) {
		return t
	}
	return t.Add(time.Duration(1 + 7*l.hook(webhook)))
}

func kept[T any](rows []T, err error) ([]T, error) {
	if err != nil {
		return nil, err
	}
	return rows, nil
}

func (l *link) NextDue(ctx context.Context, webhook cybervault.WebhookID, least cybervault.Severity) (due time.Time, err error) {
	err = l.call(callNextDue, l.hook(webhook), func() error {
		due, err = l.s.NextDue(context.WithoutCancel(ctx), webhook, least)
		return err
	})
	return l.apart(due, webhook), err
}

// Record goes its way in the background, as in the store: while the database is
// in trouble it is offered again and again.
func (l *link) Record(r *cybervault.Result, done func(error)) error {
	l.w.mu.Lock()
	e := l.w.ledger.deliveries[r.Attempt.Delivery]
	l.w.ledger.decided(l.node, e, r)
	l.w.mu.Unlock()
	l.w.work.Go(func() {
		for {
			err := l.call(callRecord, uint64(e.n)<<8|uint64(r.Attempt.Number), func() error {
				answered := make(chan error, 1)
				err := l.s.Record(r, func(err error) { answered <- err })
				if err == nil {
					err = <-answered
				}
				l.w.ledger.recorded(l.node, e, r, err)
				return err
			})
			if errors.Is(err, errTrouble) && l.pass(250*time.Millisecond) {
				continue
			}
			done(err)
			return
		}
	})
	return nil
}

func (l *link) Release(ctx context.Context, assignments []*cybervault.Assignment) error {
	return l.call(callRelease, l.set(assignments), func() error {
		err := l.s.Release(context.WithoutCancel(ctx), assignments)
		if err == nil {
			l.w.ledger.released(assignments)
		}
		return err
	})
}

func (l *link) Backlogs(ctx context.Context) (backlogs []cybervault.Backlog, err error) {
	err = l.call(callBacklogs, 0, func() error {
		backlogs, err = l.s.Backlogs(context.WithoutCancel(ctx))
		return err
	})
	for i := range backlogs {
		b := &backlogs[i]
		b.DueAt, b.SevereAt = l.apart(b.DueAt, b.Webhook), l.apart(b.SevereAt, b.Webhook)
	}
	return kept(backlogs, err)
}

func (l *link) Health(ctx context.Context) (health []cybervault.WebhookHealth, err error) {
	err = l.call(callHealth, 0, func() error {
		health, err = l.s.Health(context.WithoutCancel(ctx))
		return err
	})
	return kept(health, err)
}

func (l *link) SaveHealth(ctx context.Context, h *cybervault.WebhookHealth) error {
	return l.call(callHealth, l.hook(h.Webhook), func() error { return l.s.SaveHealth(context.WithoutCancel(ctx), h) })
}

func (l *link) ClaimProbe(ctx context.Context, h *cybervault.WebhookHealth, now, until time.Time) (ours bool, err error) {
	err = l.call(callProbe, l.hook(h.Webhook), func() error {
		ours, err = l.s.ClaimProbe(context.WithoutCancel(ctx), h, now, until)
		return err
	})
	return ours && err == nil, err
}

// Holds is answered by the ledger where there are several nodes: the store, being
// SQLite, would say that nobody can have taken anything.
func (l *link) Holds(ctx context.Context, a *cybervault.Assignment) (held bool, err error) {
	err = l.call(callHolds, l.delivery(a.Delivery), func() error {
		if l.w.plan.nodes > 1 {
			e := l.w.ledger.deliveries[a.Delivery]
			held = e.token == a.Lease.Token && e.status == cybervault.DeliveryPending
			return nil
		}
		held, err = l.s.Holds(context.WithoutCancel(ctx), a)
		return err
	})
	return held && err == nil, err
}
