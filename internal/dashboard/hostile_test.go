package dashboard_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/access/passkeytest"
	"github.com/cybervault/cybervault/internal/dashboard/dashboardtest"
)

// hostile is text that tries to be something else, in every way at once:
// markup, attributes, script, template, direction, terminal, layout.
const hostile = `"><script>alert(1)</script><img src=x onerror=alert(2)>'--></style></textarea></title>{{.}}` +
	"\u202egnp.exe\u2066\u200b\ufeff\x1b[31mred\x1b]0;title\x07\x00\r\u0085 \u05e9\u05dc\u05d5\u05dd"

// markup finds what must never come out of data: a tag, or an attribute that acts.
var markup = regexp.MustCompile(`(?i)<(script|img|iframe|object|style)[^>]*(alert|onerror|src=x)|<script>`)

// hostileSite has hostile text wherever a stranger can put it.
func hostileSite(t *testing.T) *site {
	t.Helper()
	s := newSite(t).login()
	huge := strings.Repeat("A", 1<<20)
	s.fake.AddType(cybervault.EventType{Name: "zz." + hostile, Severity: cybervault.Severity(hostile), Description: hostile + huge})
	w := s.fake.Hook("https://example.com/?q="+url.QueryEscape(hostile), "", dashboardtest.Down, "threat.*", "patch.*", "auth.*")
	s.fake.Hook("https://example.com/"+strings.Repeat("long/", 300), "", dashboardtest.OK, "threat.*")
	change := func(do func(*cybervault.Webhook)) {
		t.Helper()
		s.fake.SetWebhook(w.ID, do)
	}
	change(func(w *cybervault.Webhook) {
		w.Description, w.DisabledReason = hostile+huge, hostile+huge
		w.Events = append(w.Events, hostile, huge)
		w.Headers = []cybervault.Header{{Name: hostile, Value: hostile}}
		w.Authentication = cybervault.Authentication{Type: cybervault.AuthenticationOAuth2, TokenURL: "https://example.com/" + hostile + huge, ClientID: hostile + huge,
			ClientSecret: hostile, Scopes: []string{hostile}, Audience: hostile, ClientAuthentication: hostile}
		w.Proxy = "http://" + url.QueryEscape(hostile) + ":hunter2@proxy.example.com:3128"
	})
	for _, text := range []string{hostile, huge, strings.Repeat("W ", 1<<17), strings.Repeat("<b>", 1<<16)} {
		data, err := json.Marshal(map[string]any{"severity": text, "title": text, "vector": text, text[:min(len(text), 3000)]: map[string]any{"deep": []any{text}}})
		if err != nil {
			t.Fatal(err)
		}
		s.fake.Publish(cybervault.EventThreatDetected, data)
	}
	s.fake.Publish(cybervault.EventThreatDetected, []byte(strings.Repeat("[", 9000)+strings.Repeat("1,", 40_000)+"1"+strings.Repeat("]", 9000)))
	s.fake.AddAgent(hostile+huge, cybervault.AgentOffline, map[string]string{hostile: hostile + huge}).OS = hostile + huge
	s.fake.Publish(cybervault.EventThreatDetected, []byte("\xff\xfe not JSON <script>alert(1)</script> \x1b[2J"))
	for _, d := range s.deliveries(cybervault.DeliveryQuery{}) {
		s.fake.AddAttempt(d.ID, cybervault.Exchange{
			URL: "https://example.com/" + hostile + huge, Status: 299, Failure: cybervault.Failure(hostile), Error: hostile + huge,
			Request: []cybervault.Header{{Name: hostile, Value: hostile}, {Name: "X-Huge", Value: huge}},
			Answer:  append([]cybervault.Header{{Name: hostile + huge, Value: hostile + huge}}, make([]cybervault.Header, 5000)...),
			Body:    []byte(hostile + huge), RemoteAddr: hostile, Protocol: hostile, Elapsed: time.Second,
			TLS:     &cybervault.PeerTLS{Version: hostile, CipherSuite: hostile, Subject: hostile + huge, Issuer: hostile, Names: []string{hostile, huge}, Fingerprint: hostile},
			Timings: cybervault.Timings{DNS: -time.Hour, Connect: 900 * time.Hour, TLS: 1, FirstByte: 1},
		})
		s.fake.SetDelivery(d.ID, func(d *cybervault.Delivery) { d.LastFailure, d.Reason = cybervault.Failure(hostile), hostile+huge })
	}
	for _, text := range []string{hostile, huge, strings.Repeat("<b>", 1<<16)} {
		hostileFindings(s, text)
	}
	if _, _, err := s.fake.CreateKey(t.Context(), s.fake.Workspace, hostile[:90], []cybervault.Scope{cybervault.Scope(hostile)}, time.Time{}); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{hostile, huge, strings.Repeat("<b>", 1<<16)} {
		doc, err := json.Marshal(map[string]string{text: text, "": text})
		if err != nil {
			t.Fatal(err)
		}
		s.fake.Act(cybervault.Actor{Kind: cybervault.ActorKind(text), ID: text, Name: text, Address: text}, text, text, string(doc), `"`+strings.Repeat("x", 1<<20)+`"`)
		s.fake.Act(cybervault.Actor{Kind: cybervault.ActorUser, Name: text}, "webhook.update", "whk_"+text, "no JSON", string(doc))
	}
	for _, subject := range []string{hostile, huge, "whk_" + hostile} {
		s.fake.AddAlert(cybervault.Alert{Code: hostile, Subject: subject, Severity: cybervault.Severity(hostile), Status: cybervault.AlertStatus(hostile), Summary: hostile + huge, Remedy: hostile + huge, ResolvedAt: time.Now()})
		s.fake.AddAlert(cybervault.Alert{Code: "rule_floods", Subject: "web:" + subject, Status: cybervault.AlertFiring, Summary: hostile, Remedy: hostile})
	}
	bad := cybervault.Check{Name: hostile, Status: cybervault.CheckStatus(hostile), Subject: hostile, Summary: hostile + huge, Remedy: hostile}
	s.fake.SetChecks(bad)
	s.fake.SetSystem(cybervault.System{Version: hostile, Store: hostile, Bytes: -1, Pending: -1, Nodes: []cybervault.Node{{Host: hostile + huge}}, Problems: []cybervault.Check{bad}},
		cybervault.TelemetrySource{Name: hostile, Records: -1, Batches: 10, Usual: -time.Hour}, cybervault.TelemetrySource{Name: huge, Batches: 1 << 60, Usual: 1 << 60, LastSeen: time.Now().Add(time.Hour)})
	return s
}

