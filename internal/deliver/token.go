package deliver

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/cybervault/cybervault"
)

// Bounds on OAuth 2 access tokens.
const (
	// tokenMargin is how long before its end a token is renewed, or a fifth of
	// its life where that is less: an attempt that begins with it must end with it.
	tokenMargin = time.Minute
	// unknownTokenLife is taken for a token whose life the endpoint does not tell
	// (RFC 6749, section 5.1, only recommends it).
	unknownTokenLife = 5 * time.Minute
	maxTokenLife     = 24 * time.Hour
	// renewPause is how long after a renewal that failed the next is tried, while
	// the token is still good.
	renewPause = 5 * time.Second
)

// tokens keeps the access tokens of webhooks with OAuth 2, in memory only. One
// fetch at a time is under way for a webhook; other attempts wait for it.
type tokens struct {
	sender    Sender
	userAgent string
	now       func() time.Time

	mu sync.Mutex
	by map[cybervault.WebhookID]*token
}

// token is what is known for one webhook; guarded by tokens.mu.
type token struct {
	from    cybervault.Authentication // that it was fetched with
	value   string                    // empty: none yet
	renewAt time.Time
	endsAt  time.Time
	fetch   *fetch // under way; nil: none
}

// fetch is one request to a token endpoint; its fields are final once done is closed.
type fetch struct {
	done   chan struct{}
	value  string
	failed *cybervault.Exchange // as the failed attempt is to show it; nil: it succeeded
	err    error                // ctx's own
}

// get returns the token for an attempt, or the exchange of the attempt that
// failed for the lack of one. The error is only that of a ctx that ended.
func (t *tokens) get(ctx context.Context, w *cybervault.Webhook) (string, *cybervault.Exchange, error) {
	t.mu.Lock()
	k := t.by[w.ID]
	if k == nil || !k.from.Same(&w.Authentication) {
		k = &token{from: w.Authentication}
		t.by[w.ID] = k
	}
	if k.value != "" && t.now().Before(k.renewAt) {
		value := k.value
		t.mu.Unlock()
		return value, nil, nil
	}
	f := k.fetch
	if f != nil {
		t.mu.Unlock()
		select {
		case <-f.done:
		case <-ctx.Done():
			return "", nil, ctx.Err()
		}
		return f.value, f.failed, f.err
	}
	f = &fetch{done: make(chan struct{})}
	k.fetch = f
	t.mu.Unlock()
	defer close(f.done)
	value, life, failed, err := t.request(ctx, w)
	t.mu.Lock()
	defer t.mu.Unlock()
	k.fetch = nil
	now := t.now()
	switch {
	case err == nil && failed == nil:
		k.value, k.endsAt, k.renewAt = value, now.Add(life), now.Add(life-min(tokenMargin, life/5))
	case k.value != "" && now.Before(k.endsAt):
		k.renewAt = now.Add(renewPause) // the old one is still good
		value, failed, err = k.value, nil, nil
	}
	f.value, f.failed, f.err = value, failed, err
	return value, failed, err
}

// discard forgets a token that a receiver has refused, unless it was replaced
// in the meantime.
func (t *tokens) discard(id cybervault.WebhookID, value string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if k := t.by[id]; k != nil && k.value == value {
		k.value = ""
	}
}

// retain forgets the tokens of webhooks that are not to be kept.
func (t *tokens) retain(keep func(cybervault.WebhookID) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id := range t.by {
		if !keep(id) {
			delete(t.by, id)
		}
	}
}

