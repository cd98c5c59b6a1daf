package dashboardtest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

// Incidents implements dashboard.Incidents, as do the methods after it.
func (f *Fake) Incidents(_ context.Context, q cybervault.IncidentQuery) (cybervault.Page[*cybervault.Incident], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var page cybervault.Page[*cybervault.Incident]
	for _, i := range f.incidents {
		entities := slices.Concat(i.Entities.SourceIPs, i.Entities.Users, i.Entities.Assets)
		switch {
		case len(q.Statuses) > 0 && !slices.Contains(q.Statuses, i.Status),
			len(q.Severities) > 0 && !slices.Contains(q.Severities, i.Severity),
			q.Entity != "" && !slices.ContainsFunc(entities, func(e string) bool { return strings.EqualFold(e, q.Entity) }),
			!contains([]byte(i.Title+"\n"+strings.Join(entities, "\n")), q.Text),
			!q.Before.IsZero() && i.ID.Key() >= q.Before.Key():
			continue
		}
		if len(page.Rows) == q.Limit {
			page.More = true
			break
		}
		page.Rows = append(page.Rows, i)
	}
	return page, f.check(q.Workspace)
}

// LiveIncidents counts those that are open or acknowledged.
func (f *Fake) LiveIncidents(_ context.Context, ws cybervault.WorkspaceID) ([]cybervault.IncidentCount, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var counts []cybervault.IncidentCount
	for _, i := range f.incidents {
		at := slices.IndexFunc(counts, func(c cybervault.IncidentCount) bool { return c.Status == i.Status && c.Severity == i.Severity })
		switch {
		case !i.Live():
		case at < 0:
			counts = append(counts, cybervault.IncidentCount{Status: i.Status, Severity: i.Severity, Count: 1})
		default:
			counts[at].Count++
		}
	}
	return counts, f.check(ws)
}

// Incident reads one.
func (f *Fake) Incident(_ context.Context, ws cybervault.WorkspaceID, id cybervault.IncidentID) (*cybervault.Incident, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.incident(ws, id)
}

func (f *Fake) incident(ws cybervault.WorkspaceID, id cybervault.IncidentID) (*cybervault.Incident, error) {
	return find(f, ws, f.incidents, "incident", func(i *cybervault.Incident) bool { return i.ID == id })
}

// IncidentMembers lists the members of one.
func (f *Fake) IncidentMembers(_ context.Context, ws cybervault.WorkspaceID, id cybervault.IncidentID, limit int) ([]*cybervault.IncidentMember, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := f.members[id]
	return slices.Clone(list[:min(len(list), limit)]), f.check(ws)
}

// UpdateIncident makes a person's change, as far as pages show it.
func (f *Fake) UpdateIncident(_ context.Context, ws cybervault.WorkspaceID, id cybervault.IncidentID, c cybervault.IncidentChange) (*cybervault.Incident, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	old, err := f.incident(ws, id)
	if err != nil {
		return nil, err
	}
	i := old.Clone()
	if err := f.alter(i, &c); err != nil {
		return nil, err
	}
	if c.MergeInto != nil {
		if err := f.merge(i, *c.MergeInto, c.By); err != nil {
			return nil, err
		}
	}
	i.Revision++
	i.Times.Updated = f.clock()
	f.incidents[slices.Index(f.incidents, old)] = i
	f.signal()
	return i, nil
}