// hostileFindings has a text in every field of an incident, of what it stands on, of
// the rule that found it, and of an exception.
func hostileFindings(s *site, text string) {
	many := make([]string, 120)
	for i := range many {
		many[i] = text[:min(len(text), 400)]
	}
	many[0] = text
	note := cybervault.IncidentNote{At: time.Now(), By: text, Text: text}
	g := cybervault.Gist{Subject: text, Severity: cybervault.Severity(text), Confidence: 1e300, Name: text, Count: -1, SourceIP: text, User: text, Asset: text, Rules: many}
	i := s.fake.AddIncident(cybervault.Incident{
		Title: text, Severity: cybervault.Severity(text), Assignee: text, Disposition: cybervault.IncidentDisposition(text), Resolution: cybervault.Resolution(text),
		Entities: cybervault.IncidentEntities{SourceIPs: many, Users: many, Assets: many}, Evidence: cybervault.IncidentEvidence{Names: many, Tactics: many, Techniques: many, Threats: many},
		Notes: []cybervault.IncidentNote{note}, History: []cybervault.IncidentNote{note},
	}, hostileMember(s, g, text))
	s.fake.SetIncident(i.ID, func(i *cybervault.Incident) { i.Times.Resolved = time.Now().Add(900 * time.Hour) })
	short := text[:min(len(text), 150)]
	r := cybervault.RuleDetail{
		RuleInfo:    cybervault.RuleInfo{ID: short, Title: text, Level: cybervault.Severity(text), LogSource: text, Techniques: many, File: text, Kind: text},
		Description: text, Status: text, Author: text, License: text, References: many, FalsePositives: many, Tags: many, Vector: text, Text: text, Counts: many,
	}
	s.fake.AddRule(r)
	s.fake.PutException(cybervault.Exception{Rule: short, Where: map[string][]string{text: many}, Reason: text})
	s.fake.PutException(cybervault.Exception{Rule: "*", Where: map[string][]string{text: many}, Reason: text})
	if err := s.fake.SetRule(s.t.Context(), s.fake.Workspace, short, false, text); err != nil {
		s.t.Fatal(err)
	}
	fits := text[:min(len(text), cybervault.MaxDetectionRecordBytes)] // as the engine shortens it
	s.fake.Threat(cybervault.Gist{Subject: short, Name: short, SourceIP: fits}, cybervault.Detection{RuleID: short, Title: fits, Record: fits, Explanation: fits})
}

