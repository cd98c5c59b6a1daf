package oidc_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/access/oidc"
	"github.com/cybervault/cybervault/internal/access/oidc/oidctest"
)

const (
	unauthorized = cybervault.CodeUnauthorized
	unavailable  = cybervault.CodeUnavailable
	forbidden    = cybervault.CodeForbidden
)

// claim returns a spoiler that sets a claim of the ID token, or removes it for nil.
func claim(name string, value any) func(*oidctest.Provider) {
	return func(p *oidctest.Provider) {
		p.EditClaims(func(c map[string]any) {
			c[name] = value
			if value == nil {
				delete(c, name)
			}
		})
	}
}

func discovery(name string, value any) func(*oidctest.Provider) {
	return func(p *oidctest.Provider) { p.EditDiscovery(func(d map[string]any) { d[name] = value }) }
}

func TestProviderThatMisbehaves(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, c := range map[string]struct {
		spoil func(*oidctest.Provider)
		code  cybervault.Code
		words string
	}{
		"wrong nonce":             {claim("nonce", "x"), unauthorized, "another log-in"},
		"no nonce":                {claim("nonce", nil), unauthorized, "another log-in"},
		"wrong audience":          {claim("aud", "other"), unauthorized, "not valid for this server"},
		"no audience":             {claim("aud", nil), unauthorized, "not valid for this server"},
		"two audiences, no azp":   {func(p *oidctest.Provider) { claim("aud", []string{p.ClientID, "other"})(p) }, unauthorized, "(azp)"},
		"another's azp":           {claim("azp", "other"), unauthorized, "(azp)"},
		"azp is a list":           {claim("azp", []string{"cybervault"}), unauthorized, "(azp)"},
		"wrong issuer":            {claim("iss", "https://evil.example"), unauthorized, "not valid for this server"},
		"expired":                 {claim("exp", now.Add(-time.Minute).Unix()), unauthorized, "compare the clocks"},
		"no expiry":               {claim("exp", nil), unauthorized, "compare the clocks"},
		"from the future":         {claim("iat", now.Add(time.Hour).Unix()), unauthorized, "(iat)"},
		"no iat":                  {claim("iat", nil), unauthorized, "(iat)"},
		"not yet valid":           {claim("nbf", now.Add(time.Hour).Unix()), unauthorized, "not valid for this server"},
		"wrong at_hash":           {claim("at_hash", "AAAAAAAAAAAAAAAAAAAAAA"), unauthorized, "(at_hash)"},
		"no subject":              {claim("sub", nil), unauthorized, "(sub)"},
		"subject of two lines":    {claim("sub", "a\nb"), unauthorized, "(sub)"},
		"long subject":            {claim("sub", strings.Repeat("s", 256)), unauthorized, "(sub)"},
		"unsigned":                {func(p *oidctest.Provider) { p.Sign(oidctest.Unsigned) }, unauthorized, "not valid for this server"},
		"HS256 by the secret":     {func(p *oidctest.Provider) { p.Sign(oidctest.HS256) }, unauthorized, "not valid for this server"},
		"another key":             {func(p *oidctest.Provider) { p.Sign(oidctest.OtherKey) }, unauthorized, "not valid for this server"},
		"algorithm not announced": {discovery("id_token_signing_alg_values_supported", []string{"RS256"}), unauthorized, "not valid for this server"},
		"only HMAC announced": {func(p *oidctest.Provider) {
			discovery("id_token_signing_alg_values_supported", []string{"HS256", "none"})(p)
			p.Sign(oidctest.HS256)
		}, unauthorized, "not valid for this server"},
		"no ID token": {func(p *oidctest.Provider) { p.EditToken(func(a map[string]any) { delete(a, "id_token") }) }, unauthorized, "no ID token"},
		"ID token is nonsense": {func(p *oidctest.Provider) {
			p.EditToken(func(a map[string]any) { a["id_token"] = strings.Repeat("x\x1b", 50_000) })
		}, unauthorized, "not valid for this server"},
		"no access token": {func(p *oidctest.Provider) { p.EditToken(func(a map[string]any) { delete(a, "access_token") }) }, unavailable, "does not answer as it should"},

		"no email":                         {func(p *oidctest.Provider) { p.SetUser(oidctest.User{Subject: "a", Groups: "staff"}) }, unauthorized, "add the scope email"},
		"email is a list":                  {func(p *oidctest.Provider) { both(p, "email", []string{"ada@example.com"}) }, unavailable, "(userinfo)"},
		"two at signs":                     {claim("email", "ada@evil.example@example.com"), unauthorized, "plain ASCII address"},
		"no domain":                        {claim("email", "ada@"), unauthorized, "plain ASCII address"},
		"line in the address":              {claim("email", "ada@example.com\nbcc: x"), unauthorized, "plain ASCII address"},
		"a letter that is k in lower case": {claim("email", "a\u212a@example.com"), unauthorized, "plain ASCII address"},
		"not verified":                     {claim("email_verified", false), unauthorized, "verify it there"},
		"not verified, as text":            {claim("email_verified", "false"), unauthorized, "verify it there"},
		"verified is a number":             {claim("email_verified", 1), unauthorized, "verify it there"},
		"verified is not said":             {claim("email_verified", nil), unauthorized, "trust its addresses"},
		"userinfo about somebody else": {func(p *oidctest.Provider) {
			p.OnlyUserInfo()
			p.EditUserInfo(func(c map[string]any) { c["sub"] = "eve" })
		}, unauthorized, "about somebody else"},
		"userinfo without subject": {func(p *oidctest.Provider) {
			p.OnlyUserInfo()
			p.EditUserInfo(func(c map[string]any) { delete(c, "sub") })
		}, unauthorized, "about somebody else"},
		"verified of another address": {func(p *oidctest.Provider) {
			p.EditClaims(func(c map[string]any) { delete(c, "email_verified"); delete(c, "groups") })
			p.EditUserInfo(func(c map[string]any) { c["email"] = "eve@example.com" })
		}, unauthorized, "trust its addresses"},
		"verified of no address": {func(p *oidctest.Provider) {
			p.EditClaims(func(c map[string]any) { delete(c, "email") })
			p.EditUserInfo(func(c map[string]any) { delete(c, "email_verified") })
		}, unauthorized, "trust its addresses"},
		"userinfo 500":      {userInfo(oidctest.Error500), unavailable, "(userinfo)"},
		"userinfo huge":     {userInfo(oidctest.Huge), unavailable, "(userinfo)"},
		"userinfo garbage":  {userInfo(oidctest.Garbage), unavailable, "(userinfo)"},
		"userinfo redirect": {userInfo(oidctest.Redirect), unavailable, "(userinfo)"},

		"discovery 500":           {fail(oidctest.Discovery, oidctest.Error500), unavailable, "does not answer as it should"},
		"discovery huge":          {fail(oidctest.Discovery, oidctest.Huge), unavailable, "larger than 1 MiB"},
		"discovery garbage":       {fail(oidctest.Discovery, oidctest.Garbage), unavailable, "does not answer as it should"},
		"discovery redirect":      {fail(oidctest.Discovery, oidctest.Redirect), unavailable, "does not answer as it should"},
		"another's discovery":     {discovery("issuer", "https://evil.example/\x1b"), unavailable, "calls itself https://evil.example/"},
		"token far away on http":  {discovery("token_endpoint", "http://evil.example/token"), unavailable, "no https address as its token_endpoint"},
		"no keys":                 {discovery("jwks_uri", ""), unavailable, "no https address as its jwks_uri"},
		"no way to send a secret": {discovery("token_endpoint_auth_methods_supported", []string{"private_key_jwt"}), unavailable, "client_secret_basic"},
		"token 500":               {fail(oidctest.Token, oidctest.Error500), unavailable, "does not answer as it should"},
		"token huge":              {fail(oidctest.Token, oidctest.Huge), unavailable, "does not answer as it should"},
		"token garbage":           {fail(oidctest.Token, oidctest.Garbage), unavailable, "does not answer as it should"},
		"token redirect":          {fail(oidctest.Token, oidctest.Redirect), unavailable, "does not answer as it should"},
		"keys 500":                {fail(oidctest.Keys, oidctest.Error500), unavailable, "(jwks_uri)"},
		"keys huge":               {fail(oidctest.Keys, oidctest.Huge), unavailable, "(jwks_uri)"},
		"keys garbage":            {fail(oidctest.Keys, oidctest.Garbage), unavailable, "(jwks_uri)"},
		"keys redirect":           {fail(oidctest.Keys, oidctest.Redirect), unavailable, "(jwks_uri)"},

		"denied":           {deny("access_denied", "no"), unauthorized, "ask an administrator of the provider for access"},
		"denied at length": {deny("access_denied", strings.Repeat("\x1b[31m\u202e<b>", 10_000)), unauthorized, "…"},
		"its server":       {deny("server_error", ""), unavailable, "at the moment"},
		"its busy hour":    {deny("temporarily_unavailable", ""), unavailable, "at the moment"},
		"our scopes":       {deny("invalid_scope", "groups?"), unavailable, "(it says: invalid_scope, groups?)"},
		"anything else":    {deny("login_required", ""), unauthorized, "did not log you in"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			idp := oidctest.New(t)
			c.spoil(idp)
			who, err := logIn(t, start(t, config(idp)))
			refused(t, who, err, c.code, c.words)
		})
	}
}

