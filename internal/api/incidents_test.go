package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault"
)

var incident1 = id[cybervault.IncidentID](70)

func sampleIncident() *cybervault.Incident {
	return &cybervault.Incident{
		ID: incident1, Workspace: ws, Revision: 3, Title: "SQL injection from 203.0.113.9 against shop", Severity: cybervault.SeverityHigh, Status: cybervault.IncidentOpen,
		Entities: cybervault.IncidentEntities{SourceIPs: []string{"203.0.113.9"}, Assets: []string{"shop"}},
		Evidence: cybervault.IncidentEvidence{
			Worst: cybervault.SeverityHigh, Members: 1, Records: 37, Names: []string{"sql_injection"}, Tactics: []string{"initial-access"}, Techniques: []string{"T1190"},
			Threats: []string{id[cybervault.ThreatID](71).String()},
		},
		Times: cybervault.IncidentTimes{FirstSeen: epoch.Add(-time.Minute), LastSeen: epoch, Opened: epoch, Updated: epoch, Active: epoch},
		Notes: []cybervault.IncidentNote{{At: epoch, By: "ada", Text: "<looks real>"}}, History: []cybervault.IncidentNote{{At: epoch, By: "engine", Text: "status: open → acknowledged"}},
	}
}

func (f *fakes) Incidents(_ context.Context, q cybervault.IncidentQuery) (cybervault.Page[*cybervault.Incident], error) {
	f.incidents = q
	return cybervault.Page[*cybervault.Incident]{Rows: []*cybervault.Incident{sampleIncident()}, More: f.more}, f.check(q.Workspace)
}

func (f *fakes) Incident(_ context.Context, w cybervault.WorkspaceID, id cybervault.IncidentID) (*cybervault.Incident, error) {
	if err := f.check(w); err != nil {
		return nil, err
	}
	if id != incident1 {
		return nil, cybervault.Errorf(cybervault.CodeNotFound, "no row")
	}
	return sampleIncident(), nil
}

func (f *fakes) IncidentMembers(_ context.Context, w cybervault.WorkspaceID, _ cybervault.IncidentID, limit int) ([]*cybervault.IncidentMember, error) {
	f.asked = [2]int64{0, int64(limit)}
	return []*cybervault.IncidentMember{{
		Subject: id[cybervault.ThreatID](71).String(), Incident: incident1, Type: cybervault.EventThreatDetected, Event: event1,
		Gist: cybervault.Gist{Severity: cybervault.SeverityHigh, Confidence: 0.97, Name: "sql_injection", Count: 37, FirstSeen: epoch.Add(-time.Minute), LastSeen: epoch, SourceIP: "203.0.113.9", Rules: []string{"web:942100"}},
	}}, f.check(w)
}

func (f *fakes) UpdateIncident(ctx context.Context, w cybervault.WorkspaceID, id cybervault.IncidentID, change cybervault.IncidentChange) (*cybervault.Incident, error) {
	f.incidentChange = change
	if change.Revision != nil && *change.Revision != 3 {
		return nil, &cybervault.Error{Code: cybervault.CodeConflict, Field: "revision", Message: "is 2, and the incident has 3 by now: read it again and decide anew"}
	}
	return f.Incident(ctx, w, id)
}

func TestIncidents(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	f.more = true
	page := f.get(request{call: "GET /v1/incidents?status=open,acknowledged&severity=high&q=shop&since=2026-11-01T00:00:00Z&limit=1", key: readKey}, http.StatusOK)
	want := cybervault.IncidentQuery{
		Workspace: ws, Statuses: []cybervault.IncidentStatus{cybervault.IncidentOpen, cybervault.IncidentAcknowledged}, Severities: []cybervault.Severity{cybervault.SeverityHigh},
		Text: "shop", Since: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), Limit: 1,
	}
	if diff := cmp.Diff(want, f.incidents); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
	cursor, _ := page["next_cursor"].(string)
	f.get(request{call: "GET /v1/incidents?status=open,acknowledged&severity=high&q=shop&since=2026-11-01T00:00:00Z&cursor=" + cursor, key: readKey}, http.StatusOK)
	if f.incidents.Before != incident1 || f.incidents.Limit != cybervault.DefaultPageSize {
		t.Errorf("the next page is asked for as %+v", f.incidents)
	}
	f.get(request{call: "GET /v1/incidents/" + id[cybervault.IncidentID](99).String()}, http.StatusNotFound)
	var body bytes.Buffer
	if err := json.Indent(&body, f.do(request{call: "GET /v1/incidents/" + incident1.String()}).Body.Bytes(), "", "  "); err != nil {
		t.Fatal(err)
	}
	golden(t, "answers/incident.json", body.String())
	if f.asked[1] != 100 {
		t.Errorf("%d members were asked for", f.asked[1])
	}
}

func TestChangeIncident(t *testing.T) {
	t.Parallel()
	one := func(s string) *string { return &s }
	acknowledged, falsePositive, critical, into, three := cybervault.IncidentAcknowledged, cybervault.FalsePositive, cybervault.SeverityCritical, id[cybervault.IncidentID](72), int64(3)
	var none cybervault.IncidentDisposition
	var own cybervault.Severity
	for body, want := range map[string]cybervault.IncidentChange{
		`{"status":"acknowledged","assignee":"ada","revision":3}`:                  {Status: &acknowledged, Assignee: one("ada"), Revision: &three},
		`{"disposition":"false_positive","note":"ours"}`:                           {Disposition: &falsePositive, Note: one("ours")},
		`{"disposition":null,"assignee":null,"title":null,"severity":null}`:        {Disposition: &none, Assignee: one(""), Title: one(""), Severity: &own},
		`{"severity":"critical","title":"A","merge_into":"` + into.String() + `"}`: {Severity: &critical, Title: one("A"), MergeInto: &into},
		`{}`: {},
	} {
		f := setUp(t)
		f.get(request{call: "PATCH /v1/incidents/" + incident1.String(), body: body}, http.StatusOK)
		want.By = adminKey
		if diff := cmp.Diff(want, f.incidentChange); diff != "" {
			t.Errorf("%s (-want +got):\n%s", body, diff)
		}
	}
	f := setUp(t)
	f.get(request{call: "POST /v1/incidents/" + incident1.String() + "/merge", body: `{"merge_into":"` + into.String() + `"}`}, http.StatusOK)
	if f.incidentChange.MergeInto == nil || *f.incidentChange.MergeInto != into || f.incidentChange.Status != nil {
		t.Errorf("merge: %+v", f.incidentChange)
	}
}
