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
	selectOrdered = `SELECT d.id, d.id_rest, d.sequence, d.attempts, d.test, d.severity, e.id, e.id_rest, e.type, e.body
FROM deliveries d JOIN events e ON e.id = d.event_id
WHERE d.webhook_id = ? AND d.ordered = 1 AND d.finished_at = 0 ORDER BY d.sequence LIMIT ?`
	selectUnmarked = `SELECT id, due_at FROM deliveries
WHERE webhook_id = ? AND status < 2 AND status = ? AND severity = ? AND due_at >= ? AND ordered = 0 ORDER BY due_at LIMIT ?`
)

// ClaimOrdered leases up to limit deliveries of an ordered webhook in the order
// of their sequence numbers, from the first that has not ended on: nothing is
// claimed past one that is not due, is under a lease, or is held. Where that one
// stopped it, next tells when it can be claimed; otherwise next is zero.
func (s *Store) ClaimOrdered(ctx context.Context, webhook cybervault.WebhookID, limit int, lease cybervault.Lease) (claimed []*cybervault.Assignment, next time.Time, err error) {
	if limit < 1 {
		return nil, time.Time{}, nil
	}
	err = s.w.do(ctx, func(tx transaction) error {
		claimed, next = claimed[:0], time.Time{}
		var free []int64
		now, stopped := micros(s.now()), false
		err := tx.query(selectInOrder+s.dialect.forUpdate, []any{webhook.Key(), int64(limit)}, func(row []any) {
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
		if err != nil || len(free) == 0 {
			return err
		}
		err = tx.query(selectOrdered, []any{webhook.Key(), int64(len(free))}, func(row []any) {
			if n := len(claimed); n < len(free) && asInt(row[0]) == free[n] {
				claimed = append(claimed, assignment(webhook, row, lease))
			}
		})
		if err != nil {
			return err
		}
		for _, a := range claimed {
			a.Ordered = !a.Test // a test stands in no line
		}
		return tx.each(leaseDelivery, len(claimed), func(i int, a []any) []any {
			return append(a, lease.Token, micros(lease.Until), claimed[i].Delivery.Key())
		}, nil)
	})
	if err != nil {
		return nil, time.Time{}, err
	}
	return claimed, next, nil
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
