package store

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

// How a page of the delivery log is found. Deliveries lie in the order of their
// ids, and a page is read from there, which is quick while what is asked for is
// dense. Where it is rare, walking the log would read millions of rows for a
// few, so that the ids are looked up first:
//
//   - what has not been delivered, in the queue's index and in those of the
//     exceptions, which hold nothing else;
//   - what is of one event type, in the spans of time that have any (see spans.go);
//   - what a quiet webhook got, along the chain in which each delivery names the
//     one before it of its webhook (see sequence.go).

// addFound restricts to ids that can be looked up, where that pays.
//
// from and order are what to put in front of the tables and of the row key in the
// order.
func (s *Store) addFound(ctx context.Context, c *condition, q *cybervault.DeliveryQuery) (from, order string, err error) {
	living, ended, delivered := splitStatuses(q.Statuses)
	switch {
	case !q.Event.IsZero(): // that is a look-up already
	case len(q.Statuses) > 0 && !delivered:
		c.addNotDelivered(q, living, ended)
	case q.EventType != "":
		from, order = s.spansOf(c, "d.id", q.EventType, pageTop(q.Until, q.Before.Key()))
	case !q.Webhook.IsZero() && q.Text == "":
		ids, err := s.quiet(ctx, q)
		if err != nil || ids == nil {
			return "", "", err
		}
		c.addIDs(ids, q, len(q.Statuses) == 0 || slices.Contains(q.Statuses, cybervault.DeliverySkipped))
	}
	return from, order, nil
}

// pageTop is above all row keys of a page that ends at until and before a key;
// zero is no bound.
func pageTop(until time.Time, before int64) int64 {
	top := int64(math.MaxInt64)
	if !until.IsZero() {
		top = cybervault.KeyAt(until)
	}
	if before != 0 {
		top = min(top, before)
	}
	return top
}

// splitStatuses tells statuses by the index that has them.
func splitStatuses(statuses []cybervault.DeliveryStatus) (living, ended []any, delivered bool) {
	for _, status := range statuses {
		switch code := statusCode(status); {
		case code < statusDelivered:
			living = append(living, code)
		case code > statusDelivered:
			ended = append(ended, code)
		default:
			delivered = true
		}
	}
	return living, ended, delivered
}

// addNotDelivered looks up what lives and what ended in another way than it
// should have. The newest of each are enough, unless they are filtered further.
func (c *condition) addNotDelivered(q *cybervault.DeliveryQuery, living, ended []any) {
	bounded := q.EventType == "" && q.Text == ""
	var parts []string
	var args []any
	add := func(part condition, order string) {
		text := "SELECT q.id FROM deliveries q WHERE " + part.String()
		args = append(args, part.args...)
		if bounded {
			text += order + " LIMIT ?"
			args = append(args, int64(pageSize(q.Limit))+1)
		}
		parts = append(parts, "SELECT id FROM ("+text+") found")
	}
	if len(living) > 0 {
		var part condition
		part.add("q.status < 2")
		part.add("q.status IN ("+questionMarks(len(living))+")", living...)
		if q.Webhook.IsZero() {
			part.add("q.webhook_id IN (SELECT id FROM webhooks WHERE workspace_id = ?)", q.Workspace.Key())
		}
		part.addPage(q)
		add(part, " ORDER BY +q.id DESC") // by the queue's index, not by walking the log
	}
	for _, status := range ended {
		var part condition
		part.add("q.status > 2 AND q.status = ?", status)
		part.add("q.workspace_id = ?", q.Workspace.Key())
		part.addPage(q)
		add(part, " ORDER BY q.id DESC")
	}
	c.add("d.id IN ("+strings.Join(parts, " UNION ALL ")+")", args...)
}

// addPage restricts deliveries q to what a page may hold, as far as an index
// that begins with the webhook or the status can tell.
func (c *condition) addPage(q *cybervault.DeliveryQuery) {
	if !q.Webhook.IsZero() {
		c.add("q.webhook_id = ?", q.Webhook.Key())
	}
	c.addSpan("q.id", q.Since, q.Until)
	if !q.Before.IsZero() {
		c.add("q.id < ?", q.Before.Key())
	}
}

