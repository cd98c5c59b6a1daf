package storetest

import (
	"fmt"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault"
)

func incidentCases() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"incidents/what a change depends on":   incidentView,
		"incidents/one change at a time":       incidentRaces,
		"incidents/links of the living":        incidentLinks,
		"incidents/merged in a chain":          incidentMoves,
		"incidents/lists":                      incidentLists,
		"incidents/due":                        incidentsDue,
		"incidents/events that are to go out":  incidentEvents,
		"incidents/what people found":          incidentVerdicts,
		"incidents/removed":                    incidentsPruned,
		"incidents/members with their event":   incidentMembers,
		"incidents/text that is no plain text": incidentText,
	}
}

// newIncident makes one that is not stored yet.
func (f *fixture) newIncident(links ...string) *cybervault.Incident {
	f.clock.Move(time.Second)
	at := f.clock.Now()
	i := &cybervault.Incident{
		ID: cybervault.NewID[cybervault.IncidentID](f.ids), Workspace: f.ws, Revision: 1, Title: "SQL injection from 203.0.113.9", Severity: cybervault.SeverityHigh,
		Status: cybervault.IncidentOpen, Links: map[string][]cybervault.Span{},
		Times: cybervault.IncidentTimes{FirstSeen: at, LastSeen: at, Opened: at, Updated: at, Active: at},
	}
	for _, link := range links {
		i.Links[link] = []cybervault.Span{{First: at, Last: at}}
	}
	return i
}

func (f *fixture) newMember(n int, i *cybervault.Incident) *cybervault.IncidentMember {
	m := &cybervault.IncidentMember{
		Subject: fmt.Sprint("thr_", n), FindingKey: fmt.Sprint("detect_", n), At: f.clock.Now(), Type: cybervault.EventThreatDetected,
		Gist: cybervault.Gist{Subject: fmt.Sprint("thr_", n), Severity: cybervault.SeverityHigh, Name: "xss", Rules: []string{"web:941100"}, User: "nul\x00"},
	}
	if i != nil {
		m.Incident, m.Told = i.ID, i.ID
	}
	return m
}

// change commits a change at the revision that there is.
func (f *fixture) change(c cybervault.IncidentChanges) {
	f.Helper()
	c.Revision = f.view(cybervault.IncidentLookup{}).Revision
	f.must(f.s.ChangeIncidents(f.Context(), f.ws, c))
}

func (f *fixture) view(lookup cybervault.IncidentLookup) *cybervault.IncidentView {
	f.Helper()
	view, err := f.s.IncidentView(f.Context(), f.ws, lookup)
	f.must(err)
	return view
}

