package cybervault_test

import (
	"strings"
	"testing"

	"github.com/cybervault/cybervault"
)

func webhookWith(a cybervault.Authentication) *cybervault.Webhook {
	return &cybervault.Webhook{URL: "https://receiver.example/", Events: []string{"*"}, Status: cybervault.WebhookEnabled, Accept: cybervault.AcceptDefault,
		Channel: cybervault.Channel{Authentication: a}}
}

func oauth2(change func(*cybervault.Authentication)) cybervault.Authentication {
	a := cybervault.Authentication{Type: cybervault.AuthenticationOAuth2, TokenURL: "https://id.example/token", ClientID: "id", ClientSecret: "hunter2",
		Scopes: []string{"events.write"}, ClientAuthentication: cybervault.ClientBasic}
	if change != nil {
		change(&a)
	}
	return a
}

func TestCheckAuthentication(t *testing.T) {
	t.Parallel()
	basic := cybervault.Authentication{Type: cybervault.AuthenticationBasic, Username: "ü", Password: "hunter2 : ü"}
	for _, good := range []cybervault.Authentication{{}, basic, {Type: cybervault.AuthenticationBearer, Token: "a.b-c_d~e+f/g=="}, oauth2(nil)} {
		if err := webhookWith(good).Check(); err != nil {
			t.Errorf("%s: %v", good.Type, err)
		}
	}
	for _, test := range []struct {
		a           cybervault.Authentication
		field, says string
	}{
		{cybervault.Authentication{Type: "digest"}, "authentication.type", `"basic", "bearer" or "oauth2"`},
		{cybervault.Authentication{Token: "hunter2"}, "authentication.type", "is missing"},
		{cybervault.Authentication{Type: cybervault.AuthenticationBasic, Password: "hunter2"}, "authentication.username", "is missing"},
		{cybervault.Authentication{Type: cybervault.AuthenticationBasic, Username: "u"}, "authentication.password", "is missing"},
		{cybervault.Authentication{Type: cybervault.AuthenticationBasic, Username: "u:v", Password: "hunter2"}, "authentication.username", "colon"},
		{cybervault.Authentication{Type: cybervault.AuthenticationBasic, Username: "u", Password: "hunter2\r\n"}, "authentication.password", "control character"},
		{cybervault.Authentication{Type: cybervault.AuthenticationBasic, Username: "u", Password: "p", Token: "hunter2"}, "authentication.token", `belongs to the type "bearer"`},
		{cybervault.Authentication{Type: cybervault.AuthenticationBearer}, "authentication.token", "is missing"},
		{cybervault.Authentication{Type: cybervault.AuthenticationBearer, Token: "Bearer hunter2"}, "authentication.token", "without \"Bearer\""},
		{cybervault.Authentication{Type: cybervault.AuthenticationBearer, Token: strings.Repeat("hunter2", 600)}, "authentication.token", "more than 4096"},
		{oauth2(func(a *cybervault.Authentication) { a.TokenURL = "id.example/token" }), "authentication.token_url", "cannot be read"},
		{oauth2(func(a *cybervault.Authentication) { a.TokenURL = "https://u:hunter2@id.example/token" }), "authentication.token_url", "holds a user name"},
		{oauth2(func(a *cybervault.Authentication) { a.TokenURL = "https://id.example/token#x" }), "authentication.token_url", "fragment"},
		{oauth2(func(a *cybervault.Authentication) { a.ClientSecret = "" }), "authentication.client_secret", "is missing"},
		{oauth2(func(a *cybervault.Authentication) { a.Scopes = []string{"a b"} }), "authentication.scopes", "is not a scope"},
		{oauth2(func(a *cybervault.Authentication) { a.Scopes = []string{""} }), "authentication.scopes", "is not a scope"},
		{oauth2(func(a *cybervault.Authentication) { a.ClientAuthentication = "jwt" }), "authentication.client_authentication", "is not a choice"},
	} {
		wantInvalid(t, webhookWith(test.a).Check(), test.field, test.says)
	}
	w := webhookWith(basic)
	w.Headers = []cybervault.Header{{Name: "authorization", Value: "hunter2"}}
	wantInvalid(t, w.Check(), `headers["Authorization"]`, "remove one of the two")
	w = webhookWith(cybervault.Authentication{})
	w.Signature = "rsa"
	wantInvalid(t, w.Check(), "signature", `"hmac" or "ed25519"`)
	w.Signature, w.Proxy = "", "proxy:3128"
	wantInvalid(t, w.Check(), "proxy", "neither http:// nor https://")
}

