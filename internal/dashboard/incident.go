package dashboard

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/cybervault/cybervault"
)

// Bounds of an incident's page.
const (
	shownMembers  = 100 // unless all are asked for
	shownEvidence = 20  // members that are shown with their records
	shownTimeline = 200
	shownEntities = 100
)

type incidentView struct {
	page
	ID       string
	Name     string
	Severity badge
	Status   badge
	Outcome  string // what it turned out to be
	Assignee string

	CanAcknowledge, CanResolve, CanOpen, CanMerge bool
	MergedInto                                    string

	Facts    incidentFacts
	Members  []memberView
	More     string // how many members are not listed
	Timeline []timelineEntry
	Form     incidentForm
	Part     bool // only what follows changes is asked for
	Live     liveView
}

type incidentFacts struct {
	Entities   []entityGroup
	Tactics    []string
	Techniques []string
	Counts     string
	FirstSeen  moment
	LastSeen   moment
	Opened     moment
	Changed    moment
	Resolved   moment
	Resolution string
	Merged     []string
}

type entityGroup struct {
	Name    string
	Members []entityLink
}

type entityLink struct{ Name, URL string }

// incidentForm is what a person was about to change.
type incidentForm struct {
	Problem      string
	Dispositions []choice
	Resolve      bool
	Note         string
	Assignee     string
	Into         string
	Others       []choice // that it may be merged into
}

// memberView is a threat or a suspicious login, with its records where they are shown.
type memberView struct {
	ID         string
	Name       string
	Severity   badge
	Who        string
	Count      string
	Confidence string
	FirstSeen  moment
	LastSeen   moment
	Event      string // the id of the last event about it
	Gone       bool   // that event is not stored any more
	Open       bool
	Later      bool // its records are not read for this page
	Rules      []ruleLink
	Detections []detectionView
}

type ruleLink struct{ ID, URL string }

// detectionView is one conclusion of the threat engine, and what it stands on.
type detectionView struct {
	Anchor      string
	Rule        ruleLink
	Title       string
	Level       badge
	Techniques  []string
	Count       string
	Explanation string
	Record      string
	Except      string // address of the form that leaves such out
}

// timelineEntry is something that happened to an incident, or a word about it.
type timelineEntry struct {
	At   moment
	Tone string // note, change or finding
	By   string
	Text string
	URL  string // of the event, where there is one
}

func (d *dashboard) showIncident(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID[cybervault.IncidentID](r)
	if err != nil {
		return err
	}
	return d.renderIncident(w, r, id, http.StatusOK, incidentForm{})
}

// renderIncident shows an incident, and what a person was about to change of it.
func (d *dashboard) renderIncident(w http.ResponseWriter, r *http.Request, id cybervault.IncidentID, status int, form incidentForm) error {
	ctx := r.Context()
	i, err := d.Incidents.Incident(ctx, workspaceOf(ctx), id)
	if err != nil {
		return err
	}
	limit, whole := shownMembers, r.URL.Query().Has("all")
	if whole {
		limit = cybervault.MaxIncidentMembers
	}
	members, err := d.Incidents.IncidentMembers(ctx, workspaceOf(ctx), id, limit)
	if err != nil {
		return err
	}
	v := d.incidentView(r, i)
	if whole {
		v.Live.URL += "?all"
	}
	if v.Members, err = d.memberViews(ctx, members); err != nil {
		return err
	}
	if more := i.Evidence.Members - len(members); more > 0 && !whole {
		v.More = "Show " + plural(more, "detection", "detections") + " more"
	}
	v.Timeline = d.timeline(i, members)
	if wantsPart(r) && r.Method == http.MethodGet {
		v.Part = true
		return d.renderPart(w, "incident", "incident-live", v)
	}
	v.Form = form
	for _, disposition := range cybervault.IncidentDispositions() {
		v.Form.Dispositions = append(v.Form.Dispositions, choice{string(disposition), dispositionWords(disposition), disposition == i.Disposition})
	}
	if form.Problem == "" {
		v.Form.Assignee = cut(i.Assignee, cybervault.MaxIncidentTextBytes)
	}
	if v.CanMerge {
		if v.Form.Others, err = d.mergeChoices(ctx, id); err != nil {
			return err
		}
	}
	if form.Problem != "" {
		v.Replace = "/incidents/" + v.ID
	}
	return d.render(w, status, "incident", v)
}

