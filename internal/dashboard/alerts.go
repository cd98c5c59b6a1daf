package dashboard

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/cybervault/cybervault"
)

const alertsPath = "/alerts"

type alertsView struct {
	page
	Statuses []choice
	List     alertList
}

// alertList is the part of the page that follows changes.
type alertList struct {
	Rows    []alertRow
	Any     bool // something is filtered
	Older   string
	First   string
	Problem string
	Live    liveView
}

type alertRow struct {
	ID, Code, Summary, Remedy string
	Firing                    bool
	Badge, Severity           badge
	Subject, Link             string // what it is about, and where that is shown
	Fired, Resolved           moment
}

var alertBadges = map[cybervault.AlertStatus]badge{cybervault.AlertFiring: {"bad", "Firing"}, cybervault.AlertResolved: {"ok", "Resolved"}}

func (d *dashboard) alertRow(a *cybervault.Alert) alertRow {
	return alertRow{
		ID: cut(a.ID, shownInList), Code: cut(a.Code, 80), Summary: cut(a.Summary, shownInDetail), Remedy: cut(a.Remedy, shownInDetail), Firing: a.Status == cybervault.AlertFiring,
		Badge: alertBadges[a.Status], Severity: severityBadge(a.Severity), Subject: cut(a.Subject, shownInList), Link: aboutURL(a), Fired: d.moment(a.FiredAt), Resolved: d.moment(a.ResolvedAt),
	}
}

// aboutURL is the page of what an alert is about; empty where it has none.
func aboutURL(a *cybervault.Alert) string {
	id, _, _ := strings.Cut(a.Subject, " ")
	if _, err := cybervault.ParseID[cybervault.WebhookID](id); err == nil {
		return hooksPath + "/" + id
	}
	if _, err := cybervault.ParseID[cybervault.AgentID](id); err == nil {
		return agentsPath + "/" + id
	}
	switch a.Code {
	case "key_ending":
		return "/settings/api-keys"
	case "rule_floods":
		if _, rule, ok := strings.Cut(a.Subject, ":"); ok {
			return "/rules/" + url.PathEscape(rule)
		}
	case "agents_offline_together":
		return agentsPath + "?status=offline"
	case "source_silent", "disk_low", "audit_broken", "records_unreadable":
		return "/settings/health"
	}
	return ""
}

func (d *dashboard) listAlerts(w http.ResponseWriter, r *http.Request) error {
	ctx, query, status := r.Context(), r.URL.Query(), http.StatusOK
	v := &alertsView{page: d.newPage(r, "alerts", "Alerts")}
	chosen := cybervault.AlertStatus(query.Get("status"))
	for _, s := range cybervault.AlertStatuses() {
		v.Statuses = append(v.Statuses, choice{Value: string(s), Label: alertBadges[s].Text, Chosen: s == chosen})
	}
	address := func(before string) string {
		q := url.Values{}
		if chosen != "" {
			q.Set("status", string(chosen))
		}
		if before != "" {
			q.Set("before", before)
		}
		if len(q) == 0 {
			return alertsPath
		}
		return alertsPath + "?" + q.Encode()
	}
	q := cybervault.AlertQuery{Workspace: workspaceOf(ctx), Status: chosen, Limit: cybervault.DefaultPageSize}
	var err error
	if before := query.Get("before"); before != "" {
		if q.Before, err = strconv.ParseInt(before, 10, 64); err != nil || q.Before < 1 {
			err = cybervault.Invalid("before", "is no number of an alert")
		}
	}
	var found cybervault.Page[*cybervault.Alert]
	if err == nil {
		found, err = d.Alerts.Alerts(ctx, q)
	}
	if cybervault.ErrorCode(err) == cybervault.CodeInvalid {
		v.List.Problem, status = plainError(err), http.StatusUnprocessableEntity
	} else if err != nil {
		return err
	}
	v.List.Any = chosen != ""
	for _, a := range found.Rows {
		v.List.Rows = append(v.List.Rows, d.alertRow(a))
	}
	if found.More && len(found.Rows) > 0 {
		v.List.Older = address(strconv.FormatInt(found.Rows[len(found.Rows)-1].Number, 10))
	}
	if q.Before != 0 {
		v.List.First = address("")
	} else if v.List.Problem == "" {
		v.List.Live = liveView{URL: address(""), Every: 3000}
	}
	if wantsPart(r) {
		return d.renderPart(w, "alerts", "alerts-list", v)
	}
	return d.render(w, status, "alerts", v)
}
