package api_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault"
)

// What is secret about the way to a receiver is shown as a mask, which may be
// sent back; the rest is shown as it is.
func TestShownChannel(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	path := "/v1/webhooks/" + webhook1.String()
	key := cybervault.NewSigningKey(f.webhooks[0].CreatedAt)
	f.webhooks[0].Signature, f.webhooks[0].SigningKeys = cybervault.SignatureEd25519, []cybervault.SigningKey{key}
	f.webhooks[0].Proxy = "http://user:hunter2@proxy.example:3128"
	for _, test := range []struct {
		a    cybervault.Authentication
		want map[string]any
	}{
		{cybervault.Authentication{Type: cybervault.AuthenticationBasic, Username: "u", Password: "hunter2"}, map[string]any{"type": "basic", "username": "u", "password": "***"}},
		{cybervault.Authentication{Type: cybervault.AuthenticationBearer, Token: "hunter2"}, map[string]any{"type": "bearer", "token": "***"}},
		{cybervault.Authentication{Type: cybervault.AuthenticationOAuth2, TokenURL: "https://id.example/token", ClientID: "id", ClientSecret: "hunter2",
			Scopes: []string{"a"}, ClientAuthentication: cybervault.ClientBasic}, map[string]any{"type": "oauth2", "token_url": "https://id.example/token",
			"client_id": "id", "client_secret": "***", "scopes": []any{"a"}, "client_authentication": "basic"}},
	} {
		f.webhooks[0].Authentication = test.a
		doc := f.get(request{call: "GET " + path}, 200)
		if diff := cmp.Diff(test.want, doc["authentication"]); diff != "" {
			t.Error(diff)
		}
		if doc["proxy"] != "http://user:***@proxy.example:3128" || doc["signature"] != "ed25519" || doc["public_key"] != cybervault.PublicKey(key.Private) {
			t.Errorf("shown: %v", doc)
		}
		if all := fmt.Sprint(doc); strings.Contains(all, "hunter2") || strings.Contains(all, "whsk_") {
			t.Errorf("a secret is shown: %s", all)
		}
	}
}
