package dashboard_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/cybervault/cybervault/internal/access"
	"github.com/cybervault/cybervault/internal/dashboard"
	"github.com/cybervault/cybervault/internal/dashboard/dashboardtest"
)

// site is the dashboard over a fake workspace, with a visitor who has cookies
// and no JavaScript.
type site struct {
	handler http.Handler
	t       *testing.T
	fake    *dashboardtest.Fake
	access  *access.Access
	client  *http.Client
	url     string
	log     *strings.Builder
}

func newSite(t *testing.T, change ...func(*dashboard.Config)) *site {
	t.Helper()
	s := &site{t: t, fake: dashboardtest.New(time.Now), log: new(strings.Builder)}
	s.access = dashboardtest.NewAccess(t, s.fake)
	cfg := config(s.fake)
	cfg.Access = s.access
	cfg.Logger = slog.New(slog.NewTextHandler(s.log, nil))
	for _, c := range change {
		c(&cfg)
	}
	h, err := dashboard.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.handler = h
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	s.url, s.client = server.URL, &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return s
}

func config(f *dashboardtest.Fake) dashboard.Config {
	return dashboard.Config{
		Webhooks: f, Receivers: f, Log: f, Replayer: f, Previewer: f, Catalogue: f, Keys: f, Actions: f, System: f, Fleet: f, Alerts: f, Changes: f, Incidents: f, Rules: f, Version: "v0.1.0",
	}
}

// answer is what came back, read to its end.
type answer struct {
	status int
	header http.Header
	body   string
}

func (s *site) do(method, path string, form url.Values, headers ...string) answer {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		s.t.Fatal(err)
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := s.client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(body)}
}

func (s *site) get(path string, headers ...string) answer {
	s.t.Helper()
	return s.do(http.MethodGet, path, nil, headers...)
}

func (s *site) post(path string, form url.Values) answer {
	s.t.Helper()
	return s.do(http.MethodPost, path, form)
}

func (s *site) login() *site {
	s.t.Helper()
	if a := s.get("/login?token=" + dashboardtest.Token); a.status != http.StatusSeeOther {
		s.t.Fatalf("the log-in link was answered %d", a.status)
	}
	return s
}

func (a answer) want(t *testing.T, status int, parts ...string) answer {
	t.Helper()
	if a.status != status {
		t.Fatalf("status %d, want %d; the page: %s", a.status, status, excerpt(a.body))
	}
	for _, part := range parts {
		if !strings.Contains(a.body, part) {
			t.Errorf("the page does not hold %q: %s", part, excerpt(a.body))
		}
	}
	return a
}

func (a answer) without(t *testing.T, parts ...string) answer {
	t.Helper()
	for _, part := range parts {
		if strings.Contains(a.body, part) {
			t.Errorf("the page holds %q", part)
		}
	}
	return a
}

func (a answer) leadsTo(t *testing.T, path string) answer {
	t.Helper()
	a.want(t, http.StatusSeeOther)
	if to := a.header.Get("Location"); to != path {
		t.Fatalf("it leads to %q, want %q", to, path)
	}
	return a
}

func excerpt(body string) string {
	if _, main, ok := strings.Cut(body, "<main"); ok {
		body = main
	}
	return body[:min(len(body), 3000)]
}

func TestNewNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	_, err := dashboard.New(dashboard.Config{})
	if err == nil {
		t.Fatal("an empty Config was taken")
	}
	for _, name := range []string{"Webhooks", "Log", "Replayer", "Previewer", "Catalogue", "Keys", "Access", "Changes", "Incidents", "Rules"} {
		if !strings.Contains(err.Error(), "Config."+name+" ") {
			t.Errorf("%v does not name %s", err, name)
		}
	}
}

func TestHeadersOnEveryAnswer(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	pages := map[string]int{"/login": 200, "/": 303, "/static/app.js": 200, "/static/none.js": 404, "/nowhere": 303}
	for path, status := range pages {
		a := s.get(path).want(t, status)
		csp := a.header.Get("Content-Security-Policy")
		for _, rule := range []string{"default-src 'none'", "style-src 'self'", "script-src 'self'", "img-src 'self' data:", "connect-src 'self'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"} {
			if !strings.Contains(csp, rule) {
				t.Errorf("%s: the policy %q lacks %q", path, csp, rule)
			}
		}
		if strings.Contains(csp, "unsafe") {
			t.Errorf("%s: the policy %q allows something unsafe", path, csp)
		}
		for name, value := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "X-Frame-Options": "DENY"} {
			if got := a.header.Get(name); got != value {
				t.Errorf("%s: %s is %q, want %q", path, name, got, value)
			}
		}
	}
	if got := s.login().get("/").header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("a page has Cache-Control %q, want no-store", got)
	}
}

func TestDevBanner(t *testing.T) {
	t.Parallel()
	newSite(t, func(c *dashboard.Config) { c.Dev = true }).login().get("/").want(t, 200, "Development mode.")
	newSite(t).login().get("/").want(t, 200).without(t, "Development mode.")
}

func TestPostsOfOtherSitesAreRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t).login()
	for _, path := range []string{"/logout", "/theme", "/login", "/settings/api-keys", "/settings/integrations/webhooks"} {
		s.do(http.MethodPost, path, url.Values{"name": {"x"}, "scopes": {"admin"}}, "Sec-Fetch-Site", "cross-site").want(t, http.StatusForbidden, "another site")
		s.do(http.MethodPost, path, nil, "Sec-Fetch-Site", "", "Origin", "https://evil.example").want(t, http.StatusForbidden)
	}
	if keys, _ := s.fake.Keys(t.Context(), s.fake.Workspace); len(keys) != 0 {
		t.Error("another site made an API key")
	}
	s.get("/").want(t, 200)
}