func (f *Fake) alter(i *cybervault.Incident, c *cybervault.IncidentChange) error {
	note := func(format string, args ...any) {
		i.History = append(i.History, cybervault.IncidentNote{At: f.clock(), By: c.By, Text: fmt.Sprintf(format, args...)})
	}
	if c.Note != nil {
		if len(*c.Note) > cybervault.MaxIncidentNoteBytes {
			return cybervault.Invalid("note", "is %d bytes long, more than %d", len(*c.Note), cybervault.MaxIncidentNoteBytes)
		}
		i.Notes = append(i.Notes, cybervault.IncidentNote{At: f.clock(), By: c.By, Text: *c.Note})
	}
	if c.Disposition != nil && *c.Disposition != i.Disposition {
		if *c.Disposition != "" && !slices.Contains(cybervault.IncidentDispositions(), *c.Disposition) {
			return cybervault.Invalid("disposition", "%q is not a disposition: use true_positive, false_positive or undetermined", *c.Disposition)
		}
		note("disposition: %s → %s", i.Disposition, *c.Disposition)
		i.Disposition = *c.Disposition
	}
	if c.Assignee != nil && *c.Assignee != i.Assignee {
		note("assignee: %s → %s", i.Assignee, *c.Assignee)
		i.Assignee = *c.Assignee
	}
	if c.Status != nil && *c.Status != i.Status {
		switch {
		case !slices.Contains(cybervault.IncidentStatuses(), *c.Status):
			return cybervault.Invalid("status", "%q is not a status: use open, acknowledged or resolved", *c.Status)
		case !i.MergedInto.IsZero():
			return &cybervault.Error{Code: cybervault.CodeConflict, Field: "status", Message: "cannot change: the incident was merged"}
		}
		note("status: %s → %s", i.Status, *c.Status)
		i.Status, i.Resolution, i.Times.Resolved = *c.Status, "", time.Time{}
		if i.Status == cybervault.IncidentResolved {
			i.Resolution, i.Times.Resolved = cybervault.ResolvedByPerson, f.clock()
		}
	}
	return nil
}

func (f *Fake) merge(i *cybervault.Incident, id cybervault.IncidentID, by string) error {
	at := slices.IndexFunc(f.incidents, func(other *cybervault.Incident) bool { return other.ID == id })
	if at < 0 || id == i.ID {
		return cybervault.Invalid("merge_into", "there is no incident %s", id)
	}
	into := f.incidents[at].Clone()
	if !into.Live() {
		return &cybervault.Error{Code: cybervault.CodeConflict, Field: "merge_into", Message: "the incident is resolved: open it again first, or name another one"}
	}
	into.Merged = append(into.Merged, i.ID)
	into.History = append(into.History, cybervault.IncidentNote{At: f.clock(), By: by, Text: i.ID.String() + " was merged into this incident"})
	into.Evidence.Members += i.Evidence.Members
	f.members[id] = append(f.members[id], f.members[i.ID]...)
	delete(f.members, i.ID)
	i.Status, i.Resolution, i.MergedInto, i.Times.Resolved = cybervault.IncidentResolved, cybervault.ResolvedByMerge, id, f.clock()
	f.incidents[at] = into
	return nil
}

// AddIncident adds an incident as it is, with what is missing made up, and its members.
func (f *Fake) AddIncident(i cybervault.Incident, members ...*cybervault.IncidentMember) *cybervault.Incident {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.clock()
	i.ID.UUID, i.Workspace, i.Revision = f.ids.Next(), f.Workspace, 1
	if i.Times.Opened.IsZero() {
		i.Times = cybervault.IncidentTimes{FirstSeen: now, LastSeen: now, Opened: now, Updated: now, Active: now}
	}
	if i.Status == "" {
		i.Status = cybervault.IncidentOpen
	}
	if i.Severity == "" {
		i.Severity = cybervault.SeverityHigh
	}
	if i.Evidence.Members == 0 {
		i.Evidence.Members = len(members)
	}
	for _, m := range members {
		m.Incident = i.ID
		i.Evidence.Records += int64(m.Gist.Count)
	}
	f.members[i.ID] = members
	f.incidents = slices.Insert(f.incidents, 0, &i)
	sortNewest(f.incidents, func(i *cybervault.Incident) int64 { return i.ID.Key() })
	f.signal()
	return &i
}

// AddMember adds a member to an incident, as the latest.
func (f *Fake) AddMember(id cybervault.IncidentID, m *cybervault.IncidentMember) {
	f.SetIncident(id, func(i *cybervault.Incident) {
		m.Incident = id
		f.members[id] = slices.Insert(f.members[id], 0, m)
		i.Evidence.Members++
		i.Evidence.Records += int64(m.Gist.Count)
	})
}

// SetIncident changes an incident in place, without any check.
func (f *Fake) SetIncident(id cybervault.IncidentID, do func(*cybervault.Incident)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for n, i := range f.incidents {
		if i.ID == id {
			f.incidents[n] = i.Clone()
			do(f.incidents[n])
		}
	}
	f.signal()
}
