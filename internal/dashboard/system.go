package dashboard

import (
	"net/http"
	"strconv"
	"time"

	"github.com/cybervault/cybervault"
)

// maxSources bounds how many sources of telemetry the page shows, and the overview.
const (
	maxSources      = 200
	overviewSources = 6
)

type systemView struct {
	page
	Problems []checkRow
	Figures  []figureGroup
	Nodes    []nodeRow
	Sources  []sourceRow
	More     int // sources that are not shown
	Shared   bool
	Checks   []checkRow // what the doctor found, once it was asked
	Asked    bool
	Worst    badge
	Refused  string // why the doctor was not asked
	Live     liveView
}

type checkRow struct {
	Badge           badge
	Name            string
	Subject, Link   string
	Summary, Remedy string
}

// figureGroup is one card of figures.
type figureGroup struct {
	Title   string
	Figures []figure
}

type figure struct {
	Name, Value, Note string
	When              moment // in place of Value
}

type nodeRow struct {
	Number int
	Host   string
	Joined moment
	Me     bool
}

type sourceRow struct {
	Name    string
	Last    moment
	Records string
	Usual   string
	Silent  bool
}

var checkBadges = map[cybervault.CheckStatus]badge{
	cybervault.CheckOK: {"ok", "Well"}, cybervault.CheckWarn: {"warn", "Look at it"}, cybervault.CheckFail: {"bad", "Broken"},
}

func checkRows(checks []cybervault.Check) []checkRow {
	rows := make([]checkRow, len(checks))
	for i, c := range checks {
		rows[i] = checkRow{
			Badge: checkBadges[c.Status], Name: cut(c.Name, shownInList), Subject: cut(c.Subject, shownInList), Link: linkTo(c.Subject),
			Summary: sentence(cut(c.Summary, shownInDetail)), Remedy: cut(c.Remedy, shownInDetail),
		}
	}
	return rows
}

func (d *dashboard) showSystem(w http.ResponseWriter, r *http.Request) error {
	v := d.systemPage(r)
	if wantsPart(r) {
		return d.renderPart(w, "system", "system-live", v)
	}
	return d.render(w, http.StatusOK, "system", v)
}

// examineSystem has the doctor look at everything.
func (d *dashboard) examineSystem(w http.ResponseWriter, r *http.Request) error {
	checks, err := d.System.Examine(r.Context(), workspaceOf(r.Context()))
	v := d.systemPage(r)
	v.Replace, v.Here = "/settings/health", "/settings/health"
	status := http.StatusOK
	switch {
	case cybervault.ErrorCode(err) == cybervault.CodeForbidden:
		v.Refused, status = sentence(plainError(err)), http.StatusForbidden
	case err != nil:
		return err
	default:
		v.Asked, v.Checks, v.Worst = true, checkRows(checks), checkBadges[cybervault.WorstCheck(checks)]
	}
	return d.render(w, status, "system", v)
}

func (d *dashboard) systemPage(r *http.Request) *systemView {
	ctx := r.Context()
	s := d.System.System(ctx)
	v := &systemView{page: d.newPage(r, "health", "System health"), Problems: checkRows(s.Problems), Figures: d.figures(&s), Shared: s.Store != "sqlite"}
	if r.Method == http.MethodGet {
		v.Live = liveView{URL: "/settings/health", Every: 5000}
	}
	for _, n := range s.Nodes {
		v.Nodes = append(v.Nodes, nodeRow{n.Number, cut(n.Host, shownInList), d.moment(n.JoinedAt), n.Me})
	}
	sources := d.System.Sources(workspaceOf(ctx))
	v.Sources, v.More = d.sourceRows(sources, maxSources), max(0, len(sources)-maxSources)
	return v
}

func (d *dashboard) sourceRows(sources []cybervault.TelemetrySource, most int) []sourceRow {
	rows := []sourceRow{}
	for i := range sources[:min(len(sources), most)] {
		s := &sources[i]
		row := sourceRow{Name: cut(s.Name, shownInList), Last: d.moment(s.LastSeen), Records: count(s.Records), Silent: s.Silent(d.Now())}
		if s.Usual > 0 {
			row.Usual = "every " + cybervault.FormatDuration(s.Usual.Round(max(time.Second, s.Usual/100)))
		}
		rows = append(rows, row)
	}
	return rows
}

// figures are the figures, by what they are about.
func (d *dashboard) figures(s *cybervault.System) []figureGroup {
	queue := figureGroup{"Queue", []figure{
		{Name: "To be delivered", Value: count(s.Pending)},
		{Name: "Held", Value: count(s.Held), Note: "until their webhooks are verified"},
		{Name: "Waiting for the disk", Value: byteCount(int(s.Waiting))},
		{Name: "Publishes refused", Value: count(s.Refused), Note: "since the start, for want of room"},
	}}
	store := figureGroup{"Storage", []figure{{Name: "Store", Value: map[string]string{"sqlite": "embedded (SQLite)", "postgres": "PostgreSQL"}[s.Store]}}}
	if s.Store == "sqlite" {
		store.Figures = append(store.Figures, figure{Name: "Database", Value: byteCount(int(s.Bytes))}, figure{Name: "Free on its disk", Value: byteCount(int(s.Free)), Note: byteCount(int(s.Reserve)) + " are kept free"})
	}
	store.Figures = append(store.Figures, figure{Name: "Oldest event", When: d.moment(s.Oldest)},
		figure{Name: "Delivery log", Value: count(s.Audited), Note: "entries, " + count(s.Unaudited) + " transactions to be read"})
	engine := figureGroup{"Threat engine", []figure{
		{Name: "Rules that are on", Value: count(int64(s.Engine.Rules))},
		{Name: "Records judged", Value: count(s.Engine.Records), Note: "since the start"},
		{Name: "Watched", Value: count(int64(s.Engine.Watched)), Note: "addresses and accounts, " + count(int64(s.Engine.Open)) + " attacks under way"},
		{Name: "Let go", Value: count(s.Engine.Evicted), Note: "for want of room; " + count(s.Engine.Late) + " records too late, " + count(s.Engine.Failed) + " that rules failed on"},
	}}
	server := figureGroup{"This server", []figure{{Name: "Version", Value: cut(s.Version, 60)}, {Name: "Started", When: d.moment(s.StartedAt)}, {Name: "Node", Value: strconv.Itoa(s.Node)}}}
	kept := figureGroup{"Retention", []figure{
		{Name: "Events", Value: daysWords(s.Retention), Note: "with their deliveries and attempts; --retention"},
		{Name: "Events with a dead letter", Value: daysWords(max(s.Retention, s.RetentionDead)), Note: "--retention-dead-letters"},
		{Name: "Audit log", Value: "for good"},
	}}
	if s.Retention == 0 || s.RetentionDead == 0 {
		kept.Figures[1].Value = daysWords(0)
	}
	signIn := figureGroup{"Sign-in", []figure{{Name: "Password", Value: "yes", Note: "and a second factor where a member has one"}, {Name: "OpenID Connect", Value: "no", Note: "--oidc-issuer"}}}
	if d.SignOn != nil {
		signIn.Figures[1] = figure{Name: "OpenID Connect", Value: cut(d.SignOn.Name(), shownInList)}
	}
	return []figureGroup{queue, store, engine, server, kept, signIn}
}

// daysWords says how long something is kept; zero is for good.
func daysWords(keep time.Duration) string {
	if keep == 0 {
		return "for good"
	}
	if day := 24 * time.Hour; keep%day == 0 {
		return plural(int(keep/day), "day", "days")
	}
	return cybervault.FormatDuration(keep)
}
