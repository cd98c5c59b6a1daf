package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/cybervault/cybervault"
)

// On PostgreSQL events, deliveries and attempts have a partition for each day,
// by row key, which begins with the time: an attempt's is that of its delivery.
// The three partitions of a day are made, and removed, together. See
// docs/decisions/0023.

const (
	// A query that no row key restricts looks at every partition, and locks it and
	// its indexes. From so many on new ones are therefore longer: it is where
	// everything is kept for years.
	manyPartitions = 60
	longPartition  = 28
	// partitionsAhead is how many days beyond today have their partitions.
	partitionsAhead = 3
	partitionDay    = 24 * time.Hour
	// caughtRows bounds what is moved from the default partition into a new one,
	// while whoever wants either waits.
	caughtRows = 10_000
	// partitionLock is the advisory lock of whoever changes partitions. The number
	// is ours alone, and never changes.
	partitionLock = 0x6376_7061_7274
	// What locks a table waits no longer than this for it, since whoever comes
	// later waits behind; then it tries again.
	partitionPatience = "250ms"
	partitionTries    = 20
	partitionPause    = 500 * time.Millisecond
)

// A parted table, and the column of the row key that its partitions are by.
type parted struct{ table, key string }

// partedTables lists them in the order in which writers come to them.
func partedTables() []parted {
	return []parted{{"events", "id"}, {"deliveries", "id"}, {"attempts", "delivery_id"}}
}

// partition is the rows of the three tables with keys of at least from and below to.
type partition struct {
	name     string // what follows the table's name and an underscore
	from, to int64
}

// has reports whether a row key lies in it.
func (p partition) has(key int64) bool { return key >= p.from && key < p.to }

// of is the name of the partition of a table.
func (p partition) of(table string) string { return table + "_" + p.name }

// restPartition is the default partition, of rows that have no other.
const restPartition = "rest"

// firstPartition is the one that has all that is older than the day on which the
// first ones were made.
const firstPartition = "first"

// dayOf is the partition of the day that t lies in.
func dayOf(t time.Time) partition {
	day := t.UTC().Truncate(partitionDay)
	return partition{name: day.Format("20060102"), from: cybervault.KeyAt(day), to: cybervault.KeyAt(day.Add(partitionDay))}
}

// widened is p with so many days, or as many as there are until the next partition.
func (p partition) widened(days int, have []partition) partition {
	p.to = p.from + cybervault.KeyAt(time.UnixMilli((time.Duration(days) * partitionDay).Milliseconds()))
	for _, other := range have {
		if other.from > p.from {
			p.to = min(p.to, other.from)
		}
	}
	return p
}

// bounds is the FOR VALUES of a partition.
func (p partition) bounds() string {
	from := "MINVALUE"
	if p.from > 0 {
		from = fmt.Sprint(p.from)
	}
	return fmt.Sprintf("FOR VALUES FROM (%s) TO (%d)", from, p.to)
}

const selectPartitions = `SELECT substr(c.relname, length('events_') + 1),
COALESCE(substring(pg_get_expr(c.relpartbound, c.oid) FROM 'FROM \(''(\d+)''\)'), '0')::bigint,
substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \(''(\d+)''\)')::bigint
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'events'::regclass AND pg_get_expr(c.relpartbound, c.oid) <> 'DEFAULT' ORDER BY 3`

// partitions lists them all but for the default one, oldest first.
func partitions(ctx context.Context, tx *sql.Tx) (all []partition, err error) {
	rows, err := tx.QueryContext(ctx, selectPartitions)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var p partition
		if err := rows.Scan(&p.name, &p.from, &p.to); err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, rows.Err()
}

