package dashboard

import (
	"context"
	"net/http"

	"github.com/cybervault/cybervault"
)

type eventsView struct {
	page
	Filter logFilter
	Types  []choice
	List   eventList
}

// eventList is the part of the page that follows changes.
type eventList struct {
	Rows    []eventRow
	Older   string
	First   string
	Partial bool // a long search: older events have not been looked at
	Any     bool
	Problem string
	Live    liveView
}

type eventRow struct {
	ID       string
	Type     string
	Severity badge
	Summary  string
	When     moment
	Test     bool
}

func (d *dashboard) eventRows(list []*cybervault.Event, known severities) []eventRow {
	rows := make([]eventRow, len(list))
	for i, e := range list {
		severity, summary := digest(e.Body)
		if severity == "" {
			severity = known.of(e.Type)
		}
		rows[i] = eventRow{
			ID: e.ID.String(), Type: cut(e.Type, shownInList), Severity: severityBadge(severity),
			Summary: summary, When: d.moment(e.Timestamp), Test: e.Test,
		}
	}
	return rows
}

// eventQuery reads the filter; the error is for the person who typed it.
func (d *dashboard) eventQuery(ctx context.Context, f logFilter) (q cybervault.EventQuery, err error) {
	q = cybervault.EventQuery{Workspace: workspaceOf(ctx), Type: f.Event, Limit: cybervault.DefaultPageSize}
	if q.Search, err = cybervault.ParseSearch(f.Text); err != nil {
		return q, err
	}
	q.Search.Severities = d.severities(ctx)
	if q.Before, err = optionalID[cybervault.EventID]("before", f.Before); err != nil {
		return q, err
	}
	if q.Since, err = parseMoment(d.Now(), "since", f.Since); err != nil {
		return q, err
	}
	q.Until, err = parseMoment(d.Now(), "until", f.Until)
	return q, err
}

func (d *dashboard) listEvents(w http.ResponseWriter, r *http.Request) error {
	v := &eventsView{page: d.newPage(r, "events", "Events"), Filter: readFilter(r.URL.Query())}
	v.Filter.Webhook, v.Filter.Status = "", ""
	f := v.Filter
	query, err := d.eventQuery(r.Context(), f)
	var found cybervault.Page[*cybervault.Event]
	if err == nil {
		found, err = d.Log.Events(r.Context(), query)
	}
	status := http.StatusOK
	if cybervault.ErrorCode(err) == cybervault.CodeInvalid {
		v.Filter.Problem, status = plainError(err), http.StatusUnprocessableEntity
	} else if err != nil {
		return err
	}
	rows := d.eventRows(found.Rows, d.severities(r.Context()))
	v.List = eventList{Rows: rows, Any: f.any(), Problem: v.Filter.Problem}
	if found.More {
		v.List.Older, v.List.Partial = f.with(func(f *logFilter) { f.Before = olderThan(found) }).url("/events"), !found.Resume.IsZero()
	}
	if f.Before != "" {
		v.List.First = f.with(func(f *logFilter) { f.Before = "" }).url("/events")
	} else if v.Filter.Problem == "" {
		v.List.Live = liveView{URL: f.url("/events"), Every: 500}
	}
	if wantsPart(r) {
		if r.Header.Get("HX-Trigger") == "filters" {
			w.Header().Set("HX-Push-Url", f.url("/events"))
		}
		return d.renderPart(w, "events", "events-list", v)
	}
	v.Types = typeChoices(d.Catalogue.List(workspaceOf(r.Context())), f.Event)
	return d.render(w, status, "events", v)
}

// olderThan is the id before which the next page goes on.
func olderThan(p cybervault.Page[*cybervault.Event]) string {
	if !p.Resume.IsZero() {
		return cybervault.EventID{UUID: p.Resume}.String()
	}
	if len(p.Rows) == 0 {
		return ""
	}
	return p.Rows[len(p.Rows)-1].ID.String()
}
