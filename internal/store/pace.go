package store

import (
	"context"
	"time"

	"github.com/cybervault/cybervault"
)

// What was given out for another rate counts no more.
const takePace = `INSERT INTO webhook_pace (webhook_id, step, next_at) VALUES (?, ?, ?)
ON CONFLICT (webhook_id) DO UPDATE SET step = excluded.step,
next_at = CASE WHEN webhook_pace.step <> excluded.step OR webhook_pace.next_at < ? THEN excluded.next_at ELSE webhook_pace.next_at + ? END
RETURNING next_at`

// TakePace gives out the next n of the attempts that a webhook may get, one every
// step, to one of the nodes that deliver to it, and tells when the first of them
// may be made: perhaps a moment ago, since up to burst that nobody took are kept.
func (s *Store) TakePace(ctx context.Context, webhook cybervault.WebhookID, step time.Duration, burst, n int) (first time.Time, err error) {
	err = s.w.do(ctx, func(tx transaction) error {
		span := int64(n) * step.Microseconds()
		floor := micros(s.now()) - int64(burst)*step.Microseconds()
		return tx.query(takePace, []any{webhook.Key(), step.Microseconds(), floor + span, floor, span}, func(row []any) {
			first = fromMicros(asInt(row[0]) - span)
		})
	})
	return first, err
}