// withPartitions runs fn in a transaction that alone changes partitions, whatever
// the node. It gives up a lock that it does not get at once, and tries again.
func (s *Store) withPartitions(ctx context.Context, fn func(*sql.Tx) error) error {
	for try := 1; ; try++ {
		err := s.oncePartitions(ctx, fn)
		if pg, ok := errors.AsType[*pgconn.PgError](err); !ok || pg.Code != "55P03" && pg.Code != "40P01" || try == partitionTries {
			return err
		}
		select {
		case <-time.After(partitionPause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *Store) oncePartitions(ctx context.Context, fn func(*sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after a commit
	if _, err := tx.ExecContext(ctx, "SET LOCAL lock_timeout = '"+partitionPatience+"'"); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock($1)", int64(partitionLock)); err != nil {
		return err
	}
	if err := fn(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// makePartitions sees to it that today and the days to come have their
// partitions.
func (s *Store) makePartitions(ctx context.Context) error {
	var days []partition
	now := s.now()
	for day := range partitionsAhead + 1 {
		days = append(days, dayOf(now.Add(time.Duration(day)*partitionDay)))
	}
	missing := func(tx *sql.Tx) ([]partition, error) {
		all, err := partitions(ctx, tx)
		if err != nil {
			return nil, err
		}
		s.direct.Store(&all)
		if len(all) == 0 {
			return append([]partition{{name: firstPartition, to: days[0].from}}, days...), nil
		}
		next := missingDays(days, all)
		if len(all) >= manyPartitions {
			for i := range next {
				next[i] = next[i].widened(longPartition, all)
			}
		}
		return next, nil
	}
	for {
		made := false
		err := s.withPartitions(ctx, func(tx *sql.Tx) error {
			next, err := missing(tx)
			for made = false; len(next) > 0 && err == nil && !made; next = next[1:] {
				made, err = s.makePartition(ctx, tx, next[0]) // one in each transaction, so that nothing is locked for long
			}
			return err
		})
		if err != nil || !made {
			return err
		}
	}
}

// missingDays are those of which no partition has anything. Partitions begin and
// end with a day.
func missingDays(days, have []partition) (missing []partition) {
	for _, day := range days {
		covered := false
		for _, p := range have {
			covered = covered || p.from < day.to && p.to > day.from
		}
		if !covered {
			missing = append(missing, day)
		}
	}
	return missing
}

// makePartition makes the partitions of a day. Rows of that day which the default
// partition has caught are moved; where they are many they stay, and the day
// has no partition.
func (s *Store) makePartition(ctx context.Context, tx *sql.Tx, p partition) (made bool, err error) {
	for _, t := range partedTables() {
		var caught int64
		rest := partition{name: restPartition}.of(t.table)
		err := tx.QueryRowContext(ctx, fmt.Sprintf("SELECT COUNT(*) FROM (SELECT 1 FROM %s WHERE %s >= $1 AND %s < $2 LIMIT $3) c", rest, t.key, t.key),
			p.from, p.to, caughtRows+1).Scan(&caught)
		if err != nil {
			return false, err
		}
		if caught > caughtRows {
			s.log.Warn("a day has no partition of its own, since too much of it was stored before it could be made: the retention will remove its rows one by one",
				slog.String("day", p.name))
			return false, nil
		}
	}
	// First, so that none waits for another that waits for it.
	if _, err := tx.ExecContext(ctx, "LOCK TABLE ONLY events, ONLY deliveries, ONLY attempts IN SHARE UPDATE EXCLUSIVE MODE"); err != nil {
		return false, err
	}
	if _, err := tx.ExecContext(ctx, "LOCK TABLE events_rest, deliveries_rest, attempts_rest IN ACCESS EXCLUSIVE MODE"); err != nil {
		return false, err
	}
	for _, t := range partedTables() {
		if err := attachPartition(ctx, tx, t, p); err != nil {
			return false, fmt.Errorf("make the partition %s: %w", p.of(t.table), err)
		}
	}
	return true, nil
}

func attachPartition(ctx context.Context, tx *sql.Tx, t parted, p partition) error {
	name, rest := p.of(t.table), partition{name: restPartition}.of(t.table)
	day := fmt.Sprintf("%s >= %d AND %s < %d", t.key, p.from, t.key, p.to)
	for _, statement := range []string{
		fmt.Sprintf("CREATE TABLE %s (LIKE %s INCLUDING DEFAULTS INCLUDING STORAGE INCLUDING COMPRESSION)", name, t.table),
		fmt.Sprintf("WITH caught AS (DELETE FROM %s WHERE %s RETURNING *) INSERT INTO %s TABLE caught", rest, day, name),
		fmt.Sprintf("ALTER TABLE %s ATTACH PARTITION %s %s", t.table, name, p.bounds()),
	} {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	if t.table != "events" {
		return nil
	}
	// The removal from the default partition has freed the keys.
	_, err := tx.ExecContext(ctx, fmt.Sprintf(`INSERT INTO idempotency_keys (workspace_id, idempotency_key, event_id)
SELECT workspace_id, idempotency_key, id FROM %s WHERE idempotency_key IS NOT NULL ON CONFLICT DO NOTHING`, name))
	return err
}

// locksOfPartition is how many locks one query takes for a day of events and
// deliveries and their indexes.
const locksOfPartition = 9

// lockRoom warns of a PostgreSQL that has too little room for the locks of one
// node, all of whose connections look at every partition. It says what to set,
// or nothing.
func lockRoom(room, connections, partitions int64) string {
	wanted := (postgresWriters + postgresReaders) * locksOfPartition * partitions
	if wanted <= room || connections == 0 {
		return ""
	}
	return fmt.Sprintf("%d partitions can take %d locks on this node, and PostgreSQL has room for %d: set max_locks_per_transaction to %d or more, for each node, and restart it",
		partitions, wanted, room, (wanted+connections-1)/connections)
}

func (s *Store) checkLocks(ctx context.Context) error {
	var room, connections, count int64
	err := s.db.QueryRowContext(ctx, `SELECT c.connections, c.connections * c.locks, (SELECT COUNT(*) FROM pg_inherits WHERE inhparent = 'events'::regclass)
FROM (SELECT current_setting('max_locks_per_transaction')::bigint AS locks, current_setting('max_connections')::bigint AS connections) c`).Scan(&connections, &room, &count)
	if advice := lockRoom(room, connections, count); advice != "" {
		s.log.Warn("PostgreSQL may run out of room for locks", slog.String("advice", advice))
	}
	return err
}
