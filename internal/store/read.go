package store

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cybervault/cybervault"
)

// condition gathers the WHERE of a list.
type condition struct {
	parts []string
	args  []any
}

func (c *condition) add(sql string, args ...any) {
	c.parts = append(c.parts, sql)
	c.args = append(c.args, args...)
}

func (c *condition) String() string { return strings.Join(c.parts, " AND ") }

// addType restricts column to an event type, a namespace ("threat.*") or nothing ("*").
func (c *condition) addType(column, choice string) {
	namespace, wild := strings.CutSuffix(choice, ".*")
	switch {
	case choice == "" || choice == "*":
	case checkText("event", choice) != nil:
		c.add("1 = 0")
	case wild:
		// A prefix instead of LIKE: exact in both databases, whatever the collation.
		c.add("substr("+column+", 1, ?) = ?", int64(utf8.RuneCountInString(namespace)+1), namespace+".")
	default:
		c.add(column+" = ?", choice)
	}
}

func (c *condition) addSpan(column string, since, until time.Time) {
	if !since.IsZero() {
		c.add(column+" >= ?", cybervault.KeyAt(since))
	}
	if !until.IsZero() {
		c.add(column+" < ?", cybervault.KeyAt(until))
	}
}

const eventColumns = `e.id, e.id_rest, e.type, e.timestamp, e.idempotency_key, e.test, e.body`

func scanEvent(ws cybervault.WorkspaceID, scan func(...any) error) (*cybervault.Event, error) {
	var key, rest, timestamp, test int64
	var idempotency sql.NullString
	e := &cybervault.Event{Workspace: ws}
	if err := scan(&key, &rest, &e.Type, &timestamp, &idempotency, &test, &e.Body); err != nil {
		return nil, err
	}
	e.ID = cybervault.MakeID[cybervault.EventID](key, rest)
	e.Timestamp, e.Test = fromMicros(timestamp), test != 0
	e.IdempotencyKey, e.PublisherKey = idempotency.String, idempotency.Valid
	if !e.PublisherKey {
		e.IdempotencyKey = cybervault.GeneratedKeyPrefix + e.ID.UUID.String()
	}
	return e, nil
}

// Events lists events, newest first. Since and Until bound when they were
// stored.
func (s *Store) Events(ctx context.Context, q cybervault.EventQuery) (cybervault.Page[*cybervault.Event], error) {
	if q.Search.Filters() {
		return s.searchEvents(ctx, q)
	}
	query, args := s.selectEvents(&q)
	return list(ctx, s, query, args, q.Limit, func(scan func(...any) error) (*cybervault.Event, error) { return scanEvent(q.Workspace, scan) })
}

// selectEvents is the list of events without its limit, the filters of a search
// as far as SQL can tell.
func (s *Store) selectEvents(q *cybervault.EventQuery) (query string, args []any) {
	var c condition
	c.add("e.workspace_id = ?", q.Workspace.Key())
	c.addType("e.type", q.Type)
	c.addSpan("e.id", q.Since, q.Until)
	if !q.Before.IsZero() {
		c.add("e.id < ?", q.Before.Key())
	}
	if q.Unmatched {
		c.add("e.deliveries = 0")
	}
	c.addText(s.dialect, q.Text)
	c.addSearch(s.dialect, &q.Search)
	from, order := s.spansOf(&c, "e.id", q.Type, pageTop(q.Until, q.Before.Key()))
	return "SELECT " + eventColumns + " FROM " + from + "events e WHERE " + c.String() + " ORDER BY " + order + "e.id DESC LIMIT ?", c.args
}

// Event returns one event, or CodeNotFound.
func (s *Store) Event(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.EventID) (*cybervault.Event, error) {
	row := s.db.QueryRowContext(ctx, s.dialect.rebind("SELECT "+eventColumns+" FROM events e WHERE e.id = ? AND e.id_rest = ? AND e.workspace_id = ?"),
		id.Key(), id.Rest(), ws.Key())
	e, err := scanEvent(ws, row.Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, notFound("event", id.String())
	}
	return e, readError(err)
}

const deliveryColumns = `d.id, d.id_rest, e.id, e.id_rest, e.type, w.id, w.id_rest, d.sequence, d.status, d.reason, d.attempts, d.due_at, d.lease_token,
d.finished_at, d.replay_of, COALESCE(r.id_rest, 0), d.test, d.severity, d.last_status, d.last_failure`

