package incident

import (
	"maps"
	"regexp"
	"slices"
	"time"

	"github.com/cybervault/cybervault"
)

// engine is who changed an incident where it was no person.
const engine = "engine"

// board is a workspace's incidents, as far as a change depends on them, and what
// the change makes of them. It reads no clock and no store.
type board struct {
	ws       cybervault.WorkspaceID
	now      time.Time
	newID    func(*cybervault.Finding) cybervault.IncidentID
	revision int64

	slots   map[cybervault.IncidentID]*slot
	order   []*slot // as they came, for the same outcome each time
	byLink  map[string][]*slot
	members map[string]*cybervault.IncidentMember

	moves    []cybervault.IncidentMove
	changed  []string // subjects, in the order of their first change
	verdicts map[cybervault.Verdict]*cybervault.Verdict
}

// slot is one incident on the board.
type slot struct {
	*cybervault.Incident

	fresh   bool // opened by this change
	touched bool
	gone    bool // opened and merged by this change: nobody ever hears of it
	// urgent says that what changed is told of at once, whatever was told before.
	urgent bool
	into   *slot // merged into it by this change
}

func newBoard(ws cybervault.WorkspaceID, view *cybervault.IncidentView, now time.Time, newID func(*cybervault.Finding) cybervault.IncidentID) *board {
	b := &board{
		ws: ws, now: now.UTC().Truncate(time.Microsecond), newID: newID, revision: view.Revision, slots: map[cybervault.IncidentID]*slot{},
		byLink: map[string][]*slot{}, members: map[string]*cybervault.IncidentMember{}, verdicts: map[cybervault.Verdict]*cybervault.Verdict{},
	}
	for _, i := range view.Incidents {
		b.put(&slot{Incident: i.Clone()})
	}
	for _, m := range view.Members {
		mine := *m
		b.members[m.Subject] = &mine
	}
	return b
}

func (b *board) put(s *slot) {
	b.slots[s.ID] = s
	b.order = append(b.order, s)
	for link := range s.Links {
		b.byLink[link] = append(b.byLink[link], s)
	}
}

// place finds the incident of a finding, or opens one, and returns its id: zero
// where it belongs to none. The same finding again changes nothing, and gets the
// answer that it got.
func (b *board) place(f *cybervault.Finding) cybervault.IncidentID {
	g := &f.Gist
	if g.Subject == "" {
		return cybervault.IncidentID{}
	}
	m := b.members[g.Subject]
	if m != nil && (m.FindingKey == f.Key || g.Count < m.Gist.Count) { // the same again, or an earlier view of it
		return m.Told
	}
	var home *slot
	if m != nil && !m.Incident.IsZero() {
		home = b.slots[m.Incident]
		if home != nil && !home.Live() && home.Disposition == cybervault.FalsePositive {
			b.keep(f, home.ID, m) // a person has seen it; it goes on, and nobody is told again
			return home.ID
		}
		if home != nil && !home.Live() {
			home = nil
		}
	}
	joined := b.candidates(f, home)
	switch {
	case len(joined) > 0:
		home = joined[0]
		for _, other := range joined[1:] {
			if b.mayJoin(home, other) {
				b.merge(other, home, engine)
			}
		}
	case opens(g):
		home = b.open(f)
	default:
		b.keep(f, cybervault.IncidentID{}, m)
		return cybervault.IncidentID{}
	}
	b.add(home, f, m)
	b.keep(f, home.ID, m)
	return home.ID
}

// candidates are the incidents that a finding belongs to: the one it is a member
// of, and those that it has a link in common with, the eldest first.
func (b *board) candidates(f *cybervault.Finding, home *slot) []*slot {
	g := &f.Gist
	span := cybervault.Span{First: g.FirstSeen, Last: g.LastSeen}
	var found []*slot
	if home != nil {
		found = append(found, home)
	}
	for _, link := range linksOf(g) {
		for _, s := range b.byLink[link] {
			if s.gone || !s.Live() || slices.Contains(found, s) || !near(s.Links[link], span, windowOf(link)) || far(s.Incident, span) {
				continue
			}
			if s.Evidence.Members >= cybervault.MaxIncidentMembers {
				continue // full
			}
			found = append(found, s)
		}
	}
	slices.SortStableFunc(found, func(x, y *slot) int {
		switch {
		case x.fresh != y.fresh && y.fresh:
			return -1
		case x.fresh != y.fresh:
			return 1
		}
		if c := x.Times.Opened.Compare(y.Times.Opened); c != 0 {
			return c
		}
		return slices.Index(b.order, x) - slices.Index(b.order, y)
	})
	return found
}

