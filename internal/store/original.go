package store

import (
	"context"

	"github.com/cybervault/cybervault"
)

// Original returns an event and how many deliveries were made with it, skipped
// ones not counted, or CodeNotFound.
func (s *Store) Original(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.EventID) (*cybervault.Event, int, error) {
	e, err := s.Event(ctx, ws, id)
	if err != nil {
		return nil, 0, err
	}
	var births, deliveries int
	err = s.db.QueryRowContext(ctx, s.dialect.rebind("SELECT deliveries FROM events WHERE id = ?"), id.Key()).Scan(&births)
	if err == nil {
		err = s.db.QueryRowContext(ctx, s.dialect.rebind(countBirths), id.Key(), birthsEnd(id.Key(), births), id.Key()).Scan(&deliveries)
	}
	return e, deliveries, readError(err)
}
