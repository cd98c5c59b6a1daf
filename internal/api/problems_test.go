package api_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/cybervault/cybervault"
)

// Every input that is refused, each with its golden problem document.
func TestProblems(t *testing.T) {
	t.Parallel()
	const publish, hooks = "POST /v1/events", "POST /v1/webhooks"
	valid := `{"event":"threat.detected","data":{}}`
	patch := "PATCH /v1/webhooks/" + webhook1.String()
	deep := "POST /v1/webhooks/" + webhook1.String()
	for name, c := range map[string]struct {
		request
		status int
		setup  func(*fixture)
	}{
		// The request as such.
		"no-key":                {request: request{call: "GET /v1/events", key: "none"}, status: 401},
		"unknown-key":           {request: request{call: "GET /v1/events", key: "cvk_made_up"}, status: 401},
		"basic-auth":            {request: request{call: "GET /v1/events", key: "none", header: http.Header{"Authorization": {"Basic YWRtaW46YWRtaW4="}}}, status: 401},
		"wrong-scope":           {request: request{call: publish, key: readKey, body: valid}, status: 403},
		"unknown-path":          {request: request{call: "GET /v2/events"}, status: 404},
		"trailing-slash":        {request: request{call: "GET /v1/events/"}, status: 404},
		"dotted-path":           {request: request{call: "GET /v1/../v1/events"}, status: 404},
		"double-slash":          {request: request{call: "POST //v1/events", body: valid}, status: 404},
		"wrong-method":          {request: request{call: "PUT /v1/webhooks"}, status: 405},
		"unknown-parameter":     {request: request{call: "GET /v1/events?evnt=threat.detected"}, status: 422},
		"parameter-twice":       {request: request{call: "GET /v1/events?limit=1&limit=2"}, status: 422},
		"parameter-empty":       {request: request{call: "GET /v1/events?event="}, status: 422},
		"query-unreadable":      {request: request{call: "GET /v1/events?q=%zz"}, status: 400},
		"parameter-where-none":  {request: request{call: "GET /healthz?x=1", key: "none"}, status: 422},
		"panic":                 {request: request{call: "GET /v1/webhooks"}, status: 500, setup: func(f *fixture) { f.panicking = true }},
		"internal":              {request: request{call: "GET /v1/webhooks"}, status: 500, setup: func(f *fixture) { f.fail = errors.New("sql: no such table: webhooks") }},
		"not-ready":             {request: request{call: "GET /readyz", key: "none"}, status: 503, setup: func(f *fixture) { f.fail = errors.New("disk I/O error") }},
		"other-workspace-event": {request: request{call: "GET /v1/events/" + id[cybervault.EventID](999).String()}, status: 404},

		// Incidents.
		"incidents-filters":     {request: request{call: "GET /v1/incidents?status=open,closed&severity=bad&since=2026-11-02T00:00:00Z&until=2026-11-01T00:00:00Z"}, status: 422},
		"incident-unknown":      {request: request{call: "GET /v1/incidents/inc_1"}, status: 404},
		"incident-wrong-types":  {request: request{call: "PATCH /v1/incidents/" + incident1.String(), body: `{"status":7,"disposition":"","severity":[],"title":"","assignee":false,"note":null,"merge_into":"whk_1","revision":"3","state":"open"}`}, status: 422},
		"incident-conflict":     {request: request{call: "PATCH /v1/incidents/" + incident1.String(), body: `{"status":"resolved","revision":2}`}, status: 409},
		"incident-merge-nobody": {request: request{call: "POST /v1/incidents/" + incident1.String() + "/merge", body: `{}`}, status: 422},
		"incident-read-only":    {request: request{call: "PATCH /v1/incidents/" + incident1.String(), key: readKey, body: `{"status":"resolved"}`}, status: 403},

		// Publishing.
		"publish-empty":             {request: request{call: publish}, status: 400},
		"publish-no-json":           {request: request{call: publish, body: "{\n  \"event\": threat\n}"}, status: 400},
		"publish-cut-off":           {request: request{call: publish, body: `{"event":`}, status: 400},
		"publish-trailing-garbage":  {request: request{call: publish, body: valid + " x"}, status: 400},
		"publish-two-values":        {request: request{call: publish, body: valid + valid}, status: 400},
		"publish-invalid-utf8":      {request: request{call: publish, body: "{\"event\":\"\xff\",\"data\":{}}"}, status: 400},
		"publish-list":              {request: request{call: publish, body: "[]"}, status: 422},
		"publish-duplicate-key":     {request: request{call: publish, body: `{"event":"threat.detected","data":{},"ev\u0065nt":"x.y"}`}, status: 422},
		"publish-unknown-field":     {request: request{call: publish, body: `{"event":"threat.detected","data":{},"Event":"x"}`}, status: 422},
		"publish-missing-both":      {request: request{call: publish, body: `{}`}, status: 422},
		"publish-event-null":        {request: request{call: publish, body: `{"event":null,"data":{}}`}, status: 422},
		"publish-event-number":      {request: request{call: publish, body: `{"event":7,"data":{}}`}, status: 422},
		"publish-data-string":       {request: request{call: publish, body: `{"event":"threat.detected","data":"{}"}`}, status: 422},
		"publish-timestamp":         {request: request{call: publish, body: `{"event":"threat.detected","data":{},"timestamp":"yesterday"}`}, status: 422},
		"publish-timestamp-1969":    {request: request{call: publish, body: `{"event":"threat.detected","data":{},"timestamp":"1969-12-31T23:59:59Z"}`}, status: 422},
		"publish-key-empty":         {request: request{call: publish, body: `{"event":"threat.detected","data":{},"idempotency_key":""}`}, status: 422},
		"publish-key-long":          {request: request{call: publish, body: `{"event":"threat.detected","data":{},"idempotency_key":"` + strings.Repeat("k", 256) + `"}`}, status: 422},
		"publish-key-header-empty":  {request: request{call: publish, body: valid, header: http.Header{"Idempotency-Key": {""}}}, status: 422},
		"publish-key-header-twice":  {request: request{call: publish, body: valid, header: http.Header{"Idempotency-Key": {"a", "b"}}}, status: 422},
		"publish-keys-differ":       {request: request{call: publish, body: `{"event":"threat.detected","data":{},"idempotency_key":"a"}`, header: http.Header{"Idempotency-Key": {"b"}}}, status: 422},
		"publish-xml":               {request: request{call: publish, body: "<event/>", media: "application/xml"}, status: 415},
		"publish-form":              {request: request{call: publish, body: "event=threat.detected", media: "application/x-www-form-urlencoded"}, status: 400},
		"publish-latin1":            {request: request{call: publish, body: valid, media: "application/json; charset=iso-8859-1"}, status: 415},
		"publish-gzip":              {request: request{call: publish, body: "\x1f\x8b", header: http.Header{"Content-Encoding": {"gzip"}}}, status: 415},
		"publish-257-kib":           {request: request{call: publish, body: padded(257 << 10)}, status: 413},
		"publish-one-byte-too-much": {request: request{call: publish, body: padded(cybervault.MaxEventBytes + 1), length: -1}, status: 413},
		"publish-unknown-type": {request: request{call: publish, body: valid}, status: 422, setup: func(f *fixture) {
			f.fail = cybervault.Invalid("event", "there is no event type \"threat.detected\"")
		}},
		"publish-schema": {request: request{call: publish, body: valid}, status: 422, setup: func(f *fixture) {
			f.fail = cybervault.Invalid("data.confidence", "is 2: it must be at most 1")
		}},
		"publish-conflict": {request: request{call: publish, body: valid}, status: 409, setup: func(f *fixture) {
			f.fail = &cybervault.Error{Code: cybervault.CodeConflict, Field: "idempotency_key", Message: "was used for another event"}
		}},
		"publish-unavailable": {request: request{call: publish, body: valid}, status: 503, setup: func(f *fixture) {
			f.fail = &cybervault.Error{Code: cybervault.CodeUnavailable, Message: "the store is full", Err: errors.New("disk full at /var/lib")}
		}},

		// Batches.
		"batch-empty":       {request: request{call: "POST /v1/events/batch"}, status: 400},
		"batch-no-json":     {request: request{call: "POST /v1/events/batch", body: `[{"event":"a.b"},]`}, status: 400},
		"batch-string":      {request: request{call: "POST /v1/events/batch", body: `"x"`}, status: 422},
		"batch-1001":        {request: request{call: "POST /v1/events/batch", body: "[" + strings.Repeat(valid+",", 1000) + valid + "]"}, status: 413},
		"batch-1001-lines":  {request: request{call: "POST /v1/events/batch", body: strings.Repeat(valid+"\n", 1001)}, status: 413},
		"batch-too-large":   {request: request{call: "POST /v1/events/batch", body: "[]", length: 32<<20 + 1}, status: 413},
		"batch-key-header":  {request: request{call: "POST /v1/events/batch", body: "[]", header: http.Header{"Idempotency-Key": {"a"}}}, status: 422},
		"batch-csv":         {request: request{call: "POST /v1/events/batch", body: "a,b", media: "text/csv"}, status: 415},
		"batch-unavailable": {request: request{call: "POST /v1/events/batch", body: "[" + valid + "]"}, status: 503, setup: func(f *fixture) { f.fail = cybervault.Errorf(cybervault.CodeUnavailable, "the store is full") }},

		// Lists.
		"limit-0":                  {request: request{call: "GET /v1/events?limit=0"}, status: 422},
		"limit-201":                {request: request{call: "GET /v1/deliveries?limit=201"}, status: 422},
		"limit-word":               {request: request{call: "GET /v1/webhooks?limit=many"}, status: 422},
		"cursor-garbage":           {request: request{call: "GET /v1/events?cursor=abc"}, status: 422},
		"since-word":               {request: request{call: "GET /v1/events?since=yesterday"}, status: 422},
		"until-before-since":       {request: request{call: "GET /v1/events?since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z"}, status: 422},
		"event-word":               {request: request{call: "GET /v1/events?event=Threat"}, status: 422},
		"q-long":                   {request: request{call: "GET /v1/events?q=" + strings.Repeat("q", 1001)}, status: 422},
		"q-term":                   {request: request{call: "GET /v1/events?q=a+data.count:%3Efive"}, status: 422},
		"q-spaces":                 {request: request{call: "GET /v1/events?q=+"}, status: 422},
		"q-not-text":               {request: request{call: "GET /v1/events?q=%ff"}, status: 422},
		"deliveries-filters":       {request: request{call: "GET /v1/deliveries?status=lost&webhook=7&event=wh_7"}, status: 422},
		"event-id-malformed":       {request: request{call: "GET /v1/events/7"}, status: 404},
		"event-type-unknown":       {request: request{call: "GET /v1/event-types/threat.made_up"}, status: 404},
		"webhook-id-of-event":      {request: request{call: "GET /v1/webhooks/" + event1.String()}, status: 404},
		"delivery-unknown":         {request: request{call: "POST /v1/deliveries/" + id[cybervault.DeliveryID](999).String() + "/replay"}, status: 404},
		"replay-with-fields":       {request: request{call: "POST /v1/deliveries/" + dlv1.String() + "/replay", body: `{"webhook":"x"}`}, status: 422},
		"event-unknown-deliveries": {request: request{call: "GET /v1/events/" + id[cybervault.EventID](999).String() + "/deliveries"}, status: 404},

		// Webhooks.
		"webhook-missing-both":   {request: request{call: hooks, body: `{}`}, status: 422},
		"webhook-unsupported":    {request: request{call: hooks, body: `{"url":"https://a.example","events":["*"],"format":"slack"}`}, status: 422},
		"webhook-read-only":      {request: request{call: patch, body: `{"id":"x","secret":"whsec_x","created_at":"x"}`}, status: 422},
		"webhook-wrong-types":    {request: request{call: hooks, body: `{"url":1,"events":"*","description":[],"status":"on","accept":"all","headers":[],"retry_schedule":5,"verification":"yes","ca_certificate":{}}`}, status: 422},
		"webhook-tuning-types":   {request: request{call: hooks, body: `{"url":"https://a.example","events":["*"],"filter":true,"rate_limit":"5","concurrency":2.5,"ordered":"yes","client_certificate":1}`}, status: 422},
		"webhook-tuning-zero":    {request: request{call: hooks, body: `{"url":"https://a.example","events":["*"],"rate_limit":0,"concurrency":-1}`}, status: 422},
		"webhook-mask-no-cert":   {request: request{call: patch, body: `{"client_certificate":"***"}`}, status: 422},
		"webhook-channel-types":  {request: request{call: hooks, body: `{"url":"https://a.example","events":["*"],"authentication":{"type":"digest","password":7,"scopes":["a",1],"client_authentication":"jwt","user":"x"},"signature":"rsa","proxy":1,"public_key":"whpk_x"}`}, status: 422},
		"webhook-authentication": {request: request{call: patch, body: `{"authentication":"basic"}`}, status: 422},
		"preview-no-filter":      {request: request{call: hooks + "/preview", body: `{"since":"yesterday"}`}, status: 422},
		"webhook-events-element": {request: request{call: hooks, body: `{"url":"https://a.example","events":["*",7]}`}, status: 422},
		"webhook-header-value":   {request: request{call: hooks, body: `{"url":"https://a.example","events":["*"],"headers":{"X-A":1}}`}, status: 422},
		"webhook-header-twice":   {request: request{call: hooks, body: `{"url":"https://a.example","events":["*"],"headers":{"X-A":"1","X-A":"2"}}`}, status: 422},
		"webhook-header-mask":    {request: request{call: hooks, body: `{"url":"https://a.example","events":["*"],"headers":{"X-A":"***"}}`}, status: 422},
		"webhook-patch-mask":     {request: request{call: patch, body: `{"headers":{"X-Other":"***"}}`}, status: 422},
		"webhook-schedule":       {request: request{call: hooks, body: `{"url":"https://a.example","events":["*"],"retry_schedule":["5s","soon"]}`}, status: 422},
		"webhook-schedule-words": {request: request{call: hooks, body: `{"url":"https://a.example","events":["*"],"retry_schedule":"5s,soon"}`}, status: 422},
		"webhook-schedule-empty": {request: request{call: hooks, body: `{"url":"https://a.example","events":["*"],"retry_schedule":""}`}, status: 422},
		"webhook-schedule-long":  {request: request{call: hooks, body: `{"url":"https://a.example","events":["*"],"retry_schedule":["721h"]}`}, status: 422},
		"webhook-url-null":       {request: request{call: patch, body: `{"url":null,"events":null}`}, status: 422},
		"webhook-http": {request: request{call: hooks, body: `{"url":"http://a.example","events":["*"]}`}, status: 422, setup: func(f *fixture) {
			f.fail = cybervault.Invalid("url", "has the scheme \"http\": only https:// is accepted")
		}},
		"webhook-metadata-address": {request: request{call: hooks, body: `{"url":"https://169.254.169.254","events":["*"]}`}, status: 422, setup: func(f *fixture) {
			f.fail = cybervault.Invalid("url", "leads to 169.254.169.254, a link-local address, which is refused")
		}},
		"webhook-too-large":    {request: request{call: hooks, body: `{"description":"` + strings.Repeat("x", 1<<20) + `"}`}, status: 413},
		"webhook-test-missing": {request: request{call: deep + "/test", body: `{}`}, status: 422},
		"webhook-test-unknown": {request: request{call: deep + "/test", body: `{"event":"threat.made_up"}`}, status: 422},
		"rotate-word":          {request: request{call: deep + "/rotate-secret", body: `{"overlap":"soon"}`}, status: 422},
		"rotate-too-long":      {request: request{call: deep + "/rotate-secret", body: `{"overlap":"721h"}`}, status: 422},
		"rotate-negative":      {request: request{call: deep + "/rotate-secret", body: `{"overlap":"-1s"}`}, status: 422},
		"verify-not-json":      {request: request{call: deep + "/verify", body: `now`}, status: 400},

		// Telemetry and keys.
		"telemetry-format":   {request: request{call: "POST /v1/telemetry?format=a%20b"}, status: 422},
		"telemetry-source":   {request: request{call: "POST /v1/telemetry?source=a%20b"}, status: 422},
		"telemetry-encoding": {request: request{call: "POST /v1/telemetry", body: "x", header: http.Header{"Content-Encoding": {"br"}}}, status: 415},
		"telemetry-length":   {request: request{call: "POST /v1/telemetry", body: "x", length: 64<<20 + 1}, status: 413},
		"key-missing-both":   {request: request{call: "POST /v1/keys", body: `{}`}, status: 422},
		"key-expired":        {request: request{call: "POST /v1/keys", body: `{"name":"a","scopes":["read"],"expires_at":"soon"}`}, status: 422},
		"actions-filters":    {request: request{call: "GET /v1/audit/actions?since=x&actor=" + strings.Repeat("a", 255) + "&cursor=x"}, status: 422},
		"key-scopes-number":  {request: request{call: "POST /v1/keys", body: `{"name":"a","scopes":[1]}`}, status: 422},
		"key-unknown":        {request: request{call: "DELETE /v1/keys/" + id[cybervault.APIKeyID](999).String()}, status: 404},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setUp(t)
			if c.setup != nil {
				c.setup(f)
			}
			w := f.do(c.request)
			if w.Code != c.status {
				t.Fatalf("answered %d, want %d: %s", w.Code, c.status, w.Body)
			}
			if media := w.Header().Get("Content-Type"); media != "application/problem+json" {
				t.Errorf("Content-Type %q", media)
			}
			if len(f.published) > 0 {
				t.Error("something was published")
			}
			var body bytes.Buffer
			if err := json.Indent(&body, w.Body.Bytes(), "", "  "); err != nil {
				t.Fatal(err)
			}
			var head strings.Builder
			for _, h := range []string{"Allow", "Retry-After", "WWW-Authenticate", "Accept-Encoding"} {
				if v := w.Header().Get(h); v != "" {
					head.WriteString(h + ": " + v + "\n")
				}
			}
			golden(t, "problems/"+name+".txt", fmt.Sprintf("%s\n%d\n%s%s", shortCall(c.call), w.Code, head.String(), body.String()))
			if strings.Contains(w.Body.String(), "disk") || strings.Contains(w.Body.String(), "sql") {
				t.Error("the problem shows the inner cause")
			}
		})
	}
}