// far reports whether a stretch of time is too far from an incident's beginning.
func far(i *cybervault.Incident, span cybervault.Span) bool {
	return span.Last.Sub(i.Times.FirstSeen) > maxSpan || i.Times.LastSeen.Sub(span.First) > maxSpan
}

// mayJoin reports whether the engine may merge two incidents by itself: not where
// a person found them to be different things, nor beyond what one may hold.
func (b *board) mayJoin(a, other *slot) bool {
	return a.Disposition == other.Disposition && a.Evidence.Members+other.Evidence.Members <= cybervault.MaxIncidentMembers
}

func (b *board) open(f *cybervault.Finding) *slot {
	s := &slot{fresh: true, Incident: &cybervault.Incident{
		ID: b.newID(f), Workspace: b.ws, Status: cybervault.IncidentOpen, Links: map[string][]cybervault.Span{},
		Times: cybervault.IncidentTimes{FirstSeen: f.Gist.FirstSeen, LastSeen: f.Gist.LastSeen, Opened: b.now, Updated: b.now, Active: b.now},
	}}
	b.put(s)
	return s
}

// add takes a finding into an incident. before is what was known of the same threat.
func (b *board) add(s *slot, f *cybervault.Finding, before *cybervault.IncidentMember) {
	g, e := &f.Gist, &s.Evidence
	records := int64(g.Count)
	if before != nil && before.Incident == s.ID {
		records -= int64(before.Gist.Count)
	} else {
		e.Members++
		if len(e.Threats) < cybervault.MaxIncidentThreats && !slices.Contains(e.Threats, g.Subject) {
			e.Threats = append(e.Threats, g.Subject)
		}
	}
	e.Records += max(records, 0)
	span := cybervault.Span{First: g.FirstSeen, Last: g.LastSeen}
	for _, link := range linksOf(g) {
		b.link(s, link, span)
	}
	enter(&s.Entities.SourceIPs, g.SourceIP)
	enter(&s.Entities.Users, bound(g.User))
	enter(&s.Entities.Assets, bound(g.Asset))
	e.Names = addNames(e.Names, append(slices.Clone(g.Names), g.Name))
	e.Techniques = addTechniques(e.Techniques, g.Techniques)
	if g.Severity.Rank() > e.Worst.Rank() {
		e.Worst = g.Severity
	}
	whole := join(cybervault.Span{First: s.Times.FirstSeen, Last: s.Times.LastSeen}, span)
	s.Times.FirstSeen, s.Times.LastSeen = whole.First, whole.Last
	b.active(s)
}

func (b *board) link(s *slot, link string, spans ...cybervault.Span) {
	have, ok := s.Links[link]
	if !ok {
		if len(s.Links) >= maxLinks {
			return
		}
		b.byLink[link] = append(b.byLink[link], s)
	}
	for _, span := range spans {
		have = cover(have, span, windowOf(link))
	}
	s.Links[link] = have
}

// active notes that an incident changed now, and weighs it anew.
func (b *board) active(s *slot) {
	if b.now.After(s.Times.Active) {
		s.Times.Active = b.now
	}
	s.Evidence.Tactics = tacticsOf(s.Evidence.Techniques)
	if !s.Pinned.Severity {
		s.Severity = severityOf(&s.Evidence)
	}
	if !s.Pinned.Title {
		s.Title = titleOf(s.Incident)
	}
	b.touch(s)
}

func (b *board) touch(s *slot) {
	if b.now.After(s.Times.Updated) {
		s.Times.Updated = b.now
	}
	s.touched = true
}

