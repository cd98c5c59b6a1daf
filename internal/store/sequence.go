package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"slices"

	"github.com/cybervault/cybervault"
)

// A delivery is found by its sequence number without an index on it: every
// delivery names the one before it of its webhook, and every markEvery-th has a
// mark. A range is read by walking back from the marks in it and from the one
// above it. See docs/decisions/0013.

// markEvery is how far apart the marks of a webhook are. It never changes: the
// marks that are stored rely on it.
const markEvery = 64

// run is the sequence numbers that a transaction gives out for one webhook.
type run struct {
	count    int64
	newest   int64 // the row key of the delivery that gets the last of them
	sequence int64 // given out last
	previous int64 // the row key of the delivery that has it
}

// take gives a delivery the next number, and returns the row key of the one before.
func (r *run) take(d *cybervault.NewDelivery) (previous int64) {
	previous = r.previous
	r.sequence++
	d.Sequence, r.previous = r.sequence, d.ID.Key()
	return previous
}

// nextRuns reserves the numbers of all that are not skipped, by webhook.
func nextRuns(tx transaction, fresh []newborn) (map[int64]*run, error) {
	runs := map[int64]*run{}
	for _, n := range fresh {
		if n.delivery.Status == cybervault.DeliverySkipped {
			continue
		}
		webhook := n.delivery.Webhook.Key()
		r := runs[webhook]
		if r == nil {
			r = &run{}
			runs[webhook] = r
		}
		r.count++
		r.newest = n.delivery.ID.Key()
	}
	// Webhooks are taken in the order of their keys, so that two writers that
	// want the same ones cannot wait for each other.
	webhooks := make([]int64, 0, len(runs))
	for key := range runs {
		webhooks = append(webhooks, key)
	}
	slices.SortFunc(webhooks, cmp.Compare[int64])
	err := tx.eachRow(nextSequences, len(webhooks), func(i int, a []any) []any {
		r := runs[webhooks[i]]
		return append(a, webhooks[i], r.count, r.newest)
	}, func(i int, row []any) {
		r := runs[webhooks[i]]
		r.sequence, r.previous = asInt(row[0])-r.count, asInt(row[1])
	})
	return runs, err
}

// mark says which delivery of a webhook has a number.
type mark struct{ webhook, sequence, delivery int64 }

const insertMark = `INSERT INTO webhook_sequence_marks (webhook_id, sequence, delivery_id) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`

func insertMarks(tx transaction, marks []mark) error {
	return tx.each(insertMark, len(marks), func(i int, a []any) []any {
		return append(a, marks[i].webhook, marks[i].sequence, marks[i].delivery)
	}, nil)
}

// UNION, not UNION ALL: a walk ends where another one has begun.
const selectSequence = `WITH RECURSIVE walk (id, sequence, previous) AS (
SELECT d.id, d.sequence, d.previous FROM (
SELECT delivery_id FROM webhook_sequence_marks WHERE webhook_id = ? AND sequence >= ? AND sequence < ?
UNION ALL SELECT last_delivery FROM webhook_sequences WHERE webhook_id = ? AND last < ?) m JOIN deliveries d ON d.id = m.delivery_id
UNION
SELECT d.id, d.sequence, d.previous FROM walk w JOIN deliveries d ON d.id = w.previous WHERE w.sequence > ?)
SELECT ` + deliveryColumns + ` FROM ` + deliveryTables + `d.id IN (SELECT id FROM walk WHERE sequence >= ? AND sequence <= ?) ORDER BY d.sequence`

// Sequence tells which deliveries have the sequence numbers of a webhook
// between from and to, both included, at most MaxSequencePage of them. With to 0
// it goes on to the last one. CodeNotFound if the workspace never had the webhook; a deleted one
// keeps its numbers.
func (s *Store) Sequence(ctx context.Context, ws cybervault.WorkspaceID, webhook cybervault.WebhookID, from, to int64) (cybervault.SequencePage, error) {
	page := cybervault.SequencePage{Rows: []*cybervault.Delivery{}}
	err := s.db.QueryRowContext(ctx, s.dialect.rebind(`SELECT COALESCE(s.last, 0) FROM webhooks w LEFT JOIN webhook_sequences s ON s.webhook_id = w.id
WHERE w.id = ? AND w.id_rest = ? AND w.workspace_id = ?`), webhook.Key(), webhook.Rest(), ws.Key()).Scan(&page.Last)
	if errors.Is(err, sql.ErrNoRows) {
		return page, notFound("webhook", webhook.String())
	}
	if err != nil {
		return page, readError(err)
	}
	from = max(from, 1)
	end := page.Last // of what was asked for
	if to > 0 {
		end = min(to, end)
	}
	if from > end {
		return page, nil
	}
	to = min(end, from+cybervault.MaxSequencePage-1)
	key, above := webhook.Key(), to+markEvery
	rows, err := s.db.QueryContext(ctx, s.dialect.rebind(selectSequence), key, from, above, key, above, from, from, to)
	if err != nil {
		return page, readError(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		d, err := scanDelivery(ws, rows.Scan)
		if err != nil {
			return page, readError(err)
		}
		page.Rows = append(page.Rows, d)
	}
	if err := rows.Err(); err != nil || to == end {
		return page, readError(err)
	}
	page.Next = to + 1
	if len(page.Rows) > 0 {
		return page, nil
	}
	// All of them have been removed, and perhaps millions more: go on where
	// there may be something.
	next := page.Last
	err = s.db.QueryRowContext(ctx, s.dialect.rebind(`SELECT sequence FROM webhook_sequence_marks WHERE webhook_id = ? AND sequence > ? ORDER BY sequence LIMIT 1`), key, to).Scan(&next)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return page, readError(err)
	}
	if page.Next = max(page.Next, next-markEvery+1); page.Next > end {
		page.Next = 0
	}
	return page, nil
}