const deliveryTables = `deliveries d JOIN events e ON e.id = d.event_id JOIN webhooks w ON w.id = d.webhook_id
LEFT JOIN deliveries r ON r.id = d.replay_of AND d.replay_of > 0 WHERE `

func scanDelivery(ws cybervault.WorkspaceID, scan func(...any) error) (*cybervault.Delivery, error) {
	var id, idRest, event, eventRest, webhook, webhookRest, status, due, lease, finished, replay, replayRest, test, severity int64
	d := &cybervault.Delivery{Workspace: ws}
	if err := scan(&id, &idRest, &event, &eventRest, &d.EventType, &webhook, &webhookRest, &d.Sequence, &status, &d.Reason, &d.Attempts, &due, &lease,
		&finished, &replay, &replayRest, &test, &severity, &d.LastStatus, &d.LastFailure); err != nil {
		return nil, err
	}
	d.ID = cybervault.MakeID[cybervault.DeliveryID](id, idRest)
	d.Event = cybervault.MakeID[cybervault.EventID](event, eventRest)
	d.Webhook = cybervault.MakeID[cybervault.WebhookID](webhook, webhookRest)
	d.Status, d.Severity, d.Test, d.FinishedAt = statusOf(status), severityOf(severity), test != 0, fromMicros(finished)
	if replay > 0 {
		d.ReplayOf = cybervault.MakeID[cybervault.DeliveryID](replay, replayRest)
	}
	if d.Status == cybervault.DeliveryPending {
		if d.Running = lease != 0; !d.Running {
			d.NextAttemptAt = fromMicros(due)
		}
	}
	return d, nil
}

// Deliveries lists deliveries, newest first. Since and Until bound when they
// were made.
func (s *Store) Deliveries(ctx context.Context, q cybervault.DeliveryQuery) (cybervault.Page[*cybervault.Delivery], error) {
	var c condition
	c.add("d.workspace_id = ?", q.Workspace.Key())
	if !q.Webhook.IsZero() {
		c.add("d.webhook_id = ? AND w.id_rest = ?", q.Webhook.Key(), q.Webhook.Rest())
	}
	if !q.Event.IsZero() {
		if err := s.addEvent(ctx, &c, q.Workspace, q.Event); err != nil {
			return cybervault.Page[*cybervault.Delivery]{}, err
		}
	}
	c.addType("e.type", q.EventType)
	if err := c.addStatus(q.Statuses); err != nil {
		return cybervault.Page[*cybervault.Delivery]{}, err
	}
	c.addSpan("d.id", q.Since, q.Until)
	if !q.Before.IsZero() {
		c.add("d.id < ?", q.Before.Key())
	}
	c.addText(s.dialect, q.Text)
	from, order, err := s.addFound(ctx, &c, &q)
	if err != nil {
		return cybervault.Page[*cybervault.Delivery]{}, err
	}
	return list(ctx, s, "SELECT "+deliveryColumns+" FROM "+from+deliveryTables+c.String()+" ORDER BY "+order+"d.id DESC LIMIT ?", c.args, q.Limit,
		func(scan func(...any) error) (*cybervault.Delivery, error) { return scanDelivery(q.Workspace, scan) })
}

// addStatus restricts to some statuses.
func (c *condition) addStatus(statuses []cybervault.DeliveryStatus) error {
	if len(statuses) == 0 {
		return nil
	}
	codes := make([]any, len(statuses))
	for i, status := range statuses {
		if !slices.Contains(cybervault.DeliveryStatuses(), status) {
			return cybervault.Invalid("status", "%q is not a delivery status", status)
		}
		codes[i] = statusCode(status)
	}
	c.add("d.status IN ("+questionMarks(len(codes))+")", codes...)
	return nil
}

// addEvent restricts to the deliveries of one event: those made with it, whose
// keys follow its own, and its replays.
func (s *Store) addEvent(ctx context.Context, c *condition, ws cybervault.WorkspaceID, id cybervault.EventID) error {
	var births int
	err := s.db.QueryRowContext(ctx, s.dialect.rebind("SELECT deliveries FROM events WHERE id = ? AND id_rest = ? AND workspace_id = ?"),
		id.Key(), id.Rest(), ws.Key()).Scan(&births)
	if errors.Is(err, sql.ErrNoRows) {
		return notFound("event", id.String())
	}
	if err != nil {
		return readError(err)
	}
	c.add("d.id IN (SELECT id FROM deliveries WHERE id > ? AND id <= ? AND event_id = ? UNION ALL SELECT id FROM deliveries WHERE event_id = ? AND replay_of <> 0)",
		id.Key(), birthsEnd(id.Key(), births), id.Key(), id.Key())
	return nil
}

