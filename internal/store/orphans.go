package store

import (
	"context"
	"math"
	"time"
)

// What a dropped partition leaves in other tables: the idempotency keys of its
// events and the marks of its deliveries. Neither does harm: a key whose event is
// gone is free, and a mark whose delivery is gone finds nothing.

const (
	// A look-up for each row, not a join, for which the log would be read.
	pruneKeys = `WITH page AS (SELECT event_id, workspace_id, idempotency_key FROM idempotency_keys WHERE event_id > ? AND event_id < ? ORDER BY event_id LIMIT ?),
gone AS (DELETE FROM idempotency_keys k USING page p WHERE k.workspace_id = p.workspace_id AND k.idempotency_key = p.idempotency_key AND k.event_id = p.event_id
AND (SELECT e.id FROM events e WHERE e.id = p.event_id) IS NULL)
SELECT MAX(event_id) FROM page`
	pruneMarks = `WITH page AS (SELECT webhook_id, sequence, delivery_id FROM webhook_sequence_marks WHERE (webhook_id, sequence) > (?, ?) ORDER BY webhook_id, sequence LIMIT ?),
gone AS (DELETE FROM webhook_sequence_marks m USING page p WHERE m.webhook_id = p.webhook_id AND m.sequence = p.sequence
AND p.delivery_id < ? AND (SELECT d.id FROM deliveries d WHERE d.id = p.delivery_id) IS NULL)
SELECT webhook_id, sequence, delivery_id FROM page ORDER BY webhook_id DESC, sequence DESC LIMIT 1`
)

// pruneOrphans removes them, of rows whose keys were below end, in short
// transactions that publishers share.
func (s *Store) pruneOrphans(ctx context.Context, end int64) error {
	err := s.inSteps(ctx, func(tx transaction, at orphanSpot) (next orphanSpot, more bool, err error) {
		err = tx.query(pruneKeys, []any{at.key, end, int64(orphanRows)}, func(row []any) {
			next.key, more = asInt(row[0]), row[0] != nil
		})
		return next, more, err
	})
	if err != nil {
		return err
	}
	return s.inSteps(ctx, func(tx transaction, at orphanSpot) (next orphanSpot, more bool, err error) {
		err = tx.query(pruneMarks, []any{at.key, at.sequence, int64(orphanRows), end}, func(row []any) {
			next, more = orphanSpot{asInt(row[0]), asInt(row[1])}, true
			if asInt(row[2]) >= end { // and so are the later ones of this webhook
				next.sequence = math.MaxInt64
			}
		})
		return next, more, err
	})
}

// orphanSpot is how far the removal of orphans has come.
type orphanSpot struct{ key, sequence int64 }

// inSteps runs step in a transaction each time, from where the one before came to,
// while there is more.
func (s *Store) inSteps(ctx context.Context, step func(tx transaction, at orphanSpot) (orphanSpot, bool, error)) error {
	var at, next orphanSpot
	for more := true; more; at = next {
		began := time.Now()
		err := s.w.do(ctx, func(tx transaction) (err error) {
			next, more, err = step(tx, at)
			return err
		})
		if err != nil {
			return err
		}
		if err := pause(ctx, rotateRest*time.Since(began)); err != nil {
			return err
		}
	}
	return nil
}
