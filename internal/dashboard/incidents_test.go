package dashboard_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/cybervault/cybervault"
)

// incident adds one with a member, in words that a test can look for.
func (s *site) incident(title string, change func(*cybervault.Incident)) *cybervault.Incident {
	s.t.Helper()
	i := cybervault.Incident{
		Title: title, Entities: cybervault.IncidentEntities{SourceIPs: []string{"203.0.113.9"}, Users: []string{"ada"}, Assets: []string{"shop"}},
		Evidence: cybervault.IncidentEvidence{Tactics: []string{"initial-access", "execution"}, Techniques: []string{"T1190"}},
	}
	if change != nil {
		change(&i)
	}
	return s.fake.AddIncident(i, s.fake.Threat(
		cybervault.Gist{Subject: "thr_" + title, Severity: cybervault.SeverityHigh, Confidence: 0.914, Name: "sql_injection", Count: 37, SourceIP: "203.0.113.9", Asset: "shop"},
		cybervault.Detection{Engine: "web", RuleID: "942100", Title: "SQL found", Level: cybervault.SeverityCritical, MitreIDs: []string{"T1190"}, Record: `GET /?q='<b>`, Count: 36, Explanation: "it reads as SQL"},
	))
}

func TestIncidentBoard(t *testing.T) {
	t.Parallel()
	s := newSite(t).login()
	s.get("/incidents").want(t, 200, "No incidents", "opened by what the threat engine finds").without(t, `class="board"`)
	open := s.incident("Attack one", nil)
	seen := s.incident("Attack two", func(i *cybervault.Incident) {
		i.Status, i.Severity, i.Assignee = cybervault.IncidentAcknowledged, cybervault.SeverityMedium, "grace"
		i.Entities = cybervault.IncidentEntities{SourceIPs: []string{"203.0.113.90"}, Users: []string{"b", "c", "d", "e", "f"}}
	})
	over := s.incident("Attack three", func(i *cybervault.Incident) {
		i.Status, i.Disposition = cybervault.IncidentResolved, cybervault.FalsePositive
	})
	page := s.get("/incidents").want(t, 200, `class="board"`, "data-live", `Open <span class="quiet tab">1<`, `Acknowledged <span class="quiet tab">1<`, `Resolved <span class="quiet tab">1<`,
		"Initial access · Execution", "1 detection · opened <time", `<span class="chip">203.0.113.9</span>`, "grace", "False positive", "+2")
	order := []string{}
	for _, column := range []string{"open", "acknowledged", "resolved"} {
		_, rest, _ := strings.Cut(page.body, `id="column-`+column)
		order = append(order, ids(answer{body: rest})[0])
	}
	if want := []string{open.ID.String(), seen.ID.String(), over.ID.String()}; fmt.Sprint(order) != fmt.Sprint(want) {
		t.Errorf("the columns begin with %v, want %v", order, want)
	}
	for query, want := range map[string][]*cybervault.Incident{
		"status=open": {open}, "status=open,acknowledged": {seen, open}, "severity=high,critical": {open, over}, "severity=low": {},
		"q=ATTACK+t": {seen, over}, "q=113.90": {seen}, "entity=203.0.113.9": {open, over}, "entity=203.0.113": {}, "entity=ADA&status=resolved": {over}, "q=shop&severity=medium": {},
	} {
		a := s.get("/incidents?"+query).want(t, 200)
		expected := []string{}
		for _, i := range want {
			expected = append(expected, i.ID.String())
		}
		if got := ids(a); fmt.Sprint(got) != fmt.Sprint(expected) {
			t.Errorf("%q shows %v, want %v", query, got, expected)
		}
		if len(want) == 0 {
			a.want(t, 200, "Nothing matches", "Show the board")
		}
	}
	for _, query := range []string{"status=gone", "severity=bad", "before=dlv_1"} {
		s.get("/incidents?"+query).want(t, http.StatusUnprocessableEntity, `role="alert"`)
		s.get("/incidents?"+query, "HX-Request", "true").want(t, 200, `role="alert"`).without(t, "<html")
	}
	part := s.get("/incidents?status=&severity=&q=attack&entity=", "HX-Request", "true", "HX-Trigger", "filters").want(t, 200, `id="list"`).without(t, "<html")
	if got := part.header.Get("HX-Push-Url"); got != "/incidents?q=attack" {
		t.Errorf("the address becomes %q", got)
	}
}

