package dashboard

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/cybervault/cybervault"
)

const (
	// boardRows is how many incidents a column of the board shows.
	boardRows = 20
	// shownChips is how many entities or tactics a card names.
	shownChips = 4
)

type incidentsView struct {
	page
	Filter     incidentFilter
	Severities []choice
	List       incidentList
}

// incidentList is the part of the page that follows changes: a board of one column
// for each status, or the incidents of the statuses asked for.
type incidentList struct {
	Tabs    []tab
	Status  string
	Columns []incidentColumn
	Board   bool
	Older   string // address of the next page, empty on the last
	First   string // address of the first page, empty on the first
	Any     bool   // a filter is set
	None    bool   // nothing is shown at all

	Problem string // what is wrong with the filter
	Live    liveView
}

type incidentColumn struct {
	ID, Name string
	Count    string // "12", or "20+" where nobody has counted
	Rows     []incidentCard
	More     string // address of all of them
}

type incidentCard struct {
	ID          string
	Title       string
	Severity    badge
	Status      badge
	Disposition string
	Assignee    string
	Entities    []string
	MoreChips   int
	Tactics     string
	Detections  string
	Opened      moment
	Changed     moment
}

// incidentFilter is what the person typed, kept as typed.
type incidentFilter struct {
	Status, Severity, Entity, Text, Before string
}

func readIncidentFilter(q url.Values) incidentFilter {
	return incidentFilter{Status: q.Get("status"), Severity: q.Get("severity"), Entity: q.Get("entity"), Text: q.Get("q"), Before: q.Get("before")}
}

func (f incidentFilter) url() string {
	q := url.Values{}
	for key, value := range map[string]string{"status": f.Status, "severity": f.Severity, "entity": f.Entity, "q": f.Text, "before": f.Before} {
		if value != "" {
			q.Set(key, value)
		}
	}
	if len(q) == 0 {
		return "/incidents"
	}
	return "/incidents?" + q.Encode()
}

func (f incidentFilter) with(change func(*incidentFilter)) incidentFilter {
	change(&f)
	return f
}

// any reports whether something besides a status and a page is asked for.
func (f incidentFilter) any() bool { return f.Severity+f.Entity+f.Text != "" }

// severityChoices are what the filter offers: the least that an incident is to be.
var severityChoices = []choice{
	{Value: "critical", Label: "Critical"}, {Value: "high,critical", Label: "High or worse"}, {Value: "medium,high,critical", Label: "Medium or worse"},
	{Value: "low", Label: "Low"}, {Value: "info", Label: "Info"},
}

// incidentQuery reads the filter; the error is for the person who typed it.
func (d *dashboard) incidentQuery(ctx context.Context, f incidentFilter) (q cybervault.IncidentQuery, err error) {
	q = cybervault.IncidentQuery{Workspace: workspaceOf(ctx), Text: strings.TrimSpace(f.Text), Entity: strings.TrimSpace(f.Entity), Limit: cybervault.DefaultPageSize}
	if q.Statuses, err = oneOrMore("status", f.Status, cybervault.IncidentStatuses()); err != nil {
		return q, err
	}
	if q.Severities, err = oneOrMore("severity", f.Severity, cybervault.Severities()); err != nil {
		return q, err
	}
	q.Before, err = optionalID[cybervault.IncidentID]("before", f.Before)
	return q, err
}

// oneOrMore reads values joined by commas, each one of some; nothing is none.
func oneOrMore[S ~string](field, text string, all []S) (chosen []S, err error) {
	if text == "" {
		return nil, nil
	}
	for word := range strings.SplitSeq(text, ",") {
		if !slices.Contains(all, S(word)) {
			return nil, cybervault.Invalid(field, "%q is none of those on offer", cut(word, 40))
		}
		chosen = append(chosen, S(word))
	}
	return chosen, nil
}

func (d *dashboard) listIncidents(w http.ResponseWriter, r *http.Request) error {
	v := &incidentsView{page: d.newPage(r, "incidents", "Incidents"), Filter: readIncidentFilter(r.URL.Query())}
	f := v.Filter
	v.List = incidentList{Tabs: incidentTabs(f), Status: f.Status, Board: f.Status == "", Any: f.any()}
	status := http.StatusOK
	query, err := d.incidentQuery(r.Context(), f)
	if err == nil {
		err = d.fillIncidents(r.Context(), &v.List, f, query)
	}
	if cybervault.ErrorCode(err) == cybervault.CodeInvalid {
		v.List.Problem, status = plainError(err), http.StatusUnprocessableEntity
	} else if err != nil {
		return err
	}
	if f.Before != "" {
		v.List.First = f.with(func(f *incidentFilter) { f.Before = "" }).url()
	} else if v.List.Problem == "" {
		v.List.Live = liveView{URL: f.url(), Every: 1000}
	}
	if wantsPart(r) {
		if r.Header.Get("HX-Trigger") == "filters" {
			w.Header().Set("HX-Push-Url", f.url()) // the tidy form of what htmx asked for
		}
		return d.renderPart(w, "incidents", "incidents-list", v)
	}
	v.Severities = chosenOf(severityChoices, f.Severity)
	return d.render(w, status, "incidents", v)
}

