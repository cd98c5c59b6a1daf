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

// A node that has not heard yet that the webhook is deleted may take some more:
// CancelDeliveries, which each node calls once it has, forgets that too.
const forgetPace = "DELETE FROM webhook_pace WHERE webhook_id = ?"

// TakePace gives out the next n of the attempts that a webhook may get, one every
// step, to one of the nodes that deliver to it, and tells when the first of them
// may be made: perhaps a moment ago, since up to burst that nobody took are kept.
// Whoever is not answered in time makes do without: some that were given out are then
// nobody's.
func (s *Store) TakePace(ctx context.Context, webhook cybervault.WebhookID, step time.Duration, burst, n int) (time.Time, error) {
	var first time.Time // the writer's, until it has answered
	err := s.w.try(ctx, func(tx transaction) error {
		span := int64(n) * step.Microseconds()
		floor := micros(s.now()) - int64(burst)*step.Microseconds()
		return tx.query(takePace, []any{webhook.Key(), step.Microseconds(), floor + span, floor, span}, func(row []any) {
			first = fromMicros(asInt(row[0]) - span)
		})
	})
	if err != nil {
		return time.Time{}, err
	}
	return first, nil
}
