package store

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/cybervault/cybervault"
)

const (
	// keptEvents and keptDeliveries bound what outlives its partition, and so for
	// how long everybody waits while it is moved.
	keptEvents     = 1000
	keptDeliveries = 5000
	// countedBytes is how large a partition can be whose rows are counted; of a
	// larger one the database's estimate is told.
	countedBytes = 64 << 20
	// orphanRows is how many keys, or marks, are looked at in one transaction.
	orphanRows = 1000
	// rotateRest is how many times as long as a step took the next one waits, for
	// those that share the publishers' transactions.
	rotateRest = 4
)

// birthSpan is more than the keys of an event and of a delivery made with it can
// be apart: those of an event just before midnight may lie in the next partition.
var birthSpan = cybervault.KeyAt(time.UnixMilli((10 * time.Second).Milliseconds()))

// rotation is what Rotate remembers.
type rotation struct {
	mu     sync.Mutex
	pruned bool // nothing has been dropped since the orphans were removed
}

// Rotate sees to it that there are partitions for the days to come, and removes
// those of which everything is old: as a whole, whatever they hold. What has to
// stay longer (see Sweep) is moved into the default partition, where that is
// little; otherwise the partition stays and is left to Sweep. It rests between
// its steps and returns when all is done. On SQLite, which has no partitions, it
// does nothing.
//
// Nodes may call it at the same time. How many rows were removed is an estimate
// where they were many.
func (s *Store) Rotate(ctx context.Context, expiry cybervault.Expiry) (cybervault.Swept, error) {
	swept := cybervault.Swept{Done: true}
	if !s.dialect.partitioned {
		return swept, nil
	}
	s.rotation.mu.Lock()
	defer s.rotation.mu.Unlock()
	if err := s.makePartitions(ctx); err != nil {
		return swept, unavailable("the partitions of the days to come could not be made", err)
	}
	if err := s.dropOld(ctx, expiry, &swept); err != nil {
		return swept, unavailable("what is old could not be removed", err)
	}
	if s.rotation.pruned || expiry.Before.IsZero() {
		return swept, nil
	}
	if err := s.pruneOrphans(ctx, cybervault.KeyAt(expiry.Before)); err != nil {
		return swept, err
	}
	s.rotation.pruned = true
	return swept, nil
}

// dayFloor is when the day began that t lies in, where a day is removed as a
// whole; elsewhere t.
func (d dialect) dayFloor(t time.Time) time.Time {
	if !d.partitioned {
		return t
	}
	return t.UTC().Truncate(partitionDay)
}

