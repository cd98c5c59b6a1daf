// Package oidc logs people in by OpenID Connect: the authorization code flow
// with PKCE, a state and a nonce, at one provider.
//
// It owns the way to the provider and back: discovery, the request that the
// browser carries there, the exchange of the code, the check of the ID token, and
// what role the groups in it give. It stands before package access, which finds
// or makes the account, and the dashboard, whose browser it sends away and takes
// back.
//
// It never keeps anything of a log-in: what must survive the way to the provider
// lies in a sealed cookie of the browser. It never keeps, returns or logs a token.
package oidc

import (
	"context"
	"crypto/cipher"
	"crypto/rand"
	"net/http"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/cybervault/cybervault"
)

// timeLimit is how long one request to the provider, and one call of Begin or
// Finish, may take: a person is waiting.
const timeLimit = 10 * time.Second

// Config says who the provider is, and who may come in.
type Config struct {
	Issuer       string // as the provider writes it in its tokens, to the letter
	ClientID     string
	ClientSecret string // empty for a public client, which PKCE alone protects
	RedirectURL  string // where the provider sends the browser back to
	Key          []byte // 32 bytes that seal the cookie of a log-in under way

	// Scopes that are asked for; empty: openid, email and profile.
	Scopes []string
	// GroupsClaim names the claim with the groups, or is a path to it
	// (realm_access.roles); empty: groups.
	GroupsClaim string
	// Roles are what a group makes of its members; the highest wins.
	Roles map[string]cybervault.Role
	// DefaultRole is for whoever is in none of these groups; empty: they are refused.
	DefaultRole cybervault.Role
	// Domains that an email address may have, subdomains not included; empty: any.
	Domains []string
	// TrustEmail takes an address of which the provider does not say whether it was
	// verified. One of which it says that it was not is never taken.
	TrustEmail bool

	// Client asks the provider; nil: one that heeds the proxy of the environment. Its
	// redirects and its time limit are replaced.
	Client *http.Client //nolint:forbidigo // the operator names the provider, which may well be on a private network
	Now    func() time.Time
}

// Identity is who the provider says came.
type Identity struct {
	Issuer  string // of Config
	Subject string // who it is to the issuer, for good; an address may change hands
	Email   string // in lower case
	Name    string // may be empty
	Role    cybervault.Role
	Groups  []string // as the provider sent them; empty where Config.Roles is
}

// Provider logs people in. Safe for concurrent use.
type Provider struct {
	config Config
	client *http.Client //nolint:forbidigo // see Config.Client
	sealer cipher.AEAD
	limit  time.Duration

	mu      sync.Mutex
	current *discovered
	flight  *flight
}

// New checks the configuration. It does not ask the provider anything, so that a
// server starts while its provider is away.
func New(config Config) (*Provider, error) {
	config, err := checked(config)
	if err != nil {
		return nil, err
	}
	sealer, err := newSealer(config.Key)
	if err != nil {
		return nil, err
	}
	return &Provider{config: config, client: bounded(config.Client), sealer: sealer, limit: timeLimit}, nil
}

// Begin returns the address to send a browser to, and what Finish has to know of
// it when it comes back: keep it for that browser, sealed (Seal). The error is of
// CodeUnavailable where the provider does not answer.
func (p *Provider) Begin(ctx context.Context) (redirect string, flow Flow, err error) {
	ctx, cancel := context.WithTimeout(ctx, p.limit)
	defer cancel()
	d, err := p.discover(ctx)
	if err != nil {
		return "", Flow{}, err
	}
	flow = Flow{State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(), Expires: p.config.Now().Add(flowLifetime)}
	return d.oauth.AuthCodeURL(flow.State, oidc.Nonce(flow.Nonce), oauth2.S256ChallengeOption(flow.Verifier)), flow, nil
}
