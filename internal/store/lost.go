package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/cybervault/cybervault"
)

// A node that was killed, or that the network cut off, leaves a row in `nodes`
// and no lock on its number. Whichever node sees that first, and for lostAfter on
// end, gives its leases back, so that what it had claimed is claimed again.

// lostAfter is how long a number must be without its lock. All nodes lose their
// locks when the database restarts, and have that long to take them again. Nobody
// frees a lease earlier than this after its node's last word, and so not before
// nodeTrust is over.
const lostAfter = 6 * time.Second

// The channels on which nodes notify each other.
const (
	settingsChannel = "cybervault_settings"
	freedChannel    = "cybervault_freed"
	endedChannel    = "cybervault_ended"
)

// suspects are the numbers that have a row and no lock, and since when.
type suspects map[int64]time.Time

// clearLost looks for nodes that are gone, and frees what they had.
func (p *place) clearLost(ctx context.Context, alive []int64) error {
	rows, err := p.conn.Query(ctx, "SELECT number::bigint FROM nodes")
	if err != nil {
		return err
	}
	listed, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return err
	}
	now, seen, peers := time.Now(), suspects{}, int32(0)
	for _, n := range listed {
		if slices.Contains(alive, n) {
			peers++
			continue
		}
		since, known := p.lost[n]
		if !known {
			since = now
		}
		if now.Sub(since) >= lostAfter {
			p.dig(int(n))
		}
		seen[n] = since
	}
	p.lost = seen
	p.peers.Store(max(peers, 1))
	return nil
}

// dig buries a lost node, on another connection than the place's: where the node
// had much, that takes longer than the place may be silent.
func (p *place) dig(n int) {
	if !p.digs.CompareAndSwap(false, true) {
		return // the next look comes again
	}
	p.graves.Go(func() {
		defer p.digs.Store(false)
		ctx, cancel := context.WithTimeout(context.Background(), postgresPatience)
		defer cancel()
		conn, err := pgx.ConnectConfig(ctx, p.cfg)
		if err == nil {
			defer func() { _ = conn.Close(ctx) }()
			for more := true; more && err == nil; {
				more, err = p.bury(ctx, conn, n)
			}
		}
		if err != nil {
			p.log.Warn("a node is gone, and what it had is not all free yet; trying again", slog.Int("node", n), slog.Any("error", err))
		}
	})
}

// bury frees leases of a lost node, and takes it off the list when they were the
// last, unless another node is doing so or has taken the number.
func (p *place) bury(ctx context.Context, conn *pgx.Conn, n int) (more bool, err error) {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return false, err
	}
	defer func() {
		if e := tx.Rollback(ctx); !errors.Is(e, pgx.ErrTxClosed) { // after a commit
			err = errors.Join(err, e)
		}
	}()
	var free bool
	if err := tx.QueryRow(ctx, "SELECT pg_try_advisory_xact_lock($1, $2)", nodeLockClass, n).Scan(&free); err != nil || !free {
		return false, err
	}
	if more, err = freeLeasesOf(ctx, tx, n, cybervault.LineGrace-lostAfter); err != nil {
		return false, err
	}
	if !more {
		gone, err := tx.Exec(ctx, "DELETE FROM nodes WHERE number = $1", n)
		if err != nil || gone.RowsAffected() == 0 {
			return false, err // another node was quicker
		}
	}
	if _, err := tx.Exec(ctx, "SELECT pg_notify($1, '')", freedChannel); err != nil {
		return false, err
	}
	if err := tx.Commit(ctx); err != nil {
		return false, err
	}
	if !more {
		p.log.Warn("a node is gone; its deliveries go on here and on the other nodes", slog.Int("node", n))
	}
	return more, nil
}

// databaseNow is PostgreSQL's own clock, as times are stored.
const databaseNow = "(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint"

// leasesOf finds the living leases of a node by a seek in the queue's index for
// each webhook and severity: they are those that end within the time a lease
// lasts, and what is tried again within that; however long the backlog.
const leasesOf = `WITH RECURSIVE clock (now) AS (SELECT ` + databaseNow + `), queued (webhook_id) AS (
SELECT MIN(webhook_id) FROM deliveries WHERE status < 2
UNION ALL
SELECT (SELECT MIN(d.webhook_id) FROM deliveries d WHERE d.status < 2 AND d.webhook_id > q.webhook_id) FROM queued q WHERE q.webhook_id IS NOT NULL
)
SELECT l.id FROM clock c CROSS JOIN queued q CROSS JOIN generate_series(0, 4) s (severity) CROSS JOIN LATERAL (
SELECT d.id FROM deliveries d WHERE d.webhook_id = q.webhook_id AND d.status < 2 AND d.status = 0 AND d.severity = s.severity
AND d.due_at > c.now AND d.due_at <= c.now + 120000000 AND d.lease_token <> 0 AND d.lease_token % 256 = $1) l LIMIT 5000`

// freedAtOnce is the limit in leasesOf.
const freedAtOnce = 5000

// execer is a connection or a transaction.
type execer interface {
	Exec(ctx context.Context, sql string, arguments ...any) (pgconn.CommandTag, error)
}

// freeLeasesOf makes some of what a node had claimed due at once. The node may not be dead
// but cut off from the database, with an attempt under way: what stands in a line
// waits for grace, until that has ended for certain.
func freeLeasesOf(ctx context.Context, on execer, n int, grace time.Duration) (more bool, err error) {
	freed, err := on.Exec(ctx, "UPDATE deliveries SET lease_token = 0, due_at = CASE WHEN ordered = 1 THEN LEAST(due_at, "+databaseNow+" + $2) ELSE "+databaseNow+" END WHERE id IN ("+leasesOf+") AND status = 0 AND lease_token <> 0 AND lease_token % 256 = $1",
		int64(n), grace.Microseconds())
	if err != nil {
		return false, fmt.Errorf("free the leases of node %d: %w", n, err)
	}
	return freed.RowsAffected() == freedAtOnce, nil
}

// freeAllLeasesOf frees leases until there are no more, each lot in a transaction
// of its own: others who write the same rows at the same moment may be a reason for
// PostgreSQL to abort one.
func freeAllLeasesOf(ctx context.Context, on *pgx.Conn, n int, grace time.Duration) error {
	for more, aborts := true, 0; more; {
		var err error
		more, err = freeLeasesOf(ctx, on, n, grace)
		if aborted(err) && aborts < abortRetries {
			aborts++
			more, err = true, nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}