// both sets a claim wherever it is sent.
func both(p *oidctest.Provider, name string, value any) {
	edit := func(c map[string]any) { c[name] = value }
	p.EditClaims(edit)
	p.EditUserInfo(edit)
}

func fail(path string, how oidctest.Failure) func(*oidctest.Provider) {
	return func(p *oidctest.Provider) { p.Fail(path, how) }
}

func userInfo(how oidctest.Failure) func(*oidctest.Provider) {
	return func(p *oidctest.Provider) {
		p.OnlyUserInfo()
		p.Fail(oidctest.UserInfo, how)
	}
}

func deny(code, description string) func(*oidctest.Provider) {
	return func(p *oidctest.Provider) { p.Deny(code, description) }
}

// What never answers is given up, wherever it stands on the way. The limit is short
// here, and nothing but it can end the wait.
func TestProviderThatIsSlow(t *testing.T) {
	t.Parallel()
	for _, path := range []string{oidctest.Discovery, oidctest.Token, oidctest.Keys, oidctest.UserInfo} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			idp := oidctest.New(t)
			idp.OnlyUserInfo()
			p := start(t, config(idp))
			if path == oidctest.Discovery {
				idp.Fail(path, oidctest.Slow)
				p.SetTimeLimit(20 * time.Millisecond)
				_, _, err := p.Begin(t.Context())
				refused(t, oidc.Identity{}, err, unavailable, "try again later")
				return
			}
			redirect, flow, err := p.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			query := visit(t, redirect)
			idp.Fail(path, oidctest.Slow)
			p.SetTimeLimit(300 * time.Millisecond)
			who, err := p.Finish(t.Context(), flow, query)
			refused(t, who, err, unavailable, "try again later")
		})
	}
}

