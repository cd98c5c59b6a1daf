package dashboard_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/dashboard/dashboardtest"
)

var rowLink = regexp.MustCompile(`class="row-link" id="([a-z]+_[0-9a-f-]+)"`)

func ids(a answer) []string {
	var list []string
	for _, m := range rowLink.FindAllStringSubmatch(a.body, -1) {
		list = append(list, m[1])
	}
	return list
}

func (s *site) deliveries(q cybervault.DeliveryQuery) []*cybervault.Delivery {
	s.t.Helper()
	q.Workspace, q.Limit = s.fake.Workspace, 10_000
	found, err := s.fake.Deliveries(s.t.Context(), q)
	if err != nil {
		s.t.Fatal(err)
	}
	return found.Rows
}

func TestOverviewOfAFreshInstall(t *testing.T) {
	t.Parallel()
	s := newSite(t).login()
	s.get("/").want(t, 200, "Publish the first event", hooks+"/new", "curl "+s.url+"/v1/events", "threat.detected").without(t, `class="tiles"`)
	s.fake.Hook("https://example.com/in", "", dashboardtest.OK, "*")
	s.get("/").want(t, 200, `class="done"`)
	s.fake.Publish(cybervault.EventThreatDetected, nil)
	s.get("/").want(t, 200, `class="tiles"`).without(t, "Publish the first event")
}

func TestOverviewCounts(t *testing.T) {
	t.Parallel()
	s := newSite(t).login()
	w := s.fake.Hook("https://example.com/in", "", dashboardtest.OK, "*")
	for range 3 {
		s.fake.Publish(cybervault.EventThreatDetected, nil)
	}
	s.fake.SetAnswer(w.ID, dashboardtest.Down)
	s.fake.Publish(cybervault.EventPatchDeployed, nil)
	a := s.get("/").want(t, 200, "4 events: 3 critical, 1 info.", "4 attempts: 3 delivered, 1 failed attempts.", "of 2 types", "1 waiting", `<title id="chart-events-title">Events by severity</title>`, "As a table", "sql_injection · 203.0.113.42")
	if n := strings.Count(a.body, "<g transform"); n != 120 {
		t.Errorf("%d bars, want 60 in each of two charts", n)
	}
	s.get("/?span=24h").want(t, 200, "the last 24 hours")
	s.get("/?span=nonsense").want(t, 200, "the last hour")
	s.fake.SetCapped(true)
	s.get("/").want(t, 200, "the newest part only")
	s.get("/", "HX-Request", "true").want(t, 200, `id="overview"`).without(t, "<html")
}

func TestOverviewCountsIncidents(t *testing.T) {
	t.Parallel()
	s := newSite(t).login()
	s.fake.Publish(cybervault.EventPatchDeployed, nil)
	const quiet = `<li class="tile "><p class="tile-name"><a href="/incidents?status=open,acknowledged">Unresolved incidents</a></p><p class="tile-value">`
	s.get("/").want(t, 200, quiet+`0</p><p class="tile-note">none is open<`)
	s.fake.AddIncident(cybervault.Incident{Severity: cybervault.SeverityMedium})
	s.get("/").want(t, 200, quiet+`1</p><p class="tile-note">1 medium<`)
	s.fake.AddIncident(cybervault.Incident{Severity: cybervault.SeverityCritical, Status: cybervault.IncidentAcknowledged})
	s.fake.AddIncident(cybervault.Incident{Severity: cybervault.SeverityCritical})
	s.fake.AddIncident(cybervault.Incident{Severity: cybervault.SeverityHigh, Status: cybervault.IncidentResolved})
	s.get("/").want(t, 200, `<li class="tile bad">`, `3</p><p class="tile-note">2 critical, 1 medium<`)
}

