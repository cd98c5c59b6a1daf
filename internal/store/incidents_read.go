package store

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

// Incidents lists incidents, newest first.
func (s *Store) Incidents(ctx context.Context, q cybervault.IncidentQuery) (cybervault.Page[*cybervault.Incident], error) {
	var c condition
	c.add("i.workspace_id = ?", q.Workspace.Key())
	if len(q.Statuses) > 0 {
		codes := make([]string, len(q.Statuses))
		for n, status := range q.Statuses {
			codes[n] = strconv.FormatInt(incidentStatusCode(status), 10)
		}
		c.add("i.status IN (" + strings.Join(codes, ", ") + ")")
		if !slices.Contains(q.Statuses, cybervault.IncidentResolved) {
			c.add("i.status < 2") // few of many: there is an index of them
		}
	}
	if len(q.Severities) > 0 {
		ranks := make([]string, len(q.Severities))
		for n, severity := range q.Severities {
			ranks[n] = strconv.Itoa(severity.Rank())
		}
		c.add("i.severity IN (" + strings.Join(ranks, ", ") + ")")
	}
	c.addSpan("i.id", q.Since, q.Until)
	if !q.Before.IsZero() {
		c.add("i.id < ?", q.Before.Key())
	}
	if q.Text != "" {
		c.add("i.search LIKE ? ESCAPE '!'", textPattern(searchable(q.Text)))
	}
	if q.Entity != "" { // a line of its own, below the title
		line := textPattern("\n" + searchable(q.Entity) + "\n")
		last := strings.TrimSuffix(line, "\n%")
		c.add("(i.search LIKE ? ESCAPE '!' OR i.search LIKE ? ESCAPE '!')", line, last)
	}
	return s.selectIncidents(ctx, q.Workspace, c.String()+" ORDER BY i.id DESC LIMIT ?", c.args, q.Limit)
}

// LiveIncidents counts the incidents of a workspace that are open or acknowledged.
func (s *Store) LiveIncidents(ctx context.Context, ws cybervault.WorkspaceID) ([]cybervault.IncidentCount, error) {
	statuses, severities := cybervault.IncidentStatuses(), cybervault.Severities()
	page, err := list(ctx, s, "SELECT i.status, i.severity, COUNT(*) FROM incidents i WHERE i.workspace_id = ? AND i.status < 2 GROUP BY i.status, i.severity ORDER BY i.status, i.severity LIMIT ?",
		[]any{ws.Key()}, len(statuses)*len(severities), func(scan func(...any) error) (cybervault.IncidentCount, error) {
			var status, severity int
			var c cybervault.IncidentCount
			if err := scan(&status, &severity, &c.Count); err != nil {
				return c, err
			}
			c.Status, c.Severity = statuses[status], severities[severity]
			return c, nil
		})
	return page.Rows, err
}

// Incident returns one incident, or CodeNotFound.
func (s *Store) Incident(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.IncidentID) (*cybervault.Incident, error) {
	page, err := s.selectIncidents(ctx, ws, "i.id = ? AND i.id_rest = ? AND i.workspace_id = ? LIMIT ?", []any{id.Key(), id.Rest(), ws.Key()}, 1)
	if err != nil {
		return nil, err
	}
	if len(page.Rows) == 0 {
		return nil, notFound("incident", id.String())
	}
	return page.Rows[0], nil
}

// IncidentMembers lists the members of an incident, the one that the engine last
// had to do with first, each with the last event about it where that is stored.
func (s *Store) IncidentMembers(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.IncidentID, limit int) ([]*cybervault.IncidentMember, error) {
	page, err := list(ctx, s, selectMembers+membersByIncident+"= ? AND i.id_rest = ? ORDER BY m.at DESC, m.subject LIMIT ?", []any{ws.Key(), id.Key(), id.Rest()}, limit, scanMember)
	if err != nil {
		return nil, err
	}
	for _, m := range page.Rows {
		events, err := list(ctx, s, "SELECT e.id, e.id_rest FROM "+s.dialect.byIdempotencyKey+" LIMIT ?", []any{ws.Key(), m.FindingKey}, 1,
			func(scan func(...any) error) (cybervault.EventID, error) {
				var key, rest int64
				err := scan(&key, &rest)
				return cybervault.MakeID[cybervault.EventID](key, rest), err
			})
		if err != nil {
			return nil, err
		}
		if len(events.Rows) > 0 {
			m.Event = events.Rows[0]
		}
	}
	return page.Rows, nil
}

// What is due, of all workspaces.
const (
	selectDueIncidents = "SELECT i.doc, p.id, p.id_rest FROM incidents i JOIN workspaces p ON p.id = i.workspace_id WHERE "
	incidentsQuiet     = "i.status < 2 AND i.active_at <= ? ORDER BY i.active_at LIMIT ?"
	incidentsBehind    = "i.behind_since > 0 AND i.behind_since <= ? ORDER BY i.behind_since LIMIT ?"
	incidentsOld       = "SELECT id FROM incidents WHERE status = 2 AND active_at < ? ORDER BY active_at LIMIT ?"
)