func TestManyIncidentsArePaged(t *testing.T) {
	t.Parallel()
	s := newSite(t).login()
	for n := range 10_000 {
		s.fake.AddIncident(cybervault.Incident{Title: fmt.Sprint("Attack ", n)})
	}
	board := s.get("/incidents").want(t, 200, `Open <span class="quiet tab">10,000<`, `href="/incidents?status=open"`)
	if got := len(ids(board)); got != 20 {
		t.Errorf("the board shows %d incidents, want 20", got)
	}
	if got := s.get("/incidents?q=attack").want(t, 200, `Open <span class="quiet tab">20&#43;<`); len(got.body) > 64<<10 {
		t.Errorf("the board is %d bytes long", len(got.body))
	}
	first := s.get("/incidents?status=open").want(t, 200, "data-live", `rel="next"`)
	shown := ids(first)
	if len(shown) != 50 {
		t.Fatalf("a page has %d incidents", len(shown))
	}
	next := s.get("/incidents?status=open&before="+shown[49]).want(t, 200, ">Newest<").without(t, "data-live ")
	if got := ids(next); len(got) != 50 || got[0] == shown[49] || got[0] == shown[0] {
		t.Errorf("the next page begins with %v", got[:1])
	}
}

func TestIncidentPage(t *testing.T) {
	t.Parallel()
	s := newSite(t).login()
	i := s.incident("Attack one", func(i *cybervault.Incident) {
		i.Notes = []cybervault.IncidentNote{{At: i.Times.Opened, By: "ada", Text: "a <b>note</b>\nof two lines"}}
		i.History = []cybervault.IncidentNote{{At: i.Times.Opened, By: "engine", Text: "severity: medium → high"}}
	})
	members, err := s.fake.IncidentMembers(t.Context(), s.fake.Workspace, i.ID, 10)
	if err != nil {
		t.Fatal(err)
	}
	path := "/incidents/" + i.ID.String()
	page := s.get(path).want(t, 200, "Attack one", ">High<", ">Open<", "Acknowledge", ">Resolve<", "1 detection of 37 records", "SQL injection", "203.0.113.9 → shop", "confidence 91 %", "SQL found",
		`href="/rules/942100"`, "GET /?q=&#39;&lt;b&gt;", `data-copy="record-thr_Attack one-0"`, "it reads as SQL", "/events/"+members[0].Event.String(), "a &lt;b&gt;note&lt;/b&gt;", "Severity: medium → high.",
		`href="/incidents?entity=203.0.113.9"`, "Initial access · Execution", ">T1190<", `href="/deliveries?q=`+i.ID.String()).without(t, "Open again", "hx-swap-oob")
	if strings.Contains(page.body, `name="assignee" value="ada"`) {
		t.Error("somebody is assigned")
	}
	part := s.get(path, "HX-Request", "true").want(t, 200, `<div id="incident" `, `<div id="incident-head" class="head" hx-swap-oob="true"`, `hx-swap-oob="true"`).without(t, "<html", "<textarea")
	if n := strings.Count(part.body, "hx-swap-oob"); n != 2 {
		t.Errorf("%d parts are put in place beside the main one, want the head and the facts", n)
	}
	s.get("/incidents/inc_01936f2a-0000-7000-8000-000000000000").want(t, http.StatusNotFound)
	s.get("/incidents/dlv_1").want(t, http.StatusNotFound)
}

func TestIncidentOfManyMembers(t *testing.T) {
	t.Parallel()
	s := newSite(t).login()
	var members []*cybervault.IncidentMember
	for n := range 150 {
		g := cybervault.Gist{Subject: fmt.Sprint("thr_", n), Severity: cybervault.SeverityLow, Name: "xss", Count: 1}
		members = append(members, s.fake.Threat(g, cybervault.Detection{Engine: "web", RuleID: "941100", Record: fmt.Sprint("record of ", n)}))
	}
	members[1].Event = cybervault.EventID{}
	i := s.fake.AddIncident(cybervault.Incident{Title: "Many"}, members...)
	a := s.get("/incidents/"+i.ID.String()).want(t, 200, "150 detections of 150 records", "Show 50 detections more", `href="/incidents/`+i.ID.String()+`?all"`, "record of 0<", "record of 19<", "not stored any more", "Its records stand in the event").
		without(t, "record of 1<", "record of 20<")
	if n := strings.Count(a.body, `class="attempt"`); n != 100 {
		t.Errorf("%d members are listed, want 100", n)
	}
	whole := s.get("/incidents/"+i.ID.String()+"?all").want(t, 200, `hx-get="/incidents/`+i.ID.String()+`?all"`).without(t, "detections more")
	if n := strings.Count(whole.body, `class="attempt"`); n != 150 {
		t.Errorf("%d members are listed, want all 150", n)
	}
}

