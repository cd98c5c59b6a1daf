package store

import (
	"slices"
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

	// heads gives the earliest due time of each severity of a webhook, lowest first,
	// NULL for one of which nothing is pending; headsOf are its arguments.
	heads string

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

		heads: `SELECT
(SELECT MIN(due_at) FROM deliveries WHERE webhook_id = ? AND status < 2 AND status = 0 AND severity = 0),
(SELECT MIN(due_at) FROM deliveries WHERE webhook_id = ? AND status < 2 AND status = 0 AND severity = 1),
(SELECT MIN(due_at) FROM deliveries WHERE webhook_id = ? AND status < 2 AND status = 0 AND severity = 2),
(SELECT MIN(due_at) FROM deliveries WHERE webhook_id = ? AND status < 2 AND status = 0 AND severity = 3),
(SELECT MIN(due_at) FROM deliveries WHERE webhook_id = ? AND status < 2 AND status = 0 AND severity = 4)`,

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
		// One subquery, not five: each is planned for every partition.
		heads: `SELECT MIN(due) FILTER (WHERE severity = 0), MIN(due) FILTER (WHERE severity = 1), MIN(due) FILTER (WHERE severity = 2),
MIN(due) FILTER (WHERE severity = 3), MIN(due) FILTER (WHERE severity = 4)
FROM (SELECT s.severity, (SELECT d.due_at FROM deliveries d WHERE d.webhook_id = ? AND d.status < 2 AND d.status = 0 AND d.severity = s.severity
ORDER BY d.due_at LIMIT 1) AS due FROM generate_series(0, 4) s (severity)) h`,
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

func (d dialect) headsOf(webhook int64) []any {
	return slices.Repeat([]any{webhook}, strings.Count(d.heads, "?"))
}
