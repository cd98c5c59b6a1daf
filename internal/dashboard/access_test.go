package dashboard_test

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/dashboard"
	"github.com/cybervault/cybervault/internal/dashboard/dashboardtest"
)

// visitor is another browser at the same site.
func (s *site) visitor() *site {
	s.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	other := *s
	other.client = &http.Client{Jar: jar, CheckRedirect: s.client.CheckRedirect}
	return &other
}

// owner sets the installation up through the pages, and is Ann's browser.
func (s *site) owner() *site {
	s.t.Helper()
	s.get("/login?token="+dashboardtest.Token).leadsTo(s.t, "/setup")
	s.post("/setup", url.Values{"email": {dashboardtest.OwnersEmail}, "name": {"Ann"}, "password": {dashboardtest.OwnersPassword}}).leadsTo(s.t, "/?done=welcome")
	return s
}

var linkText = regexp.MustCompile(`id="link-text">([^<]+)<`)

// invited is the browser of somebody whom the owner has invited.
func (s *site) invited(email string, role cybervault.Role) *site {
	s.t.Helper()
	page := s.post("/settings/members", url.Values{"email": {email}, "role": {string(role)}}).want(s.t, 200, email)
	link, err := url.Parse(linkText.FindStringSubmatch(page.body)[1])
	if err != nil {
		s.t.Fatal(err)
	}
	v := s.visitor()
	v.get(link.RequestURI()).want(s.t, 200, email, string(role), "ann@example.com invites")
	v.post("/invitation", url.Values{"token": link.Query()["token"], "name": {"N " + email}, "password": {"a good long phrase"}}).leadsTo(s.t, "/?done=joined")
	return v
}

// who is what each role may reach, written out: a route that is not here fails the
// test. o owner, a admin, n analyst, v viewer, - nobody logged in.
var who = map[string]string{
	"GET /login": "oanv-", "POST /login": "oanv-", "GET /login/code": "oanv-", "POST /login/code": "oanv-", "POST /login/passkey": "oanv-", "GET /login/openid": "oanv-", "GET /login/openid/return": "oanv-", "GET /invitation": "oanv-", "POST /invitation": "oanv-", "POST /theme": "oanv-",
	"GET /setup": "oa", "POST /setup": "oa",
	"POST /logout": "oanv", "GET /account": "oanv", "POST /account/name": "oanv", "POST /account/password": "oanv", "GET /account/authenticator": "oanv",
	"POST /account/authenticator": "oanv", "POST /account/authenticator/remove": "oanv", "POST /account/recovery-codes": "oanv", "GET /account/passkeys/new": "oanv", "POST /account/passkeys": "oanv", "POST /account/passkeys/{id}/remove": "oanv", "POST /account/sessions/{id}/end": "oanv",
	"POST /account/sessions/end": "oanv", "POST /account/workspace": "oanv",
	"GET /live": "oanv", "GET /{$}": "oanv", "GET /deliveries": "oanv", "POST /deliveries": "oan", "GET /deliveries/{id}": "oanv", "POST /deliveries/{id}/replay": "oan",
	"POST /deliveries/{id}/cancel": "oan", "GET /events": "oanv", "GET /events/{id}": "oanv", "GET /events/{id}/raw": "oanv",
	"GET /incidents": "oanv", "GET /incidents/{id}": "oanv", "POST /incidents/{id}": "oan", "POST /incidents/{id}/merge": "oan",
	"GET /rules": "oanv", "GET /rules/{id}": "oanv", "POST /rules/{id}/status": "oan", "GET /rules/exceptions": "oanv", "POST /rules/exceptions": "oan",
	"POST /rules/exceptions/preview": "oanv", "POST /rules/exceptions/{exception}/remove": "oan",
	"GET /alerts": "oanv", "GET /agents": "oanv", "POST /agents/tokens": "oa", "POST /agents/tokens/{id}/end": "oa", "GET /agents/{id}": "oanv", "POST /agents/{id}/remove": "oa",
	"GET /settings": "oanv", "GET /settings/integrations": "oanv", "GET /settings/integrations/webhooks": "oanv", "POST /settings/integrations/webhooks": "oa",
	"GET /settings/integrations/webhooks/new": "oa", "POST /settings/integrations/webhooks/preview": "oanv", "GET /settings/integrations/webhooks/{id}": "oanv",
	"GET /settings/integrations/webhooks/{id}/edit": "oa", "POST /settings/integrations/webhooks/{id}/edit": "oa", "POST /settings/integrations/webhooks/{id}/status": "oa",
	"POST /settings/integrations/webhooks/{id}/verify": "oan", "POST /settings/integrations/webhooks/{id}/test": "oan", "POST /settings/integrations/webhooks/{id}/secret": "oa",
	"POST /settings/integrations/webhooks/{id}/rotate": "oa", "POST /settings/integrations/webhooks/{id}/delete": "oa",
	"GET /settings/event-types": "oanv", "POST /settings/event-types": "oa", "GET /settings/event-types/new": "oa", "GET /settings/event-types/{type}": "oanv",
	"POST /settings/event-types/{type}": "oa", "POST /settings/event-types/{type}/delete": "oa",
	"GET /settings/api-keys": "oa", "POST /settings/api-keys": "oa", "POST /settings/api-keys/{id}/revoke": "oa",
	"GET /settings/members": "oa", "POST /settings/members": "oa", "POST /settings/members/{id}/role": "oa", "POST /settings/members/{id}/remove": "oa",
	"POST /settings/members/{id}/password": "oa", "POST /settings/invitations/{id}/withdraw": "oa", "POST /settings/workspaces": "oa", "GET /settings/health": "oanv", "POST /settings/health": "oa", "GET /settings/audit-log": "oa", "GET /settings/audit-log/export": "oa",
	"/": "oanv",
}