// request fetches a token by client credentials (RFC 6749, section 4.4), on the
// same way and by the same rules as an attempt.
func (t *tokens) request(ctx context.Context, w *cybervault.Webhook) (value string, life time.Duration, failed *cybervault.Exchange, err error) {
	a := &w.Authentication
	form := url.Values{"grant_type": {"client_credentials"}}
	if len(a.Scopes) > 0 {
		form.Set("scope", strings.Join(a.Scopes, " "))
	}
	if a.Audience != "" {
		form.Set("audience", a.Audience)
	}
	headers := []cybervault.Header{
		{Name: "Content-Type", Value: "application/x-www-form-urlencoded"}, {Name: "Accept", Value: "application/json"},
		{Name: "User-Agent", Value: t.userAgent},
	}
	if a.ClientAuthentication == cybervault.ClientBody {
		form.Set("client_id", a.ClientID)
		form.Set("client_secret", a.ClientSecret)
	} else {
		// Each half is encoded as in a form first: RFC 6749, section 2.3.1.
		pair := url.QueryEscape(a.ClientID) + ":" + url.QueryEscape(a.ClientSecret)
		headers = append(headers, cybervault.Header{Name: "Authorization", Value: "Basic " + base64.StdEncoding.EncodeToString([]byte(pair))})
	}
	x, err := t.sender.Do(ctx, &Request{
		URL: a.TokenURL, Header: headers, MaskedHeaders: []string{"Authorization"}, Body: []byte(form.Encode()),
		CACertificate: w.CACertificate, ClientCertificate: w.ClientCertificate, Proxy: w.Proxy,
	})
	if err != nil {
		return "", 0, nil, err
	}
	value, life, failure, text := readToken(&x, "the token endpoint "+endpointName(a.TokenURL))
	if failure != "" {
		// Nothing of the exchange is the receiver's, so little of it is kept: its
		// status would be taken for the receiver's, its body may repeat a secret.
		return "", 0, &cybervault.Exchange{URL: w.URL, Failure: failure, Error: text, Elapsed: x.Elapsed, RetryAfter: x.RetryAfter}, nil
	}
	return value, life, nil, nil
}

// endpointName is a token endpoint without its query, for a person.
func endpointName(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "of the webhook"
	}
	return u.Scheme + "://" + u.Host + u.EscapedPath()
}

// readToken reads a token endpoint's answer (RFC 6749, section 5), or says what
// is wrong with it without repeating any of it.
func readToken(x *cybervault.Exchange, endpoint string) (value string, life time.Duration, failure cybervault.Failure, text string) {
	unusable := func(why string) (string, time.Duration, cybervault.Failure, string) {
		return "", 0, cybervault.FailureProtocol, endpoint + " answered 200 without a usable token: " + why
	}
	switch {
	case x.Failure != "":
		return "", 0, x.Failure, "no token from " + endpoint + ": " + x.Error
	case x.Status >= 300 && x.Status <= 399:
		return "", 0, cybervault.FailureRedirect, fmt.Sprintf("%s answered %d; redirects are never followed: set token_url to the final URL", endpoint, x.Status)
	case x.Status != http.StatusOK:
		return "", 0, cybervault.FailureStatus, fmt.Sprintf("%s answered %d%s", endpoint, x.Status, tokenRemedy(x))
	case x.BodyCut:
		return unusable(fmt.Sprintf("the answer is longer than %d bytes, or broke off", cybervault.MaxKeptResponseBodyBytes))
	}
	var answer struct {
		AccessToken string  `json:"access_token"`
		TokenType   string  `json:"token_type"`
		ExpiresIn   seconds `json:"expires_in"`
	}
	if err := json.Unmarshal(x.Body, &answer); err != nil {
		return unusable("the answer is not the JSON of RFC 6749, section 5.1")
	}
	switch {
	case answer.AccessToken == "":
		return unusable("access_token is missing")
	case strings.ContainsFunc(answer.AccessToken, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return unusable("access_token holds a space or a character beyond ASCII")
	case !strings.EqualFold(answer.TokenType, "Bearer"):
		return unusable("token_type is not Bearer")
	}
	life = unknownTokenLife
	if answer.ExpiresIn > 0 {
		life = time.Duration(min(max(float64(answer.ExpiresIn), 1), maxTokenLife.Seconds()) * float64(time.Second))
	}
	return answer.AccessToken, life, "", ""
}

// seconds is a number that some servers write as a string.
type seconds float64

func (s *seconds) UnmarshalJSON(raw []byte) error {
	return json.Unmarshal([]byte(strings.Trim(string(raw), `"`)), (*float64)(s))
}

// tokenRemedy says what to look at, by the error code of the answer where it is
// one of RFC 6749, section 5.2, else by the status.
func tokenRemedy(x *cybervault.Exchange) string {
	var answer struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(x.Body, &answer) == nil {
		switch answer.Error {
		case "invalid_client":
			return " (invalid_client): check client_id and client_secret"
		case "invalid_scope":
			return " (invalid_scope): check scopes"
		case "unauthorized_client", "unsupported_grant_type":
			return " (" + answer.Error + "): the client may not use the grant client_credentials; allow it at the authorization server"
		case "invalid_grant", "invalid_request":
			return " (" + answer.Error + "): check scopes, audience and client_authentication"
		}
	}
	switch x.Status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return ": check client_id and client_secret"
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return ": check token_url"
	}
	return ""
}
