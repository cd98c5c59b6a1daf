package simulation

import (
	"slices"
	"time"

	"github.com/cybervault/cybervault"
)

// What is compared with the store as its users see it.

// answered is told of the answer to a publish.
func (l *ledger) answered(req *cybervault.PublishRequest, r cybervault.PublishReceipt) {
	ev := l.events[r.ID]
	if ev == nil || ev.n != numberIn(*req) || ev.typ != req.Type {
		l.w.fail(0, "event %d was answered as %s and is not stored", numberIn(*req), r.ID)
		return
	}
	if before := l.answers[req.IdempotencyKey]; req.IdempotencyKey != "" && before != nil && before != ev && !before.removed {
		l.w.fail(0, "key %q was answered as %s, and before as %s", req.IdempotencyKey, ev.id, before.id)
	}
	l.answers[req.IdempotencyKey] = ev
	born := 0
	for _, e := range ev.made {
		if e.status != cybervault.DeliverySkipped && e.replayOf == nil {
			born++
		}
	}
	if r.Deliveries != born && !ev.removed {
		l.w.fail(0, "event %d was answered with %d deliveries, and has %d", ev.n, r.Deliveries, born)
	}
}

// sweep removes what is old, as the retention does.
func (h *hand) sweep() {
	keep := []time.Duration{time.Minute, 10 * time.Minute, time.Hour}[h.IntN(3)]
	expiry := cybervault.Expiry{Before: h.storeNow().Add(-keep), DeadLettersBefore: h.storeNow().Add(-3 * keep)}
	for position := (cybervault.SweepPosition{}); ; {
		h.mu.Lock()
		if h.trouble || h.front.dead() {
			h.mu.Unlock()
			return
		}
		step, err := h.store.Sweep(h.ctx, expiry, position)
		if err != nil {
			h.fail(0, "sweep: %v", err)
		} else if step.Events+step.Deliveries > 0 {
			h.ledger.swept(expiry)
		}
		done := err != nil || step.Done
		position = step.Position
		h.mu.Unlock()
		if done {
			return
		}
		<-time.After(time.Duration(1 + h.Int64N(int64(5*time.Millisecond))))
	}
}

// swept finds out which events are gone, and whether they might.
func (l *ledger) swept(x cybervault.Expiry) {
	before, deadBefore := cybervault.KeyAt(x.Before), cybervault.KeyAt(x.DeadLettersBefore)
	for _, ev := range l.events {
		if ev.removed || ev.id.Key() >= before {
			continue
		}
		if _, err := l.w.store.Event(l.w.ctx, l.w.workspace, ev.id); cybervault.ErrorCode(err) != cybervault.CodeNotFound {
			continue
		}
		ev.removed = true
		for _, e := range ev.made {
			if !e.ended() || e.id.Key() >= before || e.status == cybervault.DeliveryDeadLetter && e.id.Key() >= deadBefore {
				l.w.fail(e.n, "was removed by the retention although it is %s", e.status)
			}
			e.removed = true
		}
	}
}

// look compares the store with the ledger, and follows the change log.
func (w *world) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.front.dead() {
		return // between two processes
	}
	w.follow()
	seen := map[cybervault.DeliveryID]bool{}
	for q := (cybervault.DeliveryQuery{Workspace: w.workspace, Limit: cybervault.MaxPageSize}); ; {
		page, err := w.store.Deliveries(w.ctx, q)
		if err != nil {
			w.fail(0, "list deliveries: %v", err)
			return
		}
		for _, d := range page.Rows {
			seen[d.ID] = true
			w.ledger.compare(d)
		}
		if !page.More {
			break
		}
		q.Before = page.Rows[len(page.Rows)-1].ID
	}
	for _, e := range w.ledger.all {
		if !e.removed && !seen[e.id] {
			w.fail(e.n, "is not in the store any more: lost")
		}
	}
}

func (l *ledger) compare(d *cybervault.Delivery) {
	e := l.deliveries[d.ID]
	if e == nil || e.removed {
		l.w.fail(0, "%s is stored and was never committed, or was removed", d.ID)
		return
	}
	if d.Status != e.status || d.Attempts != e.attempts || d.Sequence != e.sequence || d.Running != (e.token != 0) || d.Webhook != e.hook.id || d.Event != e.event.id {
		l.w.fail(e.n, "is stored as %+v, and is %s after %d attempts, leased by %s", d, e.status, e.attempts, e.holder)
	}
}

// follow reads on in the change log.
func (w *world) follow() {
	for {
		page, err := w.store.Changes(w.ctx, cybervault.ChangeQuery{Workspace: w.workspace, After: w.seen})
		if err != nil {
			w.fail(0, "read the change log: %v", err)
			return
		}
		for _, c := range page.Rows {
			w.changed(&c)
		}
		w.seen = page.Next
		if !page.More {
			return
		}
	}
}

func (w *world) changed(c *cybervault.Change) {
	if c.Kind == cybervault.ChangeEvent {
		return
	}
	e := w.ledger.deliveries[c.Delivery.ID]
	switch {
	case e == nil:
		w.fail(0, "the change log tells of %s, which was never committed", c.Delivery.ID)
	case c.Kind == cybervault.ChangeAttempt:
		if e.numbers++; c.Attempt.Number != e.numbers {
			w.fail(e.n, "the change log tells of attempt %d after %d attempts", c.Attempt.Number, e.numbers-1)
		}
	case c.Status.Ended():
		if e.ends++; e.ends > 1 || c.Status != e.status {
			w.fail(e.n, "the change log tells of end %d, as %s; it is %s", e.ends, c.Status, e.status)
		}
	case e.ends > 0:
		w.fail(e.n, "the change log tells that it is %s after its end", c.Status)
	}
}

// judge says what is wrong once everything has come to rest.
func (w *world) judge() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.ledger.all {
		if e.removed {
			continue
		}
		if !e.ended() {
			w.fail(e.n, "is stranded: %s after %d attempts, due in %s, leased by %s", e.status, e.attempts, e.due.Sub(w.storeNow()), e.holder)
		}
		if e.ends != 1 && e.status != cybervault.DeliverySkipped {
			w.fail(e.n, "has ended as %s, and the change log told of it %d times", e.status, e.ends)
		}
		if e.attempts < 2 && e.n%16 != 0 {
			continue // the change log has told of it
		}
		attempts, err := w.store.Attempts(w.ctx, w.workspace, e.id)
		if err != nil || len(attempts) != e.attempts || e.numbers != e.attempts {
			w.fail(e.n, "has %d attempts stored and %d in the change log, not %d: %v", len(attempts), e.numbers, e.attempts, err)
		}
		slices.SortFunc(attempts, func(a, b *cybervault.Attempt) int { return a.Number - b.Number })
		for i, a := range attempts {
			if a.Number != i+1 {
				w.fail(e.n, "attempt %d is stored as number %d", i+1, a.Number)
			}
		}
	}
	for _, n := range w.nodes {
		if lag, running := n.dispatcher.Lag(), n.dispatcher.Running(); lag+running != 0 {
			w.fail(0, "%s holds %d deliveries in memory, and counts %d attempts, when all is done", n, lag, running)
		}
	}
}
