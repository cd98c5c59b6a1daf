package config_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/config"
)

func TestOIDCFromEverywhere(t *testing.T) {
	t.Parallel()
	want := config.OIDC{
		Issuer: "https://id.example.com/realms/x", ClientID: "cv", ClientSecret: "s3cret", Name: "Example", Scopes: []string{"openid", "groups"}, GroupsClaim: "realm_access.roles",
		Roles:       map[string]cybervault.Role{"security": cybervault.RoleAnalyst, "cn=admins": cybervault.RoleAdmin},
		DefaultRole: cybervault.RoleViewer, Domains: []string{"example.com", "example.org"}, TrustEmail: true,
	}
	secret := map[string]string{"CYBERVAULT_OIDC_CLIENT_SECRET": "s3cret"}
	for name, c := range map[string]struct {
		args []string
		env  map[string]string
		file string
	}{
		"flags": {args: []string{"--public-url", "https://cv.example.com/", "--oidc-issuer", "https://id.example.com/realms/x", "--oidc-client-id", "cv", "--oidc-name", "Example",
			"--oidc-scope", "openid", "--oidc-scope", "groups", "--oidc-groups-claim", "realm_access.roles", "--oidc-role", "security=analyst", "--oidc-role", "cn=admins=admin",
			"--oidc-default-role", "viewer", "--oidc-domain", "example.com,example.org", "--oidc-trust-email"}, env: secret},
		"environment": {env: map[string]string{
			"CYBERVAULT_PUBLIC_URL": "https://cv.example.com", "CYBERVAULT_OIDC_ISSUER": "https://id.example.com/realms/x", "CYBERVAULT_OIDC_CLIENT_ID": "cv", "CYBERVAULT_OIDC_CLIENT_SECRET": "s3cret",
			"CYBERVAULT_OIDC_NAME": "Example", "CYBERVAULT_OIDC_SCOPE": "openid,groups", "CYBERVAULT_OIDC_GROUPS_CLAIM": "realm_access.roles", "CYBERVAULT_OIDC_ROLE": "security=analyst, cn=admins=admin",
			"CYBERVAULT_OIDC_DEFAULT_ROLE": "viewer", "CYBERVAULT_OIDC_DOMAIN": "example.com,example.org", "CYBERVAULT_OIDC_TRUST_EMAIL": "true"}},
		"file": {file: `
public_url: https://cv.example.com
oidc_issuer: https://id.example.com/realms/x
oidc_client_id: cv
oidc_client_secret: s3cret
oidc_name: Example
oidc_scope: [openid, groups]
oidc_groups_claim: realm_access.roles
oidc_role:
  - security=analyst
  - cn=admins=admin
oidc_default_role: viewer
oidc_domain: [example.com, example.org]
oidc_trust_email: true
`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := load(t, c.args, c.env, c.file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got.OIDC); diff != "" || got.PublicURL != "https://cv.example.com" {
				t.Errorf("%s, %s", diff, got.PublicURL)
			}
			for _, shown := range []string{got.String(), fmt.Sprintf("%#v", got), fmt.Sprint(got.LogValue())} {
				if strings.Contains(shown, "s3cret") || !strings.Contains(shown, "cn=admins=admin") {
					t.Errorf("shown as %s", shown)
				}
			}
		})
	}
}

func TestOIDCThatCannotWork(t *testing.T) {
	t.Parallel()
	const issuer, public = "--oidc-issuer=https://id.example.com", "--public-url=https://cv.example.com"
	for want, args := range map[string][]string{
		"public-url: is missing":             {issuer},
		"oidc-issuer: is missing":            {public, "--oidc-client-id=x"},
		"scheme, host and port":              {"--public-url=https://cv.example.com/path"},
		"must be https":                      {"--public-url=http://cv.example.com"},
		"is no address":                      {"--public-url=cv.example.com"},
		`"king" is no role`:                  {public, issuer, "--oidc-role=a=king"},
		`names no group and role`:            {public, issuer, "--oidc-role=analyst"},
		`the group "a" has two roles`:        {public, issuer, "--oidc-role=a=viewer,a=admin"},
		"is no name for a button":            {public, issuer, "--oidc-name=" + strings.Repeat("x", 61)},
		"--oidc-trust-email: \"perhaps\" is": {public, issuer, "--oidc-trust-email=perhaps"},
	} {
		if _, err := load(t, args, nil, ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", args, err, want)
		}
	}
	if c, err := load(t, []string{"--public-url=http://127.0.0.1:8400"}, nil, ""); err != nil || c.PublicURL != "http://127.0.0.1:8400" {
		t.Errorf("%s, %v", c.PublicURL, err)
	}
}
