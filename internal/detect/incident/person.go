package incident

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/cybervault/cybervault"
)

// Update makes a person's change, all of it or none.
//
// Errors: CodeNotFound; CodeInvalid, which names the field; CodeConflict where the
// incident has another revision than the change is for, or cannot become what is
// asked for; CodeUnavailable.
func (m *Manager) Update(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.IncidentID, c cybervault.IncidentChange) (*cybervault.Incident, error) {
	if err := check(&c); err != nil {
		return nil, err
	}
	lookup := cybervault.IncidentLookup{IDs: []cybervault.IncidentID{id}}
	if c.Disposition != nil {
		lookup.Of = append(lookup.Of, id) // they are counted anew
	}
	if c.MergeInto != nil {
		lookup.IDs, lookup.Of = append(lookup.IDs, *c.MergeInto), []cybervault.IncidentID{id}
	}
	var after *cybervault.Incident
	err := m.change(ctx, ws, lookup, func(b *board) error {
		s := b.slots[id]
		if s == nil {
			return cybervault.Errorf(cybervault.CodeNotFound, "there is no incident %s", id)
		}
		if c.Revision != nil && *c.Revision != s.Revision {
			return &cybervault.Error{Code: cybervault.CodeConflict, Field: "revision",
				Message: fmt.Sprintf("is %d, and the incident has %d by now: read it again and decide anew", *c.Revision, s.Revision)}
		}
		after = s.Incident
		return b.apply(s, &c)
	})
	if err != nil {
		return nil, err
	}
	return after, nil
}

// check refuses what no incident can have.
func check(c *cybervault.IncidentChange) error {
	for _, field := range []struct {
		name string
		text *string
		most int
	}{{"title", c.Title, cybervault.MaxIncidentTextBytes}, {"assignee", c.Assignee, cybervault.MaxIncidentTextBytes}, {"note", c.Note, cybervault.MaxIncidentNoteBytes}} {
		switch text := field.text; {
		case text == nil:
		case len(*text) > field.most:
			return cybervault.Invalid(field.name, "is %d bytes long, more than %d", len(*text), field.most)
		case !utf8.ValidString(*text) || strings.ContainsFunc(*text, func(r rune) bool {
			return unicode.IsControl(r) && (field.name != "note" || r != '\n' && r != '\t' && r != '\r')
		}):
			return cybervault.Invalid(field.name, "holds a control character, or is not UTF-8")
		}
	}
	if c.Note != nil && strings.TrimSpace(*c.Note) == "" {
		return cybervault.Invalid("note", "is empty: say something, or leave it out")
	}
	if c.Status != nil {
		switch *c.Status {
		case cybervault.IncidentOpen, cybervault.IncidentAcknowledged, cybervault.IncidentResolved:
		default:
			return cybervault.Invalid("status", "%q is not a status: use open, acknowledged or resolved", *c.Status)
		}
	}
	if c.Disposition != nil {
		switch *c.Disposition {
		case "", cybervault.TruePositive, cybervault.FalsePositive, cybervault.Undetermined:
		default:
			return cybervault.Invalid("disposition", "%q is not a disposition: use true_positive, false_positive or undetermined", *c.Disposition)
		}
	}
	if c.Severity != nil && *c.Severity != "" && c.Severity.Rank() < 0 {
		return cybervault.Invalid("severity", "%q is not a severity: use info, low, medium, high or critical", *c.Severity)
	}
	if c.MergeInto != nil && c.Status != nil {
		return cybervault.Invalid("status", "cannot be given with merge_into, which resolves the incident")
	}
	return nil
}

