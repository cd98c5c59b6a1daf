package api_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/api"
)

// bodies holds a request that succeeds for each call that needs a body or a
// parameter. A call that is missing here is made without.
func bodies() map[string]string {
	return map[string]string{
		"POST /v1/events":                `{"event":"threat.detected","data":{"severity":"critical"}}`,
		"POST /v1/events/batch":          `[{"event":"threat.detected","data":{"severity":"critical"}},{"event":"x"}]`,
		"PUT /v1/event-types/{type}":     `{"severity":"high","description":"A badge was used twice."}`,
		"POST /v1/webhooks":              `{"url":"https://example.com/in","events":["threat.*"]}`,
		"PATCH /v1/webhooks/{id}":        `{"status":"disabled"}`,
		"POST /v1/webhooks/preview":      `{"filter":"data.confidence > 0.9","events":["threat.*"]}`,
		"POST /v1/webhooks/{id}/test":    `{"event":"threat.detected"}`,
		"POST /v1/webhooks/{id}/replay":  `{"since":"2026-11-01T00:00:00Z","status":"dead_letter"}`,
		"POST /v1/telemetry":             "line one\nline two\n?\n",
		"PATCH /v1/incidents/{id}":       `{"status":"acknowledged","note":"ours to look at","revision":3}`,
		"POST /v1/incidents/{id}/merge":  `{"merge_into":"` + id[cybervault.IncidentID](72).String() + `"}`,
		"PATCH /v1/rules/{id}":           `{"enabled":false,"reason":"too loud here"}`,
		"POST /v1/exceptions":            `{"rule":"reconnaissance","where":{"source_ip|cidr":"198.51.100.0/24"},"reason":"our own scanner"}`,
		"POST /v1/exceptions/preview":    `{"rule":"*","where":{"user":["ann","bob"]},"reason":"a test","until":"2027-06-30T00:00:00Z"}`,
		"POST /v1/logs":                  `{"resourceLogs":[]}`,
		"POST /v1/keys":                  `{"name":"exporter","scopes":["read"]}`,
		"POST /v1/agents":                `{"hostname":"web-1","os":"Debian","addresses":["192.0.2.7"]}`,
		"POST /v1/agents/{id}/heartbeat": `{"hostname":"web-1"}`,
		"POST /v1/agents/{id}/packages":  `{"manager":"dpkg","installed":3}`,
		"POST /v1/agent-tokens":          `{"name":"web","labels":{"role":"web"},"uses":3,"interval":"10s","missed":4,"expires_in":"1h"}`,
	}
}

// callOf fills the path of a route with things that exist.
func callOf(rt api.Route) request {
	path := strings.NewReplacer("{type}", cybervault.EventThreatDetected, "{path}", "0/000").Replace(rt.Pattern)
	for prefix, id := range map[string]string{
		"/v1/events": event1.String(), "/v1/webhooks": webhook1.String(),
		"/v1/deliveries": dlv1.String(), "/v1/keys": sampleKey().ID.String(), "/v1/replays": replay1.String(), "/v1/incidents": incident1.String(), "/v1/rules": "942100", "/v1/exceptions": exception1.String(),
		"/v1/agents": agent1.String(), "/v1/agent-tokens": id[cybervault.AgentTokenID](91).String(),
	} {
		if strings.HasPrefix(path, prefix) {
			path = strings.ReplaceAll(path, "{id}", id)
		}
	}
	r := request{call: rt.Method + " " + path, body: bodies()[rt.Method+" "+rt.Pattern]}
	if rt.Scope == cybervault.ScopeAgent {
		r.key = agentKey
	}
	return r
}

