package deliver_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cybervault/cybervault"
)

const tokenURL = "https://id.test/token?tenant=1"

// withOAuth2 gives a webhook OAuth 2, with a token endpoint that answers.
func (w *world) withOAuth2(hook *cybervault.Webhook, endpoint answer) {
	w.net.mu.Lock()
	w.net.answers[tokenURL] = endpoint
	w.net.mu.Unlock()
	w.hooks.change(hook.ID, func(h *cybervault.Webhook) {
		h.Authentication = cybervault.Authentication{
			Type: cybervault.AuthenticationOAuth2, TokenURL: tokenURL, ClientID: "cyber vault", ClientSecret: "hunter2+&:",
			Scopes: []string{"events", "write"}, Audience: "https://siem.test/", ClientAuthentication: cybervault.ClientBasic,
		}
		h.CACertificate, h.ClientCertificate, h.Proxy = "a CA", "a certificate", "http://proxy.test:3128"
	})
}

// issuing answers token requests with token-1, token-2 … after a while.
func issuing(life string, after time.Duration) answer {
	return func(ctx context.Context, n int) (cybervault.Exchange, error) {
		x, err := answering(200, after)(ctx, n)
		x.Body = fmt.Appendf(nil, `{"access_token":"token-%d","token_type":"bearer","expires_in":%s}`, n, life)
		return x, err
	}
}

func TestStaticAuthentication(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		hook := w.webhook(answering(200, 0))
		for i, test := range []struct {
			a    cybervault.Authentication
			want string
		}{
			// The example of RFC 7617, section 2.
			{cybervault.Authentication{Type: cybervault.AuthenticationBasic, Username: "Aladdin", Password: "open sesame"}, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="},
			{cybervault.Authentication{Type: cybervault.AuthenticationBearer, Token: "mF_9.B5f-4.1JqM"}, "Bearer mF_9.B5f-4.1JqM"},
		} {
			w.hooks.change(hook.ID, func(h *cybervault.Webhook) { h.Authentication = test.a })
			w.publish(hook)
			synctest.Wait()
			got := w.net.got(hook.URL)[i]
			if got.headers["Authorization"] != test.want || strings.Join(got.request.MaskedHeaders, " ") != "Authorization" {
				t.Errorf("sent %q, masked %v, want %q", got.headers["Authorization"], got.request.MaskedHeaders, test.want)
			}
		}
	})
}

// The token request is that of RFC 6749, section 4.4.2, on the webhook's own
// way; the token is used until shortly before its end, and attempts that come
// while it is fetched wait for the one fetch.
func TestOAuth2Token(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		hook := w.webhook(answering(200, 0))
		w.withOAuth2(hook, issuing(`"3600"`, time.Second))
		for range 3 {
			w.publish(hook)
		}
		pass(2 * time.Second)
		got := w.net.got(tokenURL)
		if len(got) != 1 || len(w.net.got(hook.URL)) != 3 {
			t.Fatalf("%d token requests for %d attempts", len(got), len(w.net.got(hook.URL)))
		}
		r := got[0].request
		form, err := url.ParseQuery(string(r.Body))
		want := url.Values{"grant_type": {"client_credentials"}, "scope": {"events write"}, "audience": {"https://siem.test/"}}
		if err != nil || form.Encode() != want.Encode() {
			t.Errorf("the form is %v, want %v", form, want)
		}
		if got[0].headers["Authorization"] != "Basic Y3liZXIrdmF1bHQ6aHVudGVyMiUyQiUyNiUzQQ==" || got[0].headers["Content-Type"] != "application/x-www-form-urlencoded" {
			t.Errorf("headers %v", got[0].headers)
		}
		if r.CACertificate != "a CA" || r.ClientCertificate != "a certificate" || r.Proxy != "http://proxy.test:3128" {
			t.Errorf("the way is %q, %q, %q", r.CACertificate, r.ClientCertificate, r.Proxy)
		}
		for _, a := range w.net.got(hook.URL) {
			if a.headers["Authorization"] != "Bearer token-1" || a.request.Spent != time.Second || a.request.Proxy != r.Proxy {
				t.Errorf("an attempt with %q, %v spent", a.headers["Authorization"], a.request.Spent)
			}
		}
		for _, step := range []struct {
			after time.Duration
			token string
		}{{58 * time.Minute, "token-1"}, {time.Minute, "token-2"}, {time.Minute, "token-2"}} {
			pass(step.after)
			w.publish(hook)
			pass(2 * time.Second)
			all := w.net.got(hook.URL)
			if got := all[len(all)-1].headers["Authorization"]; got != "Bearer "+step.token {
				t.Errorf("%q, want %s", got, step.token)
			}
		}
		// Other settings make another token.
		w.hooks.change(hook.ID, func(h *cybervault.Webhook) { h.Authentication.ClientAuthentication = cybervault.ClientBody })
		w.publish(hook)
		pass(2 * time.Second)
		last := w.net.got(tokenURL)[2]
		if form, err := url.ParseQuery(string(last.request.Body)); err != nil || form.Get("client_id") != "cyber vault" || form.Get("client_secret") != "hunter2+&:" || last.headers["Authorization"] != "" {
			t.Errorf("in the body: %v, %v", form, last.headers)
		}
	})
}

