package dashboard_test

import (
	"html"
	"net/http"
	"net/url"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault"
)

var eventRow = regexp.MustCompile(`class="row-link" id="(wh_[^"]+)"`)

func eventIDs(a answer) []string {
	list := []string{}
	for _, m := range eventRow.FindAllStringSubmatch(a.body, -1) {
		list = append(list, m[1])
	}
	return list
}

func TestEventsAreSearchedByFields(t *testing.T) {
	t.Parallel()
	s := newSite(t).login()
	root := s.fake.Publish(cybervault.EventThreatDetected, []byte(`{"user":"root","n":5}`)).ID.String()
	other := s.fake.Publish(cybervault.EventThreatDetected, []byte(`{"user":"mallory","severity":"low"}`)).ID.String()
	patch := s.fake.Publish(cybervault.EventPatchDeployed, []byte(`{"user":"root"}`)).ID.String()
	for q, want := range map[string][]string{
		"data.user:root": {patch, root}, "event:threat.* data.user:root": {root}, "-data.user:root": {other}, "data.n:>4 root": {root}, "data.n:>5": {},
		"severity:critical": {root}, "severity:low event:threat.*": {other},
	} {
		a := s.get("/events?q="+url.QueryEscape(q)).want(t, 200, "How to search", html.EscapeString(q))
		if diff := cmp.Diff(want, eventIDs(a)); diff != "" {
			t.Errorf("%s: %s", q, diff)
		}
	}
	s.get("/events?event=patch.*&q=data.user:root").want(t, 200, patch).without(t, root)
	s.get("/events?q=data.n:%3Efive").want(t, http.StatusUnprocessableEntity, `role="alert"`, "data.n:&gt;five", "a number stands after &gt;")
}

// A page that ends before the log does leads on, even where it has no rows.
func TestALongSearchLeadsOn(t *testing.T) {
	t.Parallel()
	s := newSite(t).login()
	e := s.fake.Publish(cybervault.EventThreatDetected, []byte(`{"user":"root"}`))
	stop := s.fake.Publish(cybervault.EventThreatDetected, []byte(`{"user":"mallory"}`))
	s.fake.PauseSearch(stop.ID)
	a := s.get("/events?q=data.user:root").want(t, 200, "Nothing so far", `href="/events?before=`+stop.ID.String()+`&amp;q=data.user%3Aroot"`).without(t, "Nothing matches")
	if ids := eventIDs(a); len(ids) != 0 {
		t.Errorf("found %v", ids)
	}
	a = s.get("/events?q=data.user:root&before="+stop.ID.String()).want(t, 200)
	if diff := cmp.Diff([]string{e.ID.String()}, eventIDs(a)); diff != "" {
		t.Error(diff)
	}
}

var sameValue = regexp.MustCompile(`<dt>([^<]*)</dt><dd><a href="(/events[?]q=[^"]*)">([^<]*)</a>`)

// Each value of an event leads to a search that finds the event.
func TestValuesOfAnEventLeadToOthers(t *testing.T) {
	t.Parallel()
	s := newSite(t).login()
	e := s.fake.Publish(cybervault.EventThreatDetected, []byte(`{"user":"a \"b\" \\ <i>*","n":1.50,"ok":false,"none":null,"empty":"","deep":{"x":["one","two","one"]},
		"odd name":"x","a:b":"x","dotted.name":"x","":"x","line":"a\nb","\"><script>":"x"}`))
	page := s.get("/events/" + e.ID.String())
	var got []string
	for _, m := range sameValue.FindAllStringSubmatch(page.body, -1) {
		got = append(got, html.UnescapeString(m[1]+"="+m[3]))
		if ids := eventIDs(s.get(html.UnescapeString(m[2])).want(t, 200)); len(ids) != 1 {
			t.Errorf("%s finds %v", m[2], ids)
		}
	}
	if diff := cmp.Diff([]string{"deep.x=one", "deep.x=two", "n=1.50", "ok=false", `user=a "b" \ <i>*`}, got); diff != "" {
		t.Error(diff)
	}
	page.without(t, "<script>\"", "<i>")
	broken := s.fake.Publish(cybervault.EventThreatDetected, []byte("no JSON"))
	s.get("/events/"+broken.ID.String()).want(t, 200).without(t, "same-value")
}