// A row and a page of the log show the delivery's severity, not its type's.
func TestADeliverysOwnSeverity(t *testing.T) {
	t.Parallel()
	s := newSite(t).login()
	s.fake.Hook("https://example.com/in", "", dashboardtest.OK, "*")
	s.fake.Publish(cybervault.EventThreatDetected, []byte(`{"severity":"low"}`))
	const own, types = `<span class="badge low">Low`, `<span class="badge critical">Critical`
	page := s.get("/deliveries").want(t, 200, own).without(t, types)
	_, link, _ := strings.Cut(page.body, `href="/deliveries/dlv_`)
	id, _, _ := strings.Cut(link, `"`)
	s.get("/deliveries/dlv_"+id).want(t, 200, own).without(t, types)
}

func TestDeliveryLogFilters(t *testing.T) {
	t.Parallel()
	s := newSite(t).login()
	a := s.fake.Hook("https://a.example.com/in", "Hook A", dashboardtest.OK, "threat.*", "patch.*")
	b := s.fake.Hook("https://b.example.com/in", "Hook B", dashboardtest.Down, "patch.failed")
	s.fake.Publish(cybervault.EventThreatDetected, []byte(`{"source_ip":"198.51.100.7"}`))
	s.fake.Publish(cybervault.EventPatchFailed, nil)
	for query, want := range map[string]int{
		"":                                     3,
		"status=delivered":                     2,
		"status=pending":                       1,
		"status=held":                          0,
		"status=undelivered":                   1,
		"status=pending,delivered":             3,
		"event=threat.detected":                1,
		"event=patch.*":                        2,
		"webhook=" + a.ID.String():             2,
		"webhook=" + b.ID.String():             1,
		"q=198.51.100.7":                       1,
		"q=OPENSSL":                            2,
		"since=1h":                             3,
		"since=0d":                             0,
		"until=7d":                             0,
		"until=2020-01-01T00:00":               0,
		"since=2020-01-01":                     3,
		"since=2020-01-01T00:00:00%2B02:00":    3,
		"event=patch.*&status=delivered&q=apt": 0,
	} {
		page := s.get("/deliveries?"+query).want(t, 200)
		if got := len(ids(page)); got != want {
			t.Errorf("%q shows %d deliveries, want %d", query, got, want)
		}
		if want == 0 {
			page.want(t, 200, "Nothing matches")
		}
	}
	s.get("/deliveries?status=undelivered").want(t, 200, `id="tab-Undelivered" aria-current="true"`)
	s.get("/deliveries?event=patch.*&status=pending&q=%22x").want(t, 200,
		`<option value="patch.*" selected>`, `name="q" value="&#34;x"`, `<input type="hidden" name="status" value="pending" form="filters">`)
	for _, query := range []string{"status=gone", "webhook=nonsense", "before=wh_1", "since=yesterday", "until=1e9"} {
		s.get("/deliveries?"+query).want(t, http.StatusUnprocessableEntity, `role="alert"`)
		s.get("/deliveries?"+query, "HX-Request", "true").want(t, 200, `role="alert"`).without(t, "<html")
	}
	part := s.get("/deliveries?status=&webhook=&q=openssl&since=", "HX-Request", "true", "HX-Trigger", "filters").want(t, 200, `id="list"`).without(t, "<html")
	if got := part.header.Get("HX-Push-Url"); got != "/deliveries?q=openssl" {
		t.Errorf("the address becomes %q", got)
	}
	if got := s.get("/deliveries?q=openssl", "HX-Request", "true", "HX-Trigger", "list").header.Get("HX-Push-Url"); got != "" {
		t.Errorf("a live update changes the address to %q", got)
	}
	s.get("/deliveries", "HX-Request", "true", "HX-History-Restore-Request", "true").want(t, 200, "<html")
}