// A receiver that refuses the token makes the next attempt fetch another.
func TestOAuth2TokenRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Second, time.Second)
		hook := w.webhook(func(_ context.Context, n int) (cybervault.Exchange, error) {
			return cybervault.Exchange{Status: map[bool]int{true: 401, false: 200}[n == 1]}, nil
		})
		w.withOAuth2(hook, issuing("3600", 0))
		id := w.publish(hook)
		pass(3 * time.Second)
		got := w.net.got(hook.URL)
		if len(got) != 2 || got[0].headers["Authorization"] != "Bearer token-1" || got[1].headers["Authorization"] != "Bearer token-2" {
			t.Fatalf("attempts: %+v", got)
		}
		if r := w.queue.get(id); r.status != cybervault.DeliveryDelivered {
			t.Errorf("the delivery is %s", r.status)
		}
	})
}

// An endpoint that is down does not matter while the token is good.
func TestOAuth2TokenOutlivesItsEndpoint(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		hook := w.webhook(answering(200, 0))
		issue := issuing("100", 0)
		w.withOAuth2(hook, func(ctx context.Context, n int) (cybervault.Exchange, error) {
			if n > 1 {
				return cybervault.Exchange{Status: 503}, nil
			}
			return issue(ctx, n)
		})
		for _, after := range []time.Duration{0, 85 * time.Second, time.Second} {
			pass(after)
			w.publish(hook)
			synctest.Wait()
		}
		if got := w.net.got(hook.URL); len(got) != 3 || got[2].headers["Authorization"] != "Bearer token-1" {
			t.Errorf("attempts: %+v", got)
		}
		if n := len(w.net.got(tokenURL)); n != 2 {
			t.Errorf("%d token requests, want one more, not one an attempt", n)
		}
		pass(20 * time.Second)
		w.publish(hook)
		synctest.Wait()
		if n := len(w.net.got(hook.URL)); n != 3 {
			t.Error("an attempt was made with a token that had ended")
		}
	})
}

// What is wrong with the token endpoint is a failed attempt that says so, counts
// in the schedule, and repeats neither secret nor answer.
func TestOAuth2Failures(t *testing.T) {
	t.Parallel()
	const endpoint = "the token endpoint https://id.test/token"
	for name, test := range map[string]struct {
		x       cybervault.Exchange
		failure cybervault.Failure
		says    string
	}{
		"refused":         {cybervault.Exchange{Status: 401}, cybervault.FailureStatus, endpoint + " answered 401: check client_id and client_secret"},
		"invalid_client":  {cybervault.Exchange{Status: 400, Body: []byte(`{"error":"invalid_client","error_description":"hunter2"}`)}, cybervault.FailureStatus, endpoint + " answered 400 (invalid_client): check client_id and client_secret"},
		"invalid_scope":   {cybervault.Exchange{Status: 400, Body: []byte(`{"error":"invalid_scope"}`)}, cybervault.FailureStatus, endpoint + " answered 400 (invalid_scope): check scopes"},
		"an unknown code": {cybervault.Exchange{Status: 500, Body: []byte(`{"error":"hunter2"}`)}, cybervault.FailureStatus, endpoint + " answered 500"},
		"gone":            {cybervault.Exchange{Status: 410}, cybervault.FailureStatus, endpoint + " answered 410"},
		"a redirect":      {cybervault.Exchange{Status: 302}, cybervault.FailureRedirect, "set token_url to the final URL"},
		"not reached":     {cybervault.Exchange{Failure: cybervault.FailureDNS, Error: "the name id.test does not exist"}, cybervault.FailureDNS, "no token from " + endpoint + ": the name id.test does not exist"},
		"not JSON":        {cybervault.Exchange{Status: 200, Body: []byte("hunter2")}, cybervault.FailureProtocol, "is not the JSON"},
		"no token":        {cybervault.Exchange{Status: 200, Body: []byte(`{}`)}, cybervault.FailureProtocol, "access_token is missing"},
		"another type":    {cybervault.Exchange{Status: 200, Body: []byte(`{"access_token":"a","token_type":"mac"}`)}, cybervault.FailureProtocol, "token_type is not Bearer"},
		"a line end":      {cybervault.Exchange{Status: 200, Body: []byte(`{"access_token":"a\r\nX: hunter2","token_type":"Bearer"}`)}, cybervault.FailureProtocol, "holds a space"},
		"too long":        {cybervault.Exchange{Status: 200, Body: []byte(`{`), BodyCut: true}, cybervault.FailureProtocol, "longer than 16384 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, time.Second)
				hook := w.webhook(answering(200, 0))
				w.withOAuth2(hook, func(context.Context, int) (cybervault.Exchange, error) { return test.x, nil })
				id := w.publish(hook)
				pass(3 * time.Second)
				r := w.queue.get(id)
				if r.status != cybervault.DeliveryDeadLetter || len(r.results) != 2 || len(w.net.got(hook.URL)) != 0 {
					t.Fatalf("the delivery is %+v", r)
				}
				a := r.results[1].Attempt
				if a.Failure != test.failure || !strings.Contains(a.Error, test.says) || a.Status != 0 || a.URL != hook.URL || strings.Contains(fmt.Sprintf("%+v", a), "hunter2") {
					t.Errorf("the attempt is %+v, want %s, %q", a, test.failure, test.says)
				}
			})
		})
	}
}