func (d *dashboard) incidentView(r *http.Request, i *cybervault.Incident) *incidentView {
	id, may := i.ID.String(), mayRespond(r.Context())
	v := &incidentView{
		page: d.newPage(r, "incidents", cut(i.Title, 60)), ID: id, Name: cut(i.Title, cybervault.MaxIncidentTextBytes),
		Severity: severityBadge(i.Severity), Status: incidentStatusBadge(i.Status), Outcome: dispositionWords(i.Disposition), Assignee: cut(i.Assignee, 60),
		CanAcknowledge: may && i.Status == cybervault.IncidentOpen, CanResolve: may && i.Live(), CanMerge: i.MergedInto.IsZero(),
		Live: liveView{URL: "/incidents/" + id, Every: 1000},
		Facts: incidentFacts{
			Tactics: firstOf(i.Evidence.Tactics, shownEntities, spaced), Techniques: firstOf(i.Evidence.Techniques, shownEntities, func(s string) string { return cut(s, 40) }),
			Counts:    plural(i.Evidence.Members, "detection", "detections") + " of " + plural(i.Evidence.Records, "record", "records"),
			FirstSeen: d.moment(i.Times.FirstSeen), LastSeen: d.moment(i.Times.LastSeen), Opened: d.moment(i.Times.Opened), Changed: d.moment(i.Times.Updated),
			Resolved: d.moment(i.Times.Resolved), Resolution: resolutionWords(i.Resolution),
		},
	}
	v.CanOpen = may && !i.Live() && v.CanMerge
	if !i.MergedInto.IsZero() {
		v.MergedInto = i.MergedInto.String()
	}
	for _, other := range i.Merged[:min(len(i.Merged), shownEntities)] {
		v.Facts.Merged = append(v.Facts.Merged, other.String())
	}
	for _, g := range []struct {
		name    string
		members []string
	}{{"Addresses", i.Entities.SourceIPs}, {"Users", i.Entities.Users}, {"Assets", i.Entities.Assets}} {
		group := entityGroup{Name: g.name}
		for _, e := range g.members[:min(len(g.members), shownEntities)] {
			link := entityLink{Name: cut(e, shownInList)}
			if len(e) <= shownInList {
				link.URL = "/incidents?" + url.Values{"entity": {e}}.Encode()
			}
			group.Members = append(group.Members, link)
		}
		if len(group.Members) > 0 {
			v.Facts.Entities = append(v.Facts.Entities, group)
		}
	}
	return v
}

// firstOf is the first few of a list, in words.
func firstOf(list []string, most int, words func(string) string) []string {
	out := make([]string, 0, min(len(list), most))
	for _, s := range list[:min(len(list), most)] {
		out = append(out, words(s))
	}
	return out
}

func resolutionWords(r cybervault.Resolution) string {
	switch r {
	case cybervault.ResolvedByPerson:
		return "by a person"
	case cybervault.ResolvedByQuiet:
		return "because nothing more came"
	case cybervault.ResolvedByMerge:
		return "by being merged"
	}
	return cut(string(r), 40)
}

// mergeChoices are the live incidents that were opened last, but for one.
func (d *dashboard) mergeChoices(ctx context.Context, but cybervault.IncidentID) ([]choice, error) {
	found, err := d.Incidents.Incidents(ctx, cybervault.IncidentQuery{
		Workspace: workspaceOf(ctx), Statuses: []cybervault.IncidentStatus{cybervault.IncidentOpen, cybervault.IncidentAcknowledged}, Limit: cybervault.DefaultPageSize,
	})
	var list []choice
	for _, i := range found.Rows {
		if i.ID != but {
			list = append(list, choice{Value: i.ID.String(), Label: cut(i.Title, 80)})
		}
	}
	return list, err
}