func TestIncidentActions(t *testing.T) {
	t.Parallel()
	s := newSite(t).login()
	i, other := s.incident("Attack one", nil), s.incident("Attack two", nil)
	path := "/incidents/" + i.ID.String()
	now := func() *cybervault.Incident {
		t.Helper()
		found, err := s.fake.Incident(t.Context(), s.fake.Workspace, i.ID)
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	s.post(path, url.Values{"status": {"acknowledged"}}).leadsTo(t, path+"?done=changed")
	s.get(path+"?done=changed").want(t, 200, "The incident is changed.", ">Acknowledged<", "Status: open → acknowledged.", "operator").without(t, ">Acknowledge<")
	s.post(path, url.Values{"note": {" looked\r\nat it "}}).leadsTo(t, path+"?done=noted")
	s.post(path, url.Values{"assignee": {" grace "}}).leadsTo(t, path+"?done=changed")
	s.post(path, url.Values{"disposition": {"false_positive"}, "note": {"our own scanner"}, "status": {"resolved"}}).leadsTo(t, path+"?done=changed")
	if got := now(); got.Status != cybervault.IncidentResolved || got.Disposition != cybervault.FalsePositive || got.Assignee != "grace" || len(got.Notes) != 2 || got.Notes[0].Text != "looked\nat it" || got.Notes[0].By != "operator" {
		t.Errorf("the incident is %+v", got)
	}
	s.get(path).want(t, 200, "Open again", "False positive", "assigned to grace", `value="grace"`, `<option value="false_positive" selected>`).without(t, ">Resolve<", "Resolve it, too")
	s.post(path, url.Values{"status": {"open"}, "disposition": {""}}).leadsTo(t, path+"?done=changed")
	if got := now(); got.Status != cybervault.IncidentOpen || got.Disposition != "" {
		t.Errorf("opened again it is %+v", got)
	}
	for what, form := range map[string]url.Values{
		"is not a status":           {"status": {"gone"}, "note": {"my words"}},
		"is not a disposition":      {"disposition": {"perhaps"}, "note": {"my words"}},
		"bytes long, more than":     {"note": {"my words" + strings.Repeat("x", cybervault.MaxIncidentNoteBytes)}},
		"Choose or write something": {"other": {"my words"}},
	} {
		a := s.post(path, form).want(t, http.StatusUnprocessableEntity, what, `role="alert"`, `data-replace="`+path+`"`)
		if what[0] != 'C' {
			a.want(t, http.StatusUnprocessableEntity, "my words")
		}
	}
	s.post("/incidents/inc_01936f2a-0000-7000-8000-000000000000", url.Values{"note": {"x"}}).want(t, http.StatusNotFound)

	s.get(path).want(t, 200, `<option value="`+other.ID.String()+`">Attack two`).without(t, `<option value="`+i.ID.String())
	s.post(path+"/merge", url.Values{"into": {"nothing"}}).want(t, http.StatusUnprocessableEntity, "is not named", `value="nothing"`)
	s.post(path+"/merge", url.Values{"into": {i.ID.String()}}).want(t, http.StatusUnprocessableEntity, "there is no incident")
	s.post(path+"/merge", url.Values{"into": {s.url + "/incidents/" + other.ID.String()}}).leadsTo(t, "/incidents/"+other.ID.String()+"?done=merged")
	s.get("/incidents/"+other.ID.String()+"?done=merged").want(t, 200, "Merged: this is the incident", "2 detections", "was merged into this incident", path)
	s.get(path).want(t, 200, "All of it is in", "by being merged", "It is with the incident").without(t, "Open again", "Merge into another")
	s.post(path, url.Values{"status": {"open"}}).want(t, http.StatusConflict, "cannot change", `role="alert"`)
}
