package store

import (
	"context"
	"slices"
	"time"

	"github.com/cybervault/cybervault"
)

// Deliveries of an ordered webhook carry a mark, so that an index in the order
// of their sequence numbers costs the others nothing. It covers the held ones
// too: they hold back what comes after them. Its condition is another than that
// of the queue's index, so that SQLite cannot take that one instead.

const (
	selectInOrder = `SELECT d.id, d.due_at, d.status FROM deliveries d
WHERE d.webhook_id = ? AND d.ordered = 1 AND d.finished_at = 0 ORDER BY d.sequence LIMIT ?`
	selectOrdered = `SELECT d.id, d.id_rest, d.sequence, d.attempts, d.test, d.severity, e.id, e.id_rest, e.type, e.body, d.due_at, d.status
FROM deliveries d JOIN events e ON e.id = d.event_id
WHERE d.webhook_id = ? AND d.ordered = 1 AND d.finished_at = 0 ORDER BY d.sequence LIMIT ?`
	selectUnmarked = `SELECT id, due_at FROM deliveries
WHERE webhook_id = ? AND status < 2 AND status = ? AND severity = ? AND due_at >= ? AND ordered = 0 ORDER BY due_at LIMIT ?`
)

// lineBusy is how long to leave a line alone that another node is at.
const lineBusy = 50 * time.Millisecond

// ClaimOrdered leases up to limit deliveries of an ordered webhook in the order
// of their sequence numbers, from the first that has not ended on: nothing is
// claimed past one that is not due, is under a lease, is held, or is being changed
// by another node. Where that one stopped it, next tells when to look again;
// otherwise next is zero.
func (s *Store) ClaimOrdered(ctx context.Context, webhook cybervault.WebhookID, limit int, lease cybervault.Lease) (claimed []*cybervault.Assignment, next time.Time, err error) {
	if limit < 1 {
		return nil, time.Time{}, nil
	}
	err = s.w.claim(ctx, webhook, lease, func(tx transaction) (err error) {
		var free []int64
		now := micros(s.now())
		if free, next, err = lineFrom(tx, webhook, limit, now); err != nil || len(free) == 0 {
			claimed = claimed[:0]
			return err
		}
		if claimed, err = s.takeLine(tx, webhook, free, now, lease, claimed[:0]); err != nil {
			return err
		}
		if len(claimed) == 0 {
			next = fromMicros(now).Add(lineBusy)
		}
		return s.eachByKey(tx, "deliveries", leaseDelivery, len(claimed), func(i int) int64 { return claimed[i].Delivery.Key() }, func(i int, a []any) []any {
			return append(a, lease.Token, micros(lease.Until), claimed[i].Delivery.Key())
		}, nil)
	})
	if err != nil {
		return nil, time.Time{}, err
	}
	return claimed, next, nil
}

// lineFrom tells which deliveries stand free at the head of a line.
func lineFrom(tx transaction, webhook cybervault.WebhookID, limit int, now int64) (free []int64, next time.Time, err error) {
	stopped := false
	err = tx.query(selectInOrder, []any{webhook.Key(), int64(limit)}, func(row []any) {
		switch due := asInt(row[1]); {
		case stopped:
		case asInt(row[2]) != statusPending: // freeing it wakes the lane
			stopped = true
		case due > now:
			stopped, next = true, fromMicros(due)
		default:
			free = append(free, asInt(row[0]))
		}
	})
	return free, next, err
}

// takeLine locks what stood free at the head of a line a moment ago, as far as it
// still does. A gap ends it: what is missing may have ended, or another node may be
// about to lease it. Waiting for that node would tell, but two nodes that claim for
// many webhooks in one transaction each could then wait for each other.
func (s *Store) takeLine(tx transaction, webhook cybervault.WebhookID, free []int64, now int64, lease cybervault.Lease, into []*cybervault.Assignment) ([]*cybervault.Assignment, error) {
	whole := true
	err := tx.query(selectOrdered+s.dialect.skipLocked, []any{webhook.Key(), int64(len(free))}, func(row []any) {
		n := len(into)
		whole = whole && n < len(free) && asInt(row[0]) == free[n] && asInt(row[10]) <= now && asInt(row[11]) == statusPending
		if !whole {
			return
		}
		a := assignment(webhook, row, lease)
		a.Ordered = !a.Test // a test stands in no line
		into = append(into, a)
	})
	return into, err
}

