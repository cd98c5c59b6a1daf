// Package store keeps everything that must outlive the process: events,
// deliveries, attempts, webhooks and API keys, in an embedded SQLite file or in
// PostgreSQL, with one body of SQL.
//
// It stands between router and deliver and is the queue between them: an event
// and its deliveries are committed in one transaction before the publisher is
// answered, and a delivery stays claimable here until a result is committed.
// All writes pass through group commits (see writer), reads through a pool.
//
// It never decides: which webhooks an event goes to is the router's business,
// when to try again is deliver's. It never talks to a receiver.
package store

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cybervault/cybervault"
)

// Config says which database to open, and how.
type Config struct {
	// Path of the SQLite file. Used when DatabaseURL is empty.
	Path string
	// DatabaseURL of a PostgreSQL database, "postgres://…".
	DatabaseURL string
	// Key seals webhook secrets and header values at rest: 32 bytes.
	Key []byte
	// DiskReserve is how many bytes are to stay free on the disk of the SQLite
	// file: see Admit. 0: none.
	DiskReserve int64
	// DiskFree tells how many bytes the file system of a directory has left; nil
	// asks the operating system.
	DiskFree func(dir string) (int64, error)
	// Now is the node's clock; nil means time.Now.
	Now func() time.Time
	// DatabaseNow stands in for the clock of a PostgreSQL server, which is asked
	// where this is nil.
	DatabaseNow func() time.Time
	// Changed is told after each commit that stands in the change log; nil:
	// nobody. It must not block.
	Changed func()
	Logger  *slog.Logger // nil: discarded
}

// Store is an open database. All methods are safe for concurrent use.
type Store struct {
	dialect  dialect
	db       *sql.DB // the pool for reads
	w        *writer
	seal     *sealer
	spans    knownSpans
	rotation rotation
	direct   atomic.Pointer[[]partition] // see direct.go; nil on SQLite
	rests    sync.Map                    // of ids that the audit log writes: see restOf
	recent   recent                      // what it need not read back
	now      func() time.Time            // that the queue goes by: see clock.go
	clock    *databaseClock              // nil on SQLite
	log      *slog.Logger
	path     string // of the SQLite file
	changed  func()
	unlock   func()
	lines    *lines // the connections to PostgreSQL; nil on SQLite
	place    *place // among the nodes that share a PostgreSQL database; nil on SQLite
	stale    atomic.Int64
	disk     *diskGuard // nil on PostgreSQL

	auditRead    atomic.Int64 // leaves whose rows were looked up
	auditLock    sync.Mutex
	auditSession *sqliteSession // what the audit log reads by; nil on PostgreSQL
	// overviewRows bounds how many rows of a table an overview counts.
	overviewRows int64
	patience     time.Duration // with a page of a list: readPatience
}

// Open opens the database, brings its schema up to date and starts the writer.
// A database that another server has open (SQLite), that cannot be reached
// (PostgreSQL), or whose schema is newer than this program, is an error that
// says what to do.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	s := &Store{now: cfg.Now, log: cfg.Logger, changed: cfg.Changed, unlock: func() {}, overviewRows: overviewRows, patience: readPatience}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if s.seal, err = newSealer(cfg.Key); err != nil {
		return nil, err
	}
	if cfg.DatabaseURL != "" {
		err = s.openPostgres(ctx, cfg)
	} else {
		if err = s.openSQLite(ctx, cfg); damaged(err) {
			err = &cybervault.Error{Code: cybervault.CodeInvalid, Field: "data", Err: err,
				Message: cfg.Path + " is damaged, or is no database of CyberVault: restore it from a backup, or move it away to begin anew"}
		}
	}
	if err != nil {
		if s.w != nil {
			s.w.close()
		}
		if s.clock != nil {
			s.clock.leave()
		}
		s.closeAudit()
		if s.db != nil {
			_ = s.db.Close()
		}
		s.unlock()
		return nil, err
	}
	return s, nil
}

