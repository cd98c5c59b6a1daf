package app

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net/url"
	"strings"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/access"
	"github.com/cybervault/cybervault/internal/access/oidc"
	"github.com/cybervault/cybervault/internal/config"
	"github.com/cybervault/cybervault/internal/dashboard"
)

// signOn is the log-in by OpenID Connect as the dashboard wants it: the provider says
// who came, access who that is here.
type signOn struct {
	provider *oidc.Provider
	access   *access.Access
	name     string
	decides  bool // the provider's groups say what role
	log      *slog.Logger
}

// newSignOn returns nil where no provider is named.
func newSignOn(cfg config.Config, key []byte, people *access.Access, log *slog.Logger) (dashboard.SignOn, error) {
	if !cfg.OIDC.On() {
		return nil, nil //nolint:nilnil // there is none
	}
	sealing, err := derived(key, "cybervault openid connect cookie 1")
	if err != nil {
		return nil, err
	}
	o := cfg.OIDC
	provider, err := oidc.New(oidc.Config{
		Issuer: o.Issuer, ClientID: o.ClientID, ClientSecret: o.ClientSecret, RedirectURL: cfg.PublicURL + dashboard.SignOnReturn, Key: sealing,
		Scopes: o.Scopes, GroupsClaim: o.GroupsClaim, Roles: o.Roles, DefaultRole: o.DefaultRole, Domains: o.Domains, TrustEmail: o.TrustEmail,
	})
	if err != nil {
		return nil, inSettings(err)
	}
	return &signOn{provider: provider, access: people, name: o.Name, decides: len(o.Roles) > 0, log: log}, nil
}

// derived is the key for one purpose. All nodes have the installation's key, and so know
// what another one sealed or marked.
func derived(key []byte, purpose string) ([]byte, error) {
	return hkdf.Key(sha256.New, key, nil, purpose, 32)
}

// inSettings names the setting that an error of the provider's configuration is about.
func inSettings(err error) error {
	e, ok := errors.AsType[*cybervault.Error](err)
	if !ok || e.Field == "" {
		return err
	}
	names := map[string]string{"redirect_url": "public-url", "roles": "oidc-role", "scopes": "oidc-scope", "domains": "oidc-domain"}
	name, ok := names[e.Field]
	if !ok {
		name = "oidc-" + strings.ReplaceAll(e.Field, "_", "-")
	}
	return &cybervault.Error{Code: e.Code, Field: name, Message: e.Message}
}

// Name implements dashboard.SignOn, as do the methods after it.
func (s *signOn) Name() string { return s.name }

// Begin returns where to send a browser, and what it is to keep meanwhile.
func (s *signOn) Begin(ctx context.Context) (redirect, sealed string, err error) {
	redirect, flow, err := s.provider.Begin(ctx)
	if err != nil {
		s.failed(ctx, err)
		return "", "", err
	}
	sealed, err = s.provider.Seal(flow)
	return redirect, sealed, err
}

// Finish logs in whoever the provider sent back.
func (s *signOn) Finish(ctx context.Context, from cybervault.Caller, sealed string, query url.Values) (cookie string, due bool, err error) {
	flow, err := s.provider.Open(sealed)
	if err != nil {
		return "", false, err
	}
	who, err := s.provider.Finish(ctx, flow, query)
	if err != nil {
		s.failed(ctx, err)
		return "", false, err
	}
	return s.access.LoginVouched(ctx, from, access.Identity{Issuer: who.Issuer, Subject: who.Subject, Email: who.Email, Name: who.Name, Role: who.Role, Decides: s.decides})
}

// failed tells the operator what the person is told, and its cause, which they are not.
func (s *signOn) failed(ctx context.Context, err error) {
	cause := ""
	if e, ok := errors.AsType[*cybervault.Error](err); ok && e.Err != nil {
		cause = e.Err.Error()
	}
	s.log.WarnContext(ctx, "a log-in by OpenID Connect failed", "error", err, "cause", cause)
}
