package store

import (
	"context"
	"time"

	"github.com/cybervault/cybervault"
)

// The queue is read a severity at a time: its index is by webhook, status,
// severity and due time, so what is due of one severity is one seek, however
// many wait, and however many of another severity. The index is partial, and
// SQLite takes it only where its condition, "status < 2", stands in the query
// word for word.

const selectDue = `SELECT d.id, d.id_rest, d.sequence, d.attempts, d.test, d.severity, e.id, e.id_rest, e.type, e.body
FROM deliveries d JOIN events e ON e.id = d.event_id
WHERE d.webhook_id = ? AND d.status < 2 AND d.status = 0 AND d.severity = ? AND d.due_at <= ? ORDER BY d.due_at, d.id LIMIT ?`

const leaseDelivery = "UPDATE deliveries SET lease_token = ?, due_at = ? WHERE id = ?"

// heads are the earliest due times of each severity; 0 where nothing is pending.
type heads [severities]int64

// earliest is the earliest due time of the severities from least on, and whose it is.
func (h *heads) earliest(least int) (severity int, due int64) {
	for s := least; s < severities; s++ {
		if h[s] != 0 && (due == 0 || h[s] <= due) {
			severity, due = s, h[s]
		}
	}
	return severity, due
}

// Claim leases due deliveries of one webhook, and returns once the leases are
// durable: the most severe first and, of those equally severe, the longest due.
// c.Patient places are kept for the severity whose longest due has waited longest.
func (s *Store) Claim(ctx context.Context, c cybervault.Claim) ([]*cybervault.Assignment, error) {
	if c.Limit < 1 {
		return nil, nil
	}
	var claimed []*cybervault.Assignment
	err := s.w.claim(ctx, c.Webhook, c.Lease, func(tx transaction) (err error) {
		if claimed, err = s.due(tx, c, claimed[:0]); err != nil {
			return err
		}
		return s.eachByKey(tx, "deliveries", leaseDelivery, len(claimed), func(i int) int64 { return claimed[i].Delivery.Key() }, func(i int, a []any) []any {
			return append(a, c.Lease.Token, micros(c.Lease.Until), claimed[i].Delivery.Key())
		}, nil)
	})
	if err != nil {
		return nil, err
	}
	return claimed, nil
}

// due finds what a claim is to lease.
func (s *Store) due(tx transaction, c cybervault.Claim, found []*cybervault.Assignment) ([]*cybervault.Assignment, error) {
	webhook, now := c.Webhook.Key(), micros(s.now())
	var first heads
	err := tx.query(s.dialect.heads, s.dialect.headsOf(webhook), func(row []any) {
		for severity := range first {
			first[severity] = asInt(row[severity])
		}
	})
	if err != nil {
		return nil, err
	}
	least := max(c.Least.Rank(), 0)
	longest, _ := first.earliest(least)
	// Those above the one that has waited longest leave it its places.
	room := c.Limit - min(c.Patient, c.Limit)
	for severity := severities - 1; severity >= least; severity-- {
		if severity == longest {
			room = c.Limit
		}
		if first[severity] == 0 || first[severity] > now || len(found) >= room {
			continue
		}
		err := tx.query(selectDue+s.dialect.skipLocked, []any{webhook, int64(severity), now, int64(room - len(found))}, func(row []any) {
			found = append(found, assignment(c.Webhook, row, c.Lease))
		})
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// NextDue tells when the earliest pending delivery of a webhook that is at least
// so severe may be claimed: its next attempt's time, or the end of the lease it
// is under. Zero when nothing is pending.
func (s *Store) NextDue(ctx context.Context, webhook cybervault.WebhookID, least cybervault.Severity) (time.Time, error) {
	first, err := scanHeads(s.db.QueryRowContext(ctx, s.dialect.rebind(s.dialect.heads), s.dialect.headsOf(webhook.Key())...).Scan)
	_, due := first.earliest(max(least.Rank(), 0))
	return fromMicros(due), readError(err)
}

// scanHeads reads the columns of dialect.heads, after others.
func scanHeads(scan func(...any) error, before ...any) (heads, error) {
	var first heads
	var due [severities]*int64
	for i := range due {
		before = append(before, &due[i])
	}
	err := scan(before...)
	for i, d := range due {
		if err == nil && d != nil {
			first[i] = *d
		}
	}
	return first, err
}

// A few seeks in the queue's index for each webhook, however long its backlog.
const selectBacklogs = `WITH RECURSIVE queued (webhook_id) AS (
SELECT MIN(webhook_id) FROM deliveries WHERE status < 2
UNION ALL
SELECT (SELECT MIN(d.webhook_id) FROM deliveries d WHERE d.status < 2 AND d.webhook_id > q.webhook_id) FROM queued q WHERE q.webhook_id IS NOT NULL)
SELECT w.id, w.id_rest,
(SELECT MIN(d.due_at) FROM deliveries d WHERE d.status < 2 AND d.webhook_id = w.id AND d.status = 0 AND d.severity = 0),
(SELECT MIN(d.due_at) FROM deliveries d WHERE d.status < 2 AND d.webhook_id = w.id AND d.status = 0 AND d.severity = 1),
(SELECT MIN(d.due_at) FROM deliveries d WHERE d.status < 2 AND d.webhook_id = w.id AND d.status = 0 AND d.severity = 2),
(SELECT MIN(d.due_at) FROM deliveries d WHERE d.status < 2 AND d.webhook_id = w.id AND d.status = 0 AND d.severity = 3),
(SELECT MIN(d.due_at) FROM deliveries d WHERE d.status < 2 AND d.webhook_id = w.id AND d.status = 0 AND d.severity = 4)
FROM queued q JOIN webhooks w ON w.id = q.webhook_id`

// Backlogs tells, for every webhook that has pending deliveries, when the
// earliest of them may be claimed: the time of an attempt, or the end of a lease.
// It reads the queue's index only.
func (s *Store) Backlogs(ctx context.Context) ([]cybervault.Backlog, error) {
	rows, err := s.db.QueryContext(ctx, selectBacklogs)
	if err != nil {
		return nil, readError(err)
	}
	defer func() { _ = rows.Close() }()
	var out []cybervault.Backlog
	for rows.Next() {
		var key, rest int64
		first, err := scanHeads(rows.Scan, &key, &rest)
		if err != nil {
			return nil, readError(err)
		}
		_, due := first.earliest(0)
		_, severe := first.earliest(cybervault.SeverityHigh.Rank())
		if due != 0 { // else all of them are held
			out = append(out, cybervault.Backlog{Webhook: cybervault.MakeID[cybervault.WebhookID](key, rest), DueAt: fromMicros(due), SevereAt: fromMicros(severe)})
		}
	}
	return out, readError(rows.Err())
}