// DueIncidents lists live incidents of all workspaces that nothing has had to do
// with since a moment (zero: none), or that have more to tell since another: at
// most limit of each.
func (s *Store) DueIncidents(ctx context.Context, activeBefore, toldBefore time.Time, limit int) ([]*cybervault.Incident, error) {
	var due []*cybervault.Incident
	for _, part := range []struct {
		where string
		since time.Time
	}{
		{incidentsQuiet, activeBefore},
		{incidentsBehind, toldBefore},
	} {
		if part.since.IsZero() {
			continue
		}
		page, err := list(ctx, s, selectDueIncidents+part.where, []any{micros(part.since)}, limit-len(due), func(scan func(...any) error) (*cybervault.Incident, error) {
			var doc string
			var key, rest int64
			if err := scan(&doc, &key, &rest); err != nil {
				return nil, err
			}
			return readIncident(cybervault.MakeID[cybervault.WorkspaceID](key, rest), doc)
		})
		if err != nil {
			return nil, err
		}
		if due = append(due, page.Rows...); len(due) >= limit {
			break
		}
	}
	return due, nil
}

// maxOutgoing bounds the events about incidents that are read at once.
const maxOutgoing = 100

// OutgoingIncidentEvents reads events about incidents that are yet to be
// published, in the order of commit: of one workspace, of which there may be more.
// The zero workspace is any.
func (s *Store) OutgoingIncidentEvents(ctx context.Context, ws cybervault.WorkspaceID) (cybervault.OutgoingEvents, error) {
	out := cybervault.OutgoingEvents{Workspace: ws}
	if ws.IsZero() {
		page, err := list(ctx, s, `SELECT p.id, p.id_rest FROM workspaces p WHERE EXISTS (SELECT 1 FROM incident_events o WHERE o.workspace_id = p.id) ORDER BY p.id LIMIT ?`, nil, 1,
			func(scan func(...any) error) (cybervault.WorkspaceID, error) {
				var key, rest int64
				err := scan(&key, &rest)
				return cybervault.MakeID[cybervault.WorkspaceID](key, rest), err
			})
		if err != nil || len(page.Rows) == 0 {
			return out, err
		}
		out.Workspace = page.Rows[0]
	}
	rows, err := s.db.QueryContext(ctx, s.dialect.rebind(`SELECT revision, place, type, at, event_key, data FROM incident_events
WHERE workspace_id = ? ORDER BY revision, place LIMIT ?`), out.Workspace.Key(), int64(maxOutgoing))
	if err != nil {
		return out, readError(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var at int64
		var e cybervault.Finding
		if err := rows.Scan(&out.Revision, &out.Place, &e.Type, &at, &e.Key, &e.Data); err != nil {
			return out, readError(err)
		}
		e.Timestamp = fromMicros(at)
		out.Events = append(out.Events, e)
	}
	return out, readError(rows.Err())
}

// ForgetIncidentEvents removes events that were published: those up to the last one
// that was read.
func (s *Store) ForgetIncidentEvents(ctx context.Context, out cybervault.OutgoingEvents) error {
	return s.w.do(ctx, func(tx transaction) error {
		return exec(tx, "DELETE FROM incident_events WHERE workspace_id = ? AND (revision < ? OR revision = ? AND place <= ?)",
			out.Workspace.Key(), out.Revision, out.Revision, int64(out.Place))
	})
}

// maxPruned bounds the incidents, and the members, that are removed at once.
const maxPruned = 100

// PruneIncidents removes some of the incidents that were resolved before a moment,
// with their members, and of the threats of before then that belonged to none. more
// says that there is more to remove. What people found them to be stays counted.
func (s *Store) PruneIncidents(ctx context.Context, before time.Time) (more bool, err error) {
	err = s.w.do(ctx, func(tx transaction) error {
		var keys []int64
		err := tx.query(incidentsOld, []any{micros(before), int64(maxPruned)},
			func(row []any) { keys = append(keys, asInt(row[0])) })
		if err != nil {
			return err
		}
		for _, query := range []string{"DELETE FROM incident_members WHERE incident_id = ?", "DELETE FROM incidents WHERE id = ? AND status = 2"} {
			if err := tx.each(query, len(keys), func(n int, a []any) []any { return append(a, keys[n]) }, nil); err != nil {
				return err
			}
		}
		n, err := execCount(tx, `DELETE FROM incident_members WHERE incident_id = 0 AND (workspace_id, subject) IN
(SELECT m.workspace_id, m.subject FROM incident_members m WHERE m.incident_id = 0 AND m.at < ? ORDER BY m.at LIMIT ?)`, micros(before), int64(maxPruned))
		more = len(keys) == maxPruned || n == maxPruned
		return err
	})
	return more, err
}

// IncidentVerdicts returns what people found each rule and each name to be, and the
// revision at which that last changed: none where it is the one that is known.
func (s *Store) IncidentVerdicts(ctx context.Context, ws cybervault.WorkspaceID, known int64) (verdicts []cybervault.Verdict, revision int64, err error) {
	page, err := list(ctx, s, "SELECT verdicts FROM incident_state WHERE workspace_id = ? LIMIT ?", []any{ws.Key()}, 1,
		func(scan func(...any) error) (at int64, err error) { return at, scan(&at) })
	if err != nil || len(page.Rows) == 0 || page.Rows[0] == known {
		return nil, known, err
	}
	rows, err := s.db.QueryContext(ctx, s.dialect.rebind(`SELECT rule, name, true_positive, false_positive FROM incident_verdicts
WHERE workspace_id = ? AND (true_positive > 0 OR false_positive > 0) ORDER BY rule, name`), ws.Key())
	if err != nil {
		return nil, 0, readError(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var v cybervault.Verdict
		if err := rows.Scan(&v.Rule, &v.Name, &v.TruePositive, &v.FalsePositive); err != nil {
			return nil, 0, readError(err)
		}
		verdicts = append(verdicts, v)
	}
	return verdicts, page.Rows[0], readError(rows.Err())
}
