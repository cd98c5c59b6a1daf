package oidc_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/access/oidc"
	"github.com/cybervault/cybervault/internal/access/oidc/oidctest"
)

func ptr[T any](v T) *T { return &v }

// config is one that works with the provider.
func config(p *oidctest.Provider) oidc.Config {
	return oidc.Config{
		Issuer: p.URL, ClientID: p.ClientID, ClientSecret: p.ClientSecret,
		RedirectURL: "http://127.0.0.1:8080/login/oidc/callback", Key: bytes.Repeat([]byte{7}, 32),
		Roles: map[string]cybervault.Role{"security": cybervault.RoleAnalyst, "admins": cybervault.RoleAdmin, "staff": cybervault.RoleViewer},
	}
}

func start(t *testing.T, c oidc.Config) *oidc.Provider {
	t.Helper()
	p, err := oidc.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// visit does what a browser does with the redirect: it goes there, and returns the
// query with which it is sent back.
func visit(t *testing.T, redirect string) url.Values {
	t.Helper()
	browser := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer browser.CloseIdleConnections()
	answer, err := browser.Get(redirect)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	back, err := answer.Location()
	if err != nil {
		t.Fatalf("%s: %v", answer.Status, err)
	}
	if got := back.Scheme + "://" + back.Host + back.Path; got != "http://127.0.0.1:8080/login/oidc/callback" {
		t.Fatalf("sent back to %s", got)
	}
	return back.Query()
}

// logIn goes the whole way, cookie included.
func logIn(t *testing.T, p *oidc.Provider) (oidc.Identity, error) {
	t.Helper()
	redirect, flow, err := p.Begin(t.Context())
	if err != nil {
		return oidc.Identity{}, err
	}
	query := visit(t, redirect)
	cookie, err := p.Seal(flow)
	if err != nil {
		t.Fatal(err)
	}
	if flow, err = p.Open(cookie); err != nil {
		t.Fatal(err)
	}
	return p.Finish(t.Context(), flow, query)
}

// refused checks that an error is of a code, that the person is told what to do in
// these words, and that nothing in it can harm a page, a terminal or a log.
func refused(t *testing.T, who oidc.Identity, err error, code cybervault.Code, words string) {
	t.Helper()
	if err == nil {
		t.Fatalf("%+v was let in", who)
	}
	if !cmp.Equal(who, oidc.Identity{}) {
		t.Errorf("an identity beside the error: %+v", who)
	}
	if got := cybervault.ErrorCode(err); got != code {
		t.Errorf("code %q, want %q: %v", got, code, err)
	}
	text := err.Error()
	if !strings.Contains(text, words) {
		t.Errorf("%q does not say %q", text, words)
	}
	if len(text) > 1500 || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\u202e' }) {
		t.Errorf("unbounded or unclean: %q", text)
	}
}

func TestLogIn(t *testing.T) {
	t.Parallel()
	idp := oidctest.New(t)
	who, err := logIn(t, start(t, config(idp)))
	if err != nil {
		t.Fatal(err)
	}
	want := oidc.Identity{
		Issuer: idp.URL, Subject: "ada-1", Email: "ada@example.com", Name: "Ada Lovelace",
		Role: cybervault.RoleAnalyst, Groups: []string{"security"},
	}
	if diff := cmp.Diff(want, who); diff != "" {
		t.Error(diff)
	}
	if n := idp.Requests(oidctest.UserInfo); n != 0 {
		t.Errorf("userinfo was asked %d times although the ID token says all", n)
	}
}

