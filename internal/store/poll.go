package store

import (
	"context"
	"slices"

	"github.com/cybervault/cybervault"
)

// Deliveries of a polled webhook stand in the index of the ordered ones; those of
// one with a URL are found in the queue's, and sorted. What is
// handed out is the front of that line, and nothing is passed over: neither what
// is held nor what an attempt is under way for. So when a
// delivery is acknowledged, all before it that have not ended were handed out
// with it or before; later ones always have a greater sequence number.

const (
	inLine  = "d.ordered = 1 AND d.finished_at = 0"
	inQueue = "d.status < 2"

	selectLine = `SELECT d.id, d.id_rest, d.sequence, d.attempts, d.test, e.id, e.id_rest, e.type, e.body, d.status, d.lease_token, d.due_at
FROM deliveries d JOIN events e ON e.id = d.event_id
WHERE d.webhook_id = ? AND ` + inLine + ` ORDER BY d.sequence LIMIT ?`
	// The bodies are read of those that are chosen, not of all that are sorted.
	selectQueued = `SELECT d.id, d.id_rest, d.sequence, d.attempts, d.test, e.id, e.id_rest, e.type, e.body, d.status, d.lease_token, d.due_at
FROM (SELECT d.id, d.id_rest, d.event_id, d.sequence, d.attempts, d.test, d.status, d.lease_token, d.due_at FROM deliveries d WHERE d.webhook_id = ? AND ` + inQueue + ` ORDER BY d.sequence LIMIT ?) d JOIN events e ON e.id = d.event_id
ORDER BY d.sequence`
	selectAcknowledged = `SELECT d.id, d.id_rest, d.attempts, d.status FROM deliveries d
WHERE d.webhook_id = ? AND ` + inLine + ` AND d.sequence <= ? ORDER BY d.sequence LIMIT ?`
	selectAcknowledgedQueued = `SELECT d.id, d.id_rest, d.attempts, d.status FROM deliveries d
WHERE d.webhook_id = ? AND ` + inQueue + ` AND d.sequence <= ? ORDER BY d.sequence LIMIT ?`
	finishPolled = `UPDATE deliveries SET status = 2, attempts = ?, due_at = 0, lease_token = 0, finished_at = ?, last_status = ?, last_failure = ''
WHERE id = ? AND status = 0`
)

// Line lists the deliveries of a webhook that wait, in the order of their
// sequence numbers, from the first on: at most limit, and MaxPollBytes of bodies
// beyond the first. It ends before one that is held or under an attempt. It
// changes nothing.
//
// The webhook is polled, so that all its deliveries stand in line, or else what
// it has waiting is sorted for each call.
func (s *Store) Line(ctx context.Context, webhook cybervault.WebhookID, polled bool, limit int) ([]*cybervault.Assignment, error) {
	query := selectQueued
	if polled {
		query = selectLine
	}
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	rows, err := s.db.QueryContext(ctx, s.dialect.rebind(query), webhook.Key(), int64(limit))
	if err != nil {
		return nil, readError(err)
	}
	defer func() { _ = rows.Close() }()
	var line []*cybervault.Assignment
	size, now := 0, micros(s.now())
	for rows.Next() {
		a := &cybervault.Assignment{Webhook: webhook, Ordered: true}
		var id, idRest, attempts, test, event, eventRest, status, lease, due int64
		if err := rows.Scan(&id, &idRest, &a.Sequence, &attempts, &test, &event, &eventRest, &a.EventType, &a.Body, &status, &lease, &due); err != nil {
			return nil, readError(err)
		}
		if size += len(a.Body); status != statusPending || lease != 0 && due > now || len(line) > 0 && size > cybervault.MaxPollBytes {
			break
		}
		a.Delivery = cybervault.MakeID[cybervault.DeliveryID](id, idRest)
		a.Event = cybervault.MakeID[cybervault.EventID](event, eventRest)
		a.Attempt, a.Test = int(attempts)+1, test != 0
		line = append(line, a)
	}
	return line, readError(rows.Err())
}

// Acknowledge ends the deliveries of a webhook up to last, and that one,
// as delivered, each with an attempt that fresh makes the rest of, and returns
// them once that is durable. What has ended already is left alone. CodeGone when
// the webhook has no such delivery.
func (s *Store) Acknowledge(ctx context.Context, webhook cybervault.WebhookID, polled bool, last cybervault.DeliveryID, fresh func() *cybervault.Attempt) ([]*cybervault.Result, error) {
	var all []*cybervault.Result
	for more := true; more; {
		var batch []*cybervault.Result
		err := s.w.do(ctx, func(tx transaction) (err error) {
			batch, more, err = s.acknowledge(tx, webhook, polled, last, fresh)
			return err
		})
		if err != nil {
			return all, err
		}
		all = append(all, batch...)
	}
	return all, nil
}

func (s *Store) acknowledge(tx transaction, webhook cybervault.WebhookID, polled bool, last cybervault.DeliveryID, fresh func() *cybervault.Attempt) (ended []*cybervault.Result, more bool, err error) {
	var upTo int64
	err = tx.query("SELECT sequence FROM deliveries WHERE id = ? AND id_rest = ? AND webhook_id = ?",
		[]any{last.Key(), last.Rest(), webhook.Key()}, func(row []any) { upTo = asInt(row[0]) })
	if err == nil && upTo == 0 {
		err = cybervault.Errorf(cybervault.CodeGone, "the delivery that this cursor acknowledges is not in the log any more: poll without a cursor; what has not been acknowledged is handed out again")
	}
	if err != nil {
		return nil, false, err
	}
	var found []*cybervault.Result
	read := 0
	query := selectAcknowledgedQueued
	if polled {
		query = selectAcknowledged
	}
	err = tx.query(query+s.dialect.forUpdate, []any{webhook.Key(), upTo, int64(endBatch)}, func(row []any) {
		if read++; asInt(row[3]) != statusPending {
			return
		}
		a := fresh()
		a.Delivery, a.Number = cybervault.MakeID[cybervault.DeliveryID](asInt(row[0]), asInt(row[1])), int(asInt(row[2]))+1
		found = append(found, &cybervault.Result{Attempt: a, Webhook: webhook, Status: cybervault.DeliveryDelivered})
	})
	if err != nil {
		return nil, false, err
	}
	list := tx.noted()
	err = s.eachByKey(tx, "deliveries", finishPolled, len(found), func(i int) int64 { return found[i].Attempt.Delivery.Key() }, func(i int, a []any) []any {
		t := found[i].Attempt
		return append(a, int64(t.Number), t.StartedAt.Add(t.Elapsed).UnixMicro(), int64(t.Status), t.Delivery.Key())
	}, func(i int, rows int64) {
		if rows == 1 {
			list.result(found[i].Attempt.Delivery.Key(), int64(found[i].Attempt.Number), statusDelivered)
			ended = append(ended, found[i])
		}
	})
	if err != nil {
		return nil, false, err
	}
	return slices.Clip(ended), read == endBatch && len(ended) > 0, s.insertAttempts(tx, ended)
}
