package api

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

// Incidents reads incidents and makes people's changes. An id that the workspace
// does not have is an error of CodeNotFound.
type Incidents interface {
	Incidents(ctx context.Context, q cybervault.IncidentQuery) (cybervault.Page[*cybervault.Incident], error)
	Incident(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.IncidentID) (*cybervault.Incident, error)
	// IncidentMembers lists the members of one, the one last seen by the engine first.
	IncidentMembers(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.IncidentID, limit int) ([]*cybervault.IncidentMember, error)
	// UpdateIncident makes all of a change or none of it. CodeConflict where it is for
	// another revision, or cannot be made to an incident as it stands.
	UpdateIncident(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.IncidentID, change cybervault.IncidentChange) (*cybervault.Incident, error)
}

// maxShownMembers bounds the members that reading one incident answers.
const maxShownMembers = 100

type incidentJSON struct {
	ID          cybervault.IncidentID           `json:"id"`
	Title       string                          `json:"title" doc:"What happens, in one line."`
	Severity    cybervault.Severity             `json:"severity"`
	Status      cybervault.IncidentStatus       `json:"status" doc:"open, acknowledged or resolved."`
	Resolution  *cybervault.Resolution          `json:"resolution" doc:"What resolved it: person, quiet or merged; null until then."`
	Disposition *cybervault.IncidentDisposition `json:"disposition" doc:"What a person found it to be: true_positive, false_positive or undetermined; null if nobody has said."`
	Assignee    *string                         `json:"assignee" doc:"Who looks after it, in your words; null for nobody."`
	Entities    incidentEntitiesJSON            `json:"entities" doc:"Who and what takes part, at most 100 of each kind."`
	Vectors     []string                        `json:"vectors" doc:"The vectors and login patterns of its members, the one that would do most harm first."`
	Tactics     []string                        `json:"tactics" doc:"ATT&CK tactics of its members, in the order of an attack."`
	Techniques  []string                        `json:"techniques" doc:"ATT&CK techniques of its members."`
	ThreatIDs   []string                        `json:"threat_ids" doc:"The ids of its members: of threats, and of suspicious logins; at most 200."`
	Counts      incidentCountsJSON              `json:"counts"`
	FirstSeen   time.Time                       `json:"first_seen" doc:"The time of the first record of a member."`
	LastSeen    time.Time                       `json:"last_seen"`
	OpenedAt    time.Time                       `json:"opened_at"`
	UpdatedAt   time.Time                       `json:"updated_at"`
	ResolvedAt  *time.Time                      `json:"resolved_at" doc:"Null until it is resolved."`
	MergedInto  *cybervault.IncidentID          `json:"merged_into" doc:"Where its members went; null unless it was merged."`
	Merged      []cybervault.IncidentID         `json:"merged" doc:"What was merged into it."`
	Revision    int64                           `json:"revision" doc:"Goes up with every change. Give it with a change to have that refused if somebody else was quicker."`
}

type incidentEntitiesJSON struct {
	SourceIPs []string `json:"source_ips"`
	Users     []string `json:"users"`
	Assets    []string `json:"assets"`
}

type incidentCountsJSON struct {
	Members int   `json:"members" doc:"Threats and suspicious logins that belong to it."`
	Records int64 `json:"records" doc:"Records of telemetry that led to them."`
}

// incidentDetailJSON is what reading one incident answers.
type incidentDetailJSON struct {
	incidentJSON

	Members []incidentMemberJSON `json:"members" doc:"The threats and suspicious logins that belong to it, the one last seen by the engine first; at most 100."`
	Notes   []incidentNoteJSON   `json:"notes" doc:"Of people, oldest first."`
	History []incidentNoteJSON   `json:"history" doc:"What was changed, oldest first; the last 100 changes."`
}

type incidentMemberJSON struct {
	ID         string              `json:"id" doc:"The threat's id, or the suspicious login's."`
	Event      string              `json:"event" doc:"The event type."`
	EventID    *cybervault.EventID `json:"event_id" doc:"The last event about it; null where that is not stored, or not any more."`
	Severity   cybervault.Severity `json:"severity"`
	Vector     string              `json:"vector" doc:"Its vector, or its login pattern."`
	Confidence float64             `json:"confidence"`
	Count      int                 `json:"count" doc:"Records that led to it."`
	SourceIP   *string             `json:"source_ip"`
	User       *string             `json:"user"`
	Asset      *string             `json:"target_asset"`
	Rules      []string            `json:"rules" doc:"The rules that found it, each as engine:rule_id."`
	FirstSeen  time.Time           `json:"first_seen"`
	LastSeen   time.Time           `json:"last_seen"`
}