// addIDs restricts to deliveries that were looked up and, since no chain has
// them, to those that the webhook skipped.
func (c *condition) addIDs(ids []any, q *cybervault.DeliveryQuery, skipped bool) {
	// One list of ids, not two conditions joined by OR, for which SQLite would walk
	// the log.
	var parts []string
	var args []any
	if len(ids) > 0 {
		parts, args = append(parts, "SELECT id FROM deliveries WHERE id IN ("+questionMarks(len(ids))+")"), ids
	}
	if skipped {
		var part condition
		part.add("q.status > 2 AND q.status = ?", statusCode(cybervault.DeliverySkipped))
		part.addPage(q)
		parts = append(parts, "SELECT id FROM (SELECT q.id FROM deliveries q WHERE "+part.String()+" ORDER BY q.id DESC LIMIT ?) found")
		args = append(append(args, part.args...), int64(pageSize(q.Limit))+1)
	}
	if len(parts) == 0 {
		c.add("1 = 0")
		return
	}
	c.add("d.id IN ("+strings.Join(parts, " UNION ALL ")+")", args...)
}

func questionMarks(n int) string { return "?" + strings.Repeat(", ?", n-1) }

// quietSteps is how many deliveries of a webhook are looked at, besides those
// that fit a page, before it counts as busy.
const quietSteps = 1000

// outOfOrder is more than the keys of two deliveries can differ in the wrong
// direction: a chain goes by the order of commit, a page by that of the keys, and
// no publish takes five minutes from the making of its ids to its commit.
var outOfOrder = cybervault.KeyAt(time.UnixMilli((5 * time.Minute).Milliseconds()))

const (
	selectNewest = "SELECT last_delivery FROM webhook_sequences WHERE webhook_id = ?"
	// The lowest mark that surely lies above the page.
	selectMarkAbove = "SELECT delivery_id FROM webhook_sequence_marks WHERE webhook_id = ? AND delivery_id >= ? ORDER BY sequence LIMIT 1"
	selectChain     = `WITH RECURSIVE chain (id, previous, status, n) AS (
SELECT id, previous, status, 1 FROM deliveries WHERE id = ?
UNION ALL
SELECT d.id, d.previous, d.status, c.n + 1 FROM chain c JOIN deliveries d ON d.id = c.previous WHERE c.n < ?)
SELECT id, previous, status FROM chain ORDER BY n`
)

// quiet returns the newest ids of a page of a webhook, skipped deliveries left
// out, or nil where the webhook is too busy for that, or part of its chain is gone.
func (s *Store) quiet(ctx context.Context, q *cybervault.DeliveryQuery) ([]any, error) {
	top := pageTop(q.Until, q.Before.Key())
	start, err := s.chainStart(ctx, q.Webhook.Key(), top)
	if err != nil {
		return nil, err
	}
	if start == 0 {
		return []any{}, nil // it has never got anything
	}
	want := pageSize(q.Limit) + 1
	rows, err := s.db.QueryContext(ctx, s.dialect.rebind(selectChain), start, int64(want+quietSteps))
	if err != nil {
		return nil, readError(err)
	}
	defer func() { _ = rows.Close() }()
	ids := make([]int64, 0, want)
	var id, previous, status int64
	for rows.Next() {
		if err := rows.Scan(&id, &previous, &status); err != nil {
			return nil, readError(err)
		}
		if id < top && (len(q.Statuses) == 0 || slices.Contains(q.Statuses, statusOf(status))) {
			ids = append(ids, id)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, readError(err)
	}
	if id == 0 {
		return nil, nil // the retention has removed where the chain begins
	}
	slices.Sort(ids)
	slices.Reverse(ids)
	complete := previous == 0 || id+outOfOrder < cybervault.KeyAt(q.Since) ||
		len(ids) >= want && id+outOfOrder < ids[want-1]
	if !complete {
		return nil, nil
	}
	page := make([]any, 0, want)
	for _, id := range ids[:min(len(ids), want)] {
		page = append(page, id)
	}
	return page, nil
}

// chainStart returns a delivery of the webhook that was surely committed after all
// whose keys are below top, or 0 where it has none at all.
func (s *Store) chainStart(ctx context.Context, webhook, top int64) (start int64, err error) {
	query := func(text string, args ...any) error {
		err := s.db.QueryRowContext(ctx, s.dialect.rebind(text), args...).Scan(&start)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return readError(err)
	}
	if top < math.MaxInt64-outOfOrder {
		if err := query(selectMarkAbove, webhook, top+outOfOrder); err != nil || start != 0 {
			return start, err
		}
	}
	return start, query(selectNewest, webhook)
}
