package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cybervault/cybervault"
)

// incidentIn is how many values one look-up of incidents asks for.
const incidentIn = 64

// IncidentView reads what a change of incidents depends on. The revision is read
// first: whatever is committed meanwhile makes the change fail, and it is decided
// anew.
func (s *Store) IncidentView(ctx context.Context, ws cybervault.WorkspaceID, lookup cybervault.IncidentLookup) (*cybervault.IncidentView, error) {
	view := &cybervault.IncidentView{}
	err := s.db.QueryRowContext(ctx, s.dialect.rebind("SELECT revision FROM incident_state WHERE workspace_id = ?"), ws.Key()).Scan(&view.Revision)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, readError(err)
	}
	wanted := map[int64]bool{}
	for _, id := range lookup.IDs {
		wanted[id.Key()] = true
	}
	seen := map[string]bool{}
	member := func(m *cybervault.IncidentMember) {
		if !seen[m.Subject] {
			seen[m.Subject] = true
			view.Members = append(view.Members, m)
		}
		if !m.Incident.IsZero() {
			wanted[m.Incident.Key()] = true
		}
	}
	if err := s.eachIncidentMember(ctx, ws, membersBySubject, anys(lookup.Subjects), member); err != nil {
		return nil, err
	}
	of := make([]any, len(lookup.Of))
	for n, id := range lookup.Of {
		of[n] = id.Key()
	}
	if err := s.eachIncidentMember(ctx, ws, membersByIncident, of, member); err != nil {
		return nil, err
	}
	err = inChunks(anys(lookup.Links), func(in string, args []any) error {
		return s.incidentKeys(ctx, selectLinked+in, append([]any{ws.Key()}, args...), wanted)
	})
	if err != nil {
		return nil, err
	}
	keys := make([]any, 0, len(wanted))
	for _, key := range slices.Sorted(maps.Keys(wanted)) {
		keys = append(keys, key)
	}
	err = inChunks(keys, func(in string, args []any) error {
		found, err := s.selectIncidents(ctx, ws, "i.workspace_id = ? AND i.id "+in+" ORDER BY i.id LIMIT ?", append([]any{ws.Key()}, args...), incidentIn)
		view.Incidents = append(view.Incidents, found.Rows...)
		return err
	})
	view.Incidents = slices.DeleteFunc(view.Incidents, func(i *cybervault.Incident) bool { return misnamed(lookup.IDs, i.ID) })
	return view, err
}

// misnamed reports whether an id that is asked for has the key of this one and
// another rest: then it is the id of nothing.
func misnamed(asked []cybervault.IncidentID, id cybervault.IncidentID) bool {
	return slices.ContainsFunc(asked, func(a cybervault.IncidentID) bool { return a.Key() == id.Key() && a != id })
}

func anys[T any](values []T) []any {
	out := make([]any, len(values))
	for n, v := range values {
		out[n] = v
	}
	return out
}