// merge moves all that one incident holds to another, and resolves it.
func (b *board) merge(from, into *slot, by string) {
	b.moves = append(b.moves, cybervault.IncidentMove{From: from.ID, To: into.ID})
	from.into = into
	for _, m := range b.members {
		if m.Incident == from.ID {
			m.Incident = into.ID
		}
	}
	for _, link := range slices.Sorted(maps.Keys(from.Links)) {
		b.link(into, link, from.Links[link]...)
	}
	for _, ip := range from.Entities.SourceIPs {
		enter(&into.Entities.SourceIPs, ip)
	}
	for _, user := range from.Entities.Users {
		enter(&into.Entities.Users, user)
	}
	for _, asset := range from.Entities.Assets {
		enter(&into.Entities.Assets, asset)
	}
	to, of := &into.Evidence, &from.Evidence
	to.Members += of.Members
	to.Records += of.Records
	to.Names, to.Techniques = addNames(to.Names, of.Names), addTechniques(to.Techniques, of.Techniques)
	for _, threat := range of.Threats {
		if len(to.Threats) < cybervault.MaxIncidentThreats && !slices.Contains(to.Threats, threat) {
			to.Threats = append(to.Threats, threat)
		}
	}
	if of.Worst.Rank() > to.Worst.Rank() {
		to.Worst = of.Worst
	}
	whole := join(cybervault.Span{First: into.Times.FirstSeen, Last: into.Times.LastSeen}, cybervault.Span{First: from.Times.FirstSeen, Last: from.Times.LastSeen})
	into.Times.FirstSeen, into.Times.LastSeen = whole.First, whole.Last
	b.active(into)
	if from.fresh {
		from.gone, from.Status = true, cybervault.IncidentResolved
		b.moves = b.moves[:len(b.moves)-1] // nothing of it is stored
		return
	}
	into.Notes = append(into.Notes, from.Notes[:min(len(from.Notes), max(0, cybervault.MaxIncidentNotes-len(into.Notes)))]...)
	slices.SortStableFunc(into.Notes, func(x, y cybervault.IncidentNote) int { return x.At.Compare(y.At) })
	into.Merged = append(into.Merged, from.ID)
	into.urgent = true
	b.note(into, by, from.ID.String()+" was merged into this incident")
	b.resolve(from, cybervault.ResolvedByMerge)
	from.MergedInto = into.ID
	b.note(from, by, "merged into "+into.ID.String())
}

func (b *board) resolve(s *slot, how cybervault.Resolution) {
	s.Status, s.Resolution, s.Times.Resolved = cybervault.IncidentResolved, how, b.now
	s.urgent = true
	b.touch(s)
}

// note adds a line to the incident's history.
func (b *board) note(s *slot, by, text string) {
	s.History = append(s.History, cybervault.IncidentNote{At: b.now, By: by, Text: text})
	if more := len(s.History) - cybervault.MaxIncidentHistory; more > 0 {
		s.History = slices.Clone(s.History[more:])
	}
}

// keep remembers what a finding was told.
func (b *board) keep(f *cybervault.Finding, id cybervault.IncidentID, before *cybervault.IncidentMember) {
	m := before
	if m == nil {
		m = &cybervault.IncidentMember{Subject: f.Gist.Subject}
		b.members[m.Subject] = m
	}
	b.count(m, "") // by the rules that it had
	m.Incident, m.Told, m.FindingKey, m.At, m.Type, m.Gist = id, id, f.Key, b.now, f.Type, f.Gist
	if s := b.slots[id]; s != nil {
		b.count(m, s.Disposition)
	}
	b.change(m)
}

func (b *board) change(m *cybervault.IncidentMember) {
	if !slices.Contains(b.changed, m.Subject) {
		b.changed = append(b.changed, m.Subject)
	}
}

// count has the rules and the name of a member counted as what it was found to be,
// once, in the place of what they were counted as before.
func (b *board) count(m *cybervault.IncidentMember, as cybervault.IncidentDisposition) {
	if as == cybervault.Undetermined {
		as = ""
	}
	if m.Counted == as {
		return
	}
	keys := []cybervault.Verdict{{Name: bound(m.Gist.Name)}}
	for _, rule := range m.Gist.Rules {
		keys = append(keys, cybervault.Verdict{Rule: bound(rule)})
	}
	for _, key := range keys {
		v := b.verdicts[key]
		if v == nil {
			v = &cybervault.Verdict{Rule: key.Rule, Name: key.Name}
			b.verdicts[key] = v
		}
		v.Add(m.Counted, -1)
		v.Add(as, 1)
	}
	m.Counted = as
	b.change(m)
}

// final is where an incident's members are after all merges of this change.
func (b *board) final(id cybervault.IncidentID) cybervault.IncidentID {
	for s := b.slots[id]; s != nil && s.into != nil; s = b.slots[id] {
		id = s.into.ID
	}
	return id
}

// enter adds a value to a list of entities, unless it is full.
func enter(list *[]string, value string) {
	if value != "" && len(*list) < cybervault.MaxIncidentEntities && !slices.Contains(*list, value) {
		*list = append(*list, value)
	}
}

// maxTechniques bounds the techniques kept of an incident.
const maxTechniques = 64

var technique = regexp.MustCompile(`^T[0-9]{4}(\.[0-9]{3})?$`)

func addTechniques(have, more []string) []string {
	for _, t := range more {
		if len(have) < maxTechniques && technique.MatchString(t) && !slices.Contains(have, t) {
			have = append(have, t)
		}
	}
	slices.Sort(have)
	return have
}