func TestPaging(t *testing.T) {
	t.Parallel()
	s := newSite(t).login()
	s.fake.Hook("https://a.example.com/in", "", dashboardtest.OK, "*")
	for range 120 {
		s.fake.Publish(cybervault.EventPatchDeployed, nil)
	}
	next := regexp.MustCompile(`rel="next" href="([^"]+)"`)
	for _, path := range []string{"/deliveries", "/events"} {
		seen := make(map[string]bool)
		sizes := []int{}
		for at := path + "?event=patch.*&since=1h"; at != ""; {
			a := s.get(at).want(t, 200)
			sizes = append(sizes, len(ids(a)))
			for _, id := range ids(a) {
				if seen[id] {
					t.Fatalf("%s stands on two pages", id)
				}
				seen[id] = true
			}
			if first := len(sizes) == 1; first != strings.Contains(a.body, "data-live ") || first == strings.Contains(a.body, ">Newest<") {
				t.Errorf("page %d of %s: only the first follows changes, and the others lead back", len(sizes), path)
			}
			at = ""
			if m := next.FindStringSubmatch(a.body); m != nil {
				at = strings.ReplaceAll(m[1], "&amp;", "&")
			}
		}
		if fmt.Sprint(sizes) != "[50 50 20]" {
			t.Errorf("%s has pages of %v", path, sizes)
		}
	}
}

func TestDeliveryPage(t *testing.T) {
	t.Parallel()
	s := newSite(t).login()
	w := s.fake.Hook("https://a.example.com/in", "Hook A", dashboardtest.Down, "*")
	e := s.fake.Publish(cybervault.EventThreatDetected, []byte(`{"vector":"it's","confidence":0.10}`))
	d := s.deliveries(cybervault.DeliveryQuery{})[0]
	path := "/deliveries/" + d.ID.String()
	s.get(path).want(t, 200,
		"Retrying", "the next one is due <time", "Attempt 1", "Answered 503 Service Unavailable", "Retry-After", "awselb/2.0", "&lt;center&gt;",
		"Name look-up", "Connect", "TLS", "Waiting for the answer", "X-CyberVault-Signature", "Hook A", "/events/"+e.ID.String(),
		`<span class="n">0.10</span>`, "curl -sS -X POST &#39;https://a.example.com/in&#39;", `it&#39;\&#39;&#39;s`, "Cancel delivery", "data-live", "By the newest secret, which ends in",
	).without(t, ">Replay<", "Certificate of the receiver") // none is known of it
	s.get(path, "HX-Request", "true").want(t, 200, `id="delivery"`).without(t, "<html", `id="payload-text"`)

	s.post(path+"/cancel", nil).leadsTo(t, path+"?done=cancelled")
	s.get(path).want(t, 200, "Cancelled on request", "Replay").without(t, "Cancel delivery", "data-live ")
	s.post(path+"/cancel", nil).want(t, http.StatusConflict, "has ended already")

	s.fake.SetAnswer(w.ID, dashboardtest.OK)
	a := s.post(path+"/replay", nil).want(t, http.StatusSeeOther)
	s.get(a.header.Get("Location")).want(t, 200, "Replay started", "Delivered", "Replay of", path, "replay",
		"Certificate of the receiver", "CN=receiver.example.com", "2026-12-30", "9f86d081884c7d65", "TLS 1.3 TLS_AES_128_GCM_SHA256")

	raw := s.get("/events/"+e.ID.String()+"/raw").want(t, 200)
	if raw.body != string(e.Body) || !strings.HasPrefix(raw.header.Get("Content-Disposition"), "attachment") {
		t.Errorf("the raw bytes are %q, %v", raw.body, raw.header)
	}
	s.get("/events/"+e.ID.String()).want(t, 200, "Where it went", "Hook A", path, "made by CyberVault")
	s.get("/events?q=it%27s").want(t, 200, e.ID.String())
}