// shortCall keeps the golden files readable.
func shortCall(call string) string {
	if len(call) > 200 {
		return call[:200] + "…"
	}
	return call
}

// padded is an event of exactly n bytes.
func padded(n int) string {
	frame := `{"event":"threat.detected","data":{"pad":""}}`
	return strings.Replace(frame, `""`, `"`+strings.Repeat("x", n-len(frame))+`"`, 1)
}

func TestFailuresAreLoggedWithTheirCause(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	f.fail = errors.New("sql: no such table: webhooks")
	f.do(request{call: "GET /v1/webhooks?limit=5"})
	if log := f.log.String(); strings.Count(log, "no such table") != 1 || !strings.Contains(log, "request_id=req-1") || !strings.Contains(log, "level=ERROR") {
		t.Errorf("the log does not name the cause once: %s", log)
	}
}

func TestLogHoldsNoSecret(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	f.do(request{call: "POST /v1/events", body: `{"event":"threat.detected","data":{"password":"payload-text"}}`})
	f.do(request{call: "GET /v1/events?q=" + url.QueryEscape("search-text")})
	f.do(request{call: "GET /v1/webhooks/" + webhook1.String() + "/secret"})
	f.do(request{call: "GET /v1/webhooks", key: "a-wrong-key"})
	log := f.log.String()
	for _, hidden := range []string{adminKey, "a-wrong-key", "payload-text", "search-text", "whsec_"} {
		if strings.Contains(log, hidden) {
			t.Errorf("the log holds %q: %s", hidden, log)
		}
	}
	if strings.Count(log, "msg=request ") != 4 {
		t.Errorf("not a line for each request: %s", log)
	}
}