func TestLogInVariants(t *testing.T) {
	t.Parallel()
	for name, variant := range map[string]func(*oidctest.Provider, *oidc.Config){
		"RS256": func(p *oidctest.Provider, _ *oidc.Config) { p.Sign(oidctest.RS256) },
		"RS256 where no algorithm is named": func(p *oidctest.Provider, _ *oidc.Config) {
			p.Sign(oidctest.RS256)
			p.EditDiscovery(func(d map[string]any) { delete(d, "id_token_signing_alg_values_supported") })
		},
		"secret in the body": func(p *oidctest.Provider, _ *oidc.Config) {
			p.EditDiscovery(func(d map[string]any) { d["token_endpoint_auth_methods_supported"] = []string{"client_secret_post"} })
		},
		"public client":     func(p *oidctest.Provider, c *oidc.Config) { p.ClientSecret, c.ClientSecret = "", "" },
		"all from userinfo": func(p *oidctest.Provider, _ *oidc.Config) { p.OnlyUserInfo() },
		"no iss promised nor sent": func(p *oidctest.Provider, _ *oidc.Config) {
			p.EditDiscovery(func(d map[string]any) { delete(d, "authorization_response_iss_parameter_supported") })
		},
		"no userinfo": func(p *oidctest.Provider, _ *oidc.Config) {
			p.EditDiscovery(func(d map[string]any) { delete(d, "userinfo_endpoint") })
		},
		"two audiences and our azp": func(p *oidctest.Provider, _ *oidc.Config) {
			p.EditClaims(func(c map[string]any) { c["aud"], c["azp"] = []string{"other", p.ClientID}, p.ClientID })
		},
		"no at_hash": func(p *oidctest.Provider, _ *oidc.Config) {
			p.EditClaims(func(c map[string]any) { delete(c, "at_hash") })
		},
		"verified as text": func(p *oidctest.Provider, _ *oidc.Config) {
			p.EditClaims(func(c map[string]any) { c["email_verified"] = "true" })
		},
		"verified is not said, and is trusted": func(p *oidctest.Provider, c *oidc.Config) {
			c.TrustEmail = true
			p.EditClaims(func(c map[string]any) { delete(c, "email_verified") })
		},
		"address in capitals, domain allowed": func(p *oidctest.Provider, c *oidc.Config) {
			c.Domains = []string{"other.example", "Example.COM"}
			p.EditClaims(func(c map[string]any) { c["email"] = "ADA@EXAMPLE.com" })
		},
		"name from preferred_username": func(p *oidctest.Provider, _ *oidc.Config) {
			p.EditClaims(func(c map[string]any) { c["name"], c["preferred_username"] = "", "Ada \u202e\x1b Lovelace" })
		},
		"verified is said by userinfo": func(p *oidctest.Provider, _ *oidc.Config) {
			p.EditClaims(func(c map[string]any) { delete(c, "email_verified"); delete(c, "groups") })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			idp := oidctest.New(t)
			c := config(idp)
			variant(idp, &c)
			who, err := logIn(t, start(t, c))
			if err != nil {
				t.Fatal(err)
			}
			want := oidc.Identity{Issuer: idp.URL, Subject: "ada-1", Email: "ada@example.com", Name: "Ada Lovelace", Role: cybervault.RoleAnalyst, Groups: []string{"security"}}
			if diff := cmp.Diff(want, who); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestKeyRotation(t *testing.T) {
	t.Parallel()
	idp := oidctest.New(t)
	p := start(t, config(idp))
	for range 2 {
		if _, err := logIn(t, p); err != nil {
			t.Fatal(err)
		}
	}
	if n := idp.Requests(oidctest.Keys); n != 1 {
		t.Errorf("keys were asked for %d times", n)
	}
	idp.Rotate()
	if _, err := logIn(t, p); err != nil {
		t.Fatalf("after the rotation: %v", err)
	}
	if n := idp.Requests(oidctest.Keys); n != 2 {
		t.Errorf("keys were asked for %d times after one rotation", n)
	}
}

func TestDiscoveryIsKeptForAnHour(t *testing.T) {
	t.Parallel()
	idp := oidctest.New(t)
	c := config(idp)
	now := time.Now()
	c.Now = func() time.Time { return now }
	p := start(t, c)
	if n := idp.Requests(oidctest.Discovery); n != 0 {
		t.Errorf("New asked %d times", n)
	}
	idp.Fail(oidctest.Discovery, oidctest.Error500)
	if _, _, err := p.Begin(t.Context()); cybervault.ErrorCode(err) != cybervault.CodeUnavailable {
		t.Fatalf("while it fails: %v", err)
	}
	idp.Fail(oidctest.Discovery, oidctest.Works)
	for _, step := range []struct {
		after time.Duration
		asked int
	}{{0, 2}, {time.Hour - time.Second, 2}, {time.Second, 3}, {-time.Minute, 4}} { // the last: the clock was set back
		now = now.Add(step.after)
		if _, _, err := p.Begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := idp.Requests(oidctest.Discovery); n != step.asked {
			t.Errorf("%v on, it was asked %d times, want %d", step.after, n, step.asked)
		}
	}
}

// held is a transport whose requests wait until they are let go.
type held struct {
	arrived chan struct{}
	release chan struct{}
}

func (h *held) RoundTrip(r *http.Request) (*http.Response, error) {
	h.arrived <- struct{}{}
	<-h.release
	return http.DefaultTransport.RoundTrip(r)
}

func TestDiscoveryIsMadeOnceForAll(t *testing.T) {
	t.Parallel()
	idp := oidctest.New(t)
	c := config(idp)
	gate := &held{arrived: make(chan struct{}, 50), release: make(chan struct{})}
	c.Client = &http.Client{Transport: gate}
	p := start(t, c)
	// The first goes away while it waits; the discovery goes on for the others.
	first, leave := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() {
		_, _, err := p.Begin(first)
		gone <- err
	}()
	<-gate.arrived
	leave()
	if err := <-gone; cybervault.ErrorCode(err) != cybervault.CodeUnavailable {
		t.Errorf("who left got %v", err)
	}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if _, _, err := p.Begin(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	close(gate.release)
	all.Wait()
	if n := idp.Requests(oidctest.Discovery); n != 1 {
		t.Errorf("discovery was made %d times", n)
	}
}

func TestGroupsAndRoles(t *testing.T) {
	t.Parallel()
	many := make([]string, 1000)
	for i := range many {
		many[i] = "security"
	}
	for name, c := range map[string]struct {
		groups any
		claim  string
		def    cybervault.Role
		edit   func(map[string]any)
		want   cybervault.Role
		code   cybervault.Code
		words  string
	}{
		"the highest wins":       {groups: []string{"staff", "admins", "security"}, want: cybervault.RoleAdmin},
		"over the default":       {groups: []string{"staff"}, def: cybervault.RoleAnalyst, want: cybervault.RoleViewer},
		"text":                   {groups: "admins", want: cybervault.RoleAdmin},
		"a text is one group":    {groups: "admins security", code: cybervault.CodeForbidden, words: "none of the groups"},
		"a thousand":             {groups: many, want: cybervault.RoleAnalyst},
		"too many":               {groups: slices.Concat(many, []string{"x"}), code: cybervault.CodeUnauthorized, words: "more than 1000 groups"},
		"absent":                 {code: cybervault.CodeForbidden, words: "ask an administrator to add you"},
		"absent with a default":  {def: cybervault.RoleViewer, want: cybervault.RoleViewer},
		"unknown":                {groups: []string{"Admins", ""}, code: cybervault.CodeForbidden, words: "none of the groups"},
		"unknown with a default": {groups: []string{"cooks"}, def: cybervault.RoleViewer, want: cybervault.RoleViewer},
		"numbers":                {groups: []any{"admins", 1}, code: cybervault.CodeUnauthorized, words: "no names of groups"},
		"an object":              {groups: map[string]bool{"admins": true}, code: cybervault.CodeUnauthorized, words: "no names of groups"},
		"another's case":         {code: cybervault.CodeForbidden, edit: func(c map[string]any) { c["GROUPS"] = "admins" }, words: "none of the groups"},
		"path":                   {claim: "realm_access.roles", edit: func(c map[string]any) { c["realm_access"] = map[string]any{"roles": []string{"admins"}} }, want: cybervault.RoleAdmin},
		"path that ends early":   {claim: "realm_access.roles", edit: func(c map[string]any) { c["realm_access"] = "admins" }, code: cybervault.CodeForbidden, words: "none of the groups"},
		"name with dots":         {claim: "https://example.com/groups", edit: func(c map[string]any) { c["https://example.com/groups"] = []string{"admins"} }, want: cybervault.RoleAdmin},
		"left out as too many": {def: cybervault.RoleViewer, code: cybervault.CodeUnauthorized, words: "left them out", edit: func(c map[string]any) {
			c["_claim_names"] = map[string]any{"groups": "src1"}
			c["_claim_sources"] = map[string]any{"src1": map[string]any{"endpoint": "https://graph.example"}}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			idp := oidctest.New(t)
			idp.SetUser(oidctest.User{Subject: "g", Email: "g@example.com", EmailVerified: ptr(true), Groups: c.groups})
			idp.EditClaims(c.edit)
			cfg := config(idp)
			cfg.GroupsClaim, cfg.DefaultRole = c.claim, c.def
			who, err := logIn(t, start(t, cfg))
			if c.code != "" {
				refused(t, who, err, c.code, c.words)
				return
			}
			if err != nil || who.Role != c.want {
				t.Errorf("role %q, want %q: %v", who.Role, c.want, err)
			}
		})
	}
}

func TestNoUserInfoWhereGroupsDoNotMatter(t *testing.T) {
	t.Parallel()
	idp := oidctest.New(t)
	idp.SetUser(oidctest.User{Subject: "g", Email: "g@example.com", EmailVerified: ptr(true)})
	c := config(idp)
	c.Roles, c.DefaultRole = nil, cybervault.RoleViewer
	who, err := logIn(t, start(t, c))
	if err != nil || who.Role != cybervault.RoleViewer {
		t.Fatal(who, err)
	}
	if n := idp.Requests(oidctest.UserInfo); n != 0 {
		t.Errorf("userinfo was asked %d times", n)
	}
}

func TestNewNamesTheField(t *testing.T) {
	t.Parallel()
	good := oidc.Config{
		Issuer: "https://login.example.com/realms/a", ClientID: "c", RedirectURL: "https://vault.example.com/login/oidc/callback",
		Key: make([]byte, 32), DefaultRole: cybervault.RoleViewer,
	}
	if _, err := oidc.New(good); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		spoil func(*oidc.Config)
		field string
	}{
		"no issuer":             {func(c *oidc.Config) { c.Issuer = "" }, "issuer"},
		"plain issuer":          {func(c *oidc.Config) { c.Issuer = "http://login.example.com" }, "issuer"},
		"plain issuer, alike":   {func(c *oidc.Config) { c.Issuer = "http://localhost.example.com" }, "issuer"},
		"issuer with query":     {func(c *oidc.Config) { c.Issuer += "?a=b" }, "issuer"},
		"issuer with user":      {func(c *oidc.Config) { c.Issuer = "https://a:b@login.example.com" }, "issuer"},
		"issuer without scheme": {func(c *oidc.Config) { c.Issuer = "login.example.com" }, "issuer"},
		"no client":             {func(c *oidc.Config) { c.ClientID = "" }, "client_id"},
		"plain redirect":        {func(c *oidc.Config) { c.RedirectURL = "http://vault.example.com/" }, "redirect_url"},
		"fragment":              {func(c *oidc.Config) { c.RedirectURL += "#x" }, "redirect_url"},
		"short key":             {func(c *oidc.Config) { c.Key = make([]byte, 16) }, "key"},
		"no openid":             {func(c *oidc.Config) { c.Scopes = []string{"email"} }, "scopes"},
		"scopes in one":         {func(c *oidc.Config) { c.Scopes = []string{"openid", "email profile"} }, "scopes"},
		"unknown role":          {func(c *oidc.Config) { c.Roles = map[string]cybervault.Role{"a": "root"} }, "roles"},
		"empty group":           {func(c *oidc.Config) { c.Roles = map[string]cybervault.Role{"": "admin"} }, "roles"},
		"unknown default":       {func(c *oidc.Config) { c.DefaultRole = "root" }, "default_role"},
		"nobody":                {func(c *oidc.Config) { c.DefaultRole = "" }, "roles"},
		"domain with @":         {func(c *oidc.Config) { c.Domains = []string{"@example.com"} }, "domains"},
		"empty domain":          {func(c *oidc.Config) { c.Domains = []string{""} }, "domains"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spoilt := good
			c.spoil(&spoilt)
			_, err := oidc.New(spoilt)
			e, ok := errors.AsType[*cybervault.Error](err)
			if !ok || e.Code != cybervault.CodeInvalid || e.Field != c.field {
				t.Errorf("%v, want one about %s", err, c.field)
			}
		})
	}
}