func (f *fixture) same(what string, want, got any) {
	f.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		f.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func incidentView(f *fixture) {
	f.same("of nothing", &cybervault.IncidentView{}, f.view(cybervault.IncidentLookup{Subjects: []string{"thr_1"}, Links: []string{"ip:203.0.113.9"}}))
	a, b := f.newIncident("ip:203.0.113.9", "user:alice"), f.newIncident("user:bob")
	a.Notes, a.Merged = []cybervault.IncidentNote{{At: f.clock.Now(), By: "key", Text: "a note"}}, []cybervault.IncidentID{b.ID}
	one, two, none := f.newMember(1, a), f.newMember(2, b), f.newMember(3, nil)
	f.change(cybervault.IncidentChanges{Incidents: []*cybervault.Incident{a, b}, Members: []*cybervault.IncidentMember{one, two, none}})

	type (
		incidents = []*cybervault.Incident
		members   = []*cybervault.IncidentMember
	)
	many := []string{"user:alice"}
	for n := range 200 {
		many = append(many, fmt.Sprint("user:", n))
	}
	for _, c := range []struct {
		what   string
		lookup cybervault.IncidentLookup
		want   cybervault.IncidentView
	}{
		{"nothing", cybervault.IncidentLookup{}, cybervault.IncidentView{}},
		{"a member brings its incident", cybervault.IncidentLookup{Subjects: []string{"thr_2"}}, cybervault.IncidentView{Incidents: incidents{b}, Members: members{two}}},
		{"one of none", cybervault.IncidentLookup{Subjects: []string{"thr_3", "thr_4"}}, cybervault.IncidentView{Members: members{none}}},
		{"a link", cybervault.IncidentLookup{Links: []string{"user:bob"}}, cybervault.IncidentView{Incidents: incidents{b}}},
		{"many links", cybervault.IncidentLookup{Links: many}, cybervault.IncidentView{Incidents: incidents{a}}},
		{"all members", cybervault.IncidentLookup{Of: []cybervault.IncidentID{a.ID, b.ID}, Subjects: []string{"thr_1"}}, cybervault.IncidentView{Incidents: incidents{a, b}, Members: members{one, two}}},
		{"by id", cybervault.IncidentLookup{IDs: []cybervault.IncidentID{a.ID}}, cybervault.IncidentView{Incidents: incidents{a}}},
		{"an id with the key of another", cybervault.IncidentLookup{IDs: []cybervault.IncidentID{cybervault.MakeID[cybervault.IncidentID](a.ID.Key(), 5)}}, cybervault.IncidentView{Incidents: incidents{}}},
	} {
		c.want.Revision = 1
		f.same(c.what, &c.want, f.view(c.lookup))
	}
	stranger, err := f.s.IncidentView(f.Context(), f.strangersWorkspace(), cybervault.IncidentLookup{Subjects: []string{"thr_1"}, Links: many, IDs: []cybervault.IncidentID{a.ID}, Of: []cybervault.IncidentID{a.ID}})
	f.must(err)
	f.same("to strangers", &cybervault.IncidentView{}, stranger)
	f.s = f.reopen()
	f.same("after a restart", &cybervault.IncidentView{Revision: 1, Incidents: incidents{a}}, f.view(cybervault.IncidentLookup{IDs: []cybervault.IncidentID{a.ID}}))
}

func incidentRaces(f *fixture) {
	const nodes = 8
	errs := make([]error, nodes)
	for revision := range int64(3) {
		var all sync.WaitGroup
		for n := range errs {
			i := f.newIncident()
			all.Go(func() {
				errs[n] = f.s.ChangeIncidents(f.Context(), f.ws, cybervault.IncidentChanges{Revision: revision, Incidents: []*cybervault.Incident{i}})
			})
		}
		all.Wait()
		won := 0
		for _, err := range errs {
			if err == nil {
				won++
			} else {
				f.wantCode(err, cybervault.CodeConflict)
			}
		}
		if won != 1 {
			f.Errorf("at revision %d, %d changes were made", revision, won)
		}
	}
	page, err := f.s.Incidents(f.Context(), cybervault.IncidentQuery{Workspace: f.ws, Limit: 50})
	f.must(err)
	if len(page.Rows) != 3 {
		f.Errorf("%d incidents, want 3: one of each revision", len(page.Rows))
	}
}

func incidentLinks(f *fixture) {
	i := f.newIncident("user:alice")
	f.change(cybervault.IncidentChanges{Incidents: []*cybervault.Incident{i}})
	found := func(link string, want int) {
		f.Helper()
		if got := f.view(cybervault.IncidentLookup{Links: []string{link}}).Incidents; len(got) != want {
			f.Errorf("%d incidents by %s, want %d", len(got), link, want)
		}
	}
	found("user:alice", 1)
	i.Links["user:bob"] = nil
	f.change(cybervault.IncidentChanges{Incidents: []*cybervault.Incident{i}})
	found("user:bob", 1)
	i.Status = cybervault.IncidentResolved
	f.change(cybervault.IncidentChanges{Incidents: []*cybervault.Incident{i}})
	found("user:alice", 0)
	found("user:bob", 0)
	i.Status = cybervault.IncidentAcknowledged
	f.change(cybervault.IncidentChanges{Incidents: []*cybervault.Incident{i}})
	found("user:alice", 1)
}

func incidentMoves(f *fixture) {
	a, b, c := f.newIncident(), f.newIncident(), f.newIncident()
	f.change(cybervault.IncidentChanges{Incidents: []*cybervault.Incident{a, b, c}, Members: []*cybervault.IncidentMember{f.newMember(1, a), f.newMember(2, b), f.newMember(3, c)}})
	f.change(cybervault.IncidentChanges{Moves: []cybervault.IncidentMove{{From: a.ID, To: b.ID}, {From: b.ID, To: c.ID}}})
	members := f.view(cybervault.IncidentLookup{Of: []cybervault.IncidentID{a.ID, b.ID, c.ID}}).Members
	if len(members) != 3 {
		f.Fatalf("%d members, want 3", len(members))
	}
	for _, m := range members {
		if m.Incident != c.ID {
			f.Errorf("%s is of %s, want %s", m.Subject, m.Incident, c.ID)
		}
	}
	f.same("what the first was told", a.ID, members[0].Told)
}

func incidentLists(f *fixture) {
	var all []*cybervault.Incident
	for n := range 5 {
		i := f.newIncident()
		i.Title, i.Entities.SourceIPs = fmt.Sprintf("Attack %d, 100%% Übel_", n), []string{"shop_%", fmt.Sprintf("203.0.113.%d", n)}
		i.Status = cybervault.IncidentStatuses()[n%3]
		i.Severity = cybervault.Severities()[n]
		all = append([]*cybervault.Incident{i}, all...)
	}
	f.change(cybervault.IncidentChanges{Incidents: all})
	for _, c := range []struct {
		what string
		q    cybervault.IncidentQuery
		want []int // of all, newest first
		more bool
	}{
		{"all", cybervault.IncidentQuery{}, []int{0, 1, 2, 3, 4}, false},
		{"a page", cybervault.IncidentQuery{Limit: 2}, []int{0, 1}, true},
		{"the next", cybervault.IncidentQuery{Limit: 3, Before: all[1].ID}, []int{2, 3, 4}, false},
		{"live", cybervault.IncidentQuery{Statuses: []cybervault.IncidentStatus{cybervault.IncidentOpen, cybervault.IncidentAcknowledged}}, []int{0, 1, 3, 4}, false},
		{"severe", cybervault.IncidentQuery{Severities: []cybervault.Severity{cybervault.SeverityHigh, cybervault.SeverityCritical}}, []int{0, 1}, false},
		{"text of an entity", cybervault.IncidentQuery{Text: "113.3"}, []int{1}, false},
		{"text in another case", cybervault.IncidentQuery{Text: "ATTACK 2"}, []int{2}, false},
		{"text that is a pattern", cybervault.IncidentQuery{Text: "0% üBEL_"}, []int{0, 1, 2, 3, 4}, false},
		{"text that no database takes", cybervault.IncidentQuery{Text: "Attack\x00 2"}, []int{2}, false},
		{"text that would be one", cybervault.IncidentQuery{Text: "Attack_"}, nil, false},
		{"an entity", cybervault.IncidentQuery{Entity: "203.0.113.3"}, []int{1}, false},
		{"an entity that is not the last", cybervault.IncidentQuery{Entity: "SHOP_%"}, []int{0, 1, 2, 3, 4}, false},
		{"a part of one", cybervault.IncidentQuery{Entity: "203.0.113"}, nil, false},
		{"a title is no entity", cybervault.IncidentQuery{Entity: "Attack 3, 100% Übel_"}, nil, false},
		{"an entity that would be a pattern", cybervault.IncidentQuery{Entity: "shop_x"}, nil, false},
		{"since", cybervault.IncidentQuery{Since: all[1].ID.Time()}, []int{0, 1}, false},
		{"until", cybervault.IncidentQuery{Until: all[1].ID.Time()}, []int{2, 3, 4}, false},
		{"of strangers", cybervault.IncidentQuery{Workspace: f.strangersWorkspace()}, nil, false},
	} {
		if c.q.Workspace.IsZero() {
			c.q.Workspace = f.ws
		}
		c.q.Limit = max(c.q.Limit, 0)
		if c.q.Limit == 0 {
			c.q.Limit = 50
		}
		page, err := f.s.Incidents(f.Context(), c.q)
		f.must(err)
		var got []int
		for _, row := range page.Rows {
			for n, i := range all {
				if i.ID == row.ID {
					got = append(got, n)
				}
			}
		}
		f.same(c.what, c.want, got)
		f.same(c.what+": more", c.more, page.More)
	}
	counts, err := f.s.LiveIncidents(f.Context(), f.ws)
	f.must(err)
	f.same("counts of the live", []cybervault.IncidentCount{ // 0 and 3 are open, 1 and 4 acknowledged, 2 is resolved
		{Status: cybervault.IncidentOpen, Severity: cybervault.SeverityInfo, Count: 1}, {Status: cybervault.IncidentOpen, Severity: cybervault.SeverityHigh, Count: 1},
		{Status: cybervault.IncidentAcknowledged, Severity: cybervault.SeverityLow, Count: 1}, {Status: cybervault.IncidentAcknowledged, Severity: cybervault.SeverityCritical, Count: 1},
	}, counts)
	counts, err = f.s.LiveIncidents(f.Context(), f.strangersWorkspace())
	f.must(err)
	f.same("counts of strangers", 0, len(counts))
	one, err := f.s.Incident(f.Context(), f.ws, all[3].ID)
	f.must(err)
	f.same("one", all[3], one)
	for _, ws := range []cybervault.WorkspaceID{f.strangersWorkspace(), f.ws} {
		id := all[3].ID
		if ws == f.ws {
			id = cybervault.NewID[cybervault.IncidentID](f.ids)
		}
		_, err := f.s.Incident(f.Context(), ws, id)
		f.wantCode(err, cybervault.CodeNotFound)
	}
}

func incidentsDue(f *fixture) {
	quiet, behind, both, resolved, fresh := f.newIncident(), f.newIncident(), f.newIncident(), f.newIncident(), f.newIncident()
	old := f.clock.Now().Add(-time.Hour)
	quiet.Times.Active, both.Times.Active, resolved.Times.Active = old, old, old
	resolved.Status = cybervault.IncidentResolved
	for _, i := range []*cybervault.Incident{behind, both} {
		i.Told = cybervault.IncidentTold{At: old, Behind: true}
	}
	f.change(cybervault.IncidentChanges{Incidents: []*cybervault.Incident{quiet, behind, both, resolved, fresh}})
	due := func(what string, active, told time.Time, want ...*cybervault.Incident) {
		f.Helper()
		got, err := f.s.DueIncidents(f.Context(), active, told, 10)
		f.must(err)
		have := map[cybervault.IncidentID]bool{}
		for _, i := range got {
			have[i.ID] = true
			f.same(what+": the workspace", f.ws, i.Workspace)
		}
		wanted := map[cybervault.IncidentID]bool{}
		for _, i := range want {
			wanted[i.ID] = true
		}
		f.same(what, wanted, have)
	}
	due("quiet or behind", old, old, quiet, behind, both)
	due("behind only", time.Time{}, old, behind, both)
	due("a moment earlier", old.Add(-time.Microsecond), old.Add(-time.Microsecond))
	got, err := f.s.DueIncidents(f.Context(), old, old, 1)
	f.must(err)
	f.same("one at most", 1, len(got))
}

func incidentEvents(f *fixture) {
	outgoingEvent := func(n int) cybervault.Finding {
		return cybervault.Finding{Type: cybervault.EventIncidentUpdated, Timestamp: f.clock.Now(), Key: fmt.Sprint("incident_", n), Data: fmt.Appendf(nil, `{"n":%d}`, n)}
	}
	outgoing := func(ws cybervault.WorkspaceID) cybervault.OutgoingEvents {
		f.Helper()
		out, err := f.s.OutgoingIncidentEvents(f.Context(), ws)
		f.must(err)
		return out
	}
	f.same("none", cybervault.OutgoingEvents{}, outgoing(cybervault.WorkspaceID{}))
	f.change(cybervault.IncidentChanges{Events: []cybervault.Finding{outgoingEvent(1), outgoingEvent(2)}})
	f.change(cybervault.IncidentChanges{Events: []cybervault.Finding{outgoingEvent(3)}})
	out := outgoing(cybervault.WorkspaceID{})
	f.same("in the order of commit", cybervault.OutgoingEvents{Workspace: f.ws, Revision: 2, Events: []cybervault.Finding{outgoingEvent(1), outgoingEvent(2), outgoingEvent(3)}}, out)
	f.same("of strangers", 0, len(outgoing(f.strangersWorkspace()).Events))
	f.must(f.s.ForgetIncidentEvents(f.Context(), cybervault.OutgoingEvents{Workspace: f.strangersWorkspace(), Revision: 9, Place: 9}))
	f.must(f.s.ForgetIncidentEvents(f.Context(), cybervault.OutgoingEvents{Workspace: f.ws, Revision: 1, Place: 0}))
	f.same("after the first", []cybervault.Finding{outgoingEvent(2), outgoingEvent(3)}, outgoing(f.ws).Events)
	f.change(cybervault.IncidentChanges{Events: []cybervault.Finding{outgoingEvent(4)}})
	f.must(f.s.ForgetIncidentEvents(f.Context(), out))
	f.same("what came meanwhile", []cybervault.Finding{outgoingEvent(4)}, outgoing(f.ws).Events)
	var many []cybervault.Finding
	for n := range 150 {
		many = append(many, outgoingEvent(10+n))
	}
	f.change(cybervault.IncidentChanges{Events: many})
	page := outgoing(f.ws)
	f.same("a page", 100, len(page.Events))
	f.must(f.s.ForgetIncidentEvents(f.Context(), page))
	f.same("the rest", many[99:], outgoing(f.ws).Events)
}

func incidentVerdicts(f *fixture) {
	verdicts := func(want []cybervault.Verdict, wantRevision int64) {
		f.Helper()
		got, revision, err := f.s.IncidentVerdicts(f.Context(), f.ws, 0)
		f.must(err)
		f.same("verdicts", want, got)
		f.same("their revision", wantRevision, revision)
	}
	verdicts(nil, 0)
	f.change(cybervault.IncidentChanges{})
	verdicts(nil, 0)
	f.change(cybervault.IncidentChanges{Verdicts: []cybervault.Verdict{{Rule: "web:942100", TruePositive: 2}, {Name: "sql_injection", FalsePositive: 1}}})
	verdicts([]cybervault.Verdict{{Name: "sql_injection", FalsePositive: 1}, {Rule: "web:942100", TruePositive: 2}}, 2)
	f.change(cybervault.IncidentChanges{Verdicts: []cybervault.Verdict{{Rule: "web:942100", TruePositive: -1, FalsePositive: 3}, {Name: "sql_injection", FalsePositive: -1}}})
	verdicts([]cybervault.Verdict{{Rule: "web:942100", TruePositive: 1, FalsePositive: 3}}, 3)
	got, revision, err := f.s.IncidentVerdicts(f.Context(), f.ws, 3)
	f.must(err)
	f.same("what is known", 3, len(got)+int(revision))
	got, revision, err = f.s.IncidentVerdicts(f.Context(), f.strangersWorkspace(), 0)
	f.must(err)
	f.same("of strangers", 0, len(got)+int(revision))
}

func incidentsPruned(f *fixture) {
	old, living, young := f.newIncident(), f.newIncident(), f.newIncident()
	old.Status, young.Status = cybervault.IncidentResolved, cybervault.IncidentResolved
	of, other, none := f.newMember(1, old), f.newMember(2, living), f.newMember(3, nil)
	f.change(cybervault.IncidentChanges{Incidents: []*cybervault.Incident{old, living, young}, Members: []*cybervault.IncidentMember{of, other, none}})
	prune := func(before time.Time) {
		f.Helper()
		more, err := f.s.PruneIncidents(f.Context(), before)
		f.must(err)
		f.same("more", false, more)
	}
	prune(old.Times.Active)
	f.same("nothing is old yet", 3, len(f.view(cybervault.IncidentLookup{IDs: []cybervault.IncidentID{old.ID, living.ID, young.ID}}).Incidents))
	f.clock.Move(time.Second)
	prune(young.Times.Active)
	left := f.view(cybervault.IncidentLookup{IDs: []cybervault.IncidentID{old.ID, living.ID, young.ID}, Subjects: []string{"thr_1", "thr_2", "thr_3"}})
	f.same("incidents", []*cybervault.Incident{living, young}, left.Incidents)
	f.same("members", []*cybervault.IncidentMember{other, none}, left.Members)
	prune(f.clock.Now())
	f.same("one of none", []*cybervault.IncidentMember{other}, f.view(cybervault.IncidentLookup{Subjects: []string{"thr_2", "thr_3"}}).Members)
}

func incidentMembers(f *fixture) {
	i, other := f.newIncident(), f.newIncident()
	first := f.newMember(1, i)
	f.clock.Move(time.Minute)
	second, third := f.newMember(2, i), f.newMember(3, other)
	f.change(cybervault.IncidentChanges{Incidents: []*cybervault.Incident{i, other}, Members: []*cybervault.IncidentMember{first, second, third}})
	pub := f.publication(event{key: first.FindingKey})
	f.publish(pub)
	first.Event = pub.Event.ID
	got, err := f.s.IncidentMembers(f.Context(), f.ws, i.ID, 10)
	f.must(err)
	f.same("members", []*cybervault.IncidentMember{second, first}, got)
	got, err = f.s.IncidentMembers(f.Context(), f.ws, i.ID, 1)
	f.must(err)
	f.same("one", []*cybervault.IncidentMember{second}, got)
	got, err = f.s.IncidentMembers(f.Context(), f.strangersWorkspace(), i.ID, 10)
	f.must(err)
	f.same("to strangers", 0, len(got))
}

func incidentText(f *fixture) {
	i := f.newIncident()
	i.Title, i.Entities.Users = "a \x00 title\u2028", []string{"\xff"}
	f.change(cybervault.IncidentChanges{Incidents: []*cybervault.Incident{i}})
	got, err := f.s.Incident(f.Context(), f.ws, i.ID)
	f.must(err)
	f.same("the title", i.Title, got.Title)
	f.same("the user", "\uFFFD", got.Entities.Users[0])
}
