package oidc_test

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/access/oidc"
)

// sealing returns a provider for cookies only, and its clock.
func sealing(t testing.TB, change func(*oidc.Config)) (*oidc.Provider, *time.Time) {
	t.Helper()
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	c := oidc.Config{
		Issuer: "https://login.example.com", ClientID: "c", RedirectURL: "https://vault.example.com/back",
		Key: bytes.Repeat([]byte{1}, 32), DefaultRole: cybervault.RoleViewer, Now: func() time.Time { return now },
	}
	if change != nil {
		change(&c)
	}
	p, err := oidc.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return p, &now
}

func sealed(t testing.TB, p *oidc.Provider, now time.Time) (string, oidc.Flow) {
	t.Helper()
	flow := oidc.Flow{State: "a state", Nonce: "a nonce", Verifier: strings.Repeat("v", 43), Expires: now.Add(10 * time.Minute)}
	cookie, err := p.Seal(flow)
	if err != nil {
		t.Fatal(err)
	}
	return cookie, flow
}

func TestCookie(t *testing.T) {
	t.Parallel()
	p, now := sealing(t, nil)
	cookie, flow := sealed(t, p, *now)
	if got, err := p.Open(cookie); err != nil || got != flow {
		t.Fatalf("%+v, %v", got, err)
	}
	raw, err := base64.RawURLEncoding.DecodeString(cookie)
	if err != nil || bytes.Contains(raw, []byte("a state")) {
		t.Errorf("the cookie can be read: %q, %v", raw, err)
	}
	if again, _ := sealed(t, p, *now); again == cookie {
		t.Error("two cookies are alike")
	}
	for i := range raw {
		changed := bytes.Clone(raw)
		changed[i] ^= 1
		if _, err := p.Open(base64.RawURLEncoding.EncodeToString(changed)); cybervault.ErrorCode(err) != cybervault.CodeUnauthorized {
			t.Errorf("byte %d changed: %v", i, err)
		}
	}
	for name, change := range map[string]func(*oidc.Config){
		"another key":    func(c *oidc.Config) { c.Key = bytes.Repeat([]byte{2}, 32) },
		"another issuer": func(c *oidc.Config) { c.Issuer = "https://other.example.com" },
		"another client": func(c *oidc.Config) { c.ClientID = "d" },
	} {
		other, _ := sealing(t, change)
		if _, err := other.Open(cookie); cybervault.ErrorCode(err) != cybervault.CodeUnauthorized {
			t.Errorf("%s opens it: %v", name, err)
		}
	}
	*now = now.Add(10*time.Minute - time.Nanosecond)
	if _, err := p.Open(cookie); err != nil {
		t.Errorf("just before it expires: %v", err)
	}
	*now = now.Add(time.Nanosecond)
	if _, err := p.Open(cookie); cybervault.ErrorCode(err) != cybervault.CodeUnauthorized {
		t.Errorf("after ten minutes: %v", err)
	}
}

// Whatever a browser sends, only what Seal made is opened, and in its one form.
func FuzzOpen(f *testing.F) {
	p, now := sealing(f, nil)
	good, flow := sealed(f, p, *now)
	for _, seed := range []string{good, good + "=", good + "\n", good[1:], "", "AAAA", strings.Repeat("A", 2000), "!"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, cookie string) {
		got, err := p.Open(cookie)
		if (err == nil) != (cookie == good) {
			t.Fatalf("%q: %v", cookie, err)
		}
		if err == nil && got != flow || err != nil && (got != oidc.Flow{} || cybervault.ErrorCode(err) != cybervault.CodeUnauthorized) {
			t.Fatalf("%q: %+v, %v", cookie, got, err)
		}
	})
}
