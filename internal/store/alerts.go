package store

import (
	"context"
	"time"

	"github.com/cybervault/cybervault"
)

// alertsKept is how long a resolved alert is listed.
const alertsKept = 90 * 24 * time.Hour

func (s *Store) checkAlert(a *cybervault.Alert) error {
	for field, text := range map[string]string{"alert_id": a.ID, "code": a.Code, "subject": a.Subject, "summary": a.Summary, "remedy": a.Remedy} {
		if err := checkText(field, text); err != nil {
			return err
		}
	}
	return nil
}

func insertAlert(tx transaction, a *cybervault.Alert) (bool, error) {
	n, err := execCount(tx, `INSERT INTO alerts (alert_id, workspace_id, code, subject, severity, summary, remedy, status, untold, fired_at, resolved_at)
VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?, ?, 0) ON CONFLICT DO NOTHING`,
		a.ID, a.Workspace.Key(), a.Code, a.Subject, string(a.Severity), a.Summary, a.Remedy, boolInt(a.Untold), micros(a.FiredAt))
	return n > 0, err
}

// FireAlert stores an alert that begins to fire, and reports whether none of its code and
// subject fires already.
func (s *Store) FireAlert(ctx context.Context, a *cybervault.Alert) (fresh bool, err error) {
	if err := s.checkAlert(a); err != nil {
		return false, err
	}
	err = s.allOrNone(ctx, func(tx transaction) (err error) {
		if err := exec(tx, "DELETE FROM alerts WHERE workspace_id = ? AND status = 1 AND untold = 0 AND resolved_at < ?", a.Workspace.Key(), micros(s.now().Add(-alertsKept))); err != nil {
			return err
		}
		fresh, err = insertAlert(tx, a)
		return err
	})
	return fresh, err
}

// ResolveAlert ends an alert, with other words about it. One that is resolved already
// stays as it is.
func (s *Store) ResolveAlert(ctx context.Context, a *cybervault.Alert) error {
	if err := s.checkAlert(a); err != nil {
		return err
	}
	return s.allOrNone(ctx, func(tx transaction) error {
		return exec(tx, "UPDATE alerts SET status = 1, untold = ?, summary = ?, remedy = ?, resolved_at = ? WHERE alert_id = ? AND status = 0",
			boolInt(a.Untold), a.Summary, a.Remedy, micros(a.ResolvedAt), a.ID)
	})
}

// ToldAlert notes that the status of an alert has been published.
func (s *Store) ToldAlert(ctx context.Context, id string, status cybervault.AlertStatus) error {
	return s.allOrNone(ctx, func(tx transaction) error {
		return exec(tx, "UPDATE alerts SET untold = 0 WHERE alert_id = ? AND status = ?", id, boolInt(status == cybervault.AlertResolved))
	})
}

const selectAlerts = `SELECT a.number, a.alert_id, p.id, p.id_rest, a.code, a.subject, a.severity, a.summary, a.remedy, a.status, a.untold, a.fired_at, a.resolved_at
FROM alerts a JOIN workspaces p ON p.id = a.workspace_id WHERE `

func scanAlert(scan func(...any) error) (*cybervault.Alert, error) {
	a := &cybervault.Alert{Status: cybervault.AlertFiring}
	var ws, wsRest, status, untold, fired, resolved int64
	var severity string
	if err := scan(&a.Number, &a.ID, &ws, &wsRest, &a.Code, &a.Subject, &severity, &a.Summary, &a.Remedy, &status, &untold, &fired, &resolved); err != nil {
		return nil, err
	}
	a.Workspace, a.Severity, a.Untold = cybervault.MakeID[cybervault.WorkspaceID](ws, wsRest), cybervault.Severity(severity), untold != 0
	a.FiredAt, a.ResolvedAt = fromMicros(fired), fromMicros(resolved)
	if status != 0 {
		a.Status = cybervault.AlertResolved
	}
	return a, nil
}

// LiveAlerts lists those of all workspaces that fire, or that are not told of as they are.
func (s *Store) LiveAlerts(ctx context.Context) ([]*cybervault.Alert, error) {
	page, err := list(ctx, s, selectAlerts+"a.status = 0 OR a.untold = 1 ORDER BY a.number LIMIT ?", nil, maxRows, scanAlert)
	return page.Rows, err
}

// Alerts lists alerts of a workspace, newest first.
func (s *Store) Alerts(ctx context.Context, q cybervault.AlertQuery) (cybervault.Page[*cybervault.Alert], error) {
	var c condition
	c.add("a.workspace_id = ?", q.Workspace.Key())
	switch q.Status {
	case "":
	case cybervault.AlertFiring, cybervault.AlertResolved:
		c.add("a.status = ?", boolInt(q.Status == cybervault.AlertResolved))
	default:
		return cybervault.Page[*cybervault.Alert]{}, cybervault.Invalid("status", "%.40q is no status of an alert: firing, resolved", string(q.Status))
	}
	if q.Before != 0 {
		c.add("a.number < ?", q.Before)
	}
	return list(ctx, s, selectAlerts+c.String()+" ORDER BY a.number DESC LIMIT ?", c.args, q.Limit, scanAlert)
}

// newestDeadLetters bounds how many dead letters are looked at for a count.
const newestDeadLetters = 5000

// DeadLettersByWebhook counts, by webhook, the deliveries that ended as dead letters since a
// moment, of the 5,000 dead letters that were made last.
func (s *Store) DeadLettersByWebhook(ctx context.Context, since time.Time) (map[cybervault.WebhookID]int, error) {
	rows, err := s.db.QueryContext(ctx, s.dialect.rebind(`SELECT w.id, w.id_rest, COUNT(*) FROM (
SELECT webhook_id, finished_at FROM deliveries WHERE status > 2 AND status = ? ORDER BY id DESC LIMIT ?) d
JOIN webhooks w ON w.id = d.webhook_id WHERE d.finished_at >= ? GROUP BY w.id, w.id_rest`), int64(statusDeadLetter), int64(newestDeadLetters), micros(since))
	if err != nil {
		return nil, readError(err)
	}
	defer func() { _ = rows.Close() }()
	counts := map[cybervault.WebhookID]int{}
	for rows.Next() {
		var key, rest int64
		var n int
		if err := rows.Scan(&key, &rest, &n); err != nil {
			return nil, readError(err)
		}
		counts[cybervault.MakeID[cybervault.WebhookID](key, rest)] = n
	}
	return counts, readError(rows.Err())
}