func TestDeliveryStates(t *testing.T) {
	t.Parallel()
	s := newSite(t).login()
	s.fake.Hook("https://a.example.com/in", "", dashboardtest.Down, "*")
	s.fake.Publish(cybervault.EventThreatDetected, nil)
	id := s.deliveries(cybervault.DeliveryQuery{})[0].ID
	for words, change := range map[string]func(*cybervault.Delivery){
		"Waiting for its first attempt": func(d *cybervault.Delivery) { *d = cybervault.Delivery{Status: cybervault.DeliveryPending} },
		"An attempt is under way": func(d *cybervault.Delivery) {
			*d = cybervault.Delivery{Status: cybervault.DeliveryPending, Running: true}
		},
		"until the webhook is verified": func(d *cybervault.Delivery) { *d = cybervault.Delivery{Status: cybervault.DeliveryHeld} },
		"Every attempt of the retry":    func(d *cybervault.Delivery) { *d = cybervault.Delivery{Status: cybervault.DeliveryDeadLetter} },
		"because its webhook was deleted": func(d *cybervault.Delivery) {
			*d = cybervault.Delivery{Status: cybervault.DeliveryCancelled, Reason: cybervault.ReasonWebhookDeleted}
		},
		"because the webhook was disabled": func(d *cybervault.Delivery) {
			*d = cybervault.Delivery{Status: cybervault.DeliverySkipped, Reason: cybervault.ReasonWebhookDisabled}
		},
		"filter says no to this event": func(d *cybervault.Delivery) {
			*d = cybervault.Delivery{Status: cybervault.DeliverySkipped, Reason: cybervault.ReasonFilter}
		},
		"filter could not be evaluated": func(d *cybervault.Delivery) {
			*d = cybervault.Delivery{Status: cybervault.DeliverySkipped, Reason: cybervault.ReasonFilterError}
		},
		"Skipped: the filter said no": func(d *cybervault.Delivery) {
			*d = cybervault.Delivery{Status: cybervault.DeliverySkipped, Reason: "the filter said no"}
		},
		`<span class="badge mute">unheard`:  func(d *cybervault.Delivery) { *d = cybervault.Delivery{Status: "unheard"} },
		`<span class="badge ok">Delivered<`: func(d *cybervault.Delivery) { *d = cybervault.Delivery{Status: cybervault.DeliveryDelivered} },
	} {
		s.fake.SetDelivery(id, func(d *cybervault.Delivery) {
			old := *d
			change(d)
			d.ID, d.Workspace, d.Event, d.EventType, d.Webhook = old.ID, old.Workspace, old.Event, old.EventType, old.Webhook
		})
		s.get("/deliveries/"+id.String()).want(t, 200, words)
		s.get("/deliveries").want(t, 200)
	}
}

func TestErrorPages(t *testing.T) {
	t.Parallel()
	s := newSite(t).login()
	s.get("/nowhere").want(t, http.StatusNotFound, "Not found", "To the overview")
	for _, path := range []string{"/deliveries/x", "/events/dlv_1", "/deliveries/dlv_01936f2a-0000-7000-8000-000000000000", "/events/wh_01936f2a-0000-7000-8000-000000000000/raw", hooks + "/whk_01936f2a-0000-7000-8000-000000000000"} {
		s.get(path).want(t, http.StatusNotFound, "Not found")
	}
	s.post("/events", nil).want(t, http.StatusNotFound)
	if s.log.Len() != 0 {
		t.Errorf("what a visitor mistyped was logged: %s", s.log)
	}
	s.fake.Fail(&cybervault.Error{Code: cybervault.CodeUnavailable, Message: "database is locked", Err: errors.New("disk I/O error")})
	for _, path := range []string{"/", "/incidents", "/incidents?status=open", "/rules", "/rules/942100", "/rules/exceptions", "/deliveries", "/events", hooks, "/settings/event-types", "/settings/event-types/incident.created", "/settings/api-keys", "/settings/audit-log", "/deliveries/dlv_01936f2a-0000-7000-8000-000000000000"} {
		a := s.get(path).want(t, http.StatusServiceUnavailable, "The store is not available", "Try again").without(t, "disk I/O")
		if a.header.Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", path)
		}
	}
	if got := strings.Count(s.log.String(), "request failed"); got != 14 {
		t.Errorf("%d lines in the log, want 14", got)
	}
	s.fake.Fail(errors.New("secret inner words"))
	s.get("/").want(t, http.StatusInternalServerError, "Something went wrong").without(t, "secret inner words")
	s.fake.Fail(context.DeadlineExceeded)
	s.get("/").want(t, http.StatusInternalServerError)
}

