package dashboard

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/cybervault/cybervault"
)

const rulesPerPage = 50

type rulesView struct {
	page
	Filter   ruleFilter
	Levels   []choice
	Tabs     []tab
	Rows     []ruleRow
	Loaded   int // rules in all
	Found    string
	Looked   string
	Any      bool
	Previous string
	Next     string
	Problem  string
}

type ruleRow struct {
	Link       ruleLink
	Title      string
	Level      badge
	LogSource  string
	Techniques []string
	MoreChips  int
	Lately     string
	Last       moment
	Off        bool
	Reason     string
	Kind       string // correlation, or the part of the engine that is not Sigma's

	firing  *firing
	foreign bool // it is not Sigma's
}

// ruleFilter is what the person typed, kept as typed.
type ruleFilter struct{ Text, Level, Show, Page string }

func (f ruleFilter) url() string {
	q := url.Values{}
	for key, value := range map[string]string{"q": f.Text, "level": f.Level, "show": f.Show, "page": f.Page} {
		if value != "" {
			q.Set(key, value)
		}
	}
	if len(q) == 0 {
		return "/rules"
	}
	return "/rules?" + q.Encode()
}

func (f ruleFilter) with(change func(*ruleFilter)) ruleFilter {
	change(&f)
	return f
}

// What the list of rules can be narrowed to.
const (
	rulesFired = "fired"
	rulesOff   = "off"
)

func (d *dashboard) listRules(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	v := &rulesView{page: d.newPage(r, "rules", "Rules"), Filter: ruleFilter{q.Get("q"), q.Get("level"), q.Get("show"), q.Get("page")}}
	f := v.Filter
	levels, err := oneOrMore("level", f.Level, cybervault.Severities())
	status := http.StatusOK
	if err != nil {
		v.Problem, status = plainError(err), http.StatusUnprocessableEntity
	}
	rows, looked, err := d.ruleRows(r.Context())
	if err != nil {
		return err
	}
	for i := range rows {
		if !rows[i].foreign {
			v.Loaded++
		}
	}
	found := slices.DeleteFunc(rows, func(row ruleRow) bool { return v.Problem != "" || !row.fits(f, levels) })
	if f.Show == rulesFired {
		slices.SortStableFunc(found, func(a, b ruleRow) int { return cmp.Compare(b.firing.Findings, a.firing.Findings) })
	}
	v.Looked = "Counted in the latest " + plural(looked, "finding", "findings") + " that are stored."
	v.Found, v.Any = plural(len(found), "rule", "rules"), f.Text+f.Level != ""
	v.Rows, v.Previous, v.Next = pageOfRules(found, f)
	for i := range v.Rows {
		if last := v.Rows[i].firing; last != nil {
			v.Rows[i].Last = d.moment(last.Last.Timestamp)
		}
	}
	v.Tabs = ruleTabs(f, false)
	v.Levels = chosenOf(severityChoices, f.Level)
	return d.render(w, status, "rules", v)
}

func pageOfRules(found []ruleRow, f ruleFilter) (rows []ruleRow, previous, next string) {
	number, _ := strconv.Atoi(f.Page) // no number: the first page
	start := min(max(0, number-1)*rulesPerPage, max(0, len(found)-1)/rulesPerPage*rulesPerPage)
	end := min(start+rulesPerPage, len(found))
	link := func(start int) string {
		return f.with(func(f *ruleFilter) { f.Page = strconv.Itoa(start/rulesPerPage + 1) }).url()
	}
	if start > 0 {
		previous = link(start - rulesPerPage)
	}
	if end < len(found) {
		next = link(end)
	}
	return found[start:end], previous, next
}

// ruleTabs links to what the list can be narrowed to, and to the exceptions.
func ruleTabs(f ruleFilter, exceptions bool) []tab {
	var tabs []tab
	for _, t := range []struct{ show, name string }{{"", "All"}, {rulesFired, "Fired lately"}, {rulesOff, "Off"}} {
		tabs = append(tabs, tab{Name: t.name, URL: f.with(func(f *ruleFilter) { f.Show, f.Page = t.show, "" }).url(), Current: !exceptions && f.Show == t.show})
	}
	return append(tabs, tab{Name: "Exceptions", URL: exceptionsPath, Current: exceptions})
}

const correlationKind = "correlation"

// ruleRows lists the Sigma rules, and what else fired lately or is off.
func (d *dashboard) ruleRows(ctx context.Context) (rows []ruleRow, looked int, err error) {
	all, err := d.Rules.Rules(ctx, workspaceOf(ctx))
	if err != nil {
		return nil, 0, err
	}
	off, err := d.Rules.RulesOff(ctx, workspaceOf(ctx))
	if err != nil {
		return nil, 0, err
	}
	fired, looked, err := d.firings(ctx)
	if err != nil {
		return nil, 0, err
	}
	known := make(map[string]bool, len(all))
	for i := range all {
		info := &all[i]
		known[info.ID] = true
		row := newRuleRow(info, fired[info.ID])
		if info.Kind == correlationKind {
			row.Kind = correlationKind
		}
		rows = append(rows, row)
	}
	var others []ruleRow
	other := func(id string) {
		if known[id] {
			return
		}
		known[id] = true
		info := &cybervault.RuleInfo{ID: id, Title: id, Level: cybervault.SeverityInfo}
		if o, is := off[id]; is {
			info.Off = &o
		}
		if f := fired[id]; f != nil {
			info.Title, info.Level = cmp.Or(f.Title, id), f.Level
		}
		row := newRuleRow(info, fired[id])
		row.foreign = true
		if f := fired[id]; f != nil {
			row.Kind = cut(f.Engine, 40)
		} else {
			row.Level = badge{} // nothing is known of it
		}
		others = append(others, row)
	}
	for id := range fired {
		other(id)
	}
	for id := range off {
		other(id)
	}
	slices.SortFunc(others, func(a, b ruleRow) int {
		return cmp.Or(cmp.Compare(a.Title, b.Title), cmp.Compare(a.Link.ID, b.Link.ID))
	})
	return append(rows, others...), looked, nil
}

func newRuleRow(info *cybervault.RuleInfo, f *firing) ruleRow {
	row := ruleRow{
		Link: newRuleLink(info.ID), Title: cut(info.Title, shownInList), Level: severityBadge(info.Level), LogSource: cut(info.LogSource, 60),
		Techniques: firstOf(info.Techniques, 3, func(s string) string { return cut(s, 20) }), Lately: f.words(), firing: f,
	}
	row.MoreChips = len(info.Techniques) - len(row.Techniques)
	if info.Off != nil {
		row.Off, row.Reason = true, cut(info.Off.Reason, shownInList)
	}
	return row
}

func (r *ruleRow) fits(f ruleFilter, levels []cybervault.Severity) bool {
	switch {
	case f.Show == rulesFired && r.firing == nil, f.Show == rulesOff && !r.Off:
		return false
	case f.Show == "" && r.foreign && f.Text+f.Level == "":
		return false // the first page is what is loaded
	case len(levels) > 0 && !slices.Contains(levels, cybervault.Severity(r.Level.Tone)):
		return false
	}
	text := strings.ToLower(strings.TrimSpace(f.Text))
	return text == "" || strings.Contains(strings.ToLower(r.Link.ID+"\n"+r.Title+"\n"+r.LogSource+"\n"+strings.Join(r.Techniques, "\n")), text)
}
