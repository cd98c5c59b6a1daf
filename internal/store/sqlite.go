package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/cybervault/cybervault"
)

// sqliteReaders is how many reads run at once beside the one writer.
const sqliteReaders = 4

func (s *Store) openSQLite(ctx context.Context, path string) error {
	if path == "" {
		return cybervault.Invalid("data", "is empty: name the directory that holds the database")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	lock := flock.New(path + ".lock")
	held, err := lock.TryLock()
	if err != nil {
		return fmt.Errorf("lock %s: %w", path, err)
	}
	if !held {
		return cybervault.Invalid("data", "another CyberVault server has %s open: stop it, or choose another data directory", path)
	}
	s.unlock = func() { _ = lock.Unlock() }
	s.dialect = sqliteDialect()
	// As SQLite's own builds for Linux do: as durable as fsync, without waiting
	// for the file's timestamps. Where there is no fdatasync, fsync it is.
	_, _ = sqlite.Fdatasync(true)

	// Payloads are nobody else's business, whoever may enter the directory.
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return &cybervault.Error{Code: cybervault.CodeInvalid, Field: "data", Message: path + " cannot be written to", Err: err}
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}

	// The writer opens first: it sets the journal mode.
	pragmas := func(more ...string) string {
		q := url.Values{"_pragma": append(more, "busy_timeout(10000)", "temp_store(memory)"), "_txlock": {"immediate"}}
		return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
	}
	writable := pragmas("journal_mode(wal)", "synchronous(full)", "cache_size(-65536)", "wal_autocheckpoint(8192)")
	if err := migrateSQLite(ctx, writable); err != nil {
		return err
	}
	if s.db, err = sql.Open("sqlite", pragmas("query_only(1)", "cache_size(-16384)")); err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	s.db.SetMaxOpenConns(sqliteReaders)
	s.db.SetMaxIdleConns(sqliteReaders)
	s.w, err = startWriter(s, 1, func() (session, error) { return openSQLiteSession(writable) })
	if err != nil {
		return err
	}
	// No other server can have the file open, so every lease in it is dead.
	return s.w.do(ctx, func(tx transaction) error {
		return exec(tx, freeLeases, micros(s.now()))
	})
}

func migrateSQLite(ctx context.Context, dsn string) error {
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	defer func() { _ = db.Close() }()
	db.SetMaxOpenConns(1)
	return migrate(ctx, db, "sqlite")
}

// sqliteSession drives the driver itself: database/sql's pool, its locks and
// its argument conversion cost about a third of a small statement.
type sqliteSession struct {
	conn  driver.Conn
	stmts map[string]driver.Stmt
	args  []any
	named []driver.NamedValue
}

func openSQLiteSession(dsn string) (session, error) {
	conn, err := (&sqlite.Driver{}).Open(dsn)
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	return &sqliteSession{conn: conn, stmts: map[string]driver.Stmt{}}, nil
}

func (s *sqliteSession) close() {
	for _, stmt := range s.stmts {
		_ = stmt.Close()
	}
	_ = s.conn.Close()
}

func (s *sqliteSession) transact(fn func(transaction) error) error {
	if err := exec(s, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	err := fn(s)
	if err == nil {
		err = exec(s, "COMMIT")
	}
	if err != nil {
		// A full disk may have rolled back already; then this says so, and
		// the first error is the one that matters.
		_ = exec(s, "ROLLBACK")
	}
	return err
}

func (s *sqliteSession) stmt(query string) (driver.Stmt, error) {
	if stmt, ok := s.stmts[query]; ok {
		return stmt, nil
	}
	stmt, err := s.conn.Prepare(query)
	if err != nil {
		return nil, fmt.Errorf("prepare %q: %w", query, err)
	}
	s.stmts[query] = stmt
	return stmt, nil
}

func (s *sqliteSession) bind(i int, bind func(int, []any) []any) []driver.NamedValue {
	s.args = bind(i, s.args[:0])
	s.named = s.named[:0]
	for n, arg := range s.args {
		s.named = append(s.named, driver.NamedValue{Ordinal: n + 1, Value: arg})
	}
	return s.named
}

func (s *sqliteSession) each(query string, n int, bind func(int, []any) []any, affected func(int, int64)) error {
	if n == 0 {
		return nil
	}
	stmt, err := s.stmt(query)
	if err != nil {
		return err
	}
	run := stmt.(driver.StmtExecContext) //nolint:forcetypeassert // the driver is chosen in this file
	for i := range n {
		result, err := run.ExecContext(context.Background(), s.bind(i, bind))
		if err != nil {
			return fmt.Errorf("run %.60q: %w", query, err)
		}
		if affected != nil {
			rows, _ := result.RowsAffected()
			affected(i, rows)
		}
	}
	return nil
}

func (s *sqliteSession) query(query string, args []any, row func([]any)) error {
	return s.eachRow(query, 1, func(_ int, a []any) []any { return append(a, args...) }, func(_ int, r []any) { row(r) })
}

func (s *sqliteSession) eachRow(query string, n int, bind func(int, []any) []any, row func(int, []any)) error {
	if n == 0 {
		return nil
	}
	stmt, err := s.stmt(query)
	if err != nil {
		return err
	}
	run := stmt.(driver.StmtQueryContext) //nolint:forcetypeassert // the driver is chosen in this file
	for i := range n {
		rows, err := run.QueryContext(context.Background(), s.bind(i, bind))
		if err != nil {
			return fmt.Errorf("run %.60q: %w", query, err)
		}
		err = readRows(rows, func(r []any) { row(i, r) })
		if err := errors.Join(err, rows.Close()); err != nil {
			return fmt.Errorf("run %.60q: %w", query, err)
		}
	}
	return nil
}

func readRows(rows driver.Rows, row func([]any)) error {
	values := make([]driver.Value, len(rows.Columns()))
	out := make([]any, len(values))
	for {
		if err := rows.Next(values); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		for i, v := range values {
			out[i] = v
		}
		row(out)
	}
}

// trouble covers what a later attempt may find mended: a full or read-only
// disk, a failing one, a lock held too long.
func (*sqliteSession) trouble(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return false
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED,
		sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_PROTOCOL:
		return true
	}
	return false
}
