package store

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/cybervault/cybervault"
)

// Scratch makes an empty schema in a PostgreSQL database, for a benchmark that
// must not see what else is there. It returns a URL under which a store has the
// schema to itself, and what removes it with all that it holds.
func Scratch(ctx context.Context, databaseURL string) (scratch string, remove func(context.Context) error, err error) {
	u, err := url.Parse(databaseURL)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return "", nil, cybervault.Invalid("database-url", "cannot be read: use postgres://user:password@host:port/database")
	}
	schema := "cybervault_bench_" + strings.ToLower(rand.Text())
	run := func(ctx context.Context, statement string) error {
		conn, err := pgx.Connect(ctx, databaseURL)
		if err != nil {
			return fmt.Errorf("connect to PostgreSQL: %w", err)
		}
		defer func() { _ = conn.Close(ctx) }()
		if _, err = conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
		return nil
	}
	if err := run(ctx, "CREATE SCHEMA "+schema); err != nil {
		return "", nil, err
	}
	query := u.Query()
	query.Set("search_path", schema)
	u.RawQuery = query.Encode()
	return u.String(), func(ctx context.Context) error { return run(ctx, "DROP SCHEMA "+schema+" CASCADE") }, nil
}