// hostileMember has a text in every field. In its event, which many pages read, only
// the record is as long as that.
func hostileMember(s *site, g cybervault.Gist, text string) *cybervault.IncidentMember {
	part := text[:min(len(text), 20_000)]
	m := s.fake.Threat(cybervault.Gist{Subject: part, Severity: cybervault.Severity(part), Name: part, SourceIP: part, User: part, Asset: part, Count: -1},
		cybervault.Detection{Engine: part, RuleID: part, Title: part, Level: cybervault.Severity(part), MitreIDs: []string{part, part}, Record: text, Count: -1, Explanation: part})
	m.Subject, m.Gist = g.Subject, g
	return m
}

// paths is every page that shows data.
func (s *site) paths() []string {
	s.t.Helper()
	list := []string{"/", "/?span=7d", "/incidents", "/incidents?status=open", "/rules", "/rules?show=fired", "/rules?show=off", "/rules/exceptions", "/deliveries", "/events", hooks, hooks + "/new", "/settings/api-keys", "/settings/audit-log", "/settings/health", "/settings/event-types", "/settings/event-types/new", "/settings/event-types/" + url.PathEscape("zz."+hostile), "/alerts", "/agents"}
	for _, q := range []string{
		"/deliveries?q", "/deliveries?event", "/deliveries?webhook", "/deliveries?status", "/deliveries?since", "/deliveries?before",
		"/incidents?q", "/incidents?entity", "/incidents?severity", "/incidents?status", "/incidents?before", "/rules?q", "/rules?level", "/rules?show", "/rules?page",
		"/alerts?status", "/alerts?before", "/agents?q", "/agents?status", "/agents?before", "/rules/942100?value", "/events?q", "/events?until", "/?span", "/?done", "/settings/event-types?q", hooks + "?q", hooks + "?page", "/login?next", "/nowhere?q",
	} {
		list = append(list, q+"="+url.QueryEscape(hostile))
	}
	list = append(list, "/"+url.PathEscape(hostile), "/deliveries/"+url.PathEscape(hostile), "/events/"+url.PathEscape(hostile),
		"/incidents/"+url.PathEscape(hostile), "/rules/"+url.PathEscape(hostile))
	incidents, err := s.fake.Incidents(s.t.Context(), cybervault.IncidentQuery{Workspace: s.fake.Workspace, Limit: 100})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, i := range incidents.Rows {
		list = append(list, "/incidents/"+i.ID.String())
	}
	rules, err := s.fake.Rules(s.t.Context(), s.fake.Workspace)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := range rules {
		list = append(list, "/rules/"+url.PathEscape(rules[i].ID))
	}
	for _, w := range s.hooks() {
		list = append(list, hooks+"/"+w.ID.String(), hooks+"/"+w.ID.String()+"/edit")
	}
	for _, d := range s.deliveries(cybervault.DeliveryQuery{}) {
		list = append(list, "/deliveries/"+d.ID.String(), "/events/"+d.Event.String())
	}
	return list
}

func TestHostileDataStaysText(t *testing.T) {
	t.Parallel()
	s := hostileSite(t)
	shown := false
	for _, path := range s.paths() {
		a := s.get(path)
		if a.status >= 500 {
			t.Errorf("%.80q is answered %d: %s", path, a.status, s.log)
		}
		harmless(t, path, a)
		shown = shown || strings.Contains(a.body, "&lt;script&gt;alert(1)&lt;/script&gt;")
	}
	if !shown {
		t.Error("no page shows the hostile text at all: the test tests nothing")
	}
}

func harmless(t *testing.T, path string, a answer) {
	t.Helper()
	if m := markup.FindString(a.body); m != "" {
		t.Errorf("%.80q holds the markup %q", path, m)
	}
	if !utf8.ValidString(a.body) {
		t.Errorf("%.80q is not UTF-8", path)
	}
	for _, r := range a.body {
		if r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r <= 0x9f || strings.ContainsRune("\u202e\u2066\u200b\ufeff\u200e\u200f\u2028", r) {
			t.Errorf("%.80q holds the character %U as it is", path, r)
			break
		}
	}
	// A form must not shorten what it would then save; the router's limits bound that.
	if len(a.body) > 2<<20 && !strings.HasSuffix(path, "/edit") {
		t.Errorf("%.80q is %d bytes long", path, len(a.body))
	}
}

