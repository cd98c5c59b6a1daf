package store

import (
	"strconv"
	"strings"
)

// dialect holds the few places where the two databases differ. All SQL in this
// package is written once, with ? for arguments.
type dialect struct {
	name       string
	numbered   bool                // arguments are $1, $2 …
	skipLocked string              // appended to a claiming SELECT
	forUpdate  string              // appended to a SELECT of deliveries d that are about to be changed, waiting for whoever has them
	forShare   string              // appended to a SELECT whose rows must not change before the commit
	lockTable  string              // makes a transaction the only one that writes the table that follows; "" where it is anyway
	contains   string              // a condition: the body column holds the argument (a pattern), whatever the case of ASCII letters
	pattern    func(string) string // what contains is given to find a text

	insertChanges string // of the moment and the packed row; the id is the order of commit
	settled       string // a condition on a row of changes: no row that is missing yet will stand before it

	partitioned      bool   // the log is; see partitions.go
	byIdempotencyKey string // what to select an event e from, by workspace and publisher's key
}

func sqliteDialect() dialect {
	return dialect{
		name:     "sqlite",
		contains: `CAST(e.body AS TEXT) LIKE ? ESCAPE '!'`,
		pattern:  textPattern,
		// One writer: the order of the ids is the order of commit. The newest row is
		// never removed, so no id is given out twice.
		insertChanges: `INSERT INTO changes (at, changed) VALUES (?, ?)`,
		settled:       `1 = 1`,

		byIdempotencyKey: `events e WHERE e.workspace_id = ? AND e.idempotency_key = ?`,
	}
}

func postgresDialect() dialect {
	return dialect{
		name:       "postgres",
		numbered:   true,
		skipLocked: " FOR UPDATE OF d SKIP LOCKED",
		forUpdate:  " FOR UPDATE OF d",
		forShare:   " FOR SHARE",
		lockTable:  "LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE",
		// Not convert_from, which fails for a body that is not UTF-8.
		contains: `encode(e.body, 'escape') ILIKE ? ESCAPE '!'`,
		pattern:  escapedPattern,
		// Several writers, several nodes: one that began earlier can commit later. What
		// is older than every transaction under way is complete.
		insertChanges: `INSERT INTO changes (id, at, changed) VALUES (pg_current_xact_id()::text::bigint, ?, ?)`,
		settled:       `c.id < pg_snapshot_xmin(pg_current_snapshot())::text::bigint`,

		partitioned: true,
		// No unique index spans partitions: triggers keep a table of the keys.
		byIdempotencyKey: `idempotency_keys k JOIN events e ON e.id = k.event_id WHERE k.workspace_id = ? AND k.idempotency_key = ?`,
	}
}

// rebind turns ? into $1, $2 … where the database wants them. No SQL of this
// package has a question mark in a literal.
func (d dialect) rebind(query string) string {
	if !d.numbered {
		return query
	}
	var b strings.Builder
	n := 0
	for part := range strings.SplitSeq(query, "?") {
		if n > 0 {
			b.WriteString("$" + strconv.Itoa(n))
		}
		b.WriteString(part)
		n++
	}
	return b.String()
}