// Close commits what was handed in, then closes the database. Calls after it
// fail with CodeUnavailable.
func (s *Store) Close() error {
	s.w.close()
	if s.place != nil {
		s.place.leave()
	}
	if s.clock != nil {
		s.clock.leave()
	}
	s.closeAudit()
	err := s.db.Close()
	s.unlock()
	if err != nil && s.clock != nil {
		// All that was handed in is committed. What PostgreSQL has ended cannot be
		// closed again, which is no loss.
		s.log.Debug("a connection to PostgreSQL was gone before it was closed", "error", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("close the database: %w", err)
	}
	return nil
}

// pingPatience is how long the database may take to show that it answers.
const pingPatience = 3 * time.Second

// refusedLately is for how long a refused publication says that the database is in
// trouble, unless one is taken.
const refusedLately = time.Second

// probeRow is the key of a row that belongs to no webhook: Ping writes it.
const probeRow = 0

// Ping reports whether the database answers and can be written to, in the
// sense of /readyz. It writes only after a write has failed, to see whether
// that is over.
func (s *Store) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pingPatience)
	defer cancel()
	err := s.w.try(ctx, func(tx transaction) error {
		if !s.w.troubled.Load() {
			return nil
		}
		return exec(tx, `INSERT INTO webhook_sequences (webhook_id, last) VALUES (?, 1)
ON CONFLICT (webhook_id) DO UPDATE SET last = webhook_sequences.last + 1`, int64(probeRow))
	})
	if err != nil {
		return err
	}
	if time.Since(time.Unix(0, s.w.refusedAt.Load())) < refusedLately {
		return unavailable("the database refuses publications", nil) // a row finds room where an event does not
	}
	if err := s.db.PingContext(ctx); err != nil {
		return unavailable("the database cannot be read", err)
	}
	return nil
}

// Stats are counts since the store was opened, for metrics.
type Stats struct {
	Commits      int64 // transactions committed
	Operations   int64 // what they carried: publications, results and the rest
	StaleResults int64
	Refusing     bool // the database refused the last write: full, read-only, unreachable

	RefusedDisk     int64 // calls refused by Admit
	RefusedDatabase int64 // publications that a database in trouble did not take
	RefusedQueue    int64 // hand-ins for which the queue had no room
	QueueBytes      int64 // handed in and not yet in a transaction
}

// Stats returns the counts so far.
func (s *Store) Stats() Stats {
	stats := Stats{
		Commits: s.w.commits.Load(), Operations: s.w.operations.Load(),
		StaleResults: s.stale.Load(), Refusing: s.w.troubled.Load(),
		RefusedDatabase: s.w.refused.Load(), RefusedQueue: s.w.full.Load(), QueueBytes: s.w.waiting.Load(),
	}
	if s.disk != nil {
		stats.RefusedDisk = s.disk.refused.Load()
	}
	return stats
}

// StaleResults counts results that were refused because their lease was no
// longer theirs.
func (s *Store) StaleResults() int64 { return s.stale.Load() }

// Dialect names the database: "sqlite" or "postgres".
func (s *Store) Dialect() string { return s.dialect.name }

// LastKey returns the greatest row key stored, for cybervault.NewIDSource.
func (s *Store) LastKey(ctx context.Context) (int64, error) {
	var last int64
	for _, table := range []string{"workspaces", "webhooks", "events", "deliveries", "api_keys", "replays", "incidents"} {
		var key sql.NullInt64
		if err := s.db.QueryRowContext(ctx, "SELECT MAX(id) FROM "+table).Scan(&key); err != nil {
			return 0, readError(err)
		}
		last = max(last, key.Int64)
	}
	return last, nil
}

// Workspace returns the first workspace, making it with the given id when there
// is none yet.
func (s *Store) Workspace(ctx context.Context, fresh cybervault.WorkspaceID, name string) (cybervault.WorkspaceID, error) {
	var id cybervault.WorkspaceID
	err := s.w.do(ctx, func(tx transaction) error {
		const first = "SELECT id, id_rest FROM workspaces ORDER BY id LIMIT 1"
		scan := func(row []any) { id = cybervault.MakeID[cybervault.WorkspaceID](asInt(row[0]), asInt(row[1])) }
		if s.dialect.lockTable != "" { // or two nodes that start at once make one each
			if err := exec(tx, fmt.Sprintf(s.dialect.lockTable, "workspaces")); err != nil {
				return err
			}
		}
		id = cybervault.WorkspaceID{}
		if err := tx.query(first, nil, scan); err != nil || !id.IsZero() {
			return err
		}
		if err := exec(tx, "INSERT INTO workspaces (id, id_rest, name, created_at) VALUES (?, ?, ?, ?)",
			fresh.Key(), fresh.Rest(), name, micros(s.now())); err != nil {
			return err
		}
		return tx.query(first, nil, scan)
	})
	return id, err
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

func boolInt(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func unavailable(what string, err error) error {
	return &cybervault.Error{Code: cybervault.CodeUnavailable, Message: what + "; nothing was kept, try again", Err: err}
}