// Every page and action is asked for by every role, by nobody, by who has given half
// of what it takes to log in, and by an owner of another workspace.
func TestWhoReachesWhat(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	hook := s.fake.Hook("https://a.example.com/in", "", dashboardtest.OK, "*")
	event := s.fake.Publish(cybervault.EventThreatDetected, nil)
	page, err := s.fake.Deliveries(t.Context(), cybervault.DeliveryQuery{Workspace: s.fake.Workspace, Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	ann := s.owner()
	roles := map[string]*site{
		"o": ann, "a": ann.invited("adam@example.com", cybervault.RoleAdmin), "n": ann.invited("nina@example.com", cybervault.RoleAnalyst), "v": ann.invited("vera@example.com", cybervault.RoleViewer), "-": s.visitor(),
	}
	half := ann.invited("half@example.com", cybervault.RoleAdmin)
	half.addAuthenticator()
	half = s.visitor()
	half.post("/login", url.Values{"email": {"half@example.com"}, "password": {"a good long phrase"}}).leadsTo(t, "/login/code?next=%2F")
	stranger := ann.invited("olga@example.com", cybervault.RoleOwner)
	stranger.post("/settings/workspaces", url.Values{"name": {"Elsewhere"}}).leadsTo(t, "/?done=switched")

	ids := map[string]string{"deliveries": page.Rows[0].ID.String(), "events": event.ID.String(), "webhooks": hook.ID.String(), "agents": s.fake.AddAgent("a.example.com", cybervault.AgentOnline, nil).ID.String()}
	seen := map[string]bool{}
	for _, rt := range dashboard.Routes() {
		allowed, known := who[rt.Pattern]
		if !known {
			t.Errorf("%s is in no table of who may reach it", rt.Pattern)
			continue
		}
		seen[rt.Pattern] = true
		if rt.Pattern == "POST /logout" || rt.Pattern == "GET /live" || strings.HasPrefix(rt.Pattern, "POST /account/sessions") || strings.HasPrefix(rt.Pattern, "POST /login") {
			continue // ends the session, or never ends; tested on their own
		}
		method, path, ok := strings.Cut(rt.Pattern, " ")
		if !ok {
			method, path = "GET", "/nowhere"
		}
		path = strings.NewReplacer("{$}", "", "{id}", "nothing", "{exception}", "nothing", "{type}", "nothing").Replace(path)
		for role, v := range roles {
			a := v.do(method, path, url.Values{})
			refused := a.status == http.StatusForbidden || a.status == http.StatusSeeOther && strings.HasPrefix(a.header.Get("Location"), "/login")
			if rt.Permission == "" {
				refused = false // the log-in page leads to itself
			}
			if want := strings.Contains(allowed, role); refused == want {
				t.Errorf("%s as %q: answered %d %s; may: %t", rt.Pattern, role, a.status, a.header.Get("Location"), want)
			}
		}
		if rt.Permission != "" {
			if a := half.do(method, path, url.Values{}); a.status != http.StatusSeeOther || !strings.HasPrefix(a.header.Get("Location"), "/login/code") {
				t.Errorf("%s with half a log-in: answered %d %s", rt.Pattern, a.status, a.header.Get("Location"))
			}
		}
		// What belongs to another workspace is not there.
		for kind, id := range ids {
			if foreign := strings.Replace(path, kind+"/nothing", kind+"/"+id, 1); foreign != path {
				a := stranger.do(method, foreign, url.Values{"status": {"enabled"}, "confirm": {"yes"}, "event": {cybervault.EventThreatDetected}, "overlap": {"1h"}})
				if a.status != http.StatusNotFound || strings.Contains(a.body, "a.example.com") {
					t.Errorf("%s for a stranger: answered %d", rt.Pattern, a.status)
				}
			}
		}
	}
	for pattern := range who {
		if !seen[pattern] {
			t.Errorf("%s is in the table, and is no route", pattern)
		}
	}
}

// A viewer is offered nothing that changes anything.
func TestAViewerSeesNoForms(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	hook := s.fake.Hook("https://a.example.com/in", "", dashboardtest.Down, "*")
	s.fake.Publish(cybervault.EventThreatDetected, nil)
	s.fake.Seed()
	vera := s.owner().invited("vera@example.com", cybervault.RoleViewer)
	forms := regexp.MustCompile(`<form[^>]*method="post"[^>]*action="([^"]*)"`)
	for _, path := range []string{"/", "/deliveries", "/events", "/incidents", "/rules", "/rules/exceptions", "/settings/integrations/webhooks", "/settings/integrations/webhooks/" + hook.ID.String()} {
		page := vera.get(path).want(t, 200).without(t, "/webhooks/new\"", "API keys</span>", "Members</span>")
		for _, form := range forms.FindAllStringSubmatch(page.body, -1) {
			if form[1] != "/theme" && form[1] != "/logout" {
				t.Errorf("%s offers a viewer the form %s", path, form[1])
			}
		}
	}
	if !strings.Contains(s.get("/settings/integrations/webhooks/"+hook.ID.String()).body, "/rotate") {
		t.Error("the owner is not offered it either")
	}
}

func TestTheOwnerSetsUp(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.get("/login").want(t, 200, `name="token"`).without(t, `name="email"`)
	s.get("/login?token="+dashboardtest.Token).leadsTo(t, "/setup")
	s.get("/").want(t, 200, "Nobody has an account here yet", "What is next", "Make the owner’s account", "Add a webhook", "Invite somebody")
	s.get("/account").want(t, 200, "There is no account behind it")
	s.get("/settings/members").want(t, 200, "Nobody has an account yet")
	s.post("/setup", url.Values{"email": {"ann"}, "password": {"short"}}).want(t, http.StatusUnprocessableEntity, "It is no email address", `value="ann"`).without(t, `value="short"`)
	s.post("/setup", url.Values{"email": {"ann@example.com"}, "password": {"short"}}).want(t, http.StatusUnprocessableEntity, "fewer than 12 characters")
	s.owner()
	s.get("/?done=welcome").want(t, 200, "Your account is made", "Ann", "What is next").without(t, "Nobody has an account here yet", "/setup")
	s.get("/setup").leadsTo(t, "/")
	v := s.visitor()
	v.get("/login?token="+dashboardtest.Token).want(t, http.StatusForbidden, "has done its work", `name="email"`)
	v.post("/login", url.Values{"email": {"ann@example.com"}, "password": {"guess"}, "next": {"/events"}}).want(t, http.StatusUnauthorized, "not right", `value="ann@example.com"`, `value="/events"`).without(t, "guess")
	v.post("/login", url.Values{"email": {""}, "password": {""}}).want(t, http.StatusUnprocessableEntity)
	v.post("/login", url.Values{"email": {"ann@example.com"}, "password": {dashboardtest.OwnersPassword}, "next": {"/events"}}).leadsTo(t, "/events")
	v.get("/events").want(t, 200)
	for range 9 {
		v.post("/login", url.Values{"email": {"ann@example.com"}, "password": {"guess"}})
	}
	v.post("/login", url.Values{"email": {"ann@example.com"}, "password": {"guess"}}).want(t, http.StatusTooManyRequests, "Too many tries")
}

var secretValue = regexp.MustCompile(`name="secret" value="([A-Z2-7]+)"`)

// addAuthenticator sets a second factor up, and answers with its secret and the
// recovery codes.
func (s *site) addAuthenticator() (secret string, page answer) {
	s.t.Helper()
	offered := s.get("/account/authenticator").want(s.t, 200, "<svg class=\"qr\"", "Turn it on")
	secret = secretValue.FindStringSubmatch(offered.body)[1]
	return secret, s.post("/account/authenticator", url.Values{"secret": {secret}, "code": {s.code(secret, 0)}}).want(s.t, 200, "Your recovery codes")
}

func (s *site) code(secret string, later time.Duration) string {
	s.t.Helper()
	code, err := totp.GenerateCode(secret, time.Now().Add(later))
	if err != nil {
		s.t.Fatal(err)
	}
	return code
}

func TestSecondFactor(t *testing.T) {
	t.Parallel()
	s := newSite(t).owner()
	s.post("/account/authenticator", url.Values{"secret": {"AAAA"}, "code": {"1"}}).want(t, http.StatusUnprocessableEntity)
	secret, page := s.addAuthenticator()
	_, shown, _ := strings.Cut(page.body, `id="codes-text"`)
	shown, _, _ = strings.Cut(shown, "</code>")
	codes := regexp.MustCompile(`[a-z2-7]{5}-[a-z2-7]{5}`).FindAllString(shown, -1)
	if len(codes) != 10 {
		t.Fatalf("%d recovery codes are shown", len(codes))
	}
	s.get("/account").want(t, 200, "10 recovery codes are left").without(t, codes[0])
	s.post("/account/authenticator", url.Values{"secret": {secret}, "code": {"000000"}}).want(t, http.StatusUnprocessableEntity, "not the one that the app shows", secret)
	v := s.visitor()
	login := url.Values{"email": {dashboardtest.OwnersEmail}, "password": {dashboardtest.OwnersPassword}, "next": {"/events"}}
	v.post("/login", login).leadsTo(t, "/login/code?next=%2Fevents")
	v.get("/login").leadsTo(t, "/login/code?next=%2F")
	v.get("/login/code?next=/events").want(t, 200, `autocomplete="one-time-code"`, dashboardtest.OwnersEmail)
	v.post("/login/code", url.Values{"code": {"12345"}, "next": {"/events"}}).want(t, http.StatusUnprocessableEntity, "not right")
	v.post("/login/code", url.Values{"code": {s.code(secret, 30*time.Second)}, "next": {"/events"}}).leadsTo(t, "/events")
	v.get("/events").want(t, 200)
	v = s.visitor()
	v.get("/login/code").leadsTo(t, "/login?next=%2F")
	v.post("/login", login)
	v.post("/logout", nil).leadsTo(t, "/login")
	v.get("/login").want(t, 200)
	v.post("/login", login)
	v.post("/login/code", url.Values{"code": {codes[4]}, "next": {"/"}}).leadsTo(t, "/")
	s.post("/account/authenticator/remove", url.Values{"current": {"guess"}}).want(t, http.StatusUnprocessableEntity, "It is not your password")
	s.post("/account/recovery-codes", url.Values{"current": {dashboardtest.OwnersPassword}}).want(t, 200, "Your recovery codes").without(t, codes[0])
	s.post("/account/authenticator/remove", url.Values{"current": {dashboardtest.OwnersPassword}}).leadsTo(t, "/account?done=unfactor")
	s.visitor().post("/login", login).leadsTo(t, "/events")
}

func TestAccount(t *testing.T) {
	t.Parallel()
	s := newSite(t).owner()
	s.post("/account/name", url.Values{"name": {"Ann Ng"}}).leadsTo(t, "/account?done=renamed")
	s.get("/account?done=renamed").want(t, 200, "Your name is changed", "Ann Ng", "This one")
	s.post("/account/name", url.Values{"name": {strings.Repeat("x", 101)}}).want(t, http.StatusUnprocessableEntity, "more than 100")
	other := s.visitor()
	other.post("/login", url.Values{"email": {dashboardtest.OwnersEmail}, "password": {dashboardtest.OwnersPassword}}).leadsTo(t, "/")
	page := s.get("/account")
	end := regexp.MustCompile(`/account/sessions/(ses_[^/]+)/end`).FindAllStringSubmatch(page.body, -1)
	if len(end) != 1 {
		t.Fatalf("%d other sessions are shown", len(end))
	}
	s.post("/account/sessions/"+end[0][1]+"/end", nil).leadsTo(t, "/account?done=ended")
	other.get("/").leadsTo(t, "/login")
	other.post("/login", url.Values{"email": {dashboardtest.OwnersEmail}, "password": {dashboardtest.OwnersPassword}}).leadsTo(t, "/")
	s.post("/account/sessions/end", nil).leadsTo(t, "/account?done=ended")
	other.get("/").leadsTo(t, "/login")
	s.post("/account/password", url.Values{"current": {"guess"}, "password": {"a new good phrase"}}).want(t, http.StatusUnprocessableEntity, "It is not your password")
	s.post("/account/password", url.Values{"current": {dashboardtest.OwnersPassword}, "password": {"short"}}).want(t, http.StatusUnprocessableEntity, "fewer than 12")
	s.post("/account/password", url.Values{"current": {dashboardtest.OwnersPassword}, "password": {"a new good phrase"}}).leadsTo(t, "/account?done=password")
	s.get("/account").want(t, 200)
}

func TestMembers(t *testing.T) {
	t.Parallel()
	s := newSite(t).owner()
	vera := s.invited("vera@example.com", cybervault.RoleViewer)
	page := s.get("/settings/members").want(t, 200, "vera@example.com", `<span class="tag">you</span>`)
	id := regexp.MustCompile(`/settings/members/(usr_[^/]+)/role`).FindStringSubmatch(page.body)[1]
	s.post("/settings/members", url.Values{"email": {"vera@example.com"}, "role": {"viewer"}}).want(t, http.StatusUnprocessableEntity, "s already.", `value="vera@example.com"`)
	s.post("/settings/members", url.Values{"email": {"no address"}, "role": {"viewer"}}).want(t, http.StatusUnprocessableEntity, "no email address")
	s.post("/settings/members/"+id+"/role", url.Values{"role": {"king"}}).want(t, http.StatusUnprocessableEntity)
	vera.get("/settings/members").want(t, http.StatusForbidden, "viewer")
	s.post("/settings/members/"+id+"/role", url.Values{"role": {"admin"}}).leadsTo(t, "/settings/members?done=role")
	vera.get("/settings/members").want(t, 200) // at once
	vera.post("/settings/members", url.Values{"email": {"x@example.com"}, "role": {"owner"}}).want(t, http.StatusForbidden, "only an owner")
	reset := s.post("/settings/members/"+id+"/password", nil).want(t, 200, "to choose a new password")
	link, err := url.Parse(linkText.FindStringSubmatch(reset.body)[1])
	if err != nil {
		t.Fatal(err)
	}
	v := s.visitor()
	v.get(link.RequestURI()).want(t, 200, "Choose a new password")
	v.post("/invitation", url.Values{"token": link.Query()["token"], "password": {"another good phrase"}}).leadsTo(t, "/?done=joined")
	v.get("/").want(t, 200)
	v.get(link.RequestURI()).want(t, http.StatusNotFound, "opens nothing")
	v.post("/invitation", url.Values{"token": link.Query()["token"], "password": {"another good phrase"}}).want(t, http.StatusNotFound, "opens nothing")
	s.post("/settings/members", url.Values{"email": {"w@example.com"}, "role": {"viewer"}}).want(t, 200)
	page = s.get("/settings/members").want(t, 200, "w@example.com")
	withdraw := regexp.MustCompile(`/settings/invitations/(inv_[^/]+)/withdraw`).FindStringSubmatch(page.body)
	s.post(withdraw[0], nil).leadsTo(t, "/settings/members?done=withdrawn")
	s.get("/settings/members").want(t, 200).without(t, "w@example.com")
	s.post("/settings/members/"+id+"/remove", nil).leadsTo(t, "/settings/members?done=left")
	v.get("/").leadsTo(t, "/login")
}

func TestWorkspaces(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.fake.Hook("https://a.example.com/in", "", dashboardtest.OK, "*")
	s.owner()
	s.post("/settings/workspaces", url.Values{"name": {""}}).want(t, http.StatusUnprocessableEntity, "It is missing")
	s.post("/settings/workspaces", url.Values{"name": {"Second"}}).leadsTo(t, "/?done=switched")
	page := s.get("/account").want(t, 200, "Second", "default")
	back := regexp.MustCompile(`name="workspace" value="(ws_[^"]+)"`).FindStringSubmatch(page.body)[1]
	s.post("/account/workspace", url.Values{"workspace": {back}}).leadsTo(t, "/?done=switched")
	s.get("/settings/integrations/webhooks").want(t, 200, "a.example.com")
	s.post("/account/workspace", url.Values{"workspace": {"ws_01980000-0000-7000-8000-000000000000"}}).want(t, http.StatusNotFound)
}
