// Package oidctest is an OpenID provider for tests: discovery, keys, authorize,
// token and userinfo on loopback, with knobs to misbehave.
//
// It asks nobody for a password: who logs in is whom the test has set, and
// authorize sends the browser back at once. It checks what a provider has to check
// (client, redirect address, PKCE, one use of a code), so that a client that leaves
// something out fails. It never leaves tests: depguard keeps it out of the product.
package oidctest

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// The paths of the endpoints, for Fail and Requests.
const (
	Discovery = "/.well-known/openid-configuration"
	Keys      = "/keys"
	Authorize = "/authorize"
	Token     = "/token"
	UserInfo  = "/userinfo"
)

// User is who logs in. What is empty or nil is not sent.
type User struct {
	Subject       string
	Email         string
	EmailVerified *bool
	Name          string
	Groups        any // a list, a text, or anything else that JSON can hold
}

// Failure is how an endpoint fails.
type Failure int

// The failures.
const (
	Works    Failure = iota
	Slow             // does not answer until the client gives up or the test ends
	Error500         // an error of the server, with control characters in its text
	Huge             // 4 MiB that begin like an answer
	Redirect         // to another address
	Garbage          // not JSON
)

// Signing is how an ID token is signed.
type Signing string

// The signings. Those after RS256 are wrong.
const (
	ES256    Signing = "ES256" // what New begins with
	RS256    Signing = "RS256"
	Unsigned Signing = "none"
	HS256    Signing = "HS256"     // by the client's secret
	OtherKey Signing = "other key" // ES256 under the id of the right key
)

// Provider is the provider. Its methods may be called while it serves.
type Provider struct {
	URL          string // the issuer
	ClientID     string
	ClientSecret string

	ended chan struct{}

	mu       sync.Mutex
	user     User
	keys     keys
	signing  Signing
	codes    map[string]grant
	tokens   map[string]User
	failing  map[string]Failure
	requests map[string]int
	denied   [2]string
	edits    edits
	inInfo   bool
}

// edits change what is sent, last of all.
type edits struct {
	discovery, claims, info, answer func(map[string]any)
}

// New starts a provider that knows one client and one user, until the test ends.
func New(t testing.TB) *Provider {
	t.Helper()
	verified := true
	p := &Provider{
		ClientID: "cybervault", ClientSecret: "a secret: of/the client", ended: make(chan struct{}),
		user:    User{Subject: "ada-1", Email: "ada@example.com", EmailVerified: &verified, Name: "Ada Lovelace", Groups: []string{"security"}},
		signing: ES256, codes: map[string]grant{}, tokens: map[string]User{}, failing: map[string]Failure{}, requests: map[string]int{},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+Discovery, p.endpoint(p.discovery))
	mux.HandleFunc("GET "+Keys, p.endpoint(p.jwks))
	mux.HandleFunc("GET "+Authorize, p.endpoint(p.authorize))
	mux.HandleFunc("POST "+Token, p.endpoint(p.token))
	mux.HandleFunc("GET "+UserInfo, p.endpoint(p.userInfo))
	server := httptest.NewServer(mux)
	p.URL = server.URL
	t.Cleanup(func() {
		close(p.ended)
		server.Close()
	})
	p.Rotate()
	return p
}

// SetUser says who logs in from now on.
func (p *Provider) SetUser(user User) { p.set(func() { p.user = user }) }

// Rotate makes new keys; the old ones are not shown any more.
func (p *Provider) Rotate() { p.set(func() { p.keys = newKeys() }) }

// Sign says how ID tokens are signed from now on.
func (p *Provider) Sign(how Signing) { p.set(func() { p.signing = how }) }

// Fail says how an endpoint fails from now on.
func (p *Provider) Fail(path string, how Failure) { p.set(func() { p.failing[path] = how }) }

// Deny makes authorize answer with an error, until the code is empty.
func (p *Provider) Deny(code, description string) {
	p.set(func() { p.denied = [2]string{code, description} })
}

// OnlyUserInfo leaves email, name and groups out of the ID token.
func (p *Provider) OnlyUserInfo() { p.set(func() { p.inInfo = true }) }