// inChunks calls read with "IN (?, …)" for some of the values at a time, always as
// many, so that each query is one statement.
func inChunks(values []any, read func(in string, args []any) error) error {
	const in = "IN (?"
	for chunk := range slices.Chunk(values, incidentIn) {
		args := slices.Clone(chunk)
		for len(args) < incidentIn {
			args = append(args, chunk[0])
		}
		if err := read(in+strings.Repeat(", ?", incidentIn-1)+")", args); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) incidentKeys(ctx context.Context, query string, args []any, into map[int64]bool) error {
	rows, err := s.db.QueryContext(ctx, s.dialect.rebind(query), args...)
	if err != nil {
		return readError(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var key int64
		if err := rows.Scan(&key); err != nil {
			return readError(err)
		}
		into[key] = true
	}
	return readError(rows.Err())
}

// selectIncidents reads incidents of a workspace.
func (s *Store) selectIncidents(ctx context.Context, ws cybervault.WorkspaceID, rest string, args []any, limit int) (cybervault.Page[*cybervault.Incident], error) {
	return list(ctx, s, "SELECT i.doc FROM incidents i WHERE "+rest, args, limit, func(scan func(...any) error) (*cybervault.Incident, error) {
		var doc string
		if err := scan(&doc); err != nil {
			return nil, err
		}
		return readIncident(ws, doc)
	})
}

func readIncident(ws cybervault.WorkspaceID, doc string) (*cybervault.Incident, error) {
	i := &cybervault.Incident{Workspace: ws}
	if err := json.Unmarshal([]byte(doc), i); err != nil {
		return nil, fmt.Errorf("read an incident: %w", err)
	}
	return i, nil
}

const selectLinked = "SELECT incident_id FROM incident_links WHERE workspace_id = ? AND link "

// memberDoc is what a member's row holds as JSON.
type memberDoc struct {
	Type    string                         `json:"type"`
	Gist    cybervault.Gist                `json:"gist"`
	Counted cybervault.IncidentDisposition `json:"counted,omitempty"`
}

const selectMembers = `SELECT m.subject, m.incident_id, COALESCE(i.id_rest, 0), m.told_id, m.told_rest, m.finding_key, m.at, m.doc
FROM incident_members m LEFT JOIN incidents i ON i.id = m.incident_id WHERE `

// The two ways to members. The plus keeps the workspace, which all rows may have in
// common, from being what they are found by.
const (
	membersBySubject  = "m.workspace_id = ? AND m.subject "
	membersByIncident = "+m.workspace_id = ? AND m.incident_id "
)

func scanMember(scan func(...any) error) (*cybervault.IncidentMember, error) {
	var key, rest, told, toldRest, at int64
	var doc string
	m := &cybervault.IncidentMember{}
	if err := scan(&m.Subject, &key, &rest, &told, &toldRest, &m.FindingKey, &at, &doc); err != nil {
		return nil, err
	}
	var d memberDoc
	if err := json.Unmarshal([]byte(doc), &d); err != nil {
		return nil, fmt.Errorf("read a member of an incident: %w", err)
	}
	m.At, m.Type, m.Gist, m.Counted = fromMicros(at), d.Type, d.Gist, d.Counted
	if key != 0 {
		m.Incident = cybervault.MakeID[cybervault.IncidentID](key, rest)
	}
	if told != 0 {
		m.Told = cybervault.MakeID[cybervault.IncidentID](told, toldRest)
	}
	return m, nil
}

// eachIncidentMember reads the members that are found one way by any of some values.
func (s *Store) eachIncidentMember(ctx context.Context, ws cybervault.WorkspaceID, way string, values []any, found func(*cybervault.IncidentMember)) error {
	return inChunks(values, func(in string, args []any) error {
		rows, err := s.db.QueryContext(ctx, s.dialect.rebind(selectMembers+way+in+" ORDER BY m.subject"), append([]any{ws.Key()}, args...)...)
		if err != nil {
			return readError(err)
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			m, err := scanMember(rows.Scan)
			if err != nil {
				return readError(err)
			}
			found(m)
		}
		return readError(rows.Err())
	})
}

const (
	firstIncidentState = `INSERT INTO incident_state (workspace_id, revision, verdicts) VALUES (?, 1, 0) ON CONFLICT DO NOTHING`
	nextIncidentState  = `UPDATE incident_state SET revision = revision + 1 WHERE workspace_id = ? AND revision = ?`

	upsertIncident = `INSERT INTO incidents (id, id_rest, workspace_id, status, severity, active_at, behind_since, search, doc) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET status = excluded.status, severity = excluded.severity, active_at = excluded.active_at,
behind_since = excluded.behind_since, search = excluded.search, doc = excluded.doc`

	moveMembers = `UPDATE incident_members SET incident_id = ? WHERE +workspace_id = ? AND incident_id = ?`

	upsertMember = `INSERT INTO incident_members (workspace_id, subject, incident_id, told_id, told_rest, finding_key, at, doc) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (workspace_id, subject) DO UPDATE SET incident_id = excluded.incident_id, told_id = excluded.told_id, told_rest = excluded.told_rest,
finding_key = excluded.finding_key, at = excluded.at, doc = excluded.doc`

	addVerdict = `INSERT INTO incident_verdicts (workspace_id, rule, name, true_positive, false_positive) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (workspace_id, rule, name) DO UPDATE SET true_positive = incident_verdicts.true_positive + excluded.true_positive,
false_positive = incident_verdicts.false_positive + excluded.false_positive`
)

// ChangeIncidents commits a change of a workspace's incidents, with the events that
// tell of it. CodeConflict where another one was quicker: nothing was written.
func (s *Store) ChangeIncidents(ctx context.Context, ws cybervault.WorkspaceID, changes cybervault.IncidentChanges) error {
	docs := make([]string, len(changes.Incidents))
	for n, i := range changes.Incidents {
		doc, err := json.Marshal(i)
		if err != nil {
			return fmt.Errorf("write an incident: %w", err)
		}
		docs[n] = string(doc)
	}
	members := make([]string, len(changes.Members))
	for n, m := range changes.Members {
		doc, err := json.Marshal(memberDoc{m.Type, m.Gist, m.Counted})
		if err != nil {
			return fmt.Errorf("write a member of an incident: %w", err)
		}
		members[n] = string(doc)
	}
	return s.w.do(ctx, func(tx transaction) error {
		if err := takeIncidents(tx, ws, changes.Revision); err != nil {
			return err
		}
		for _, move := range changes.Moves { // one after the other: they may form a chain
			err := exec(tx, moveMembers, move.To.Key(), ws.Key(), move.From.Key())
			if err != nil {
				return err
			}
		}
		for n, i := range changes.Incidents {
			if err := writeIncident(tx, ws, i, docs[n]); err != nil {
				return err
			}
		}
		err := tx.each(upsertMember, len(changes.Members), func(n int, a []any) []any {
			m := changes.Members[n]
			return append(a, ws.Key(), m.Subject, incidentKey(m.Incident), incidentKey(m.Told), incidentRest(m.Told), m.FindingKey, micros(m.At), members[n])
		}, nil)
		if err != nil {
			return err
		}
		if err := writeIncidentEvents(tx, ws, &changes); err != nil {
			return err
		}
		return s.actDeed(ctx, tx, ws)
	})
}

// incidentKey is 0 for no incident.
func incidentKey(id cybervault.IncidentID) int64 {
	if id.IsZero() {
		return 0
	}
	return id.Key()
}

func incidentRest(id cybervault.IncidentID) int64 {
	if id.IsZero() {
		return 0
	}
	return id.Rest()
}

// takeIncidents takes the step from a revision to the next, which locks out other
// nodes until the commit.
func takeIncidents(tx transaction, ws cybervault.WorkspaceID, revision int64) (err error) {
	var n int64
	if revision == 0 {
		n, err = execCount(tx, firstIncidentState, ws.Key())
	} else {
		n, err = execCount(tx, nextIncidentState, ws.Key(), revision)
	}
	if err == nil && n == 0 {
		return cybervault.Errorf(cybervault.CodeConflict, "the incidents have changed since they were read")
	}
	return err
}

func writeIncident(tx transaction, ws cybervault.WorkspaceID, i *cybervault.Incident, doc string) error {
	behind := int64(0)
	if i.Told.Behind {
		behind = max(micros(i.Told.At), 1)
	}
	err := exec(tx, upsertIncident, i.ID.Key(), i.ID.Rest(), ws.Key(), incidentStatusCode(i.Status), int64(i.Severity.Rank()), micros(i.Times.Active), behind, searchText(i), doc)
	if err != nil {
		return err
	}
	if !i.Live() {
		return exec(tx, "DELETE FROM incident_links WHERE incident_id = ?", i.ID.Key())
	}
	links := slices.Sorted(maps.Keys(i.Links))
	return tx.each("INSERT INTO incident_links (workspace_id, link, incident_id) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", len(links),
		func(n int, a []any) []any { return append(a, ws.Key(), links[n], i.ID.Key()) }, nil)
}

func writeIncidentEvents(tx transaction, ws cybervault.WorkspaceID, changes *cybervault.IncidentChanges) error {
	if len(changes.Verdicts) > 0 {
		err := tx.each(addVerdict, len(changes.Verdicts), func(n int, a []any) []any {
			v := &changes.Verdicts[n]
			return append(a, ws.Key(), v.Rule, v.Name, int64(v.TruePositive), int64(v.FalsePositive))
		}, nil)
		if err != nil {
			return err
		}
		if err := exec(tx, "UPDATE incident_state SET verdicts = revision WHERE workspace_id = ?", ws.Key()); err != nil {
			return err
		}
	}
	return tx.each("INSERT INTO incident_events (workspace_id, revision, place, type, at, event_key, data) VALUES (?, ?, ?, ?, ?, ?, ?)", len(changes.Events),
		func(n int, a []any) []any {
			e := &changes.Events[n]
			return append(a, ws.Key(), changes.Revision+1, int64(n), e.Type, micros(e.Timestamp), e.Key, e.Data)
		}, nil)
}

func incidentStatusCode(s cybervault.IncidentStatus) int64 {
	return int64(slices.Index(cybervault.IncidentStatuses(), s))
}

// searchText is what an incident is found by, in lower case. A title that names no
// entity is followed by them.
func searchText(i *cybervault.Incident) string {
	parts := slices.Concat([]string{i.Title}, i.Entities.SourceIPs, i.Entities.Users, i.Entities.Assets)
	return searchable(strings.Join(parts, "\n"))
}

// searchable is a text as it is looked for: in lower case, and as both databases take it.
func searchable(text string) string {
	return strings.ToLower(strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", ""))
}