func TestStaticFilesAreKeptByTheirHash(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	page := s.get("/login")
	for _, address := range regexp.MustCompile(`/static/[a-z.]+\?v=[0-9a-f]+`).FindAllString(page.body, -1) {
		a := s.get(address).want(t, 200)
		if !strings.Contains(a.header.Get("Cache-Control"), "immutable") || a.header.Get("ETag") == "" {
			t.Errorf("%s has %v", address, a.header)
		}
		s.get(address, "If-None-Match", a.header.Get("ETag")).want(t, http.StatusNotModified)
	}
	if got := s.get("/static/app.js").header.Get("Cache-Control"); got != "no-cache" {
		t.Errorf("without its hash a file has Cache-Control %q", got)
	}
	s.get("/static/VENDOR.md").want(t, http.StatusNotFound)
	s.get("/static/..%2fdoc.go").want(t, http.StatusNotFound)
}

func TestTimesAreRelativeWithTheAbsoluteBesideThem(t *testing.T) {
	t.Parallel()
	s := newSite(t).login()
	s.fake.Publish(cybervault.EventThreatDetected, nil)
	a := s.get("/events").want(t, 200)
	if !regexp.MustCompile(`<time datetime="20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z" title="[0-9 :.-]+ UTC">(just now|\d+ s ago)</time>`).MatchString(a.body) {
		t.Errorf("no such time: %s", excerpt(a.body))
	}
}

func TestTickedDeliveriesAreReplayedAndCancelled(t *testing.T) {
	t.Parallel()
	s := newSite(t).login()
	s.fake.Hook("https://example.com/in", "", dashboardtest.OK, "*")
	waits := s.fake.Hook("https://example.org/in", "", dashboardtest.Down, "*")
	for range 3 {
		s.fake.Publish(cybervault.EventThreatDetected, nil)
	}
	before := s.deliveries(cybervault.DeliveryQuery{})
	form := url.Values{"back": {"/deliveries?status=delivered"}, "action": {"replay"}}
	for _, dl := range before[:4] { // two of each webhook
		form.Add("id", dl.ID.String())
	}
	a := s.post("/deliveries", form)
	if a.status != http.StatusSeeOther || a.header.Get("Location") != "/deliveries?status=delivered&did=replay&done=2&left=2" {
		t.Fatalf("status %d to %q", a.status, a.header.Get("Location"))
	}
	s.get(a.header.Get("Location")).want(t, 200, "2 replayed, 2 could not be", `value="/deliveries?status=delivered"`)
	if n := len(s.deliveries(cybervault.DeliveryQuery{})) - len(before); n != 2 {
		t.Errorf("%d new deliveries", n)
	}
	form.Set("action", "cancel")
	form.Set("back", "https://evil.example/")
	if a = s.post("/deliveries", form); a.header.Get("Location") != "/?did=cancel&done=2&left=2" {
		t.Errorf("to %q", a.header.Get("Location"))
	}
	for _, dl := range s.deliveries(cybervault.DeliveryQuery{Webhook: waits.ID}) {
		if ticked := slices.Contains(form["id"], dl.ID.String()); ticked != (dl.Status == cybervault.DeliveryCancelled) {
			t.Errorf("%s is %s", dl.ID, dl.Status)
		}
	}
	s.post("/deliveries", url.Values{"action": {"delete"}, "id": form["id"]}).want(t, 422, "replay or cancel")
	many := url.Values{"action": {"cancel"}}
	for range cybervault.DefaultPageSize + 1 {
		many.Add("id", before[0].ID.String())
	}
	s.post("/deliveries", many).want(t, 422, "more than the 50")
	s.get("/deliveries?did=cancel&done=0&left=0").want(t, 200, "No delivery was ticked")
	s.get("/deliveries?did=cancel&done=%3Cb%3E&left=0").without(t, "cancelled.")
}
