package e2e

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/cybervault/cybervault/internal/access/oidc/oidctest"
	"github.com/cybervault/cybervault/test/testenv"
)

// browser is a person at the dashboard, with cookies and without JavaScript.
type browser struct {
	*testing.T
	at     func() string // the address, which a restart changes
	client *http.Client
}

func newBrowser(t *testing.T, server *testenv.Server) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t, server.URL, &http.Client{Jar: jar}}
}

// open gets a page, or with a form posts to it, and follows where that leads: the
// path and the page that it ends at.
func (b *browser) open(path string, form url.Values, status int) (at, body string) {
	b.Helper()
	r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, b.at()+path, nil)
	if form != nil {
		r, err = http.NewRequestWithContext(b.Context(), http.MethodPost, b.at()+path, strings.NewReader(form.Encode()))
	}
	if err != nil {
		b.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", b.at())
	}
	res, err := b.client.Do(r)
	if err != nil {
		b.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		b.Fatal(err)
	}
	if res.StatusCode != status {
		b.Fatalf("%s is answered %d, want %d: %.2000s", path, res.StatusCode, status, raw)
	}
	return res.Request.URL.Path, string(raw)
}

// A log-in at an OpenID provider, on both databases: a new member, whose groups decide
// the role each time; one who is in none is refused; a node that starts while the
// provider is away serves, and says so.
func TestOpenIDConnect(t *testing.T) {
	t.Parallel()
	for name, database := range map[string]func(t *testing.T) []string{
		"sqlite": func(*testing.T) []string { return nil }, "postgres": func(t *testing.T) []string { t.Helper(); return []string{"--database-url", testenv.Postgres(t)} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			idp, front := oidctest.New(t), testenv.NewFront(t)
			options := testenv.ServerOptions{Env: []string{"CYBERVAULT_OIDC_CLIENT_SECRET=" + idp.ClientSecret}}
			options.Args = append(database(t), "--public-url", front.URL, "--oidc-issuer", idp.URL, "--oidc-client-id", idp.ClientID, "--oidc-name", "Example ID",
				"--oidc-role", "security=analyst", "--oidc-role", "admins=admin")
			idp.Fail(oidctest.Discovery, oidctest.Error500)
			server := testenv.StartServer(t, options)
			front.Behind(t, server.URL())
			ada := newBrowser(t, server)
			ada.at = func() string { return front.URL }
			if _, body := ada.open("/login/openid", nil, http.StatusServiceUnavailable); !strings.Contains(body, "The OpenID provider does not answer as it should") {
				t.Errorf("while the provider is away: %.3000s", body)
			}
			idp.Fail(oidctest.Discovery, oidctest.Works)
			if _, body := ada.open("/login?next=/events", nil, 200); !strings.Contains(body, `href="/login/openid?next=%2fevents"`) || !strings.Contains(body, "Log in with Example ID") {
				t.Errorf("the log-in page: %.3000s", body)
			}
			if at, _ := ada.open("/login/openid?next=/events", nil, 200); at != "/events" {
				t.Errorf("logged in, Ada is at %s", at)
			}
			if _, body := ada.open("/account", nil, 200); !strings.Contains(body, "ada@example.com") || !strings.Contains(body, "Ada Lovelace") {
				t.Errorf("the account: %.3000s", body)
			}
			ada.open("/settings/members", nil, http.StatusForbidden)
			user := oidctest.User{Subject: "ada-1", Email: "ada@example.com", EmailVerified: new(bool), Groups: []string{"admins"}}
			*user.EmailVerified = true
			idp.SetUser(user)
			ada.open("/login/openid", nil, 200)
			ada.open("/settings/members", nil, 200)
			if _, body := ada.open("/settings/audit-log?actor=ada@", nil, 200); !strings.Contains(body, "changed a role") || !strings.Contains(body, "became a member") {
				t.Errorf("the audit log: %.3000s", body)
			}
			user.Groups = []string{"cooks"}
			idp.SetUser(user)
			eve := newBrowser(t, server)
			eve.at = ada.at
			if _, body := eve.open("/login/openid", nil, http.StatusForbidden); !strings.Contains(body, "in none of the groups") {
				t.Errorf("whoever is in no group reads %.3000s", body)
			}
			// An answer that this browser has not asked for, and one that is used again.
			eve.open("/login/openid/return?code=x&state=y", nil, http.StatusUnauthorized)
			if strings.Contains(server.Log(), idp.ClientSecret) {
				t.Error("the client's secret is in the log")
			}
		})
	}
}

