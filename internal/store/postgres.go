package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/cybervault/cybervault"
)

const (
	// postgresWriters is how many group commits are under way at once: while one
	// waits for its sync, another is sent.
	postgresWriters = 4
	postgresReaders = 8
	// postgresPatience bounds one transaction, so that a network that swallows
	// packets is noticed.
	postgresPatience = 30 * time.Second
)

func (s *Store) openPostgres(ctx context.Context, c Config) error {
	databaseURL := c.DatabaseURL
	cfg, err := pgx.ParseConfig(databaseURL)
	if err != nil {
		// The error may show the password.
		return cybervault.Invalid("database-url", "cannot be read: use postgres://user:password@host:port/database")
	}
	s.dialect = postgresDialect()
	s.lines = newLines()
	placed, cfg := s.lines.own(cfg), s.lines.work(cfg)
	s.db = stdlib.OpenDB(*cfg)
	s.db.SetMaxOpenConns(postgresReaders)
	s.db.SetMaxIdleConns(postgresReaders)
	if err := s.db.PingContext(ctx); err != nil {
		return cannotConnect(cfg, err)
	}
	if err := migratePostgres(ctx, s.db); err != nil {
		return err
	}
	ask := askPostgres(s.db)
	if c.DatabaseNow != nil {
		ask = func(context.Context) (time.Time, time.Duration, error) { return c.DatabaseNow(), 0, nil }
	}
	if s.clock, err = startClock(ctx, s.now, ask); err != nil {
		return err
	}
	s.now = s.clock.now
	err = errors.Join(s.makePartitions(ctx), s.checkLocks(ctx))
	if err != nil {
		// What has no partition is kept in the default one.
		s.log.Warn("the partitions of the days to come could not be made; trying again later", slog.Any("error", err))
	}
	if s.place, err = takePlace(ctx, placed, s.lines, s.log); err != nil {
		return err
	}
	if s.w, err = startWriter(s, postgresWriters, func() (session, error) { return openPostgresSession(cfg, s.dialect) }); err != nil {
		s.place.leave()
		return cannotConnect(cfg, err)
	}
	if err := s.restartChanges(ctx); err != nil {
		s.w.close()
		s.place.leave()
		return err
	}
	return nil
}

// nodeConnections is how many connections a node has open at most.
const nodeConnections = postgresWriters + postgresReaders + 1

// cannotConnect says what to do about a PostgreSQL that does not take a start's
// connection.
func cannotConnect(cfg *pgx.ConnConfig, err error) error {
	hosts := fmt.Sprintf("%s, port %d,", cfg.Host, cfg.Port)
	for _, f := range cfg.Fallbacks {
		if also := fmt.Sprintf(" and at %s, port %d,", f.Host, f.Port); !strings.Contains("and at "+hosts, also[1:]) {
			hosts += also
		}
	}
	message := "PostgreSQL at " + hosts + " does not answer: is it running, and may this machine and user connect?"
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch {
		case pg.Code == "53300":
			message = fmt.Sprintf("PostgreSQL at %s has no connection left, and a node uses %d: raise max_connections, or the role's CONNECTION LIMIT", hosts, nodeConnections)
		case strings.HasPrefix(pg.Code, "57P"):
			message = "PostgreSQL at " + hosts + " is starting or stopping (" + pg.Message + "): start the server again in a moment"
		case strings.HasPrefix(pg.Code, "28"), strings.HasPrefix(pg.Code, "3D"):
			message = "PostgreSQL at " + hosts + " refuses the user or has no such database: " + pg.Message
		}
	}
	return &cybervault.Error{Code: cybervault.CodeUnavailable, Field: "database-url", Err: err, Message: message}
}

// migrationLock is the advisory lock that nodes which start at once queue up
// for. The number is ours alone, and never changes.
const migrationLock = 0x6376_6d69_6772

func migratePostgres(ctx context.Context, db *sql.DB) (err error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if _, err := conn.ExecContext(ctx, "SELECT pg_advisory_lock($1)", int64(migrationLock)); err != nil {
		return fmt.Errorf("wait for another node's migrations: %w", err)
	}
	defer func() {
		_, unlockErr := conn.ExecContext(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock($1)", int64(migrationLock))
		err = errors.Join(err, unlockErr)
	}()
	return migrate(ctx, db, "postgres")
}

type postgresSession struct {
	conn    *pgx.Conn
	cfg     *pgx.ConnConfig
	dialect dialect
	rebound map[string]string // every query in PostgreSQL's form; they are few
	list    changeList
	ctx     context.Context //nolint:containedctx // the running transaction's; a session runs one at a time
}

func openPostgresSession(cfg *pgx.ConnConfig, d dialect) (session, error) {
	ctx, cancel := context.WithTimeout(context.Background(), postgresPatience)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	return &postgresSession{conn: conn, cfg: cfg, dialect: d, rebound: map[string]string{}}, nil
}

func (s *postgresSession) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = s.conn.Close(ctx)
}

