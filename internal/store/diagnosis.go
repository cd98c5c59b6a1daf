package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/gofrs/flock"
	"github.com/jackc/pgx/v5"

	"github.com/cybervault/cybervault"
)

// Diagnosis is what a database says about itself.
type Diagnosis struct {
	Schema    int64         // version of its schema
	Known     int64         // version that this program brings it to
	ClockSkew time.Duration // how far its clock is ahead of ours; 0 on SQLite, which has none
	Clock     bool          // it has one
	Bytes     int64         // of the embedded database, 0 on PostgreSQL
	Oldest    time.Time     // when the oldest event was stored, zero for none
}

// Overdue is the delivery of a webhook that has been due for longest.
type Overdue struct {
	Webhook cybervault.WebhookID
	DueAt   time.Time
	Leased  bool // then that is when its lease ended
}

// Diagnose asks the database.
func (s *Store) Diagnose(ctx context.Context) (Diagnosis, error) {
	d, err := diagnose(ctx, s.db, s.dialect.name, s.now)
	if err != nil {
		return d, readError(err)
	}
	if s.disk != nil {
		var pages, size int64
		if err := s.db.QueryRowContext(ctx, "PRAGMA page_count").Scan(&pages); err != nil {
			return d, readError(err)
		}
		if err := s.db.QueryRowContext(ctx, "PRAGMA page_size").Scan(&size); err != nil {
			return d, readError(err)
		}
		d.Bytes = pages * size
	}
	return d, nil
}

func diagnose(ctx context.Context, db *sql.DB, database string, now func() time.Time) (d Diagnosis, err error) {
	d.Known = knownSchema(database)
	if d.Schema, err = schemaOf(ctx, db); err != nil {
		return d, err
	}
	var oldest sql.NullInt64
	if err := db.QueryRowContext(ctx, "SELECT MIN(id) FROM events").Scan(&oldest); err != nil {
		return d, fmt.Errorf("look for the oldest event: %w", err)
	}
	if oldest.Valid {
		d.Oldest = time.UnixMilli(oldest.Int64 / cybervault.KeyAt(time.UnixMilli(1))).UTC()
	}
	if database != "postgres" {
		return d, nil
	}
	before := now()
	var theirs int64
	if err := db.QueryRowContext(ctx, "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint").Scan(&theirs); err != nil {
		return d, fmt.Errorf("ask the database for the time: %w", err)
	}
	d.Clock, d.ClockSkew = true, fromMicros(theirs).Sub(before.Add(now().Sub(before)/2))
	return d, nil
}

// DiagnoseClosed asks a database that no server of this process has open, and
// changes nothing in it. An embedded one must not be in use.
func DiagnoseClosed(ctx context.Context, cfg Config) (Diagnosis, error) {
	if cfg.DatabaseURL != "" {
		return diagnosePostgres(ctx, cfg.DatabaseURL)
	}
	info, err := os.Stat(cfg.Path)
	if err != nil {
		return Diagnosis{}, fmt.Errorf("look at the database: %w", err)
	}
	// Immutable: not even a shared-memory file is made beside it. What a write-ahead
	// log holds is not seen, which is of no matter here.
	db, err := openCopy(cfg.Path, url.Values{"mode": {"ro"}, "immutable": {"1"}})
	if err != nil {
		return Diagnosis{}, err
	}
	defer func() { _ = db.Close() }()
	d, err := diagnose(ctx, db, "sqlite", time.Now)
	d.Bytes = info.Size()
	return d, err
}

