package store

import "context"

// readRows runs one query for the audit log, which reads two rows for each
// delivery. On SQLite it has a connection of its own for that, as the writer
// has: most of what a row costs through database/sql is locks and conversions.
func (s *Store) readRows(ctx context.Context, query string, args []any, row func([]any)) error {
	s.auditLock.Lock()
	if s.auditSession != nil {
		defer s.auditLock.Unlock()
		return s.auditSession.query(query, args, row)
	}
	s.auditLock.Unlock()
	rows, err := s.db.QueryContext(ctx, s.dialect.rebind(query), args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	values, into := make([]any, len(columns)), make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		row(values)
	}
	return rows.Err()
}

// closeAudit closes the connection that readRows has.
func (s *Store) closeAudit() {
	s.auditLock.Lock()
	defer s.auditLock.Unlock()
	if s.auditSession != nil {
		s.auditSession.close()
		s.auditSession = nil
	}
}
