package store

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/pressly/goose/v3"
)

// OpenBeforePartitions opens a PostgreSQL database as a release did that knew no
// partitions, and leaves its schema at that.
func OpenBeforePartitions(ctx context.Context, cfg Config) (*Store, error) {
	s := &Store{now: time.Now, log: slog.New(slog.DiscardHandler), unlock: func() {}, overviewRows: overviewRows, patience: readPatience, dialect: postgresDialect()}
	s.dialect.byIdempotencyKey = sqliteDialect().byIdempotencyKey
	var err error
	if s.seal, err = newSealer(cfg.Key); err != nil {
		return nil, err
	}
	if s.db, err = sql.Open("pgx", cfg.DatabaseURL); err != nil {
		return nil, err
	}
	if err := migrateBefore(ctx, s.db, "00011"); err != nil {
		return nil, err
	}
	conn, err := pgx.ParseConfig(cfg.DatabaseURL)
	if err != nil {
		return nil, err
	}
	// SaveWebhook counts, and the release before had nothing to count in.
	if _, err := s.db.ExecContext(ctx, "ALTER TABLE webhooks ADD COLUMN revision BIGINT NOT NULL DEFAULT 0"); err != nil {
		return nil, err
	}
	// Nor had it a log of who did what, which the code of today writes: that one is kept
	// where the migrations do not look.
	for _, statement := range []string{
		"CREATE SCHEMA later",
		"CREATE TABLE later.action_head AS SELECT 1::bigint AS one, 0::bigint AS number, ''::bytea AS hash",
		`CREATE TABLE later.actions (number BIGINT, workspace_id BIGINT, at BIGINT, actor_kind TEXT, actor_id TEXT, actor_name TEXT, address TEXT, action TEXT, target TEXT,
before_json TEXT, after_json TEXT, previous BYTEA, hash BYTEA)`,
	} {
		if _, err := s.db.ExecContext(ctx, statement); err != nil {
			return nil, err
		}
	}
	conn.RuntimeParams["search_path"] = "public, later"
	if s.place, err = bareNumber(ctx, conn); err != nil {
		return nil, err
	}
	s.w, err = startWriter(s, postgresWriters, func() (session, error) { return openPostgresSession(conn, s.dialect) })
	return s, err
}

// bareNumber holds a node number and does nothing else, as the release before did.
func bareNumber(ctx context.Context, cfg *pgx.ConnConfig) (*place, error) {
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	n, err := lockNumber(ctx, conn, 0, func(int) bool { return true })
	if err != nil {
		return nil, err
	}
	p := &place{conn: conn, began: time.Now(), ended: make(chan struct{})}
	p.number.Store(int32(n))
	p.stop = sync.OnceFunc(func() { _ = conn.Close(context.WithoutCancel(ctx)); close(p.ended) })
	return p, nil
}

// migrateBefore runs the migrations that come before one.
func migrateBefore(ctx context.Context, db *sql.DB, end string) error {
	const dir = "migrations/postgres"
	names, err := fs.ReadDir(migrations, dir)
	if err != nil {
		return err
	}
	files := fstest.MapFS{}
	for _, name := range names {
		if strings.Compare(name.Name(), end) < 0 {
			text, err := fs.ReadFile(migrations, dir+"/"+name.Name())
			if err != nil {
				return err
			}
			files[name.Name()] = &fstest.MapFile{Data: text}
		}
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrate to before %s: %w", end, err)
	}
	return nil
}

// AuditRead is of how many entries of the audit log the rows were looked up.
func (s *Store) AuditRead() int64 { return s.auditRead.Load() }

// CutLines ends all connections to PostgreSQL, as a node does that has met another server.
func (s *Store) CutLines() { s.lines.cut() }
