package e2e

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/cybervault/cybervault/test/testenv"
)

// browser is a person at the dashboard, with cookies and without JavaScript.
type browser struct {
	*testing.T
	server *testenv.Server
	client *http.Client
}

func newBrowser(t *testing.T, server *testenv.Server) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t, server, &http.Client{Jar: jar}}
}

// open gets a page, or with a form posts to it, and follows where that leads: the
// path and the page that it ends at.
func (b *browser) open(path string, form url.Values, status int) (at, body string) {
	b.Helper()
	r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, b.server.URL()+path, nil)
	if form != nil {
		r, err = http.NewRequestWithContext(b.Context(), http.MethodPost, b.server.URL()+path, strings.NewReader(form.Encode()))
	}
	if err != nil {
		b.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", b.server.URL())
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
