package dashboard_test

import (
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/cybervault/cybervault/internal/access/passkeytest"
	"github.com/cybervault/cybervault/internal/dashboard/dashboardtest"
)

var (
	passkeyOptions = regexp.MustCompile(`data-options="([^"]+)"`)
	passkeyRemoval = regexp.MustCompile(`formaction="(/account/passkeys/psk_[^/]+/remove)"`)
)

// named is the site opened by a host name, which passkeys need.
func named(t *testing.T) *site {
	t.Helper()
	s := newSite(t)
	s.url = strings.Replace(s.url, "127.0.0.1", "localhost", 1)
	return s
}

func (s *site) options(page answer) []byte {
	s.t.Helper()
	found := passkeyOptions.FindStringSubmatch(page.body)
	if found == nil {
		s.t.Fatalf("the page holds no options:\n%s", page.body)
	}
	return []byte(html.UnescapeString(found[1]))
}

// answerOf is what a browser sends once the device has answered.
func (s *site) answerOf(answer []byte, err error) string {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
	return string(answer)
}

func TestPasskey(t *testing.T) {
	t.Parallel()
	s := named(t).owner()
	s.get("/account").want(t, 200, "Add a passkey").without(t, "recovery codes are left")
	laptop := passkeytest.New(s.url)
	page := s.get("/account/passkeys/new", "User-Agent", "Mozilla/5.0 (X11; Linux x86_64) Chrome/130.0").want(t, 200, `value="Chrome on Linux"`, "passkeys.js", "noscript")
	made := s.answerOf(laptop.Create(s.options(page)))
	s.post("/account/passkeys", url.Values{"name": {""}, "passkey": {made}}).want(t, http.StatusUnprocessableEntity, "It is missing")
	s.post("/account/passkeys", url.Values{"name": {"<b>x"}, "passkey": {"{}"}}).want(t, http.StatusUnprocessableEntity, "is nothing that a browser answers with", "&lt;b&gt;x")
	s.post("/account/passkeys", url.Values{"name": {"laptop"}, "passkey": {made}}).want(t, 200, "Your recovery codes", "laptop", "Never")
	s.post("/account/passkeys", url.Values{"name": {"again"}, "passkey": {made}}).want(t, http.StatusUnprocessableEntity, "known already")
	phone := passkeytest.New(s.url)
	made = s.answerOf(phone.Create(s.options(s.get("/account/passkeys/new"))))
	s.post("/account/passkeys", url.Values{"name": {"phone"}, "passkey": {made}}).leadsTo(t, "/account?done=factor")
	s.get("/account?done=factor").want(t, 200, "10 recovery codes are left", "phone", "stay as they are")
	s.get("/settings/members").want(t, 200, "Passkey")

	v := s.visitor()
	login := url.Values{"email": {dashboardtest.OwnersEmail}, "password": {dashboardtest.OwnersPassword}, "next": {"/events"}}
	v.post("/login", login).leadsTo(t, "/login/code?next=%2Fevents")
	page = v.get("/login/code?next=/events").want(t, 200, "Use a passkey", "Recovery code").without(t, "authenticator app")
	signed := s.answerOf(laptop.Get(s.options(page)))
	v.post("/login/passkey", url.Values{"passkey": {strings.Replace(signed, `"type":"public-key"`, `"type":"password"`, 1)}, "next": {"/events"}}).want(t, http.StatusUnprocessableEntity, "is nothing that a browser answers with", "Use a passkey")
	v.post("/login/passkey", url.Values{"passkey": {signed}, "next": {"/events"}}).leadsTo(t, "/events")
	v.get("/account").want(t, 200, "by password and passkey")
	v.post("/login/passkey", url.Values{"passkey": {signed}}).leadsTo(t, "/login?next=%2F")

	// By another name there is no passkey to use, and the page says where there is.
	v = s.visitor()
	v.url = strings.Replace(s.url, "localhost", "127.0.0.1", 1)
	v.post("/login", login).leadsTo(t, "/login/code?next=%2Fevents")
	v.get("/login/code").want(t, 200, "a passkey of yours for localhost", "Recovery code").without(t, "Use a passkey")

	s.post("/account/passkeys/nothing/remove", url.Values{"current": {dashboardtest.OwnersPassword}}).want(t, http.StatusNotFound)
	for _, removal := range passkeyRemoval.FindAllStringSubmatch(s.get("/account").body, -1) {
		s.post(removal[1], url.Values{"current": {"guess"}}).want(t, http.StatusUnprocessableEntity, "It is not your password")
		s.post(removal[1], url.Values{"current": {dashboardtest.OwnersPassword}}).leadsTo(t, "/account?done=unpasskey")
	}
	s.visitor().post("/login", login).leadsTo(t, "/events")
}

func TestPasskeyAtAnAddress(t *testing.T) {
	t.Parallel()
	s := newSite(t).owner()
	s.get("/account/passkeys/new").want(t, 200, "as localhost", "127.0.0.1 is an address").without(t, "data-options")
	s.post("/account/passkeys", url.Values{"name": {"laptop"}, "passkey": {"{}"}}).want(t, http.StatusUnprocessableEntity, "is an address")
}
