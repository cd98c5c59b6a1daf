package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/cybervault/cybervault"
)

// NextDue tells when the earliest pending delivery of a webhook may be claimed:
// its next attempt's time, or the end of the lease it is under. Zero when
// nothing is pending.
func (s *Store) NextDue(ctx context.Context, webhook cybervault.WebhookID) (time.Time, error) {
	var due sql.NullInt64
	err := s.db.QueryRowContext(ctx, s.dialect.rebind("SELECT MIN(due_at) FROM deliveries WHERE webhook_id = ? AND status = 0 AND status < 2"),
		webhook.Key()).Scan(&due)
	return fromMicros(due.Int64), readError(err)
}