// EditDiscovery changes the discovery document.
func (p *Provider) EditDiscovery(edit func(document map[string]any)) {
	p.set(func() { p.edits.discovery = edit })
}

// EditClaims changes the claims of ID tokens before they are signed.
func (p *Provider) EditClaims(edit func(claims map[string]any)) {
	p.set(func() { p.edits.claims = edit })
}

// EditUserInfo changes what userinfo answers.
func (p *Provider) EditUserInfo(edit func(claims map[string]any)) {
	p.set(func() { p.edits.info = edit })
}

// EditToken changes what the token endpoint answers.
func (p *Provider) EditToken(edit func(answer map[string]any)) {
	p.set(func() { p.edits.answer = edit })
}

// Requests returns how often an endpoint was asked.
func (p *Provider) Requests(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.requests[path]
}

func (p *Provider) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

// endpoint counts, fails as it was told to, and keeps the requests one after the other.
func (p *Provider) endpoint(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.requests[r.URL.Path]++
		how := p.failing[r.URL.Path]
		p.mu.Unlock()
		switch how {
		case Slow:
			select {
			case <-r.Context().Done():
			case <-p.ended:
			}
		case Error500:
			http.Error(w, "out of \x1b[31morder\x07", http.StatusInternalServerError)
		case Huge:
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"issuer":"`+strings.Repeat("x", 4<<20)+`"}`)
		case Redirect:
			http.Redirect(w, r, p.URL+"/elsewhere", http.StatusTemporaryRedirect)
		case Garbage:
			_, _ = io.WriteString(w, "<html>")
		case Works:
			p.mu.Lock()
			defer p.mu.Unlock()
			serve(w, r)
		}
	}
}

func (p *Provider) discovery(w http.ResponseWriter, _ *http.Request) {
	send(w, http.StatusOK, edited(map[string]any{
		"issuer": p.URL, "authorization_endpoint": p.URL + Authorize, "token_endpoint": p.URL + Token,
		"jwks_uri": p.URL + Keys, "userinfo_endpoint": p.URL + UserInfo,
		"response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"},
		"id_token_signing_alg_values_supported":          []string{"RS256", "ES256", "HS256", "none"},
		"code_challenge_methods_supported":               []string{"S256"},
		"authorization_response_iss_parameter_supported": true,
	}, p.edits.discovery))
}

func (p *Provider) jwks(w http.ResponseWriter, _ *http.Request) {
	send(w, http.StatusOK, p.keys.public(p.signing == RS256))
}

func (p *Provider) userInfo(w http.ResponseWriter, r *http.Request) {
	user, ok := p.tokens[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
	if !ok {
		send(w, http.StatusUnauthorized, map[string]any{"error": "invalid_token"})
		return
	}
	claims := user.claims()
	claims["sub"] = user.Subject
	send(w, http.StatusOK, edited(claims, p.edits.info))
}

func (u *User) claims() map[string]any {
	claims := map[string]any{}
	if u.Email != "" {
		claims["email"] = u.Email
	}
	if u.EmailVerified != nil {
		claims["email_verified"] = *u.EmailVerified
	}
	if u.Name != "" {
		claims["name"] = u.Name
	}
	if u.Groups != nil {
		claims["groups"] = u.Groups
	}
	return claims
}

// idToken makes the ID token of a grant.
func (p *Provider) idToken(g grant, access string) (string, error) {
	now := time.Now()
	claims := map[string]any{
		"iss": p.URL, "sub": g.user.Subject, "aud": p.ClientID, "nonce": g.nonce,
		"iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(), "at_hash": accessHash(access),
	}
	if !p.inInfo {
		maps.Copy(claims, g.user.claims())
	}
	payload, err := json.Marshal(edited(claims, p.edits.claims))
	if err != nil {
		return "", fmt.Errorf("the claims of the ID token: %w", err)
	}
	return p.keys.sign(p.signing, p.ClientSecret, payload)
}

func edited(m map[string]any, edit func(map[string]any)) map[string]any {
	if edit != nil {
		edit(m)
	}
	return m
}

func send(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) //nolint:errchkjson // a test that edits in what JSON cannot hold sees its client fail
}

func random() string { return rand.Text() }
