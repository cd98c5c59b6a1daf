package oidc

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

const (
	keySize      = 32
	flowLifetime = 10 * time.Minute
	// maxCookie is well over what Seal makes.
	maxCookie = 1024
)

// Flow is a log-in under way: what binds the answer of the provider to the browser
// that began.
type Flow struct {
	State    string    `json:"state"`
	Nonce    string    `json:"nonce"`
	Verifier string    `json:"verifier"` // of PKCE, RFC 7636
	Expires  time.Time `json:"expires"`
}

func (f *Flow) complete() bool {
	return f.State != "" && f.Nonce != "" && f.Verifier != "" && !f.Expires.IsZero()
}

func newSealer(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// bound is what a sealed flow belongs to: another provider's or client's is not opened.
func (p *Provider) bound() []byte {
	return []byte("cybervault oidc flow 1\n" + p.config.Issuer + "\n" + p.config.ClientID)
}

// Seal makes the value of a cookie of a flow. The browser can neither read nor
// change it. Set it HttpOnly and SameSite=Lax: the provider's redirect is a
// navigation from another site.
func (p *Provider) Seal(flow Flow) (string, error) {
	plain, err := json.Marshal(flow)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(p.sealer.Seal(nil, nil, plain, p.bound())), nil
}

// Open reads a cookie that Seal made less than ten minutes ago. Anything else is an
// error of CodeUnauthorized.
func (p *Provider) Open(cookie string) (Flow, error) {
	refused := cybervault.Errorf(cybervault.CodeUnauthorized, "this log-in was not begun in this browser, or too long ago: begin again, with cookies allowed")
	if len(cookie) > maxCookie {
		return Flow{}, refused
	}
	// Strict, and without the line breaks that base64 passes over, so that one flow has
	// one form.
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(cookie)
	if err != nil || strings.ContainsAny(cookie, "\r\n") {
		return Flow{}, refused
	}
	plain, err := p.sealer.Open(nil, nil, sealed, p.bound())
	if err != nil {
		return Flow{}, refused
	}
	var flow Flow
	if json.Unmarshal(plain, &flow) != nil || !flow.complete() || !p.config.Now().Before(flow.Expires) {
		return Flow{}, refused
	}
	return flow, nil
}