func wantInvalid(t *testing.T, err error, field, says string) {
	t.Helper()
	e, ok := err.(*cybervault.Error) //nolint:errorlint // Check makes it itself
	if !ok || e.Field != field || !strings.Contains(e.Message, says) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v, want %s: … %s", err, field, says)
	}
}

func TestAuthenticationKeepsItsSecret(t *testing.T) {
	t.Parallel()
	stored := oauth2(nil)
	for _, given := range []string{"", cybervault.Masked} {
		change := oauth2(func(a *cybervault.Authentication) {
			a.ClientSecret, a.Scopes, a.ClientAuthentication = given, []string{"other"}, ""
		})
		kept := change.Keeping(&stored)
		if kept.ClientSecret != "hunter2" || kept.Scopes[0] != "other" || kept.ClientAuthentication != cybervault.ClientBasic {
			t.Errorf("kept %+v", kept)
		}
		for _, other := range []func(*cybervault.Authentication){
			func(a *cybervault.Authentication) { a.ClientSecret, a.ClientID = given, "other" },
			func(a *cybervault.Authentication) { a.ClientSecret, a.TokenURL = given, "https://other.example/token" },
		} {
			if change := oauth2(other); change.Keeping(&stored).ClientSecret != "" {
				t.Error("the secret went to another client or endpoint")
			}
		}
		basic := cybervault.Authentication{Type: cybervault.AuthenticationBasic, Username: "u", Password: given}
		if kept := basic.Keeping(&stored); kept.Password != "" || kept.ClientSecret != "" {
			t.Errorf("another type: %+v", kept)
		}
	}
	change := oauth2(func(a *cybervault.Authentication) { a.ClientSecret = "new" })
	if kept := change.Keeping(&stored); kept.ClientSecret != "new" || kept.Same(&stored) || !stored.Same(&stored) {
		t.Errorf("kept %+v", kept)
	}
}

func TestProxyPassword(t *testing.T) {
	t.Parallel()
	const stored = "http://user:hunter2@proxy.example:3128"
	if got := cybervault.ShowProxy(stored); got != "http://user:***@proxy.example:3128" {
		t.Errorf("shown as %s", got)
	}
	for raw, want := range map[string]string{
		"": "", "http://proxy.example:3128/": "http://proxy.example:3128", "http://user:***@proxy.example:3128": stored,
		"http://user:new@other.example:1": "http://user:new@other.example:1",
	} {
		if got, err := cybervault.KeepProxyPassword(raw, stored); got != want || err != nil {
			t.Errorf("%q: %q, %v", raw, got, err)
		}
	}
	// The mask is no way to have the password sent elsewhere.
	for _, raw := range []string{"http://user:***@evil.example:3128", "http://root:***@proxy.example:3128", "https://user:***@proxy.example:3128"} {
		_, err := cybervault.KeepProxyPassword(raw, stored)
		wantInvalid(t, err, "proxy", "give the password")
	}
}

func FuzzProxyNeverShowsItsPassword(f *testing.F) {
	f.Add("http://user:hunter2@proxy.example:3128")
	f.Add("https://user:hunter2%40@[::1]:3128/")
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := cybervault.ParseProxy(raw)
		if err != nil {
			return
		}
		shown := cybervault.ShowProxy(raw)
		back, err := cybervault.ParseProxy(shown)
		if err != nil || back.Host != u.Host || back.User.Username() != u.User.Username() {
			t.Errorf("%q is shown as %q: %v", raw, shown, err)
		}
		if password, ok := back.User.Password(); ok && password != cybervault.Masked {
			t.Errorf("%q is shown as %q", raw, shown)
		}
	})
}