// Holds reports whether the lease of a delivery is still the caller's. On SQLite
// nobody can have taken it.
func (s *Store) Holds(ctx context.Context, a *cybervault.Assignment) (held bool, err error) {
	if !s.Shared() {
		return true, nil
	}
	err = s.db.QueryRowContext(ctx, s.dialect.rebind("SELECT EXISTS (SELECT 1 FROM deliveries WHERE id = ? AND lease_token = ? AND status = 0)"),
		a.Delivery.Key(), a.Lease.Token).Scan(&held)
	return held, readError(err)
}

// assignment reads a row of selectDue or selectOrdered.
func assignment(webhook cybervault.WebhookID, row []any, lease cybervault.Lease) *cybervault.Assignment {
	return &cybervault.Assignment{
		Delivery: cybervault.MakeID[cybervault.DeliveryID](asInt(row[0]), asInt(row[1])), Webhook: webhook,
		Sequence: asInt(row[2]), Attempt: int(asInt(row[3])) + 1, Test: asInt(row[4]) != 0,
		Severity: severityOf(asInt(row[5])),
		Event:    cybervault.MakeID[cybervault.EventID](asInt(row[6]), asInt(row[7])), EventType: asString(row[8]),
		Body: slices.Clone(asBytes(row[9])), Lease: lease,
	}
}

// MarkOrdered marks the living deliveries of a webhook that has been made
// ordered, in bounded batches, and returns how many had no mark. Those without
// one are not found by ClaimOrdered.
func (s *Store) MarkOrdered(ctx context.Context, webhook cybervault.WebhookID) (total int64, err error) {
	for {
		n, err := s.markPass(ctx, webhook)
		total += n
		// A delivery that was given back meanwhile may stand where the pass had
		// been already.
		if err != nil || n == 0 {
			return total, err
		}
	}
}

// spot is how far a pass through the queue of one webhook has come.
type spot struct{ status, severity, due int64 }

// next is the beginning of the next part of the queue, if there is one.
func (p spot) next() (spot, bool) {
	switch {
	case p.severity < severities-1:
		return spot{status: p.status, severity: p.severity + 1}, true
	case p.status == statusPending:
		return spot{status: statusHeld}, true
	}
	return p, false
}

// markPass goes through the queue once, a status and a severity at a time.
func (s *Store) markPass(ctx context.Context, webhook cybervault.WebhookID) (total int64, err error) {
	for at, more := (spot{status: statusPending}), true; more; {
		var marked int
		var to spot
		err := s.w.do(ctx, func(tx transaction) (err error) {
			to, more = at, true
			marked = 0
			for more && marked == 0 && err == nil { // parts without any cost no transaction of their own
				marked, err = markNext(tx, webhook, &to)
				if marked < endBatch {
					to, more = to.next()
				}
			}
			return err
		})
		if err != nil {
			return total, err
		}
		total += int64(marked)
		at = to
	}
	return total, nil
}

// markNext marks the next of one part of the queue, and moves at to the last of them.
func markNext(tx transaction, webhook cybervault.WebhookID, at *spot) (int, error) {
	var found []int64
	due := at.due
	err := tx.query(selectUnmarked, []any{webhook.Key(), at.status, at.severity, at.due, int64(endBatch)}, func(row []any) {
		found = append(found, asInt(row[0]))
		due = asInt(row[1])
	})
	if err != nil {
		return 0, err
	}
	at.due = due
	return len(found), tx.each("UPDATE deliveries SET ordered = 1 WHERE id = ?", len(found),
		func(i int, a []any) []any { return append(a, found[i]) }, nil)
}

// orderLater marks deliveries that are made after their event, as the store has
// their webhooks now.
func (s *Store) orderLater(tx transaction, fresh []newborn) error {
	ordered := map[cybervault.WebhookID]bool{}
	for _, n := range fresh {
		if !n.later || n.delivery.Ordered {
			continue
		}
		yes, known := ordered[n.delivery.Webhook]
		if !known {
			err := tx.query("SELECT ordered, url FROM webhooks WHERE id = ?"+s.dialect.forShare, []any{n.delivery.Webhook.Key()},
				func(row []any) { yes = asInt(row[0]) != 0 || asString(row[1]) == cybervault.PollURL })
			if err != nil {
				return err
			}
			ordered[n.delivery.Webhook] = yes
		}
		n.delivery.Ordered = yes
	}
	return nil
}
