package router_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/cybervault/cybervault"
)

func oauth2() *cybervault.Authentication {
	return &cybervault.Authentication{Type: cybervault.AuthenticationOAuth2, TokenURL: "https://id.example/token", ClientID: "id", ClientSecret: "hunter2"}
}

func TestAuthenticationIsKept(t *testing.T) {
	t.Parallel()
	k := newDesk(t)
	w := k.webhook("*")
	k.update(w.ID, cybervault.WebhookChange{Authentication: oauth2()})
	change := oauth2()
	change.TokenURL, change.ClientSecret = "https://id.example/v2/token", ""
	k.update(w.ID, cybervault.WebhookChange{Authentication: change})
	k.update(w.ID, cybervault.WebhookChange{Description: new("it stays")})
	now, _ := k.r.Lookup(w.ID)
	want := *oauth2()
	want.TokenURL, want.ClientAuthentication = "https://id.example/v2/token", cybervault.ClientBasic
	if !now.Authentication.Same(&want) {
		t.Errorf("it is %+v", now.Authentication)
	}
	// Another type needs a secret of its own.
	_, err := k.r.UpdateWebhook(t.Context(), k.ws, w.ID, cybervault.WebhookChange{Authentication: &cybervault.Authentication{Type: cybervault.AuthenticationBasic, Username: "u"}})
	wantCode(t, err, cybervault.CodeInvalid, "authentication.password")
	_, err = k.r.UpdateWebhook(t.Context(), k.ws, w.ID, cybervault.WebhookChange{Headers: &[]cybervault.Header{{Name: "authorization", Value: "x"}}})
	wantCode(t, err, cybervault.CodeInvalid, `headers["Authorization"]`)
	k.update(w.ID, cybervault.WebhookChange{Authentication: &cybervault.Authentication{}})
	if now, _ := k.r.Lookup(w.ID); !now.Authentication.Same(&cybervault.Authentication{}) {
		t.Errorf("it is %+v", now.Authentication)
	}
}

// Where attempts go by these settings is checked as the URL is.
func TestChannelIsChecked(t *testing.T) {
	t.Parallel()
	k := newDesk(t)
	w := k.webhook("*")
	refused := oauth2()
	refused.TokenURL = "https://refused.example/token"
	for field, change := range map[string]cybervault.WebhookChange{
		"authentication.token_url": {Authentication: refused},
		"proxy":                    {Proxy: new("http://user:hunter2@refused.example:3128")},
		"signature":                {Signature: new(cybervault.Signature("rsa"))},
	} {
		_, err := k.r.UpdateWebhook(t.Context(), k.ws, w.ID, change)
		wantCode(t, err, cybervault.CodeInvalid, field)
	}
	// Through a proxy names are the proxy's to look up; literal addresses are not.
	const proxy = "http://user:hunter2@proxy.example:3128"
	k.update(w.ID, cybervault.WebhookChange{Proxy: new(proxy), URL: new("https://refused.example/"), Authentication: refused})
	_, err := k.r.UpdateWebhook(t.Context(), k.ws, w.ID, cybervault.WebhookChange{URL: new("https://10.0.0.1/")})
	wantCode(t, err, cybervault.CodeInvalid, "url")
	k.update(w.ID, cybervault.WebhookChange{Proxy: new("http://user:***@proxy.example:3128")})
	if now, _ := k.r.Lookup(w.ID); now.Proxy != proxy {
		t.Errorf("the proxy is %q", now.Proxy)
	}
	// Without the proxy the URL is ours to judge again.
	_, err = k.r.UpdateWebhook(t.Context(), k.ws, w.ID, cybervault.WebhookChange{Proxy: new("")})
	wantCode(t, err, cybervault.CodeInvalid, "url")
}

func TestSigningKeys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newDesk(t)
		w := k.webhook("*")
		if w.PublicKey() != "" {
			t.Errorf("a key without being asked: %s", w.PublicKey())
		}
		k.update(w.ID, cybervault.WebhookChange{Signature: new(cybervault.SignatureEd25519)})
		first, _ := k.r.Lookup(w.ID)
		if len(first.SigningKeys) != 1 || cybervault.PublicKey(first.SigningKeys[0].Private) != first.PublicKey() || first.Secrets[0].Value != w.Secrets[0].Value {
			t.Fatalf("%+v", first.Channel)
		}
		k.update(w.ID, cybervault.WebhookChange{Signature: new(cybervault.SignatureEd25519), Description: new("the same")})
		if now, _ := k.r.Lookup(w.ID); now.PublicKey() != first.PublicKey() {
			t.Error("the key was made anew")
		}
		rotate := func(overlap time.Duration) *cybervault.Webhook {
			t.Helper()
			now, err := k.r.RotateSecret(t.Context(), k.ws, w.ID, overlap)
			if err != nil {
				t.Fatal(err)
			}
			return now
		}
		now := rotate(time.Hour)
		if keys := now.SigningKeys; len(keys) != 2 || len(now.Secrets) != 2 || keys[1].Private != first.SigningKeys[0].Private || !keys[1].ExpiresAt.Equal(time.Now().Add(time.Hour)) || !keys[0].ExpiresAt.IsZero() {
			t.Errorf("after a rotation: %+v", keys)
		}
		if now = rotate(0); len(now.SigningKeys) != 1 || now.PublicKey() == first.PublicKey() {
			t.Errorf("after one without overlap: %+v", now.SigningKeys)
		}
		k.update(w.ID, cybervault.WebhookChange{Signature: new(cybervault.SignatureHMAC)})
		if now, _ := k.r.Lookup(w.ID); len(now.SigningKeys) != 0 {
			t.Error("keys outlive the choice")
		}
		if err := k.r.DeleteWebhook(t.Context(), k.ws, w.ID); err != nil {
			t.Fatal(err)
		}
		if gone := k.store.webhooks[w.ID]; !gone.Authentication.Same(&cybervault.Authentication{}) || gone.SigningKeys != nil || gone.Proxy != "" {
			t.Errorf("a deleted webhook keeps %+v", gone.Channel)
		}
	})
}