// abortRetries is how often a transaction that PostgreSQL aborted for the sake
// of another one (a deadlock, a serialisation failure, a partition that was
// dropped) is run again.
const abortRetries = 10

func (s *postgresSession) transact(fn func(transaction) error) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), postgresPatience)
	defer cancel()
	s.ctx = ctx
	for range 1 + abortRetries {
		if err = s.once(ctx, fn); !aborted(err) {
			return err
		}
	}
	return err
}

func (s *postgresSession) once(ctx context.Context, fn func(transaction) error) error {
	tx, err := s.begin(ctx)
	if err != nil {
		return errors.Join(errLostConnection, err)
	}
	defer func() { _ = tx.Rollback(ctx) }() // does nothing after a commit
	if err := fn(s); err != nil {
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		return inDoubt(err)
	}
	return nil
}

// inDoubt marks the error of a commit that may have been made all the same: the
// answer was lost, or was that the connection ends.
func inDoubt(err error) error {
	pg, answered := errors.AsType[*pgconn.PgError](err)
	if answered && pg.SeverityUnlocalized == "ERROR" || errors.Is(err, pgx.ErrTxCommitRollback) {
		return err
	}
	return errors.Join(errInDoubt, err)
}

// begin starts a transaction, on a new connection if the old one is found dead:
// nothing has been done on it yet, so nobody needs to hear of it.
func (s *postgresSession) begin(ctx context.Context) (pgx.Tx, error) {
	if !s.conn.IsClosed() {
		tx, err := s.conn.Begin(ctx)
		if err == nil || !s.conn.IsClosed() {
			return tx, err
		}
	}
	fresh, err := pgx.ConnectConfig(ctx, s.cfg)
	if err != nil {
		return nil, err
	}
	s.conn = fresh
	return s.conn.Begin(ctx)
}

func aborted(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (strings.HasPrefix(pg.Code, "40") || undefinedTable(err))
}

func (s *postgresSession) noted() *changeList { return &s.list }

func (s *postgresSession) batch(query string, n int, bind func(int, []any) []any) *pgx.Batch {
	text, ok := s.rebound[query]
	if !ok {
		text = s.dialect.rebind(query)
		s.rebound[query] = text
	}
	batch := &pgx.Batch{}
	for i := range n {
		batch.Queue(text, bind(i, nil)...)
	}
	return batch
}

func (s *postgresSession) each(query string, n int, bind func(int, []any) []any, affected func(int, int64)) (err error) {
	if n == 0 {
		return nil
	}
	results := s.conn.SendBatch(s.ctx, s.batch(query, n, bind))
	defer func() { err = errors.Join(err, results.Close()) }()
	for i := range n {
		tag, err := results.Exec()
		if err != nil {
			return fmt.Errorf("run %.60q: %w", query, err)
		}
		if affected != nil {
			affected(i, tag.RowsAffected())
		}
	}
	return nil
}

func (s *postgresSession) query(query string, args []any, row func([]any)) error {
	return s.eachRow(query, 1, func(_ int, a []any) []any { return append(a, args...) }, func(_ int, r []any) { row(r) })
}

func (s *postgresSession) eachRow(query string, n int, bind func(int, []any) []any, row func(int, []any)) (err error) {
	if n == 0 {
		return nil
	}
	results := s.conn.SendBatch(s.ctx, s.batch(query, n, bind))
	defer func() { err = errors.Join(err, results.Close()) }()
	for i := range n {
		rows, err := results.Query()
		if err != nil {
			return fmt.Errorf("run %.60q: %w", query, err)
		}
		for rows.Next() {
			values, err := rows.Values()
			if err != nil {
				rows.Close()
				return fmt.Errorf("run %.60q: %w", query, err)
			}
			row(i, values)
		}
		if err := rows.Err(); err != nil {
			return fmt.Errorf("run %.60q: %w", query, err)
		}
	}
	return nil
}

var errLostConnection = errors.New("PostgreSQL does not answer")

// trouble covers a lost connection and the error classes of a server that is
// starting, stopping, full, read-only or out of resources, and an abort that
// running the transaction again did not mend.
func (s *postgresSession) trouble(err error) bool {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		for _, class := range []string{"08", "25006", "40", "53", "55", "57", "58", "XX"} {
			if strings.HasPrefix(pg.Code, class) {
				return true
			}
		}
		return false
	}
	return errors.Is(err, errLostConnection) || errors.Is(err, errInDoubt) || s.conn.IsClosed() || errors.Is(err, context.DeadlineExceeded)
}