// apply makes a checked change.
func (b *board) apply(s *slot, c *cybervault.IncidentChange) error {
	var words []string
	note := func(field string, from, to any) {
		words = append(words, fmt.Sprintf("%s: %v → %v", field, from, to))
	}
	if c.Note != nil {
		if len(s.Notes) >= cybervault.MaxIncidentNotes {
			return cybervault.Invalid("note", "is one too many: an incident has %d at most", cybervault.MaxIncidentNotes)
		}
		s.Notes = append(s.Notes, cybervault.IncidentNote{At: b.now, By: c.By, Text: *c.Note})
		b.touch(s)
	}
	if c.Disposition != nil && *c.Disposition != s.Disposition {
		note("disposition", orNone(s.Disposition), orNone(*c.Disposition))
		s.Disposition = *c.Disposition
		for _, m := range b.membersOf(s.ID) {
			b.count(m, s.Disposition)
		}
	}
	if c.Assignee != nil && *c.Assignee != s.Assignee {
		note("assignee", orNone(s.Assignee), orNone(*c.Assignee))
		s.Assignee = *c.Assignee
	}
	if c.Title != nil {
		before := s.Title
		if s.Title, s.Pinned.Title = *c.Title, *c.Title != ""; !s.Pinned.Title {
			s.Title = titleOf(s.Incident)
		}
		if before != s.Title {
			note("title", before, s.Title)
		}
	}
	if c.Severity != nil {
		before := s.Severity
		if s.Severity, s.Pinned.Severity = *c.Severity, *c.Severity != ""; !s.Pinned.Severity {
			s.Severity = severityOf(&s.Evidence)
		}
		if before != s.Severity {
			note("severity", before, s.Severity)
		}
		b.touch(s)
	}
	if c.Status != nil && *c.Status != s.Status {
		note("status", s.Status, *c.Status)
		if err := b.become(s, *c.Status); err != nil {
			return err
		}
	}
	if len(words) > 0 {
		s.urgent = true
		b.touch(s)
		b.note(s, c.By, strings.Join(words, "; "))
	}
	if s.touched && b.now.After(s.Times.Active) {
		s.Times.Active = b.now // somebody is at it: it is not quiet
	}
	if c.MergeInto != nil {
		return b.mergeByPerson(s, *c.MergeInto, c.By)
	}
	return nil
}

func orNone[S ~string](s S) string {
	if s == "" {
		return "none"
	}
	return string(s)
}

// become takes an incident to another status.
func (b *board) become(s *slot, status cybervault.IncidentStatus) error {
	if !s.MergedInto.IsZero() {
		return &cybervault.Error{Code: cybervault.CodeConflict, Field: "status",
			Message: "cannot change: the incident was merged into " + s.MergedInto.String() + ", where its members are"}
	}
	if status == cybervault.IncidentResolved {
		b.resolve(s, cybervault.ResolvedByPerson)
		return nil
	}
	s.Status, s.Resolution, s.Times.Resolved = status, "", time.Time{}
	return nil
}

// membersOf are the members of an incident, as far as they were read.
func (b *board) membersOf(id cybervault.IncidentID) []*cybervault.IncidentMember {
	var found []*cybervault.IncidentMember
	for _, m := range b.members {
		if m.Incident == id {
			found = append(found, m)
		}
	}
	slices.SortFunc(found, func(x, y *cybervault.IncidentMember) int { return strings.Compare(x.Subject, y.Subject) })
	return found
}

// mergeByPerson merges where a person says so, whatever they have in common.
func (b *board) mergeByPerson(s *slot, id cybervault.IncidentID, by string) error {
	into := b.slots[id]
	refuse := func(code cybervault.Code, format string, args ...any) error {
		e := cybervault.Errorf(code, format, args...)
		e.Field = "merge_into"
		return e
	}
	switch {
	case into == nil:
		return refuse(cybervault.CodeInvalid, "there is no incident %s", id)
	case into == s:
		return refuse(cybervault.CodeInvalid, "is the incident itself: name another one")
	case !into.Live():
		return refuse(cybervault.CodeConflict, "the incident %s is resolved: open it again first, or name another one", id)
	case !s.MergedInto.IsZero():
		return refuse(cybervault.CodeConflict, "the incident was merged already, into %s", s.MergedInto)
	case s.Evidence.Members+into.Evidence.Members > cybervault.MaxIncidentMembers:
		return refuse(cybervault.CodeConflict, "the two have more than %d members together", cybervault.MaxIncidentMembers)
	}
	members := b.membersOf(s.ID)
	b.merge(s, into, by)
	for _, m := range members {
		b.count(m, into.Disposition)
	}
	return nil
}