var printedLink = regexp.MustCompile(`Dashboard: http://[^/\s]+(/\S*)`)

// link is the path that the server printed when it last started.
func link(t *testing.T, server *testenv.Server) string {
	t.Helper()
	all := printedLink.FindAllStringSubmatch(server.Log(), -1)
	if len(all) == 0 {
		t.Fatalf("no link was printed: %s", server.Log())
	}
	return all[len(all)-1][1]
}

// From an empty directory to two people with different roles, over a restart, and back
// in after the owner has lost the password.
func TestPeople(t *testing.T) {
	onBoth(t, func(t *testing.T, server *testenv.Server) {
		ann := newBrowser(t, server)
		opened := link(t, server)
		if at, _ := ann.open(opened, nil, 200); at != "/setup" {
			t.Fatalf("the link leads to %s", at)
		}
		owner := url.Values{"email": {"ann@example.com"}, "password": {"correct horse battery"}}
		if at, body := ann.open("/setup", owner, 200); at != "/" || !strings.Contains(body, "What is next") {
			t.Fatalf("the first page is %s: %.2000s", at, body)
		}
		newBrowser(t, server).open(opened, nil, http.StatusForbidden)

		_, body := ann.open("/settings/members", url.Values{"email": {"vera@example.com"}, "role": {"viewer"}}, 200)
		token := regexp.MustCompile(`/invitation\?token=([\w-]+)`).FindStringSubmatch(body)
		vera := newBrowser(t, server)
		vera.open("/invitation?token="+token[1], nil, 200)
		vera.open("/invitation", url.Values{"token": {token[1]}, "name": {"Vera"}, "password": {"window staple garden"}}, 200)
		hook := url.Values{"url": {"https://receiver.example.com/in"}, "events": {"*"}}
		vera.open("/settings/integrations/webhooks", hook, http.StatusForbidden)
		if _, body := vera.open("/settings/integrations/webhooks", nil, 200); !strings.Contains(body, "No webhooks yet") {
			t.Error("a viewer has added a webhook")
		}

		server.Stop()
		server.Restart()
		if got := link(t, server); got != "/" {
			t.Errorf("a link that opens the dashboard was printed although there is an owner: %s", got)
		}
		// Sessions live on over the restart: they are in the store.
		if at, _ := vera.open("/events", nil, 200); at != "/events" {
			t.Errorf("after the restart Vera is at %s", at)
		}
		bob := newBrowser(t, server)
		bob.open("/login", url.Values{"email": {"ann@example.com"}, "password": {"correct horse batterx"}}, http.StatusUnauthorized)
		bob.open("/login", url.Values{"email": {"ann@example.com"}, "password": {"correct horse battery"}}, 200)

		server.Stop()
		server.RestartWith("--recovery-link")
		operator := newBrowser(t, server)
		operator.open(link(t, server), nil, 200)
		_, body = operator.open("/settings/members", nil, 200)
		reset := regexp.MustCompile(`/settings/members/usr_[^/]+/password`).FindString(body)
		_, body = operator.open(reset, url.Values{}, 200)
		token = regexp.MustCompile(`/invitation\?token=([\w-]+)`).FindStringSubmatch(body)
		bob.open("/invitation", url.Values{"token": {token[1]}, "password": {"a phrase that is new"}}, 200)
		newBrowser(t, server).open("/login", url.Values{"email": {"ann@example.com"}, "password": {"correct horse battery"}}, http.StatusUnauthorized)
		newBrowser(t, server).open("/login", url.Values{"email": {"ann@example.com"}, "password": {"a phrase that is new"}}, 200)
		for _, secret := range []string{"correct horse battery", "window staple garden", "a phrase that is new"} {
			if strings.Contains(server.Log(), secret) {
				t.Error("a password is in the log")
			}
		}
	})
}
