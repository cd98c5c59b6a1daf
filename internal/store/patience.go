package store

import (
	"context"
	"time"

	"github.com/cybervault/cybervault"
)

// readPatience is how long a page of a list may take. A search without an end
// would keep SQLite's write-ahead log from ever being begun anew, and a
// connection of PostgreSQL from everybody else.
const readPatience = 30 * time.Second

// list reads one page, within readPatience.
func list[T any](ctx context.Context, s *Store, query string, args []any, limit int, scan func(func(...any) error) (T, error)) (cybervault.Page[T], error) {
	bounded, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	page, err := listRows(bounded, s, query, args, limit, scan)
	if err != nil && bounded.Err() != nil && ctx.Err() == nil {
		return page, s.impatient(err)
	}
	return page, err
}

// impatient says that readPatience is over.
func (s *Store) impatient(err error) error {
	return &cybervault.Error{Code: cybervault.CodeUnavailable, Err: err,
		Message: "the search took longer than " + cybervault.FormatDuration(s.patience) + ": narrow it by time, webhook, event or status"}
}
