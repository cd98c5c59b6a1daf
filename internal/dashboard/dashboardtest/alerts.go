package dashboardtest

import (
	"context"
	"slices"
	"time"

	"github.com/cybervault/cybervault"
)

// AddAlert adds an alert; its workspace, id and number are the fake's to give.
func (f *Fake) AddAlert(a cybervault.Alert) *cybervault.Alert {
	f.mu.Lock()
	defer f.mu.Unlock()
	a.ID, a.Workspace, a.Number = cybervault.NewID[cybervault.AlertID](f.ids).String(), f.Workspace, int64(len(f.alerts)+1)
	if a.FiredAt.IsZero() {
		a.FiredAt = f.clock()
	}
	f.alerts = append(f.alerts, &a)
	return &a
}

// Alerts lists alerts, newest first.
func (f *Fake) Alerts(_ context.Context, q cybervault.AlertQuery) (cybervault.Page[*cybervault.Alert], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var page cybervault.Page[*cybervault.Alert]
	if q.Status != "" && !slices.Contains(cybervault.AlertStatuses(), q.Status) {
		return page, cybervault.Invalid("status", "is none of firing, resolved")
	}
	for _, a := range slices.Backward(f.alerts) {
		if a.Workspace != q.Workspace || q.Status != "" && a.Status != q.Status || q.Before != 0 && a.Number >= q.Before {
			continue
		}
		if page.More = len(page.Rows) == q.Limit; page.More {
			break
		}
		page.Rows = append(page.Rows, a)
	}
	return page, f.fail
}

// seedAlerts adds one alert of each look.
func (f *Fake) seedAlerts(now time.Time) {
	f.AddAlert(cybervault.Alert{
		Code: "records_unreadable", Subject: "telemetry", Severity: cybervault.SeverityMedium, Status: cybervault.AlertResolved, FiredAt: now.Add(-26 * time.Hour), ResolvedAt: now.Add(-25 * time.Hour),
		Summary: "Nearly all telemetry of the last hour could be read.", Remedy: "Nothing is left to do.",
	})
	hook := f.webhooks[0].ID.String()
	f.AddAlert(cybervault.Alert{
		Code: "certificate_ending", Subject: hook + " receiver", Severity: cybervault.SeverityHigh, Status: cybervault.AlertFiring, FiredAt: now.Add(-3 * time.Hour),
		Summary: "The certificate of the webhook " + hook + " (receiver) ends on 2026-12-06.", Remedy: "Whoever runs the receiver has to renew it; attempts fail once it has ended.",
	})
	f.AddAlert(cybervault.Alert{
		Code: "source_silent", Subject: "dc-01.corp.example.com", Severity: cybervault.SeverityHigh, Status: cybervault.AlertFiring, FiredAt: now.Add(-12 * time.Minute),
		Summary: `The source of telemetry "dc-01.corp.example.com" has been silent since ` + now.Add(-22*time.Minute).UTC().Format(time.RFC3339) + ".",
		Remedy:  "Look whether its machine runs and its logs are sent. An attacker who is in turns the logs off first.",
	})
}
