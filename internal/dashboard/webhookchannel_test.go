package dashboard_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/cybervault/cybervault"
)

// The form gives a webhook an authentication, keeps its secret where the field
// is left empty, and never shows it; the same goes for a proxy's password.
func TestAuthenticationInTheForm(t *testing.T) {
	t.Parallel()
	s := newSite(t).login()
	form := func(more ...string) url.Values {
		form := url.Values{"url": {"https://example.com/in"}, "events": {"*"}}
		for i := 0; i < len(more); i += 2 {
			form.Set(more[i], more[i+1])
		}
		return form
	}
	s.get(hooks+"/new").want(t, 200, `<option value="" selected>none</option>`, `name="auth_client_secret" value="" type="password"`).without(t, `id="advanced" open`, "the one there is stays")
	oauth2 := []string{"auth_type", "oauth2", "auth_token_url", " https://id.example.com/token ", "auth_client_id", "soc", "auth_client_secret", "hunter2", "auth_scopes", " a  b ", "auth_password", "of another type",
		"proxy", "http://user:hunter2@proxy.example.com:3128", "signature", "ed25519"}
	s.post(hooks, form(oauth2...)).want(t, 200, "whsec_").without(t, "hunter2")
	w := s.hooks()[0]
	want := cybervault.Authentication{Type: cybervault.AuthenticationOAuth2, TokenURL: "https://id.example.com/token", ClientID: "soc", ClientSecret: "hunter2",
		Scopes: []string{"a", "b"}, ClientAuthentication: cybervault.ClientBasic}
	if !w.Authentication.Same(&want) || w.Proxy != "http://user:hunter2@proxy.example.com:3128" || w.PublicKey() == "" {
		t.Fatalf("it was saved as %+v", w.Channel)
	}
	path := hooks + "/" + w.ID.String()
	s.get(path).want(t, 200, "OAuth 2 as soc, tokens from https://id.example.com/token", "http://user:***@proxy.example.com:3128", "whpk_").without(t, "hunter2", "whsk_")
	s.get(path+"/edit").want(t, 200, `id="advanced" open`, `value="oauth2" selected`, `value="a b"`, `value="http://user:***@proxy.example.com:3128"`, "Empty: the one there is stays.").without(t, "hunter2")

	s.post(path+"/edit", form("auth_type", "oauth2", "auth_token_url", want.TokenURL+"/v2", "auth_client_id", "soc", "auth_client_authentication", "body",
		"proxy", "http://user:***@proxy.example.com:3128")).leadsTo(t, path+"?done=saved")
	now := s.hooks()[0]
	if a := now.Authentication; a.ClientSecret != "hunter2" || a.TokenURL != want.TokenURL+"/v2" || a.ClientAuthentication != cybervault.ClientBody || now.Proxy != w.Proxy || now.PublicKey() != "" {
		t.Errorf("it was saved as %+v", now.Channel)
	}
	for field, bad := range map[string]struct {
		form []string
		says string
	}{
		"auth_password":  {[]string{"auth_type", "basic", "auth_username", "soc"}, "The password is missing: give the password"},
		"auth_username":  {[]string{"auth_type", "basic", "auth_username", "a:b", "auth_password", "x"}, "has a colon in it"},
		"auth_token_url": {[]string{"auth_type", "oauth2", "auth_token_url", "nowhere", "auth_client_id", "soc", "auth_client_secret", "x"}, "The URL cannot be read as a URL"},
		"auth_type":      {[]string{"auth_type", "digest"}, "is not a type"},
		"proxy":          {[]string{"proxy", "proxy.example.com:3128"}, "begins with neither http:// nor https://"},
		"headers":        {[]string{"headers", "Authorization: x", "auth_type", "bearer", "auth_token", "y"}, "remove one of the two"},
	} {
		s.post(path+"/edit", form(bad.form...)).want(t, http.StatusUnprocessableEntity, bad.says, `id="advanced" open`, `id="`+field+`-error"><p class="error">`)
	}
	s.post(path+"/edit", form("auth_type", "")).leadsTo(t, path+"?done=saved")
	if c := s.hooks()[0].Channel; c.Authentication.Type != "" || c.Proxy != "" {
		t.Errorf("it was saved as %+v", c)
	}
	if log := s.log.String(); strings.Contains(log, "hunter2") {
		t.Errorf("a secret is in the log: %s", log)
	}
}