// The calls of the public contract that this version has.
func TestEveryCallExists(t *testing.T) {
	t.Parallel()
	want := strings.Fields(`
		POST/v1/events:events:write POST/v1/events/batch:events:write GET/v1/events:read GET/v1/events/{id}:read
		GET/v1/events/{id}/deliveries:read GET/v1/stream:read GET/v1/event-types:read GET/v1/event-types/{type}:read
		PUT/v1/event-types/{type}:admin DELETE/v1/event-types/{type}:admin
		POST/v1/webhooks:admin GET/v1/webhooks:read GET/v1/webhooks/{id}:read PATCH/v1/webhooks/{id}:admin DELETE/v1/webhooks/{id}:admin
		GET/v1/webhooks/{id}/secret:admin POST/v1/webhooks/{id}/verify:admin POST/v1/webhooks/{id}/test:admin POST/v1/webhooks/{id}/rotate-secret:admin
		GET/v1/webhooks/{id}/sequence:read GET/v1/webhooks/{id}/poll:deliveries:poll POST/v1/webhooks/{id}/replay:admin
		GET/v1/replays:read GET/v1/replays/{id}:read POST/v1/replays/{id}/cancel:admin POST/v1/webhooks/preview:read
		GET/v1/deliveries:read GET/v1/deliveries/{id}:read POST/v1/deliveries/{id}/replay:admin POST/v1/deliveries/{id}/cancel:admin
		POST/v1/telemetry:telemetry:write POST/v1/logs:telemetry:write POST/v1/keys:admin GET/v1/keys:admin DELETE/v1/keys/{id}:admin GET/v1/backup:admin GET/v1/doctor:admin
		GET/v1/deliveries/{id}/proof:read GET/v1/audit/key:read GET/v1/audit/checkpoint:read GET/v1/audit/entries:read GET/v1/audit/tile/{path}:read GET/v1/audit/actions:admin GET/v1/audit/actions/export:admin
		GET/v1/incidents:read GET/v1/incidents/{id}:read PATCH/v1/incidents/{id}:admin POST/v1/incidents/{id}/merge:admin
		GET/v1/rules:read PATCH/v1/rules/{id}:admin GET/v1/exceptions:read POST/v1/exceptions:admin POST/v1/exceptions/preview:read DELETE/v1/exceptions/{id}:admin
		GET/v1/alerts:read
		POST/v1/agents: GET/v1/agents:read GET/v1/agents/{id}:read DELETE/v1/agents/{id}:admin POST/v1/agents/{id}/heartbeat:agent POST/v1/agents/{id}/packages:agent
		POST/v1/agent-tokens:admin GET/v1/agent-tokens:admin DELETE/v1/agent-tokens/{id}:admin
		GET/healthz: GET/readyz: GET/metrics: GET/openapi.json:`)
	var got []string
	for _, rt := range api.Routes() {
		got = append(got, rt.Method+rt.Pattern+":"+string(rt.Scope))
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// Every call, with no key, a wrong key, each scope, and with what it needs.
func TestEveryCallAsksForItsScope(t *testing.T) {
	t.Parallel()
	keys := map[string]cybervault.Scope{
		readKey: cybervault.ScopeRead, eventsKey: cybervault.ScopeEventsWrite,
		telemetryKey: cybervault.ScopeTelemetryWrite, pollKey: cybervault.ScopePoll, adminKey: cybervault.ScopeAdmin,
	}
	for _, rt := range api.Routes() {
		t.Run(rt.Method+rt.Pattern, func(t *testing.T) {
			t.Parallel()
			call := callOf(rt)
			for key, scope := range keys {
				call.key = key
				w := setUp(t).do(call)
				allowed := rt.Scope == "" || scope == rt.Scope || scope == cybervault.ScopeAdmin && rt.Scope != cybervault.ScopeAgent // which is one agent's
				switch {
				case allowed && !slices.Contains(rt.Statuses, w.Code):
					t.Errorf("with %s: answered %d, want one of %v: %s", key, w.Code, rt.Statuses, w.Body)
				case !allowed && w.Code != http.StatusForbidden:
					t.Errorf("with %s: answered %d, want 403", key, w.Code)
				case !allowed && !strings.Contains(w.Body.String(), string(rt.Scope)):
					t.Errorf("the problem does not name the scope: %s", w.Body)
				}
			}
			for _, key := range []string{"none", "made-up"} {
				call.key = key
				f := setUp(t)
				w := f.do(call)
				if rt.Scope == "" {
					if enrols := rt.Pattern == "/v1/agents"; enrols && key == "none" && w.Code != http.StatusUnauthorized || w.Code >= 400 && !enrols {
						t.Errorf("an open call answered %d", w.Code)
					}
					continue
				}
				if w.Code != http.StatusUnauthorized || w.Header().Get("WWW-Authenticate") == "" {
					t.Errorf("with key %q: answered %d, WWW-Authenticate %q", key, w.Code, w.Header().Get("WWW-Authenticate"))
				}
			}
		})
	}
}

func TestEveryAnswerIsGuarded(t *testing.T) {
	t.Parallel()
	for _, rt := range api.Routes() {
		w := setUp(t).do(callOf(rt))
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "X-Request-Id": "req-1"} {
			if got := w.Header().Get(name); got != want {
				t.Errorf("%s %s: header %s is %q, want %q", rt.Method, rt.Pattern, name, got, want)
			}
		}
		if got := w.Header().Get("Access-Control-Allow-Origin"); got != "" {
			t.Errorf("%s %s: open to scripts of %q", rt.Method, rt.Pattern, got)
		}
	}
}

// No answer may show what only the secret calls show, or a header's value.
func TestNoAnswerShowsASecret(t *testing.T) {
	t.Parallel()
	for _, rt := range api.Routes() {
		if rt.Pattern == "/v1/webhooks/{id}/poll" {
			continue // it answers what a receiver is to get, whose headers they are
		}
		body := setUp(t).do(callOf(rt)).Body.String()
		showsSecret := rt.Pattern == "/v1/webhooks" && rt.Method == http.MethodPost ||
			strings.HasSuffix(rt.Pattern, "/secret") || strings.HasSuffix(rt.Pattern, "/rotate-secret")
		if got := strings.Contains(body, "whsec_new"); got != showsSecret {
			t.Errorf("%s %s: shows a secret: %v, want %v", rt.Method, rt.Pattern, got, showsSecret)
		}
		if strings.Contains(body, "hush") {
			t.Errorf("%s %s: shows the value of a static header", rt.Method, rt.Pattern)
		}
	}
}

func TestHeadIsGetWithoutBody(t *testing.T) {
	t.Parallel()
	if w := setUp(t).do(request{call: "HEAD /v1/webhooks"}); w.Code != http.StatusOK {
		t.Errorf("answered %d", w.Code)
	}
}

func TestRequestID(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	for given, kept := range map[string]bool{"abc-1.2_3": true, "": false, "a b": false, "a\"b": false, strings.Repeat("a", 65): false} {
		req := newRequest(t, "GET", "/healthz", "")
		req.Header.Set("X-Request-Id", given)
		w := serve(f.handler, req)
		got := w.Header().Get("X-Request-Id")
		if (got == given) != kept || got == "" {
			t.Errorf("%q became %q", given, got)
		}
	}
}
