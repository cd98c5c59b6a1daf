package incident

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/cybervault/cybervault"
)

// updateEvery is the least time between two events of an incident that only grows
// and goes on growing, once there have been freeUpdates. What changes its severity or its status is told
// of at once.
const (
	updateEvery = 5 * time.Minute
	freeUpdates = 3
)

// eventData is the data of incident.*, in the order of the wire format.
type eventData struct {
	IncidentID  cybervault.IncidentID           `json:"incident_id"`
	Title       string                          `json:"title"`
	Severity    cybervault.Severity             `json:"severity"`
	Status      cybervault.IncidentStatus       `json:"status"`
	Entities    entitiesData                    `json:"entities"`
	Tactics     []string                        `json:"tactics"`
	Techniques  []string                        `json:"techniques"`
	ThreatIDs   []string                        `json:"threat_ids"`
	OpenedAt    time.Time                       `json:"opened_at"`
	UpdatedAt   time.Time                       `json:"updated_at"`
	ResolvedAt  *time.Time                      `json:"resolved_at"`
	Change      map[string]any                  `json:"change"`
	URL         *string                         `json:"url"`
	Counts      countsData                      `json:"counts"`
	FirstSeen   time.Time                       `json:"first_seen"`
	LastSeen    time.Time                       `json:"last_seen"`
	Disposition *cybervault.IncidentDisposition `json:"disposition"`
	Resolution  *cybervault.Resolution          `json:"resolution"`
	Assignee    *string                         `json:"assignee"`
	MergedInto  *cybervault.IncidentID          `json:"merged_into"`
}

type entitiesData struct {
	SourceIPs []string `json:"source_ips"`
	Users     []string `json:"users"`
	Assets    []string `json:"assets"`
}

type countsData struct {
	Members int   `json:"members"`
	Records int64 `json:"records"`
}

// changed is the old and the new value of a field.
type changed struct {
	From any `json:"from"`
	To   any `json:"to"`
}

// finish makes what is to be committed: each incident that changed, with at most
// one event about it.
func (b *board) finish() cybervault.IncidentChanges {
	out := cybervault.IncidentChanges{Revision: b.revision, Moves: b.moves}
	for _, s := range b.order {
		if !s.touched || s.gone {
			continue
		}
		s.Revision++
		if event, ok := b.tell(s); ok {
			out.Events = append(out.Events, event)
		}
		out.Incidents = append(out.Incidents, s.Incident)
	}
	for _, subject := range b.changed {
		m := b.members[subject]
		m.Told = b.final(m.Told)
		out.Members = append(out.Members, m)
	}
	for _, v := range b.verdicts {
		if v.TruePositive != 0 || v.FalsePositive != 0 {
			out.Verdicts = append(out.Verdicts, *v)
		}
	}
	slices.SortFunc(out.Verdicts, func(x, y cybervault.Verdict) int {
		return cmp.Or(cmp.Compare(x.Rule, y.Rule), cmp.Compare(x.Name, y.Name))
	})
	return out
}

// tell makes the event about an incident, if it is time for one.
func (b *board) tell(s *slot) (cybervault.Finding, bool) {
	told := &s.Told
	what, change := cybervault.EventIncidentUpdated, s.since()
	switch {
	case s.fresh:
		what, change = cybervault.EventIncidentCreated, nil
	case len(change) == 0:
		told.Behind = false
		return cybervault.Finding{}, false
	case s.Status == cybervault.IncidentResolved && told.Status != cybervault.IncidentResolved:
		what = cybervault.EventIncidentResolved
	case !s.Live() && !s.urgent, // it grows no more that anybody has to know of
		!s.urgent && s.Severity == told.Severity && s.Status == told.Status && !b.mayUpdate(told):
		told.Behind = s.Live()
		return cybervault.Finding{}, false
	}
	updates := min(told.Updates+1, freeUpdates)
	if s.fresh || b.now.Sub(told.At) >= updateEvery && !told.Behind {
		updates = 0
	}
	*told = cybervault.IncidentTold{At: b.now, Title: s.Title, Severity: s.Severity, Status: s.Status, Disposition: s.Disposition,
		Assignee: s.Assignee, Members: s.Evidence.Members, Merged: len(s.Merged), Updates: updates}
	return cybervault.Finding{
		Type: what, Timestamp: b.now, Key: "incident_" + s.ID.UUID.String() + "_" + strconv.FormatInt(s.Revision, 10), Data: dataOf(s.Incident, change),
	}, true
}

// mayUpdate reports whether it is time to tell of an incident that only grows.
func (b *board) mayUpdate(told *cybervault.IncidentTold) bool {
	return told.Updates < freeUpdates || b.now.Sub(told.At) >= updateEvery
}

// since is what changed since the last event.
func (s *slot) since() map[string]any {
	told, change := &s.Told, map[string]any{}
	note := func(name string, from, to any) {
		if from != to {
			change[name] = changed{from, to}
		}
	}
	note("title", told.Title, s.Title)
	note("severity", told.Severity, s.Severity)
	note("status", told.Status, s.Status)
	note("disposition", orNull(told.Disposition), orNull(s.Disposition))
	note("assignee", orNull(told.Assignee), orNull(s.Assignee))
	note("members", told.Members, s.Evidence.Members)
	if len(s.Merged) > told.Merged {
		change["merged"] = changed{nil, slices.Clone(s.Merged[told.Merged:])}
	}
	return change
}

// orNull is nil, as JSON's null, for the zero value.
func orNull[T comparable](v T) any {
	if v == *new(T) {
		return nil
	}
	return v
}

func pointer[T comparable](v T) *T {
	if v == *new(T) {
		return nil
	}
	return &v
}

func dataOf(i *cybervault.Incident, change map[string]any) []byte {
	data := eventData{
		IncidentID: i.ID, Title: i.Title, Severity: i.Severity, Status: i.Status,
		Entities: entitiesData{SourceIPs: list(i.Entities.SourceIPs), Users: list(i.Entities.Users), Assets: list(i.Entities.Assets)},
		Tactics:  list(i.Evidence.Tactics), Techniques: list(i.Evidence.Techniques), ThreatIDs: list(i.Evidence.Threats),
		OpenedAt: i.Times.Opened.UTC(), UpdatedAt: i.Times.Updated.UTC(), Change: maps.Clone(change),
		Counts: countsData{Members: i.Evidence.Members, Records: i.Evidence.Records}, FirstSeen: i.Times.FirstSeen.UTC(), LastSeen: i.Times.LastSeen.UTC(),
		Disposition: pointer(i.Disposition), Resolution: pointer(i.Resolution), Assignee: pointer(i.Assignee), MergedInto: pointer(i.MergedInto),
	}
	if !i.Times.Resolved.IsZero() {
		at := i.Times.Resolved.UTC()
		data.ResolvedAt = &at
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(data); err != nil {
		panic("incident: " + err.Error()) // text, numbers, and times of years that JSON takes: it cannot fail
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}

// list is an empty list, not null, where there is nothing: that is known.
func list(values []string) []string { return append([]string{}, values...) }