func (d *dashboard) memberViews(ctx context.Context, members []*cybervault.IncidentMember) ([]memberView, error) {
	list := make([]memberView, len(members))
	for n, m := range members {
		g := &m.Gist
		v := memberView{
			ID: cut(m.Subject, 80), Name: spaced(g.Name), Severity: severityBadge(g.Severity), Who: whoWords(g), Count: plural(g.Count, "record", "records"),
			Confidence: percent(g.Confidence), FirstSeen: d.moment(g.FirstSeen), LastSeen: d.moment(g.LastSeen), Later: n >= shownEvidence, Open: n == 0,
		}
		for _, rule := range g.Rules[:min(len(g.Rules), 20)] {
			_, id, found := strings.Cut(rule, ":")
			if !found {
				id = rule
			}
			v.Rules = append(v.Rules, newRuleLink(id))
		}
		if m.Event.IsZero() {
			v.Gone, v.Later = true, false
		} else {
			v.Event = m.Event.String()
		}
		if !v.Gone && !v.Later {
			event, err := d.Log.Event(ctx, workspaceOf(ctx), m.Event)
			if v.Gone = cybervault.ErrorCode(err) == cybervault.CodeNotFound; err != nil && !v.Gone {
				return nil, err
			}
			if event != nil {
				v.Detections = detectionViews(v.ID, event.Body, g)
			}
		}
		list[n] = v
	}
	return list, nil
}

// whoWords says from whom against what: "203.0.113.9 → shop".
func whoWords(g *cybervault.Gist) string {
	who := cut(g.SourceIP, 60)
	if g.User != "" {
		who = strings.TrimPrefix(who+" as "+cut(g.User, 60), " ")
	}
	if g.Asset != "" {
		who += " → " + cut(g.Asset, 60)
	}
	return strings.TrimSpace(who)
}

// percent writes a share of 1.
func percent(share float64) string {
	return count(int64(min(max(share, 0), 1)*100+0.5)) + " %"
}

func newRuleLink(id string) ruleLink {
	return ruleLink{cut(id, 80), "/rules/" + url.PathEscape(cut(id, cybervault.MaxRuleIDBytes))}
}

// detectionViews reads what an event of the threat engine stands on.
func detectionViews(anchor string, body []byte, g *cybervault.Gist) []detectionView {
	var f finding
	if json.Unmarshal(body, &f) != nil {
		return nil // of a publisher's own
	}
	all := f.Data.Detections
	var list []detectionView
	for n := range all[:min(len(all), 20)] {
		one := newDetectionView("record-"+anchor+"-"+count(n), &all[n])
		one.Except = exceptURL(all[n].RuleID, g.SourceIP, g.User)
		list = append(list, one)
	}
	return list
}

func newDetectionView(anchor string, one *cybervault.Detection) detectionView {
	return detectionView{
		Anchor: anchor, Rule: newRuleLink(one.RuleID), Title: cut(one.Title, shownInList), Level: severityBadge(one.Level),
		Techniques: firstOf(one.MitreIDs, 20, func(s string) string { return cut(s, 40) }), Count: plural(one.Count, "record", "records"),
		Explanation: cut(one.Explanation, shownInDetail), Record: cutNoted(one.Record, cybervault.MaxDetectionRecordBytes),
	}
}

// timeline is what happened to an incident, the latest first, by the server's clock.
func (d *dashboard) timeline(i *cybervault.Incident, members []*cybervault.IncidentMember) []timelineEntry {
	type entry struct {
		note cybervault.IncidentNote
		timelineEntry
	}
	all := []entry{{note: cybervault.IncidentNote{At: i.Times.Opened, By: "engine"}, timelineEntry: timelineEntry{Tone: "change", Text: "Opened"}}}
	for _, n := range i.History {
		all = append(all, entry{n, timelineEntry{Tone: "change", Text: sentence(cut(n.Text, shownInDetail))}})
	}
	for _, n := range i.Notes {
		all = append(all, entry{n, timelineEntry{Tone: "note", Text: cut(n.Text, cybervault.MaxIncidentNoteBytes)}})
	}
	for _, m := range members {
		e := entry{cybervault.IncidentNote{At: m.At, By: "engine"}, timelineEntry{Tone: "finding", Text: spaced(m.Gist.Name) + ", " + plural(m.Gist.Count, "record", "records")}}
		if who := whoWords(&m.Gist); who != "" {
			e.Text += ": " + who
		}
		if !m.Event.IsZero() {
			e.URL = "/events/" + m.Event.String()
		}
		all = append(all, e)
	}
	slices.SortStableFunc(all, func(a, b entry) int { return cmp.Compare(b.note.At.UnixNano(), a.note.At.UnixNano()) })
	list := make([]timelineEntry, 0, min(len(all), shownTimeline))
	for _, e := range all[:min(len(all), shownTimeline)] {
		e.At, e.By = d.moment(e.note.At), cut(e.note.By, 60)
		list = append(list, e.timelineEntry)
	}
	return list
}
