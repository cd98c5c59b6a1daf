package oidc

import (
	"context"
	"crypto/subtle"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/cybervault/cybervault"
)

// leeway is how far the provider's clock may be ahead.
const leeway = 5 * time.Minute

// Finish takes the query with which the browser came back, and the flow that was
// kept for that browser. The caller forgets the flow, whatever the answer.
//
// Errors are of CodeUnauthorized where the log-in cannot be used, CodeForbidden for
// somebody who may not come in, CodeUnavailable where the provider fails. Their
// messages are for the person; they quote the provider cleaned and shortened.
func (p *Provider) Finish(ctx context.Context, flow Flow, query url.Values) (Identity, error) {
	ctx, cancel := context.WithTimeout(oidc.ClientContext(ctx, p.client), p.limit)
	defer cancel()
	if !flow.complete() || !p.config.Now().Before(flow.Expires) {
		return Identity{}, unauthorized(nil, "this log-in was begun too long ago: begin again")
	}
	// Before anything else of the query is believed, an error's text included.
	if state, ok := single(query, "state"); !ok || !equal(state, flow.State) {
		return Identity{}, unauthorized(nil, "this answer belongs to another log-in, perhaps of another tab: begin again")
	}
	d, err := p.discover(ctx)
	if err != nil {
		return Identity{}, err
	}
	code, err := p.answer(d, query)
	if err != nil {
		return Identity{}, err
	}
	token, err := d.oauth.Exchange(ctx, code, oauth2.VerifierOption(flow.Verifier))
	if err != nil {
		return Identity{}, exchangeError(err)
	}
	id, c, err := p.verify(ctx, d, token, flow.Nonce)
	if err != nil {
		return Identity{}, err
	}
	if c, err = p.complete(ctx, d, token, id.Subject, c); err != nil {
		return Identity{}, err
	}
	return p.identity(id.Subject, c)
}

// answer returns the code of the provider's answer, or the error in it.
func (p *Provider) answer(d *discovered, query url.Values) (string, error) {
	// RFC 9207: an answer of another provider is not for us, nor is its error.
	iss, once := single(query, "iss")
	if query.Has("iss") && (!once || iss != p.config.Issuer) || d.namesIss && !once {
		return "", unauthorized(nil, "this answer is not from the provider that was asked: begin again")
	}
	if query.Has("error") {
		return "", answerError(query.Get("error"), query.Get("error_description"))
	}
	code, ok := single(query, "code")
	if !ok || code == "" {
		return "", unauthorized(nil, "the provider's answer holds no code: begin again")
	}
	return code, nil
}

// verify checks the ID token: its signature, by a key of the provider, iss, aud,
// exp and nbf, which go-oidc does, and the rest that OpenID Connect Core 3.1.3.7 asks.
func (p *Provider) verify(ctx context.Context, d *discovered, token *oauth2.Token, nonce string) (*oidc.IDToken, claims, error) {
	raw, _ := token.Extra("id_token").(string)
	if raw == "" {
		return nil, nil, unauthorized(nil, "the provider sent no ID token: ask an administrator whether it allows the scope openid for this client")
	}
	id, err := d.verifier.Verify(ctx, raw)
	if err != nil {
		return nil, nil, verifyError(err)
	}
	var c claims
	if err := id.Claims(&c); err != nil {
		return nil, nil, unauthorized(err, "the provider's ID token cannot be read: begin again")
	}
	azp, present := c["azp"]
	switch now := p.config.Now(); {
	case !equal(id.Nonce, nonce):
		return nil, nil, unauthorized(nil, "the provider's ID token belongs to another log-in: begin again")
	case present && azp != p.config.ClientID, !present && len(id.Audience) > 1:
		return nil, nil, unauthorized(nil, "the provider's ID token was made for another application (azp): begin again")
	case id.IssuedAt.IsZero(), id.IssuedAt.After(now.Add(leeway)):
		return nil, nil, unauthorized(nil, "the provider's ID token was made in the future, or does not say when (iat): compare the clocks of the two servers")
	case id.AccessTokenHash != "" && id.VerifyAccessToken(token.AccessToken) != nil:
		return nil, nil, unauthorized(nil, "the provider's ID token belongs to another access token (at_hash): begin again")
	case id.Subject == "" || len(id.Subject) > maxSubject || !ascii(id.Subject):
		return nil, nil, unauthorized(nil, "the provider's ID token has no usable subject (sub): it must be of at most %d ASCII letters", maxSubject)
	}
	return id, c, nil
}

// complete asks userinfo for what the ID token lacks. Nothing that the signed token
// says is replaced.
func (p *Provider) complete(ctx context.Context, d *discovered, token *oauth2.Token, subject string, c claims) (claims, error) {
	groups := len(p.config.Roles) > 0 && !c.has(p.config.GroupsClaim) && !c.leftOut(p.config.GroupsClaim)
	if d.provider.UserInfoEndpoint() == "" || c.text("email") != "" && !groups {
		return c, nil
	}
	info, err := d.provider.UserInfo(ctx, oauth2.StaticTokenSource(token))
	if err != nil {
		return nil, unavailable("did not say more about you (userinfo)", err)
	}
	if info.Subject != subject { // OpenID Connect Core 5.3.2
		return nil, unauthorized(nil, "the provider's userinfo is about somebody else: begin again")
	}
	var more claims
	if err := info.Claims(&more); err != nil {
		return nil, unavailable("sent userinfo that cannot be read", err)
	}
	return c.filled(more, p.config.GroupsClaim), nil
}

func verifyError(err error) error {
	if _, ok := errors.AsType[*oidc.TokenExpiredError](err); ok {
		return unauthorized(err, "the provider's ID token has expired: begin again, and if that does not help, compare the clocks of the two servers")
	}
	// go-oidc keeps the words of this cause, not its type.
	if strings.Contains(err.Error(), "fetching keys") {
		return unavailable("does not show its keys (jwks_uri)", err)
	}
	return unauthorized(err, "the provider's ID token is not valid for this server: begin again, and if that does not help, ask an administrator to look at the log")
}

func exchangeError(err error) error {
	refused, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok {
		return unavailable("does not answer as it should", err)
	}
	switch status := refused.Response.StatusCode; {
	case refused.ErrorCode == "invalid_grant":
		return unauthorized(err, "the provider does not take its code any more, for it was used or is too old: begin again")
	case refused.ErrorCode == "invalid_client", refused.ErrorCode == "unauthorized_client", status == http.StatusUnauthorized:
		return unavailable("does not take the client id and secret of this server: ask an administrator to compare them", err)
	case refused.ErrorCode == "" || status >= http.StatusInternalServerError || slices.Contains(transient, refused.ErrorCode):
		return unavailable("does not answer as it should", err)
	}
	return answerError(refused.ErrorCode, refused.ErrorDescription)
}

// single returns a parameter that is there exactly once: of two, who knows which
// one another program would read.
func single(query url.Values, name string) (string, bool) {
	values := query[name]
	if len(values) != 1 {
		return "", false
	}
	return values[0], true
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

func unauthorized(cause error, format string, args ...any) *cybervault.Error {
	e := cybervault.Errorf(cybervault.CodeUnauthorized, format, args...)
	e.Err = brief(cause)
	return e
}
