package oidc

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/cybervault/cybervault"
)

// discoveryLifetime is how long a discovery document is kept, and with it the
// provider's keys: a key that it withdrew is taken no longer than this.
const discoveryLifetime = time.Hour

// discovered is what the provider says of itself.
type discovered struct {
	at       time.Time
	provider *oidc.Provider
	verifier *oidc.IDTokenVerifier
	oauth    oauth2.Config
	namesIss bool // it promises RFC 9207's iss in every answer
}

// flight is a discovery under way; all who need it wait for the same one.
type flight struct {
	done  chan struct{}
	found *discovered
	err   error
}

// discover returns what is known of the provider, asking it where that is nothing
// or old. A failure is not kept: who comes next asks again.
func (p *Provider) discover(ctx context.Context) (*discovered, error) {
	p.mu.Lock()
	if d := p.current; d != nil {
		if age := p.config.Now().Sub(d.at); age >= 0 && age < discoveryLifetime {
			p.mu.Unlock()
			return d, nil
		}
	}
	f := p.flight
	if f == nil {
		f = &flight{done: make(chan struct{})}
		p.flight = f
		// Whoever came first may go away; the others want their answer. The client's
		// time limit ends it.
		go p.land(context.WithoutCancel(ctx), f)
	}
	p.mu.Unlock()
	select {
	case <-f.done:
		return f.found, f.err
	case <-ctx.Done():
		return nil, unavailable("does not answer", ctx.Err())
	}
}

func (p *Provider) land(ctx context.Context, f *flight) {
	f.found, f.err = p.ask(ctx)
	p.mu.Lock()
	p.flight = nil
	if f.err == nil {
		p.current = f.found
	}
	p.mu.Unlock()
	close(f.done)
}

// document is what of the discovery document go-oidc does not read.
type document struct {
	AuthURL     string   `json:"authorization_endpoint"`
	TokenURL    string   `json:"token_endpoint"`
	KeysURL     string   `json:"jwks_uri"`
	UserInfoURL string   `json:"userinfo_endpoint"`
	AuthMethods []string `json:"token_endpoint_auth_methods_supported"`
	NamesIss    bool     `json:"authorization_response_iss_parameter_supported"`
}

func (p *Provider) ask(ctx context.Context) (*discovered, error) {
	at := p.config.Now()
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, p.client), p.config.Issuer)
	if other, ok := errors.AsType[*oidc.IssuerMismatchError](err); ok {
		return nil, unavailable("calls itself "+clean(other.Discovered)+", and the configuration calls it otherwise: ask an administrator to set the issuer to exactly that", nil)
	}
	if err != nil {
		return nil, unavailable("does not answer as it should", err)
	}
	var doc document
	if err := provider.Claims(&doc); err != nil {
		return nil, unavailable("has a discovery document that cannot be read", err)
	}
	if err := p.checkEndpoints(&doc); err != nil {
		return nil, err
	}
	style, err := authStyle(doc.AuthMethods, p.config.ClientSecret != "")
	if err != nil {
		return nil, err
	}
	endpoint := provider.Endpoint()
	endpoint.AuthStyle = style
	return &discovered{
		at:       at,
		provider: provider,
		// The algorithms are those of the discovery document without none and HMAC, or
		// RS256 where it names no other.
		verifier: provider.Verifier(&oidc.Config{ClientID: p.config.ClientID, Now: p.config.Now}),
		oauth: oauth2.Config{
			ClientID: p.config.ClientID, ClientSecret: p.config.ClientSecret,
			Endpoint: endpoint, RedirectURL: p.config.RedirectURL, Scopes: p.config.Scopes,
		},
		namesIss: doc.NamesIss,
	}, nil
}

// checkEndpoints keeps the secret, the code and the tokens off plain http, unless
// the provider itself was configured so, on loopback.
func (p *Provider) checkEndpoints(doc *document) error {
	plain := strings.HasPrefix(p.config.Issuer, "http:")
	for _, e := range []struct {
		name, url string
		needed    bool
	}{
		{"authorization_endpoint", doc.AuthURL, true},
		{"token_endpoint", doc.TokenURL, true},
		{"jwks_uri", doc.KeysURL, true},
		{"userinfo_endpoint", doc.UserInfoURL, false},
	} {
		if e.url == "" && !e.needed {
			continue
		}
		u, err := url.Parse(e.url)
		if err != nil || u.Host == "" || u.Scheme != "https" && (!plain || u.Scheme != "http" || !loopback(u.Hostname())) {
			return unavailable("names no https address as its "+e.name, nil)
		}
	}
	return nil
}

// authStyle chooses how the secret is sent. Trying both, as oauth2 would, spends
// the code on the wrong one.
func authStyle(methods []string, secret bool) (oauth2.AuthStyle, error) {
	switch {
	case !secret:
		return oauth2.AuthStyleInParams, nil // a public client sends its id only
	case len(methods) == 0 || slices.Contains(methods, "client_secret_basic"): // the standard's default
		return oauth2.AuthStyleInHeader, nil
	case slices.Contains(methods, "client_secret_post"):
		return oauth2.AuthStyleInParams, nil
	}
	return 0, unavailable("takes no client secret, by neither client_secret_basic nor client_secret_post: ask an administrator to allow one of them for this client", nil)
}

// unavailableField tells the provider's failure from the store's.
const unavailableField = "openid"

// unavailable is the provider's failure, or that of its configuration here: the
// person can do nothing but wait or ask.
func unavailable(what string, cause error) *cybervault.Error {
	return &cybervault.Error{Code: cybervault.CodeUnavailable, Field: unavailableField, Message: "the OpenID provider " + what + "; try again later, or log in another way", Err: brief(cause)}
}
