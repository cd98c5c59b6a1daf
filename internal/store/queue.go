package store

import (
	"cmp"
	"context"
	"time"

	"github.com/cybervault/cybervault"
)

// Record hands in a finished attempt and what becomes of its delivery. It
// returns once it is queued; done is called, from another goroutine, when it is
// durable, or with CodeConflict when the lease is no longer the caller's and
// nothing was recorded. A database in trouble delays done: the result is kept
// and offered again. done must not block. Record blocks while the queue is full;
// it fails with CodeUnavailable once the store is closed, and then done is not
// called.
func (s *Store) Record(r *cybervault.Result, done func(error)) error {
	return s.w.submit(context.Background(), &operation{
		result: r,
		bytes:  len(r.Attempt.Body) + 1024,
		done:   done,
	})
}

const (
	finishAttempt = `UPDATE deliveries SET status = ?, attempts = ?, due_at = ?, lease_token = 0, finished_at = ?, last_status = ?, last_failure = ?
WHERE id = ? AND lease_token = ? AND lease_token <> 0 AND status = 0`
	releaseToken  = `UPDATE deliveries SET lease_token = 0, due_at = ? WHERE webhook_id = ? AND status < 2 AND status = 0 AND lease_token = ?`
	releaseLease  = `UPDATE deliveries SET lease_token = 0, due_at = ? WHERE id = ? AND lease_token = ? AND status = 0`
	selectAttempt = `SELECT number FROM attempts WHERE delivery_id = ? AND number = ? AND id = ? AND id_rest = ?`
	insertAttempt = `INSERT INTO attempts (delivery_id, number, id, id_rest, started_at, elapsed, status, failure, detail, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
)

func (s *Store) recordResults(tx transaction, ops []*operation) ([]func(), error) {
	answers := make([]func(), 0, len(ops))
	fenced := make([]*cybervault.Result, 0, len(ops))
	var again []*operation // refused, and perhaps because they are recorded already
	list := tx.noted()
	err := s.eachByKey(tx, "deliveries", finishAttempt, len(ops), func(i int) int64 { return ops[i].result.Attempt.Delivery.Key() }, func(i int, a []any) []any {
		r := ops[i].result
		var due, finished int64
		if r.Status == cybervault.DeliveryPending {
			due = s.w.setback.due(s, r)
		} else {
			finished = finishedAt(r).UnixMicro()
		}
		return append(a, statusCode(r.Status), int64(r.Attempt.Number), due, finished, int64(r.Attempt.Status), string(r.Attempt.Failure),
			r.Attempt.Delivery.Key(), r.Lease.Token)
	}, func(i int, rows int64) {
		op := ops[i]
		switch {
		case rows == 1:
			list.result(op.result.Attempt.Delivery.Key(), int64(op.result.Attempt.Number), statusCode(op.result.Status))
			fenced = append(fenced, op.result)
			if op.result.Status.Ended() {
				list.wrote.ends = append(list.wrote.ends, endOf(op.result))
			}
			answers = append(answers, func() { op.done(nil) })
		case op.doubtful:
			again = append(again, op)
		default:
			answers = append(answers, func() { s.refuseStale(op) })
		}
	})
	if err != nil {
		return nil, err
	}
	recorded, err := s.recordedBefore(tx, again)
	if err != nil {
		return nil, err
	}
	return append(answers, recorded...), s.insertAttempts(tx, fenced)
}

func (s *Store) refuseStale(op *operation) {
	s.stale.Add(1)
	op.done(cybervault.Errorf(cybervault.CodeConflict, "the lease on %s has ended: the result is not recorded", op.result.Attempt.Delivery))
}

// recordedBefore tells results that an earlier commit recorded, whose answer was
// lost, from those whose lease has ended.
func (s *Store) recordedBefore(tx transaction, ops []*operation) ([]func(), error) {
	answers := make([]func(), 0, len(ops))
	for _, op := range ops {
		t, found := op.result.Attempt, false
		err := tx.query(selectAttempt, []any{t.Delivery.Key(), int64(t.Number), t.ID.Key(), t.ID.Rest()}, func([]any) { found = true })
		if err != nil {
			return nil, err
		}
		if found {
			answers = append(answers, func() { op.done(nil) })
		} else {
			answers = append(answers, func() { s.refuseStale(op) })
		}
	}
	return answers, nil
}

func (s *Store) insertAttempts(tx transaction, results []*cybervault.Result) error {
	return s.eachByKey(tx, "attempts", insertAttempt, len(results), func(i int) int64 { return results[i].Attempt.Delivery.Key() }, func(i int, a []any) []any { return appendAttempt(a, results[i].Attempt) }, nil)
}

// appendAttempt appends the arguments of insertAttempt.
func appendAttempt(a []any, t *cybervault.Attempt) []any {
	return append(a, t.Delivery.Key(), int64(t.Number), t.ID.Key(), t.ID.Rest(), t.StartedAt.UnixMicro(), t.Elapsed.Microseconds(),
		int64(t.Status), string(t.Failure), encodeDetail(&t.Exchange), t.Body)
}

// Release gives leases back, so that the deliveries can be claimed at once.
// Leases that have been lost in the meantime are passed over.
func (s *Store) Release(ctx context.Context, assignments []*cybervault.Assignment) error {
	if len(assignments) == 0 {
		return nil
	}
	return s.w.do(ctx, func(tx transaction) error {
		now := micros(s.now())
		return tx.each(releaseLease, len(assignments),
			func(i int, a []any) []any {
				return append(a, now, assignments[i].Delivery.Key(), assignments[i].Lease.Token)
			}, nil)
	})
}

// Pending counts the deliveries that have not ended, for metrics.
func (s *Store) Pending(ctx context.Context) (pending, held int64, err error) {
	err = s.db.QueryRowContext(ctx, `SELECT COALESCE(SUM(CASE WHEN status = 0 THEN 1 ELSE 0 END), 0), COALESCE(SUM(CASE WHEN status = 1 THEN 1 ELSE 0 END), 0)
FROM deliveries WHERE status < 2`).Scan(&pending, &held)
	return pending, held, readError(err)
}

// Waiting counts the deliveries of a webhook that have not ended, up to
// cybervault.MaxWaiting.
func (s *Store) Waiting(ctx context.Context, webhook cybervault.WebhookID) (n int64, err error) {
	err = s.db.QueryRowContext(ctx, s.dialect.rebind(`SELECT COUNT(*) FROM (SELECT 1 FROM deliveries WHERE webhook_id = ? AND status < 2 LIMIT ?) q`), webhook.Key(), int64(cybervault.MaxWaiting)).Scan(&n)
	return n, readError(err)
}

// endBatch bounds how many deliveries one transaction ends or frees.
const endBatch = 1000

const (
	selectLiving = `SELECT id FROM deliveries WHERE webhook_id = ? AND status < 2 LIMIT ?`
	selectHeld   = `SELECT id FROM deliveries WHERE webhook_id = ? AND status < 2 AND status = 1 ORDER BY severity DESC, due_at LIMIT ?`
	freeLeases   = `UPDATE deliveries SET lease_token = 0, due_at = ? WHERE status < 2 AND status = 0 AND lease_token <> 0`
)

// CancelDelivery ends a delivery that has not ended. An attempt under way is
// not recorded. CodeNotFound, or CodeConflict when it has ended.
func (s *Store) CancelDelivery(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.DeliveryID, reason string) error {
	return s.w.do(ctx, func(tx transaction) error {
		cancelled, err := execCount(tx, `UPDATE deliveries SET status = 4, reason = ?, lease_token = 0, due_at = 0, finished_at = ?
WHERE id = ? AND id_rest = ? AND workspace_id = ? AND status < 2`, reason, micros(s.now()), id.Key(), id.Rest(), ws.Key())
		if err == nil && cancelled == 1 {
			tx.noted().delivery(id.Key(), statusCancelled)
			if s.Shared() { // it may stand in another node's window
				err = tx.query("SELECT pg_notify(?, ?)", []any{endedChannel, id.String()}, func([]any) {})
			}
			if err == nil {
				err = s.act(ctx, tx, ws, "delivery.cancel", id.String(), nil, nil)
			}
		}
		if err != nil || cancelled == 1 {
			return err
		}
		refusal := notFound("delivery", id.String())
		err = tx.query("SELECT status FROM deliveries WHERE id = ? AND id_rest = ? AND workspace_id = ?",
			[]any{id.Key(), id.Rest(), ws.Key()}, func(row []any) {
				refusal = cybervault.Errorf(cybervault.CodeConflict, "the delivery has ended already: it is %s", statusOf(asInt(row[0])))
			})
		return cmp.Or(err, refusal)
	})
}

// CancelDeliveries ends all living deliveries of a webhook, in bounded batches,
// and returns how many there were.
func (s *Store) CancelDeliveries(ctx context.Context, webhook cybervault.WebhookID, reason string) (int64, error) {
	if reason == cybervault.ReasonWebhookDeleted {
		if err := s.w.do(ctx, func(tx transaction) error { return exec(tx, forgetPace, webhook.Key()) }); err != nil {
			return 0, err
		}
	}
	return s.inBatches(ctx, statusCancelled, `UPDATE deliveries SET status = 4, reason = ?, lease_token = 0, due_at = 0, finished_at = ?
WHERE id IN (`+selectLiving+`) AND status < 2 RETURNING id`,
		func(now time.Time) []any { return []any{reason, micros(now), webhook.Key()} })
}

// FreeHeld makes the held deliveries of a webhook pending, in bounded batches,
// and returns how many there were. They stay due since they were made, which may be
// later than now by a clock that was set back.
func (s *Store) FreeHeld(ctx context.Context, webhook cybervault.WebhookID) (int64, error) {
	return s.inBatches(ctx, statusPending, `UPDATE deliveries SET status = 0, due_at = CASE WHEN due_at > ? THEN ? ELSE due_at END
WHERE id IN (`+selectHeld+`) AND status = 1 RETURNING id`,
		func(now time.Time) []any { return []any{micros(now), micros(now), webhook.Key()} })
}

// inBatches runs query, which gives deliveries a status and returns their keys,
// until it finds nothing. A row that another transaction
// ended between the query's two looks at it is left alone, so a batch may come
// out smaller than it could.
func (s *Store) inBatches(ctx context.Context, status int64, query string, args func(time.Time) []any) (total int64, err error) {
	for {
		var n int64
		err := s.w.do(ctx, func(tx transaction) error {
			n = 0
			return tx.query(query, append(args(s.now()), int64(endBatch)), func(row []any) {
				tx.noted().delivery(asInt(row[0]), status)
				n++
			})
		})
		total += n
		if err != nil || n == 0 {
			return total, err
		}
	}
}

func notFound(what, id string) error {
	return cybervault.Errorf(cybervault.CodeNotFound, "there is no %s %s in this workspace", what, id)
}