type incidentNoteJSON struct {
	At   time.Time `json:"at"`
	By   string    `json:"by" doc:"The name of the API key that was used, or engine."`
	Text string    `json:"text"`
}

func showIncident(i *cybervault.Incident) incidentJSON {
	return incidentJSON{
		ID: i.ID, Title: i.Title, Severity: i.Severity, Status: i.Status, Resolution: orNull(i.Resolution), Disposition: orNull(i.Disposition), Assignee: orNull(i.Assignee),
		Entities: incidentEntitiesJSON{SourceIPs: orEmpty(i.Entities.SourceIPs), Users: orEmpty(i.Entities.Users), Assets: orEmpty(i.Entities.Assets)},
		Vectors:  orEmpty(i.Evidence.Names), Tactics: orEmpty(i.Evidence.Tactics), Techniques: orEmpty(i.Evidence.Techniques), ThreatIDs: orEmpty(i.Evidence.Threats),
		Counts:    incidentCountsJSON{Members: i.Evidence.Members, Records: i.Evidence.Records},
		FirstSeen: i.Times.FirstSeen.UTC(), LastSeen: i.Times.LastSeen.UTC(), OpenedAt: i.Times.Opened.UTC(), UpdatedAt: i.Times.Updated.UTC(),
		ResolvedAt: orNull(i.Times.Resolved.UTC()), MergedInto: orNull(i.MergedInto), Merged: orEmpty(i.Merged), Revision: i.Revision,
	}
}

// orEmpty is an empty list, not null, where there is nothing.
func orEmpty[T any](values []T) []T { return append([]T{}, values...) }

func showNotes(notes []cybervault.IncidentNote) []incidentNoteJSON {
	shown := make([]incidentNoteJSON, len(notes))
	for n, note := range notes {
		shown[n] = incidentNoteJSON{At: note.At.UTC(), By: note.By, Text: note.Text}
	}
	return shown
}

func (s *server) listIncidents(c *call) error {
	f := &filters{query: c.query}
	l := newList(c, "incidents")
	q := cybervault.IncidentQuery{Workspace: c.workspace(), Limit: f.limit(), Before: cybervault.IncidentID{UUID: l.before(f)}, Text: f.search()}
	q.Since, q.Until = f.span()
	q.Statuses = choices(f, "status", cybervault.IncidentStatuses())
	q.Severities = choices(f, "severity", cybervault.Severities())
	if err := f.wrong.err(); err != nil {
		return err
	}
	page, err := s.Incidents.Incidents(c.ctx(), q)
	if err != nil {
		return err
	}
	answer := listJSON[incidentJSON]{Data: make([]incidentJSON, len(page.Rows))}
	for n, i := range page.Rows {
		answer.Data[n] = showIncident(i)
	}
	if page.More && len(page.Rows) > 0 {
		answer.NextCursor = l.cursor(page.Rows[len(page.Rows)-1].ID.UUID)
	}
	return writeJSON(c, http.StatusOK, answer)
}

// choices reads values joined by commas, each one of some.
func choices[S ~string](f *filters, name string, all []S) []S {
	text, ok := f.text(name)
	if !ok {
		return nil
	}
	var chosen []S
	for word := range strings.SplitSeq(text, ",") {
		if !slices.Contains(all, S(word)) {
			f.refusef(name, "%q is none of %s: give one, or several joined by commas", shorten(word), joined(all))
			return nil
		}
		chosen = append(chosen, S(word))
	}
	return chosen
}

func joined[S ~string](all []S) string {
	names := make([]string, len(all))
	for n, name := range all {
		names[n] = string(name)
	}
	return strings.Join(names, ", ")
}

func choiceParam[S ~string](name, doc string, all []S) param {
	one := "(" + strings.ReplaceAll(joined(all), ", ", "|") + ")"
	return param{name, doc + ", joined by commas: " + joined(all) + ".", schema{"type": "string", "pattern": "^" + one + "(," + one + ")*$"}}
}

func aboutListIncidents(rt *route) {
	rt.id, rt.tag, rt.summary = "listIncidents", tagIncidents, "List incidents"
	rt.doc = "What belongs together of what the threat engine found, the incident that was opened last first."
	rt.params = append([]param{
		choiceParam("status", "Only incidents of one of these statuses", cybervault.IncidentStatuses()),
		choiceParam("severity", "Only incidents of one of these severities", cybervault.Severities()),
		{"since", "Only what was opened at or after this moment.", schema{"type": "string", "format": "date-time"}},
		{"until", "Only what was opened before this moment.", schema{"type": "string", "format": "date-time"}},
		{
			"q", "Only incidents with this text in their title or in an entity (an address, a user, an asset), upper and lower case alike.",
			schema{"type": "string", "maxLength": MaxQueryTextBytes},
		},
	}, pageParams()...)
	rt.answers = []answer{{status: 200, doc: "One page of incidents.", schema: listOf[incidentJSON]()}}
}

