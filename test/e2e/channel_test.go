package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cybervault/cybervault/receiver"
	"github.com/cybervault/cybervault/test/testenv"
)

// shownChannel is what the API tells of the way to a receiver.
type shownChannel struct {
	ID             string            `json:"id"`
	Authentication map[string]string `json:"authentication"`
	PublicKey      string            `json:"public_key"`
	Proxy          string            `json:"proxy"`
}

// outcome publishes an event and returns its delivery once it has ended.
func outcome(t *testing.T, server *testenv.Server) delivery {
	t.Helper()
	event := call[published](t, server, http.StatusAccepted, http.MethodPost, "/v1/events", threat)
	return waitDelivery(t, server, deliveriesOf(t, server, event.ID)[0].ID, func(d delivery) bool { return d.Status != "pending" })
}

// secretFree fails where a secret is in a webhook's answer, an attempt's, or the log.
func secretFree(t *testing.T, server *testenv.Server, texts ...any) {
	t.Helper()
	for _, text := range append(texts, server.Log()) {
		if s := fmt.Sprint(text); strings.Contains(s, "hunter2") || strings.Contains(s, "whsk_") {
			t.Errorf("a secret is shown: %s", s)
		}
	}
}

// A receiver is sent Basic or a bearer token; the secret stays through a change
// that leaves it out and through a restart, and is never shown.
func TestStaticAuthentication(t *testing.T) {
	onBoth(t, func(t *testing.T, server *testenv.Server) {
		r := testenv.NewReceiver(t)
		hook := addWebhook(t, server, r, `,"authentication":{"type":"basic","username":"soc","password":"hunter2"}`)
		path := "/v1/webhooks/" + hook.ID
		wantAuthorization := func(n int, want string) {
			t.Helper()
			d := outcome(t, server)
			if got := r.WaitFor(patience, n)[n-1].Header.Get("Authorization"); got != want || d.Status != "delivered" {
				t.Errorf("sent %q, want %q; the delivery is %s", got, want, d.Status)
			}
			logged := call[map[string]any](t, server, http.StatusOK, http.MethodGet, "/v1/deliveries/"+d.ID, "")
			if s := fmt.Sprint(logged); strings.Contains(s, strings.Fields(want)[1]) || !strings.Contains(s, "Authorization") {
				t.Errorf("the log of attempts shows %s", s)
			}
		}
		wantAuthorization(1, "Basic c29jOmh1bnRlcjI=")
		shown := call[shownChannel](t, server, http.StatusOK, http.MethodPatch, path, `{"authentication":{"type":"basic","username":"siem"}}`)
		if shown.Authentication["username"] != "siem" || shown.Authentication["password"] != "***" {
			t.Errorf("shown as %v", shown.Authentication)
		}
		server.Stop()
		server.Restart()
		wantAuthorization(2, "Basic c2llbTpodW50ZXIy")
		shown = call[shownChannel](t, server, http.StatusOK, http.MethodPatch, path, `{"authentication":{"type":"bearer","token":"hunter2"}}`)
		wantAuthorization(3, "Bearer hunter2")
		p := call[problem](t, server, http.StatusUnprocessableEntity, http.MethodPatch, path, `{"headers":{"Authorization":"x"}}`)
		if p.Field != `headers["Authorization"]` {
			t.Errorf("a header beside it: %+v", p)
		}
		secretFree(t, server, shown, p)
	}, "--dev")
}

// The client fetches one token for many events, fetches another when the
// receiver refuses it, and says what is wrong when the endpoint refuses.
func TestOAuth2(t *testing.T) {
	onBoth(t, func(t *testing.T, server *testenv.Server) {
		var refuse, token atomic.Int64
		endpoint := testenv.NewReceiver(t)
		endpoint.AnswerWith(func(w http.ResponseWriter, r *http.Request, got testenv.Received) {
			form, err := url.ParseQuery(string(got.Body))
			id, secret, ok := r.BasicAuth()
			if err != nil || !ok || id != "soc" || secret != "hunter2" || form.Get("grant_type") != "client_credentials" || form.Get("scope") != "a b" || refuse.Load() == 1 {
				w.WriteHeader(http.StatusUnauthorized)
				fmt.Fprint(w, `{"error":"invalid_client"}`)
				return
			}
			fmt.Fprintf(w, `{"access_token":"token-%d","token_type":"Bearer","expires_in":3600}`, token.Add(1))
		})
		r := testenv.NewReceiver(t)
		r.AnswerWith(func(w http.ResponseWriter, r *http.Request, got testenv.Received) {
			if got.Number == 3 || r.Header.Get("Authorization") != fmt.Sprintf("Bearer token-%d", token.Load()) {
				w.WriteHeader(http.StatusUnauthorized)
			}
		})
		hook := addWebhook(t, server, r, `,"retry_schedule":["10ms"],"authentication":{"type":"oauth2","token_url":"`+endpoint.URL+
			`/token?tenant=1","client_id":"soc","client_secret":"hunter2","scopes":["a","b"]}`)
		for range 3 { // the third is refused once, and then sent with another token
			if d := outcome(t, server); d.Status != "delivered" {
				t.Fatalf("the delivery is %+v", d)
			}
		}
		if n := len(endpoint.Received()); n != 2 {
			t.Errorf("%d tokens were fetched, want 2", n)
		}
		refuse.Store(1)
		server.Stop()
		server.Restart() // tokens do not outlive it
		d := outcome(t, server)
		if d.Status != "dead_letter" || d.AttemptCount != 2 || d.LastFailure == nil || *d.LastFailure != "status" {
			t.Errorf("the delivery is %+v", d)
		}
		logged := call[map[string]any](t, server, http.StatusOK, http.MethodGet, "/v1/deliveries/"+d.ID, "")
		if s := fmt.Sprint(logged); !strings.Contains(s, "the token endpoint "+endpoint.URL+"/token answered 401 (invalid_client): check client_id and client_secret") {
			t.Errorf("the log says %s", s)
		}
		secretFree(t, server, logged, call[map[string]any](t, server, http.StatusOK, http.MethodGet, "/v1/webhooks/"+hook.ID, ""))
	}, "--dev")
}