// fillIncidents reads what the list shows.
func (d *dashboard) fillIncidents(ctx context.Context, l *incidentList, f incidentFilter, q cybervault.IncidentQuery) error {
	l.None = true
	if !l.Board {
		found, err := d.Incidents.Incidents(ctx, q)
		if err != nil {
			return err
		}
		l.Columns = []incidentColumn{{ID: "found", Name: "Incidents", Rows: d.incidentCards(found.Rows)}}
		l.None = len(found.Rows) == 0
		if found.More && !l.None {
			l.Older = f.with(func(f *incidentFilter) { f.Before = found.Rows[len(found.Rows)-1].ID.String() }).url()
		}
		return nil
	}
	counts, err := d.Incidents.LiveIncidents(ctx, workspaceOf(ctx))
	if err != nil {
		return err
	}
	for _, status := range cybervault.IncidentStatuses() {
		q.Statuses, q.Limit = []cybervault.IncidentStatus{status}, boardRows
		found, err := d.Incidents.Incidents(ctx, q)
		if err != nil {
			return err
		}
		column := incidentColumn{ID: string(status), Name: incidentStatusBadge(status).Text, Rows: d.incidentCards(found.Rows), Count: count(len(found.Rows))}
		if found.More {
			column.Count += "+"
			column.More = f.with(func(f *incidentFilter) { f.Status, f.Before = string(status), "" }).url()
		}
		if !l.Any && status != cybervault.IncidentResolved {
			column.Count = count(sumOf(counts, func(c cybervault.IncidentCount) bool { return c.Status == status }))
		}
		l.None = l.None && len(found.Rows) == 0
		l.Columns = append(l.Columns, column)
	}
	return nil
}

func sumOf(counts []cybervault.IncidentCount, which func(cybervault.IncidentCount) bool) (n int64) {
	for _, c := range counts {
		if which(c) {
			n += c.Count
		}
	}
	return n
}

// chosenOf marks what is chosen among some, and adds what was chosen by a link.
func chosenOf(offered []choice, chosen string) []choice {
	list := slices.Clone(offered)
	seen := chosen == ""
	for i := range list {
		list[i].Chosen = list[i].Value == chosen
		seen = seen || list[i].Chosen
	}
	if !seen {
		list = append(list, choice{Value: chosen, Label: cut(chosen, 60), Chosen: true})
	}
	return list
}

// incidentTabs links to the same filter as a board, and with each status.
func incidentTabs(f incidentFilter) []tab {
	link := func(status string) string {
		return f.with(func(f *incidentFilter) { f.Status, f.Before = status, "" }).url()
	}
	tabs := []tab{{Name: "Board", URL: link(""), Current: f.Status == ""}}
	for _, s := range cybervault.IncidentStatuses() {
		tabs = append(tabs, tab{Name: incidentStatusBadge(s).Text, URL: link(string(s)), Current: f.Status == string(s)})
	}
	return tabs
}

func (d *dashboard) incidentCards(list []*cybervault.Incident) []incidentCard {
	cards := make([]incidentCard, len(list))
	for n, i := range list {
		c := incidentCard{
			ID: i.ID.String(), Title: cut(i.Title, shownInList), Severity: severityBadge(i.Severity), Status: incidentStatusBadge(i.Status),
			Disposition: dispositionWords(i.Disposition), Assignee: cut(i.Assignee, 40), Tactics: tacticWords(i.Evidence.Tactics, shownChips),
			Detections: plural(i.Evidence.Members, "detection", "detections"), Opened: d.moment(i.Times.Opened), Changed: d.moment(i.Times.Updated),
		}
		all := slices.Concat(i.Entities.SourceIPs, i.Entities.Users, i.Entities.Assets)
		for _, e := range all[:min(len(all), shownChips)] {
			c.Entities = append(c.Entities, cut(e, 40))
		}
		c.MoreChips = len(all) - len(c.Entities)
		cards[n] = c
	}
	return cards
}

func incidentStatusBadge(s cybervault.IncidentStatus) badge {
	switch s {
	case cybervault.IncidentOpen:
		return badge{"warn", "Open"}
	case cybervault.IncidentAcknowledged:
		return badge{"busy", "Acknowledged"}
	case cybervault.IncidentResolved:
		return badge{"mute", "Resolved"}
	}
	return badge{"mute", cut(string(s), 40)}
}

// dispositionWords says what an incident turned out to be, "" where nobody has.
func dispositionWords(v cybervault.IncidentDisposition) string {
	switch v {
	case cybervault.TruePositive:
		return "True positive"
	case cybervault.FalsePositive:
		return "False positive"
	case cybervault.Undetermined:
		return "Undetermined"
	}
	return cut(string(v), 40)
}

// tacticWords names ATT&CK tactics: "Initial access · Execution".
func tacticWords(tactics []string, most int) string {
	var words []string
	for i, t := range tactics {
		if i == most {
			words = append(words, "+"+count(len(tactics)-most))
			break
		}
		words = append(words, spaced(t))
	}
	return strings.Join(words, " · ")
}

// acronyms are the words of vectors and tactics that are no words.
var acronyms = strings.NewReplacer(" sql ", " SQL ", " xss ", " XSS ", " php ", " PHP ", " xxe ", " XXE ", " ssrf ", " SSRF ", " ldap ", " LDAP ", " mfa ", " MFA ", " http ", " HTTP ", " nosql ", " NoSQL ")

// spaced writes a name of words joined by underscores or hyphens as text.
func spaced(name string) string {
	name = strings.NewReplacer("_", " ", "-", " ").Replace(cut(name, 60))
	return strings.TrimSuffix(sentence(acronyms.Replace(" "+name+" ")), ".")
}