func diagnosePostgres(ctx context.Context, databaseURL string) (Diagnosis, error) {
	unreadable := cybervault.Invalid("database-url", "cannot be read: use postgres://user:password@host:port/database")
	cfg, err := pgx.ParseConfig(databaseURL)
	if err != nil {
		return Diagnosis{}, unreadable // the error may show the password
	}
	db, err := sql.Open("pgx", databaseURL)
	if err != nil {
		return Diagnosis{}, unreadable
	}
	defer func() { _ = db.Close() }()
	db.SetMaxOpenConns(1)
	if db.PingContext(ctx) != nil {
		return Diagnosis{}, cybervault.Errorf(cybervault.CodeUnavailable, "PostgreSQL at %s, port %d, does not answer: is it running, and may this machine and user connect?", cfg.Host, cfg.Port)
	}
	return diagnose(ctx, db, "postgres", time.Now)
}

// InUse reports whether a server has an embedded database open.
func InUse(path string) bool {
	if _, err := os.Stat(path + ".lock"); err != nil {
		return false // not made to be asked
	}
	lock := flock.New(path + ".lock")
	held, err := lock.TryLock()
	if err == nil && held {
		_ = lock.Unlock()
	}
	return err == nil && !held
}

// FreeSpace returns how many bytes the file system of a directory has left for
// this process's user.
func FreeSpace(dir string) (int64, error) { return diskFree(dir) }

// One seek for each severity, in the index of the queue.
const selectOverdue = `SELECT w.id, w.id_rest, d.due_at, d.lease_token FROM webhooks w JOIN deliveries d ON d.id = (
SELECT q.id FROM deliveries q WHERE q.webhook_id = w.id AND q.status = 0 AND q.severity = ? ORDER BY q.due_at LIMIT 1)
WHERE w.status = 'enabled' AND w.deleted_at = 0 AND d.due_at < ?`

// Overdue tells what has been due since before a moment, at most one delivery for
// each severity of each webhook that is enabled.
func (s *Store) Overdue(ctx context.Context, before time.Time) (all []Overdue, err error) {
	for severity := range int64(5) {
		if all, err = s.addOverdue(ctx, all, severity, before); err != nil {
			return nil, readError(err)
		}
	}
	return all, nil
}

func (s *Store) addOverdue(ctx context.Context, all []Overdue, severity int64, before time.Time) ([]Overdue, error) {
	rows, err := s.db.QueryContext(ctx, s.dialect.rebind(selectOverdue), severity, micros(before))
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var key, rest, due, token int64
		if err := rows.Scan(&key, &rest, &due, &token); err != nil {
			return nil, err
		}
		all = append(all, Overdue{Webhook: cybervault.MakeID[cybervault.WebhookID](key, rest), DueAt: fromMicros(due), Leased: token != 0})
	}
	return all, rows.Err()
}

// countedDeadLetters bounds how many are counted.
const countedDeadLetters = 1000

// DeadLetters counts the deliveries to a webhook since a moment that became dead
// letters, up to a thousand.
func (s *Store) DeadLetters(ctx context.Context, webhook cybervault.WebhookID, since time.Time) (n int64, err error) {
	err = s.db.QueryRowContext(ctx, s.dialect.rebind(`SELECT COUNT(*) FROM (
SELECT d.id FROM deliveries d WHERE d.webhook_id = ? AND d.status = ? AND d.id >= ? ORDER BY d.id LIMIT ?) q`),
		webhook.Key(), int64(statusDeadLetter), cybervault.KeyAt(since), int64(countedDeadLetters)).Scan(&n)
	return n, readError(err)
}

// LastAttempt is the last attempt of the newest delivery to a webhook; nil where
// there is none.
func (s *Store) LastAttempt(ctx context.Context, webhook cybervault.WebhookID) (*cybervault.Attempt, error) {
	row := s.db.QueryRowContext(ctx, s.dialect.rebind("SELECT "+attemptColumns+` FROM attempts a
WHERE a.delivery_id = (SELECT last_delivery FROM webhook_sequences WHERE webhook_id = ?) ORDER BY a.number DESC LIMIT 1`), webhook.Key())
	a, err := scanAttempt(row.Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil //nolint:nilnil // there is none, and that is no error
	}
	return a, readError(err)
}