func TestHostileFormsStayText(t *testing.T) {
	t.Parallel()
	s := hostileSite(t)
	id := s.hooks()[0].ID.String()
	form := url.Values{}
	for _, field := range []string{"url", "description", "events", "accept", "retry_schedule", "headers", "ca_certificate", "auth_type", "auth_username", "auth_client_id", "auth_client_authentication", "signature", "proxy", "name", "scopes", "token", "next", "theme", "back", "status", "overlap", "confirm", "event", "disposition", "assignee", "note", "into", "rule", "from", "field", "value", "reason", "until", "type", "severity", "schema", "example", "labels", "uses"} {
		form.Set(field, hostile)
	}
	incidents, err := s.fake.Incidents(t.Context(), cybervault.IncidentQuery{Workspace: s.fake.Workspace, Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	incident := "/incidents/" + incidents.Rows[0].ID.String()
	for _, path := range []string{hooks, hooks + "/" + id + "/edit", hooks + "/" + id + "/status", hooks + "/" + id + "/test", hooks + "/" + id + "/rotate", hooks + "/" + id + "/delete", "/settings/api-keys", "/settings/event-types", "/settings/event-types/" + url.PathEscape("zz."+hostile), "/theme", "/login", incident, incident + "/merge", "/rules/942100/status", "/rules/exceptions", "/agents/tokens"} {
		a := s.post(path, form)
		if a.status != http.StatusUnprocessableEntity && a.status != http.StatusUnauthorized {
			t.Errorf("%s is answered %d", path, a.status)
		}
		harmless(t, path, a)
	}
	harmless(t, "the preview", s.post("/rules/exceptions/preview", form).want(t, 200))
	form.Set("from", "")
	harmless(t, "the preview of all", s.post("/rules/exceptions/preview", form).want(t, 200))
	for _, path := range []string{"/secret", "/verify"} {
		harmless(t, path, s.post(hooks+"/"+id+path, nil).want(t, 200))
	}
}

// What people call themselves and their passkeys is text as well.
func TestHostileNamesStayText(t *testing.T) {
	t.Parallel()
	s := named(t).owner()
	name := `"><script>alert(1)</script><img src=x onerror=alert(2)>{{.}}` + strings.Repeat("W", 30)
	s.post("/account/name", url.Values{"name": {name}}).leadsTo(t, "/account?done=renamed")
	device := passkeytest.New(s.url)
	answer := s.answerOf(device.Create(s.options(s.get("/account/passkeys/new", "User-Agent", hostileAgent))))
	harmless(t, "the recovery codes", s.post("/account/passkeys", url.Values{"name": {name}, "passkey": {answer}}).want(t, 200, "Your recovery codes"))
	for _, path := range []string{"/", "/account", "/account/passkeys/new", "/account/authenticator", "/settings/members", "/settings/audit-log"} {
		harmless(t, path, s.get(path, "User-Agent", hostileAgent).want(t, 200, "&lt;script&gt;alert(1)"))
	}
	v := s.visitor()
	v.post("/login", url.Values{"email": {dashboardtest.OwnersEmail}, "password": {dashboardtest.OwnersPassword}}).leadsTo(t, "/login/code?next=%2F")
	harmless(t, "the second factor", v.get("/login/code?next="+url.QueryEscape(hostile)).want(t, 200))
	for _, path := range []string{"/login/code", "/login/passkey"} {
		harmless(t, path, v.post(path, url.Values{"code": {hostile}, "passkey": {hostile}, "next": {hostile}}).want(t, http.StatusUnprocessableEntity))
	}
	for _, path := range []string{"/account/name", "/account/passkeys", "/account/password", "/account/authenticator", "/settings/members"} {
		harmless(t, path, s.post(path, url.Values{"name": {hostile}, "passkey": {hostile}, "current": {hostile}, "password": {hostile}, "secret": {hostile}, "code": {hostile}, "email": {hostile}, "role": {hostile}}).want(t, http.StatusUnprocessableEntity))
	}
}

const hostileAgent = `<script>alert(1)</script> Mozilla`
