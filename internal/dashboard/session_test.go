package dashboard_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/cybervault/cybervault/internal/dashboard/dashboardtest"
)

func cookie(a answer, name string) *http.Cookie {
	res := http.Response{Header: a.header}
	for _, c := range res.Cookies() {
		if c.Name == name {
			return c
		}
	}
	return nil
}

func TestEveryPageNeedsASession(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.get("/").leadsTo(t, "/login")
	s.get("/deliveries?status=held&q=a+b").leadsTo(t, "/login?next=%2Fdeliveries%3Fq%3Da%2Bb%26status%3Dheld")
	for _, path := range []string{"/events", "/events/wh_x", "/events/wh_x/raw", "/settings/integrations/webhooks", "/settings/integrations/webhooks/new", "/settings/api-keys", "/nowhere"} {
		s.get(path).leadsTo(t, "/login?next="+url.QueryEscape(path))
	}
	for _, path := range []string{"/logout", "/deliveries/dlv_x/replay", "/settings/integrations/webhooks", "/settings/api-keys", "/settings/integrations/webhooks/whk_x/secret"} {
		s.post(path, nil).leadsTo(t, "/login")
	}
	s.get("/live").want(t, http.StatusUnauthorized)
	a := s.get("/deliveries", "HX-Request", "true").want(t, http.StatusUnauthorized)
	if to := a.header.Get("HX-Redirect"); to != "/login?next=%2Fdeliveries" {
		t.Errorf("htmx is led to %q", to)
	}
}

func TestLogin(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := s.get("/login?token="+dashboardtest.Token).leadsTo(t, "/setup") // there is no owner yet
	c := cookie(a, "cybervault_session")
	if c == nil || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Secure || c.Path != "/" || strings.Contains(c.Value, dashboardtest.Token) {
		t.Fatalf("the cookie is %v", c)
	}
	s.get("/").want(t, 200, "Overview", "Log out")
	s.get("/login").leadsTo(t, "/")
	s.post("/logout", nil).leadsTo(t, "/login")
	s.get("/").leadsTo(t, "/login")

	if c := cookie(s.get("/login?token="+dashboardtest.Token, "X-Forwarded-Proto", "https"), "cybervault_session"); c == nil || !c.Secure {
		t.Errorf("behind TLS the cookie is %v", c)
	}
}

func TestALoggedOutSessionIsWorthNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	stolen := cookie(s.get("/login?token="+dashboardtest.Token), "cybervault_session")
	s.post("/logout", nil)
	s.get("/", "Cookie", stolen.String()).leadsTo(t, "/login")
}

func TestLoginByForm(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.get("/login?next=/events").want(t, 200, `name="next" value="/events"`, `name="token"`)
	s.post("/login", url.Values{"token": {"mistyped"}, "next": {"/events"}}).want(t, http.StatusUnauthorized, "not right", `value="/events"`).without(t, "mistyped")
	s.post("/login", url.Values{"next": {"/events"}}).want(t, http.StatusUnprocessableEntity, "Enter the token")
	s.get("/").leadsTo(t, "/login")
	s.post("/login", url.Values{"token": {dashboardtest.Token}, "next": {"/events"}}).leadsTo(t, "/events")
	s.get("/events").want(t, 200)
}

func TestLoginLeadsNowhereElse(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, next := range []string{"https://evil.example/", "//evil.example", `/\evil.example`, "javascript:alert(1)", "/\t/evil.example", "evil"} {
		s.get("/login?token="+dashboardtest.Token+"&next="+url.QueryEscape(next)).leadsTo(t, "/")
		s.post("/theme", url.Values{"theme": {"dark"}, "back": {next}}).leadsTo(t, "/")
	}
}

func TestTheme(t *testing.T) {
	t.Parallel()
	s := newSite(t).login()
	s.get("/").want(t, 200, `data-theme="system"`)
	s.post("/theme", url.Values{"theme": {"dark"}, "back": {"/events?event=threat.*"}}).leadsTo(t, "/events?event=threat.*")
	s.get("/").want(t, 200, `<html lang="en" data-theme="dark">`)
	s.post("/theme", url.Values{"theme": {"light"}}).leadsTo(t, "/")
	s.get("/").want(t, 200, `<html lang="en" data-theme="light">`)
	s.post("/theme", url.Values{"theme": {"system"}}).leadsTo(t, "/")
	s.get("/").want(t, 200, `<html lang="en" data-theme="system">`)
	s.post("/theme", url.Values{"theme": {`"><script>`}}).want(t, http.StatusUnprocessableEntity)
}