func (s *server) getIncident(c *call) error {
	id, err := pathID[cybervault.IncidentID](c, "incident")
	if err != nil {
		return err
	}
	i, err := s.Incidents.Incident(c.ctx(), c.workspace(), id)
	if err != nil {
		return named(err, "incident", id)
	}
	return s.writeIncident(c, i)
}

// writeIncident answers with all there is about an incident.
func (s *server) writeIncident(c *call, i *cybervault.Incident) error {
	members, err := s.Incidents.IncidentMembers(c.ctx(), c.workspace(), i.ID, maxShownMembers)
	if err != nil {
		return err
	}
	shown := incidentDetailJSON{incidentJSON: showIncident(i), Members: make([]incidentMemberJSON, len(members)), Notes: showNotes(i.Notes), History: showNotes(i.History)}
	for n, m := range members {
		g := &m.Gist
		shown.Members[n] = incidentMemberJSON{
			ID: m.Subject, Event: m.Type, EventID: orNull(m.Event), Severity: g.Severity, Vector: g.Name, Confidence: g.Confidence, Count: g.Count,
			SourceIP: orNull(g.SourceIP), User: orNull(g.User), Asset: orNull(g.Asset), Rules: orEmpty(g.Rules), FirstSeen: g.FirstSeen.UTC(), LastSeen: g.LastSeen.UTC(),
		}
	}
	return writeJSON(c, http.StatusOK, shown)
}

func aboutGetIncident(rt *route) {
	rt.id, rt.tag, rt.summary = "getIncident", tagIncidents, "Read one incident"
	rt.doc = "With its members, each with the last event about it, the notes of people, and what was changed."
	rt.answers = []answer{{status: 200, doc: "The incident.", schema: of[incidentDetailJSON]()}}
}

func (s *server) updateIncident(c *call) error {
	id, err := pathID[cybervault.IncidentID](c, "incident")
	if err != nil {
		return err
	}
	body, err := readJSON(c, MaxRequestBytes)
	if err != nil {
		return err
	}
	change, err := incidentFields().decode(body, bodyOptions{partial: true})
	if err != nil {
		return err
	}
	return s.changeIncident(c, id, change)
}

func (s *server) changeIncident(c *call, id cybervault.IncidentID, change cybervault.IncidentChange) error {
	change.By = c.key.Name
	i, err := s.Incidents.UpdateIncident(c.ctx(), c.workspace(), id, change)
	if err != nil {
		return named(err, "incident", id)
	}
	return s.writeIncident(c, i)
}

func aboutUpdateIncident(rt *route) {
	rt.id, rt.tag, rt.summary = "updateIncident", tagIncidents, "Change an incident"
	rt.doc = "Acknowledge, resolve or open it again, say what it was, note something, or merge it into another one. What is not given stays as it is. " +
		"A disposition moves the confidence of what the same rules find later. All but a note is told of by an event."
	rt.body = &bodyDoc{media: []string{"application/json"}, schema: incidentFields().describe(bodyOptions{partial: true}),
		example: schema{"status": "resolved", "disposition": "false_positive", "note": "our own scanner", "revision": 3}}
	rt.answers = []answer{{status: 200, doc: "The incident as it is now.", schema: of[incidentDetailJSON]()}}
	rt.errors = []int{409, 503}
}

func (s *server) mergeIncident(c *call) error {
	id, err := pathID[cybervault.IncidentID](c, "incident")
	if err != nil {
		return err
	}
	body, err := readJSON(c, MaxRequestBytes)
	if err != nil {
		return err
	}
	change, err := mergeFields().decode(body, bodyOptions{})
	if err != nil {
		return err
	}
	return s.changeIncident(c, id, change)
}

func aboutMergeIncident(rt *route) {
	rt.id, rt.tag, rt.summary = "mergeIncident", tagIncidents, "Merge an incident into another one"
	rt.doc = "Its members, entities and notes move to the other one, and it is resolved with a pointer to that. Both are told of by an event."
	rt.body = &bodyDoc{media: []string{"application/json"}, schema: mergeFields().describe(bodyOptions{}), example: schema{"merge_into": "inc_01946a60-d793-7c21-8a00-4b1f6f0c9d11"}}
	rt.answers = []answer{{status: 200, doc: "The incident that was merged, as it is now.", schema: of[incidentDetailJSON]()}}
	rt.errors = []int{409, 503}
}
