package store

import (
	"context"
	"errors"
	"fmt"
	"os"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// sqliteCopy is SQLite's online backup from a session to a file.
type sqliteCopy struct {
	to     *sqliteSession
	backup uintptr
}

// The copy is worth nothing until it is whole, and whoever keeps it makes it
// durable: it needs no journal and no fsync of its own.
func copyPragmas() []string {
	return []string{"journal_mode(off)", "synchronous(off)", "locking_mode(exclusive)"}
}

func (s *sqliteSession) beginCopy(path string) error {
	to, err := openSQLiteSession(path, copyPragmas())
	if err != nil {
		return err
	}
	c := &sqliteCopy{to: to.(*sqliteSession)} //nolint:forcetypeassert // it opens nothing else
	name, err := libc.CString("main")
	if err != nil {
		to.close()
		return err
	}
	defer libc.Xfree(s.tls, name)
	if c.backup = sqlite3.Xsqlite3_backup_init(s.tls, c.to.db, name, s.db, name); c.backup == 0 {
		err := c.to.failure(sqlite3.Xsqlite3_errcode(s.tls, c.to.db))
		to.close()
		return err
	}
	s.copy = c
	return nil
}

func (s *sqliteSession) stepCopy(pages int) (done bool, err error) {
	switch code := sqlite3.Xsqlite3_backup_step(s.tls, s.copy.backup, int32(pages)); code {
	case sqlite3.SQLITE_DONE:
		return true, nil
	case sqlite3.SQLITE_OK, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED: // the latter two pass
		return false, nil
	default:
		text := libc.GoString(sqlite3.Xsqlite3_errstr(s.tls, code))
		return false, &sqliteError{code: code, text: fmt.Sprintf("copy the database: %s (%d)", text, code)}
	}
}

func (s *sqliteSession) endCopy() error {
	c := s.copy
	if c == nil {
		return nil
	}
	s.copy = nil
	code := sqlite3.Xsqlite3_backup_finish(s.tls, c.backup)
	c.to.close()
	if code != sqlite3.SQLITE_OK {
		text := libc.GoString(sqlite3.Xsqlite3_errstr(s.tls, code))
		return &sqliteError{code: code, text: fmt.Sprintf("copy the database: %s (%d)", text, code)}
	}
	return nil
}

// CopyDatabase writes a consistent copy of an embedded database, which a server
// in another process may have open, to a new file. It reads for as long as it
// takes, so that the server's write-ahead log grows by what is written meanwhile.
func CopyDatabase(ctx context.Context, from, to string) (err error) {
	if _, err := os.Stat(from); err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("make the copy of the database: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("make the copy of the database: %w", err)
	}
	opened, err := openSQLiteSession(from, []string{"temp_store(memory)", "query_only(1)"})
	if err != nil {
		return err
	}
	defer opened.close()
	s := opened.(*sqliteSession) //nolint:forcetypeassert // it opens nothing else
	// One transaction over all steps: what is copied is the database as it is now,
	// and no step begins anew because somebody has written.
	if err := exec(s, "BEGIN"); err != nil {
		return err
	}
	if err := s.query("SELECT COUNT(*) FROM sqlite_schema", nil, func([]any) {}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, exec(s, "ROLLBACK")) }()
	if err := s.beginCopy(to); err != nil {
		return err
	}
	for done := false; !done && err == nil; {
		if err = ctx.Err(); err == nil {
			done, err = s.stepCopy(16 * snapshotPages)
		}
	}
	return errors.Join(err, s.endCopy())
}
