package dashboard_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/dashboard"
)

// provider is a log-in by OpenID Connect that ends as it is told.
type provider struct {
	cookie string
	due    bool
	err    error
	sealed string
	query  url.Values
}

func (p *provider) Name() string { return "Example <ID>" }

func (p *provider) Begin(context.Context) (redirect, sealed string, err error) {
	return "https://id.example.com/authorize?state=x", "sealed-flow", p.err
}

func (p *provider) Finish(_ context.Context, _ cybervault.Caller, sealed string, query url.Values) (cookie string, due bool, err error) {
	p.sealed, p.query = sealed, query
	return p.cookie, p.due, p.err
}

// openID asks for a path of the log-in by OpenID Connect, with the cookie of the begin.
func openID(t *testing.T, h http.Handler, path, cookie string) *http.Response {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody)
	r.Header.Set("X-Forwarded-Proto", "https")
	if cookie != "" {
		r.AddCookie(&http.Cookie{Name: "cybervault_openid", Value: cookie})
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func TestLoginByOpenID(t *testing.T) {
	t.Parallel()
	p := &provider{cookie: "a-session"}
	s := newSite(t, func(c *dashboard.Config) { c.SignOn = p })
	s.get("/login?next=/events").want(t, 200, "Log in with Example &lt;ID&gt;", `href="/login/openid?next=%2fevents"`)
	begun := openID(t, s.handler, "/login/openid?next=/events%3Fq=a", "")
	kept := begun.Cookies()[0]
	if begun.StatusCode != http.StatusSeeOther || begun.Header.Get("Location") != "https://id.example.com/authorize?state=x" || !kept.HttpOnly || !kept.Secure ||
		kept.SameSite != http.SameSiteLaxMode || kept.Path != "/login/openid" || kept.MaxAge != 600 {
		t.Errorf("%d %v %+v", begun.StatusCode, begun.Header, kept)
	}
	for _, c := range []struct {
		due        bool
		cookie, to string
	}{
		{cookie: kept.Value, to: "/events?q=a"},
		{cookie: kept.Value, due: true, to: "/login/code?next=%2Fevents%3Fq%3Da"},
		{cookie: "sealed-flow." + url.QueryEscape("https://evil.example"), to: "/"},
		{cookie: "sealed-flow." + url.QueryEscape("//evil.example"), to: "/"},
		{cookie: "sealed-flow.%zz", to: "/"},
		{cookie: "sealed-flow", to: "/"},
	} {
		p.due = c.due
		back := openID(t, s.handler, "/login/openid/return?code=c&state=x", c.cookie)
		if back.StatusCode != http.StatusSeeOther || back.Header.Get("Location") != c.to || p.sealed != "sealed-flow" || p.query.Get("code") != "c" {
			t.Errorf("%+v: %d to %s with %q, %v", c, back.StatusCode, back.Header.Get("Location"), p.sealed, p.query)
		}
		set := map[string]*http.Cookie{}
		for _, c := range back.Cookies() {
			set[c.Name] = c
		}
		if flow, session := set["cybervault_openid"], set["cybervault_session"]; flow == nil || flow.MaxAge != -1 || session == nil || session.Value != "a-session" {
			t.Errorf("%+v: cookies %v", c, back.Cookies())
		}
	}
}

func TestLoginByOpenIDThatIsRefused(t *testing.T) {
	t.Parallel()
	p := &provider{}
	s := newSite(t, func(c *dashboard.Config) { c.SignOn = p })
	for _, c := range []struct {
		err    error
		status int
		words  string
	}{
		{cybervault.Errorf(cybervault.CodeUnauthorized, "begin again <b>"), http.StatusUnauthorized, "Begin again &lt;b&gt;"},
		{cybervault.Errorf(cybervault.CodeForbidden, "you are in none of the groups"), http.StatusForbidden, "You are in none of the groups"},
		{&cybervault.Error{Code: cybervault.CodeUnavailable, Field: "openid", Message: "the OpenID provider does not answer", Err: errors.New("inner")}, http.StatusServiceUnavailable, "The OpenID provider does not answer"},
		{cybervault.Errorf(cybervault.CodeUnavailable, "disk full"), http.StatusServiceUnavailable, "could not read or write its database"},
	} {
		p.err = c.err
		for _, path := range []string{"/login/openid?next=/rules", "/login/openid/return?next=x"} {
			a := s.get(path).want(t, c.status, c.words, "Log in with").without(t, "inner")
			if strings.Contains(a.header.Get("Set-Cookie"), "cybervault_session") {
				t.Errorf("%v: a session was begun", c.err)
			}
		}
	}
	p.err = errors.New("a mistake")
	s.get("/login/openid").want(t, http.StatusInternalServerError)

	none := newSite(t)
	none.get("/login").without(t, "Log in with")
	none.get("/login/openid").want(t, http.StatusNotFound)
	none.get("/login/openid/return").want(t, http.StatusNotFound)
}