func (s *Store) dropOld(ctx context.Context, expiry cybervault.Expiry, swept *cybervault.Swept) error {
	var old []partition
	before := cybervault.KeyAt(expiry.Before)
	err := s.withPartitions(ctx, func(tx *sql.Tx) error {
		all, err := partitions(ctx, tx)
		old = old[:0]
		for _, p := range all {
			if p.to <= before {
				old = append(old, p)
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, p := range old {
		began := time.Now()
		dropped, err := s.dropPartition(ctx, p, cybervault.KeyAt(expiry.DeadLettersBefore), swept)
		if err != nil {
			return err
		}
		if dropped {
			s.rotation.pruned = false
		}
		if err := pause(ctx, time.Since(began)); err != nil {
			return err
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// aged is a partition that is to go.
type aged struct {
	partition

	dialect dialect
	tx      *sql.Tx
	sql     *strings.Replacer
}

func ageing(p partition, deadBefore int64, d dialect, tx *sql.Tx) *aged {
	return &aged{partition: p, dialect: d, tx: tx, sql: strings.NewReplacer(
		"{events}", p.of("events"), "{deliveries}", p.of("deliveries"), "{attempts}", p.of("attempts"),
		"{from}", fmt.Sprint(p.from), "{to}", fmt.Sprint(p.to), "{dead}", fmt.Sprint(deadBefore),
		"{span}", fmt.Sprint(birthSpan), "{step}", fmt.Sprint(cybervault.KeyStep))}
}

// In these queries {events} and the like stand for the partitions' names, {from}
// and {to} for where they begin and end, {dead} for where dead letters begin that
// stay.
const (
	// Events with a delivery that is alive, with a dead letter that stays, with any
	// replay, wherever that lies, or with deliveries in the next partition.
	selectSurvivors = `SELECT d.event_id FROM {deliveries} d WHERE d.status < 2
UNION SELECT d.event_id FROM {deliveries} d WHERE d.status > 2 AND d.status = 3 AND d.id >= {dead}
UNION SELECT d.event_id FROM deliveries d WHERE d.replay_of <> 0 AND d.event_id >= {from} AND d.event_id < {to}
UNION SELECT e.id FROM {events} e WHERE e.id >= {to} - {span} AND e.id + e.deliveries::bigint * {step} >= {to}`

	countSurvivors = `SELECT COUNT(*), COALESCE(SUM(e.deliveries), 0)::bigint,
(SELECT COUNT(*) FROM (SELECT 1 FROM {deliveries} d WHERE d.replay_of <> 0 LIMIT 10000) r)
FROM (SELECT s.event_id FROM (` + selectSurvivors + `) s LIMIT 10000) s JOIN {events} e ON e.id = s.event_id`

	// Whole rows, whatever columns they come to have.
	keepEvents = `INSERT INTO kept_events SELECT (e).* FROM {events} e WHERE e.id IN (` + selectSurvivors + `)`
	// Besides those of these events, the replays of others, and what was made with
	// an event at the end of the partition before.
	keepDeliveries = `INSERT INTO kept_deliveries
SELECT (d).* FROM kept_events e JOIN {deliveries} d ON d.id > e.id AND d.id <= e.id + e.deliveries::bigint * {step} WHERE d.event_id = e.id AND d.replay_of = 0
UNION ALL SELECT (d).* FROM {deliveries} d WHERE d.replay_of <> 0 AND (SELECT e.id FROM events e WHERE e.id = d.event_id) IS NOT NULL
UNION ALL SELECT (d).* FROM {deliveries} d WHERE d.id >= {from} AND d.id < {from} + {span} AND d.event_id < {from} AND d.replay_of = 0
AND (SELECT e.id FROM events e WHERE e.id = d.event_id) IS NOT NULL`
	keepAttempts = `INSERT INTO kept_attempts SELECT (a).* FROM kept_deliveries d JOIN {attempts} a ON a.delivery_id = d.id`
	keepMarks    = `INSERT INTO webhook_sequence_marks (webhook_id, sequence, delivery_id)
SELECT webhook_id, sequence, id FROM kept_deliveries WHERE sequence > 0 ON CONFLICT DO NOTHING`
)

// dropPartition removes what is old of a partition, unless too much of it stays.
func (s *Store) dropPartition(ctx context.Context, p partition, deadBefore int64, swept *cybervault.Swept) (dropped bool, err error) {
	var rows, left [3]int64
	var locking time.Time
	err = s.withPartitions(ctx, func(tx *sql.Tx) (err error) {
		a := ageing(p, deadBefore, s.dialect, tx)
		if dropped, err = a.there(ctx); err != nil || !dropped {
			return err // another node was here
		}
		if rows, err = a.count(ctx); err != nil {
			return err
		}
		if dropped, err = a.fewStay(ctx, rows[0]); err != nil || !dropped {
			return err
		}
		locking = time.Now()
		if dropped, err = a.audited(ctx); err != nil || !dropped {
			return err
		}
		left, err = a.remove(ctx)
		return err
	})
	if !dropped || err != nil {
		return false, err
	}
	s.forget(p)
	s.log.Info("removed a partition of what is older than the retention", slog.String("partition", p.name), slog.Int64("events", rows[0]-left[0]),
		slog.Int64("kept", left[0]), slog.Duration("locked", time.Since(locking)))
	swept.Events += max(rows[0]-left[0], 0)
	swept.Deliveries += max(rows[1]-left[1], 0)
	swept.Attempts += max(rows[2]-left[2], 0)
	return true, nil
}

func (a *aged) there(ctx context.Context) (there bool, err error) {
	err = a.tx.QueryRowContext(ctx, "SELECT to_regclass($1) IS NOT NULL", a.of("events")).Scan(&there)
	return there, err
}

// count tells how many rows the three tables have, if need be about.
func (a *aged) count(ctx context.Context) (rows [3]int64, err error) {
	for i, t := range partedTables() {
		var size int64
		err := a.tx.QueryRowContext(ctx, "SELECT pg_relation_size(c.oid), GREATEST(c.reltuples, pg_stat_get_live_tuples(c.oid))::bigint FROM pg_class c WHERE c.oid = to_regclass($1)", a.of(t.table)).Scan(&size, &rows[i])
		if err == nil && size <= countedBytes {
			err = a.tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM "+a.of(t.table)).Scan(&rows[i])
		}
		if err != nil {
			return rows, err
		}
	}
	return rows, nil
}

// fewStay tells whether so little stays, and so much goes, that moving it is worth
// it.
func (a *aged) fewStay(ctx context.Context, events int64) (bool, error) {
	// From here on all is found by index: the partition is not read for a few rows.
	if _, err := a.run(ctx, "SET LOCAL enable_seqscan = off", "SET LOCAL enable_hashjoin = off", "SET LOCAL enable_mergejoin = off"); err != nil {
		return false, err
	}
	var kept, deliveries, replays int64
	err := a.tx.QueryRowContext(ctx, a.sql.Replace(countSurvivors)).Scan(&kept, &deliveries, &replays)
	return kept == 0 && replays == 0 || kept <= keptEvents && deliveries+replays <= keptDeliveries && 2*kept < events, err
}

// audited waits for whoever is changing the partition, and tells whether the audit
// log has read all that is to be read of it. From then on everybody waits, also who
// names the partition.
func (a *aged) audited(ctx context.Context) (bool, error) {
	if _, err := a.run(ctx, "LOCK TABLE ONLY events, ONLY deliveries, ONLY attempts, {events}, {deliveries}, {attempts} IN ACCESS EXCLUSIVE MODE"); err != nil {
		return false, err
	}
	rows, err := a.tx.QueryContext(ctx, a.dialect.rebind(selectUnaudited), int64(auditBehind))
	if err != nil {
		return false, err
	}
	defer func() { _ = rows.Close() }()
	read, all := 0, true
	for rows.Next() {
		var packed []byte
		if err := rows.Scan(&packed); err != nil {
			return false, err
		}
		read++
		err := unpackChanges(packed, func(c changed) bool {
			_, logged := auditRef(c)
			all = all && !(logged && c.key >= a.from && c.key < a.to)
			return all
		})
		if err != nil {
			return false, err
		}
	}
	return all && read < auditBehind, rows.Err()
}

func (a *aged) run(ctx context.Context, statements ...string) (rows int64, err error) {
	for _, statement := range statements {
		result, err := a.tx.ExecContext(ctx, a.sql.Replace(statement))
		if err != nil {
			return 0, fmt.Errorf("run %.60q: %w", statement, err)
		}
		if rows, err = result.RowsAffected(); err != nil {
			return 0, err
		}
	}
	return rows, nil
}

// remove removes the partition, and keeps what stays.
func (a *aged) remove(ctx context.Context) (left [3]int64, err error) {
	_, err = a.run(ctx,
		"CREATE TEMPORARY TABLE kept_events (LIKE events) ON COMMIT DROP",
		"CREATE TEMPORARY TABLE kept_deliveries (LIKE deliveries) ON COMMIT DROP",
		"CREATE TEMPORARY TABLE kept_attempts (LIKE attempts) ON COMMIT DROP")
	for i, statement := range []string{keepEvents, keepDeliveries, keepAttempts} {
		if err == nil {
			left[i], err = a.run(ctx, statement)
		}
	}
	if err != nil {
		return left, err
	}
	if _, err := a.run(ctx, "DROP TABLE {events}, {deliveries}, {attempts}"); err != nil || left[0]+left[1] == 0 {
		return left, err
	}
	_, err = a.run(ctx, keepMarks, "INSERT INTO events_rest TABLE kept_events",
		"INSERT INTO deliveries_rest TABLE kept_deliveries", "INSERT INTO attempts_rest TABLE kept_attempts")
	return left, err
}
