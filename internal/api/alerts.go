package api

import (
	"context"
	"encoding/binary"
	"net/http"
	"time"

	"github.com/cybervault/cybervault"
)

// Alerts knows what CyberVault itself needs, or needed, a person for.
type Alerts interface {
	// Alerts lists alerts, newest first.
	Alerts(ctx context.Context, q cybervault.AlertQuery) (cybervault.Page[*cybervault.Alert], error)
}

type alertJSON struct {
	ID         string                 `json:"id" doc:"The alert_id of system.alert."`
	Code       string                 `json:"code" doc:"What kind it is; stable."`
	Subject    string                 `json:"subject" doc:"What it is about: a webhook's id, a source's name. many: several at once."`
	Severity   cybervault.Severity    `json:"severity"`
	Status     cybervault.AlertStatus `json:"status"`
	Summary    string                 `json:"summary"`
	Remedy     string                 `json:"remedy" doc:"What to do."`
	FiredAt    time.Time              `json:"fired_at"`
	ResolvedAt *time.Time             `json:"resolved_at" doc:"null while it fires."`
}

func (s *server) listAlerts(c *call) error {
	f := &filters{query: c.query}
	l := newList(c, "alerts")
	q := cybervault.AlertQuery{Workspace: c.workspace(), Limit: f.limit()}
	before := l.before(f)
	q.Before = int64(binary.BigEndian.Uint64(before[8:])) // a cursor holds an id; here it is the number
	if statuses := choices(f, "status", cybervault.AlertStatuses()); len(statuses) == 1 {
		q.Status = statuses[0]
	}
	if err := f.wrong.err(); err != nil {
		return err
	}
	page, err := s.Alerts.Alerts(c.ctx(), q)
	if err != nil {
		return err
	}
	answer := listJSON[alertJSON]{Data: make([]alertJSON, len(page.Rows))}
	for i, a := range page.Rows {
		answer.Data[i] = alertJSON{ID: a.ID, Code: a.Code, Subject: a.Subject, Severity: a.Severity, Status: a.Status, Summary: a.Summary, Remedy: a.Remedy, FiredAt: a.FiredAt.UTC(), ResolvedAt: orNull(a.ResolvedAt.UTC())}
	}
	if page.More && len(page.Rows) > 0 {
		var last cybervault.UUID
		binary.BigEndian.PutUint64(last[8:], uint64(page.Rows[len(page.Rows)-1].Number))
		answer.NextCursor = l.cursor(last)
	}
	return writeJSON(c, http.StatusOK, answer)
}

func aboutListAlerts(rt *route) {
	rt.id, rt.tag, rt.summary = "listAlerts", tagOperations, "List alerts"
	rt.doc = "What CyberVault itself needs a person for, as it says by system.alert, newest first. One that is over is kept for 90 days."
	rt.params = append(pageParams(), param{"status", "Only those that fire, or only those that are over.", enum(cybervault.AlertStatuses()...)})
	rt.answers = []answer{{status: 200, doc: "One page of alerts.", schema: listOf[alertJSON]()}}
	rt.errors = []int{503}
}
