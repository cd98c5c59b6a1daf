package oidctest

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// grant is what a code stands for.
type grant struct {
	user                       User
	redirect, nonce, challenge string
}

// authorize sends the browser back at once, with a code or the error that was set.
func (p *Provider) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	back, err := url.Parse(q.Get("redirect_uri"))
	switch {
	case q.Get("client_id") != p.ClientID:
		http.Error(w, "unknown client_id", http.StatusBadRequest)
	case err != nil || back.Host == "":
		http.Error(w, "redirect_uri is no address", http.StatusBadRequest)
	case q.Get("response_type") != "code" || !slices.Contains(strings.Fields(q.Get("scope")), "openid"):
		http.Error(w, "response_type must be code, and scope hold openid", http.StatusBadRequest)
	case q.Get("code_challenge_method") != "S256" || q.Get("code_challenge") == "" || q.Get("state") == "" || q.Get("nonce") == "":
		http.Error(w, "state, nonce and a code_challenge of S256 are needed", http.StatusBadRequest)
	default:
		answer := back.Query()
		answer.Set("state", q.Get("state"))
		answer.Set("iss", p.URL)
		if p.denied[0] != "" {
			answer.Set("error", p.denied[0])
			answer.Set("error_description", p.denied[1])
		} else {
			code := random()
			p.codes[code] = grant{p.user, q.Get("redirect_uri"), q.Get("nonce"), q.Get("code_challenge")}
			answer.Set("code", code)
		}
		back.RawQuery = answer.Encode()
		http.Redirect(w, r, back.String(), http.StatusFound)
	}
}

// token changes a code into tokens, once.
func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	if !p.knows(r) {
		send(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client", "error_description": "the client id or secret is wrong"})
		return
	}
	code := r.PostFormValue("code")
	g, ok := p.codes[code]
	delete(p.codes, code)
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	if !ok || r.PostFormValue("grant_type") != "authorization_code" || r.PostFormValue("redirect_uri") != g.redirect ||
		base64.RawURLEncoding.EncodeToString(sum[:]) != g.challenge {
		send(w, http.StatusBadRequest, map[string]any{"error": "invalid_grant", "error_description": "the code, the verifier or the redirect_uri is wrong"})
		return
	}
	access := random()
	p.tokens[access] = g.user
	id, err := p.idToken(g, access)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	send(w, http.StatusOK, edited(map[string]any{"access_token": access, "token_type": "Bearer", "expires_in": 300, "id_token": id}, p.edits.answer))
}

// knows checks the client by client_secret_basic, form-encoded as RFC 6749 wants it,
// or by client_secret_post, but not by both.
func (p *Provider) knows(r *http.Request) bool {
	id, secret, basic := r.BasicAuth()
	if !basic {
		return r.PostFormValue("client_id") == p.ClientID && r.PostFormValue("client_secret") == p.ClientSecret
	}
	return id == url.QueryEscape(p.ClientID) && secret == url.QueryEscape(p.ClientSecret) && r.PostFormValue("client_secret") == ""
}
