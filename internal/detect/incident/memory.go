package incident

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/cybervault/cybervault"
)

// Memory keeps the incidents of one workspace in memory, for telemetry that is
// analysed without a server. The zero value is empty. Safe for concurrent use.
type Memory struct {
	mu        sync.Mutex
	revision  int64
	incidents []*cybervault.Incident
	places    map[cybervault.IncidentID]int
	alive     []int                              // places of those that are live, and of some that were
	live      map[string][]cybervault.IncidentID // by link
	members   map[string]*cybervault.IncidentMember
	outgoing  []cybervault.Finding
}

// IncidentView implements Store.
func (m *Memory) IncidentView(_ context.Context, _ cybervault.WorkspaceID, lookup cybervault.IncidentLookup) (*cybervault.IncidentView, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	wanted := slices.Clone(lookup.IDs)
	view := &cybervault.IncidentView{Revision: m.revision}
	for _, subject := range lookup.Subjects {
		if member := m.members[subject]; member != nil {
			view.Members = append(view.Members, member)
			wanted = append(wanted, member.Incident)
		}
	}
	for _, link := range lookup.Links {
		wanted = append(wanted, m.live[link]...)
	}
	if len(lookup.Of) > 0 {
		for _, member := range m.members {
			if slices.Contains(lookup.Of, member.Incident) && !slices.Contains(view.Members, member) {
				view.Members = append(view.Members, member)
			}
		}
	}
	places := make([]int, 0, len(wanted))
	for _, id := range wanted {
		if place, ok := m.places[id]; ok && !slices.Contains(places, place) {
			places = append(places, place)
		}
	}
	slices.Sort(places)
	for _, place := range places {
		view.Incidents = append(view.Incidents, m.incidents[place].Clone())
	}
	return view, nil
}

// ChangeIncidents implements Store.
func (m *Memory) ChangeIncidents(_ context.Context, _ cybervault.WorkspaceID, changes cybervault.IncidentChanges) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if changes.Revision != m.revision {
		return cybervault.Errorf(cybervault.CodeConflict, "the incidents have changed")
	}
	m.revision++
	if m.members == nil {
		m.members, m.places, m.live = map[string]*cybervault.IncidentMember{}, map[cybervault.IncidentID]int{}, map[string][]cybervault.IncidentID{}
	}
	for _, move := range changes.Moves {
		for _, member := range m.members {
			if member.Incident == move.From {
				member.Incident = move.To
			}
		}
	}
	for _, i := range changes.Incidents {
		place, known := m.places[i.ID]
		if !known {
			place = len(m.incidents)
			m.places[i.ID] = place
			m.incidents = append(m.incidents, nil)
		}
		if i.Live() && (!known || !m.incidents[place].Live()) {
			m.alive = append(m.alive, place)
		}
		m.incidents[place] = i.Clone()
		for link := range i.Links {
			m.relink(link, i)
		}
	}
	for _, member := range changes.Members {
		mine := *member
		m.members[member.Subject] = &mine
	}
	m.outgoing = append(m.outgoing, changes.Events...)
	return nil
}

// relink has a live incident found by a link, and another one not.
func (m *Memory) relink(link string, i *cybervault.Incident) {
	ids := m.live[link]
	switch place := slices.Index(ids, i.ID); {
	case i.Live() && place < 0:
		m.live[link] = append(ids, i.ID)
	case !i.Live() && place >= 0:
		m.live[link] = slices.Delete(ids, place, place+1)
	}
}

// DueIncidents implements Store.
func (m *Memory) DueIncidents(_ context.Context, activeBefore, toldBefore time.Time, limit int) ([]*cybervault.Incident, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var due []*cybervault.Incident
	for _, i := range m.living() {
		if len(due) < limit && (!i.Times.Active.After(activeBefore) || i.Told.Behind && !i.Told.At.After(toldBefore)) {
			due = append(due, i.Clone())
		}
	}
	return due, nil
}

// living are the live incidents, in the order in which they were opened.
func (m *Memory) living() []*cybervault.Incident {
	m.alive = slices.DeleteFunc(m.alive, func(place int) bool { return !m.incidents[place].Live() })
	slices.Sort(m.alive)
	m.alive = slices.Compact(m.alive)
	out := make([]*cybervault.Incident, len(m.alive))
	for n, place := range m.alive {
		out[n] = m.incidents[place]
	}
	return out
}

// Incidents returns all of them, in the order in which they were opened.
func (m *Memory) Incidents() []*cybervault.Incident {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]*cybervault.Incident, len(m.incidents))
	for n, i := range m.incidents {
		all[n] = i.Clone()
	}
	return all
}

// take returns the events that are yet to be published, and forgets them.
func (m *Memory) take() []cybervault.Finding {
	m.mu.Lock()
	defer m.mu.Unlock()
	events := m.outgoing
	m.outgoing = nil
	return events
}

// Analyse leads findings, in the order of their times, through incidents as a
// server would have at the time, and returns them with the events of the incidents
// in between. The same findings give the same. What would have been told later, had
// the server gone on, is told at the end.
func (m *Memory) Analyse(ctx context.Context, ws cybervault.WorkspaceID, findings []cybervault.Finding, quiet time.Duration) ([]cybervault.Finding, error) {
	var now time.Time
	manager := New(Config{Store: m, Now: func() time.Time { return now }, Quiet: quiet})
	var out []cybervault.Finding
	for i := range findings {
		at := findings[i].Timestamp
		for !now.IsZero() {
			next, ok := m.next(quiet)
			if !ok || next.After(at) {
				break
			}
			now = next
			if _, err := manager.Tend(ctx); err != nil {
				return out, err
			}
			out = append(out, m.take()...)
		}
		now = at
		assigned, err := manager.Assign(ctx, ws, findings[i:i+1])
		if err != nil {
			return out, err
		}
		out = append(append(out, assigned...), m.take()...)
	}
	if len(findings) == 0 {
		return out, nil
	}
	now = now.Add(updateEvery)
	if _, err := manager.Tend(ctx); err != nil {
		return out, err
	}
	return append(out, m.take()...), nil
}

// next is when an incident next has something done to it by the clock alone.
func (m *Memory) next(quiet time.Duration) (at time.Time, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	sooner := func(t time.Time) {
		if !ok || t.Before(at) {
			at, ok = t, true
		}
	}
	for _, i := range m.living() {
		if quiet > 0 {
			sooner(i.Times.Active.Add(quiet))
		}
		if i.Told.Behind {
			sooner(i.Told.At.Add(updateEvery))
		}
	}
	return at, ok
}