func TestForeignDomain(t *testing.T) {
	t.Parallel()
	for _, email := range []string{"eve@evil.example", "eve@sub.example.com", "eve@notexample.com", "eve@example.com.evil.example"} {
		idp := oidctest.New(t)
		idp.SetUser(oidctest.User{Subject: "e", Email: email, EmailVerified: ptr(true), Groups: []string{"admins"}})
		c := config(idp)
		c.Domains = []string{"example.com"}
		who, err := logIn(t, start(t, c))
		refused(t, who, err, forbidden, "may not log in here")
	}
}

func TestWrongSecret(t *testing.T) {
	t.Parallel()
	idp := oidctest.New(t)
	c := config(idp)
	c.ClientSecret = "wrong"
	who, err := logIn(t, start(t, c))
	refused(t, who, err, unavailable, "client id and secret")
	if strings.Contains(err.Error(), "wrong,") || strings.Contains(err.Error(), idp.ClientSecret) {
		t.Errorf("a secret is in %v", err)
	}
	if n := idp.Requests(oidctest.Token); n != 1 {
		t.Errorf("the code was sent %d times", n)
	}
}

// The answer of a browser that was led astray, or that somebody else began.
func TestAnswerThatIsNotOurs(t *testing.T) {
	t.Parallel()
	idp := oidctest.New(t)
	c := config(idp)
	now := time.Now()
	c.Now = func() time.Time { return now }
	p := start(t, c)
	for _, test := range []struct {
		name  string
		spoil func(*oidc.Flow, url.Values)
		words string
	}{
		{"another state", func(_ *oidc.Flow, q url.Values) { q.Set("state", "x") }, "another log-in"},
		{"no state", func(_ *oidc.Flow, q url.Values) { q.Del("state") }, "another log-in"},
		{"two states", func(_ *oidc.Flow, q url.Values) { q.Add("state", q.Get("state")) }, "another log-in"},
		{"an error of a stranger", func(_ *oidc.Flow, q url.Values) { q.Set("state", "x"); q.Set("error", "call 555") }, "another log-in"},
		{"no flow", func(f *oidc.Flow, q url.Values) { *f = oidc.Flow{}; q.Set("state", "") }, "begin again"},
		{"an old flow", func(f *oidc.Flow, _ url.Values) { f.Expires = now }, "too long ago"},
		{"another iss", func(_ *oidc.Flow, q url.Values) { q.Set("iss", "https://evil.example") }, "not from the provider"},
		{"no iss where it is promised", func(_ *oidc.Flow, q url.Values) { q.Del("iss") }, "not from the provider"},
		{"two iss", func(_ *oidc.Flow, q url.Values) { q.Add("iss", "https://evil.example") }, "not from the provider"},
		{"no code", func(_ *oidc.Flow, q url.Values) { q.Del("code") }, "holds no code"},
		{"two codes", func(_ *oidc.Flow, q url.Values) { q.Add("code", "x") }, "holds no code"},
		{"another code", func(_ *oidc.Flow, q url.Values) { q.Set("code", "x") }, "was used or is too old"},
		{"another verifier", func(f *oidc.Flow, _ url.Values) { f.Verifier = strings.Repeat("v", 43) }, "was used or is too old"},
		{"another nonce", func(f *oidc.Flow, _ url.Values) { f.Nonce = "x" }, "another log-in"},
	} {
		redirect, flow, err := p.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		query := visit(t, redirect)
		test.spoil(&flow, query)
		who, err := p.Finish(t.Context(), flow, query)
		t.Run(test.name, func(t *testing.T) { refused(t, who, err, unauthorized, test.words) })
	}
}

func TestCodeIsTakenOnce(t *testing.T) {
	t.Parallel()
	idp := oidctest.New(t)
	p := start(t, config(idp))
	redirect, flow, err := p.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	query := visit(t, redirect)
	if _, err := p.Finish(t.Context(), flow, query); err != nil {
		t.Fatal(err)
	}
	who, err := p.Finish(t.Context(), flow, query)
	refused(t, who, err, unauthorized, "was used or is too old")
}

func TestClean(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"plain words": "plain words", "a\x00\x1b[1m\r\nb": "a [1m b", "\u202eevil\u2066": "evil", "\xff\xfe": "", "  é ü  ": "é ü",
	} {
		if got := oidc.Clean(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
	if got := []rune(oidc.Clean(strings.Repeat("é", 5000))); len(got) != 200 {
		t.Errorf("%d characters", len(got))
	}
}