// A receiver with the public key alone verifies what it gets, also while a
// rotation overlaps.
func TestEd25519(t *testing.T) {
	onBoth(t, func(t *testing.T, server *testenv.Server) {
		r := testenv.NewReceiver(t)
		hook := addWebhook(t, server, r, `,"signature":"ed25519"`)
		path := "/v1/webhooks/" + hook.ID
		first := call[shownChannel](t, server, http.StatusOK, http.MethodGet, path, "")
		second := call[shownChannel](t, server, http.StatusOK, http.MethodPost, path+"/rotate-secret", `{"overlap":"1h"}`)
		server.Stop()
		server.Restart()
		outcome(t, server)
		got := r.WaitFor(patience, 1)[0]
		for _, key := range []string{first.PublicKey, second.PublicKey} {
			if err := receiver.Verify(nil, got.Header, got.Body, receiver.PublicKeys(key)); err != nil {
				t.Errorf("%s: %v", key, err)
			}
		}
		signatures := strings.Fields(got.Header.Get("webhook-signature"))
		if len(signatures) != 2 || first.PublicKey == second.PublicKey || strings.HasPrefix(signatures[0], "v1,") {
			t.Errorf("signed with %v for %s and %s", signatures, first.PublicKey, second.PublicKey)
		}
		if !nodeVerifies(t, got.Body, got.Header.Get("X-CyberVault-Signature"), hook.Secret) {
			t.Error("the mission's function does not verify X-CyberVault-Signature")
		}
		secretFree(t, server, first, second)
	}, "--dev")
}

// Deliveries go through a proxy that asks for credentials, and one that refuses
// them is named. A proxy in a private range needs --allow-destination.
func TestProxy(t *testing.T) {
	proxy := newProxy(t)
	onBoth(t, func(t *testing.T, server *testenv.Server) {
		r := testenv.NewReceiver(t)
		before := proxy.tunnels.Load()
		hook := addWebhook(t, server, r, `,"retry_schedule":[],"proxy":"http://soc:hunter2@`+proxy.address+`"`)
		path := "/v1/webhooks/" + hook.ID
		if d := outcome(t, server); d.Status != "delivered" || proxy.tunnels.Load() != before+1 {
			t.Errorf("the delivery is %+v, after %d tunnels", d, proxy.tunnels.Load()-before)
		}
		shown := call[shownChannel](t, server, http.StatusOK, http.MethodPatch, path, `{"proxy":"http://soc:hunter2x@`+proxy.address+`"}`)
		if shown.Proxy != "http://soc:***@"+proxy.address {
			t.Errorf("shown as %s", shown.Proxy)
		}
		d := outcome(t, server)
		if d.Status != "dead_letter" || d.LastFailure == nil || *d.LastFailure != "connect" {
			t.Errorf("the delivery is %+v", d)
		}
		logged := call[map[string]any](t, server, http.StatusOK, http.MethodGet, "/v1/deliveries/"+d.ID, "")
		if s := fmt.Sprint(logged); !strings.Contains(s, "the proxy "+proxy.address+" answered 407") {
			t.Errorf("the log says %s", s)
		}
		settings, err := json.Marshal(map[string]any{"url": "https://siem.example/", "events": []string{"*"}, "proxy": "http://soc:hunter2@10.0.0.5:3128"})
		if err != nil {
			t.Fatal(err)
		}
		p := call[problem](t, server, http.StatusUnprocessableEntity, http.MethodPost, "/v1/webhooks", string(settings))
		if p.Field != "proxy" || !strings.Contains(p.Detail, "--allow-destination") {
			t.Errorf("a private proxy: %+v", p)
		}
		secretFree(t, server, shown, logged, p)
	}, "--dev")
}

// proxy is an HTTP proxy on loopback that knows CONNECT and soc:hunter2.
type proxy struct {
	address string
	tunnels atomic.Int64
}

func newProxy(t *testing.T) *proxy {
	t.Helper()
	p := &proxy{}
	s := httptest.NewServer(p)
	t.Cleanup(s.Close)
	p.address = strings.TrimPrefix(s.URL, "http://")
	return p
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect || r.Header.Get("Proxy-Authorization") != "Basic c29jOmh1bnRlcjI=" {
		w.WriteHeader(http.StatusProxyAuthRequired)
		return
	}
	receiver, err := net.Dial("tcp", r.Host)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer receiver.Close()
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer client.Close()
	p.tunnels.Add(1)
	_, _ = io.WriteString(client, "HTTP/1.1 200 Connection established\r\n\r\n")
	go func() { _, _ = io.Copy(receiver, buffered); _ = receiver.Close() }()
	_, _ = io.Copy(client, receiver)
}
