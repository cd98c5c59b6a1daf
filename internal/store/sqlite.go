package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
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

// busyTimeout is how long a connection waits for a lock, in milliseconds.
const busyTimeout = 10_000

func (s *Store) openSQLite(ctx context.Context, cfg Config) error {
	path := cfg.Path
	if path == "" {
		return cybervault.Invalid("data", "is empty: name the directory that holds the database")
	}
	if err := MakeDirectory(filepath.Dir(path)); err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	var err error
	if s.unlock, err = LockDatabase(path); err != nil {
		s.unlock = func() {}
		return err
	}
	s.dialect, s.path = sqliteDialect(), path
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

	dsn := func(pragmas ...string) string {
		q := url.Values{"_pragma": append(pragmas, fmt.Sprintf("busy_timeout(%d)", busyTimeout), "temp_store(memory)"), "_txlock": {"immediate"}}
		return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
	}
	// What writes opens first: it sets the journal mode.
	writing := []string{"journal_mode(wal)", "synchronous(full)", "cache_size(-32768)", "wal_autocheckpoint(8192)", "temp_store(memory)",
		fmt.Sprintf("journal_size_limit(%d)", keptLogBytes)}
	if err := migrateSQLite(ctx, dsn(writing...)); err != nil {
		return err
	}
	if s.db, err = sql.Open("sqlite", dsn("query_only(1)", "cache_size(-16384)")); err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	s.db.SetMaxOpenConns(sqliteReaders)
	s.db.SetMaxIdleConns(sqliteReaders)
	s.disk = &diskGuard{path: path, reserve: cfg.DiskReserve, free: cfg.DiskFree, reusable: s.reusable, log: s.log}
	if s.disk.free == nil {
		s.disk.free = diskFree
	}
	s.disk.look()
	s.w, err = startWriter(s, 1, func() (session, error) { return openSQLiteSession(path, writing) })
	if err != nil {
		return err
	}
	reading, err := openSQLiteSession(path, []string{"query_only(1)", "cache_size(-4096)"})
	if err != nil {
		return err
	}
	s.auditSession = reading.(*sqliteSession)
	// No other server can have the file open, so every lease in it is dead.
	return s.w.do(ctx, func(tx transaction) error {
		return exec(tx, freeLeases, micros(s.now()))
	})
}

// LockDatabase keeps every other server away from an embedded database, whether
// it exists or not, until unlock is called.
func LockDatabase(path string) (unlock func(), err error) {
	lock := flock.New(path + ".lock")
	held, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if !held {
		return nil, cybervault.Invalid("data", "another CyberVault server has %s open: stop it, or choose another data directory", path)
	}
	return func() { _ = lock.Unlock() }, nil
}

func migrateSQLite(ctx context.Context, dsn string) error {
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	defer func() { _ = db.Close() }()
	db.SetMaxOpenConns(1)
	if err := migrate(ctx, db, "sqlite"); err != nil {
		// A table of versions that cannot be read is taken for none at all.
		var word string
		if check := db.QueryRowContext(ctx, "PRAGMA quick_check('goose_db_version')").Scan(&word); check == nil && word != "ok" {
			err = errors.Join(err, &sqliteError{code: sqlite3.SQLITE_CORRUPT, text: word})
		}
		return err
	}
	return nil
}