// Delivery returns one delivery, or CodeNotFound.
func (s *Store) Delivery(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.DeliveryID) (*cybervault.Delivery, error) {
	row := s.db.QueryRowContext(ctx, s.dialect.rebind("SELECT "+deliveryColumns+" FROM "+deliveryTables+"d.id = ? AND d.id_rest = ? AND d.workspace_id = ?"),
		id.Key(), id.Rest(), ws.Key())
	d, err := scanDelivery(ws, row.Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, notFound("delivery", id.String())
	}
	return d, readError(err)
}

const attemptColumns = `a.number, a.id, a.id_rest, a.started_at, a.elapsed, a.status, a.failure, a.detail, a.body`

// scanAttempt reads an attempt without its delivery.
func scanAttempt(scan func(...any) error) (*cybervault.Attempt, error) {
	a := &cybervault.Attempt{}
	var key, rest, started, elapsed int64
	var more []byte
	if err := scan(&a.Number, &key, &rest, &started, &elapsed, &a.Status, &a.Failure, &more, &a.Body); err != nil {
		return nil, err
	}
	a.ID = cybervault.MakeID[cybervault.AttemptID](key, rest)
	a.StartedAt, a.Elapsed = fromMicros(started), time.Duration(elapsed)*time.Microsecond
	if err := decodeDetail(more, &a.Exchange); err != nil {
		return nil, &cybervault.Error{Code: cybervault.CodeInternal, Message: "an attempt in the log cannot be read", Err: err}
	}
	return a, nil
}

// Attempts lists the attempts of a delivery, the first one first. There are none
// of a delivery that the workspace does not have. Times are kept to the
// microsecond.
func (s *Store) Attempts(ctx context.Context, ws cybervault.WorkspaceID, delivery cybervault.DeliveryID) ([]*cybervault.Attempt, error) {
	rows, err := s.db.QueryContext(ctx, s.dialect.rebind("SELECT "+attemptColumns+`
FROM attempts a JOIN deliveries d ON d.id = a.delivery_id
WHERE a.delivery_id = ? AND d.id_rest = ? AND d.workspace_id = ? ORDER BY a.number`), delivery.Key(), delivery.Rest(), ws.Key())
	if err != nil {
		return nil, readError(err)
	}
	defer func() { _ = rows.Close() }()
	attempts := []*cybervault.Attempt{}
	for rows.Next() {
		a, err := scanAttempt(rows.Scan)
		if err != nil {
			return nil, readError(err)
		}
		a.Delivery = delivery
		attempts = append(attempts, a)
	}
	return attempts, readError(rows.Err())
}

// listRows reads one page: one row more than asked for tells whether more follow.
func listRows[T any](ctx context.Context, s *Store, query string, args []any, limit int, scan func(func(...any) error) (T, error)) (cybervault.Page[T], error) {
	limit = pageSize(limit)
	page := cybervault.Page[T]{Rows: []T{}}
	rows, err := s.db.QueryContext(ctx, s.dialect.rebind(query), append(args, int64(limit)+1)...)
	if err != nil {
		return page, readError(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		row, err := scan(rows.Scan)
		if err != nil {
			return page, readError(err)
		}
		if len(page.Rows) == limit {
			page.More = true
			break
		}
		page.Rows = append(page.Rows, row)
	}
	return page, readError(rows.Err())
}

// pageSize is how many rows a page has that is asked for limit.
func pageSize(limit int) int {
	if limit < 1 || limit > cybervault.MaxPageSize {
		return cybervault.DefaultPageSize
	}
	return limit
}

func readError(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*cybervault.Error](err); ok || errors.Is(err, context.Canceled) {
		return err
	}
	if damaged(err) {
		return damage("", err)
	}
	return &cybervault.Error{Code: cybervault.CodeUnavailable, Message: "the store cannot be read now; try again", Err: err}
}
