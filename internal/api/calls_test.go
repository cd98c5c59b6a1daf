package api_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/audit"
)

func newRequest(t *testing.T, method, target, body string) *http.Request {
	t.Helper()
	return httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
}

func serve(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestPublish(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	data := `{"severity" : "critical", "html":"<b>", "n":1.0e2, "same":1, "same":2}`
	w := f.do(request{call: "POST /v1/events", key: eventsKey, media: "none",
		body: `{"timestamp":"2025-01-15T14:32:00.5+01:00", "data":` + data + `,"event":"threat.detected","idempotency_key":"k-1"}`})
	if w.Code != http.StatusAccepted {
		t.Fatalf("answered %d: %s", w.Code, w.Body)
	}
	want := `{"id":"` + event1.String() + `","event":"threat.detected","timestamp":"2025-01-15T14:32:00.5+01:00","idempotency_key":"k-1","deliveries":2}` + "\n"
	if w.Body.String() != want {
		t.Errorf("answered %s want %s", w.Body, want)
	}
	if got := w.Header().Get("Location"); got != "/v1/events/"+event1.String() {
		t.Errorf("Location %q", got)
	}
	got := f.published[0]
	if string(got.Data) != data {
		t.Errorf("data became %s", got.Data)
	}
	if got.Type != cybervault.EventThreatDetected || got.IdempotencyKey != "k-1" || !got.Timestamp.Equal(time.Date(2025, 1, 15, 13, 32, 0, 5e8, time.UTC)) {
		t.Errorf("published %+v", got)
	}
}

func TestPublishAtTheLimit(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	if w := f.do(request{call: "POST /v1/events", body: padded(cybervault.MaxEventBytes)}); w.Code != http.StatusAccepted {
		t.Errorf("an event of exactly 256 KiB was answered %d", w.Code)
	}
}

func TestPublishedAgain(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	f.publish = func(req cybervault.PublishRequest) (cybervault.PublishReceipt, error) {
		r := receipt(req)
		r.Replayed = true
		return r, nil
	}
	w := f.do(request{call: "POST /v1/events", body: `{"event":"threat.detected","data":{}}`})
	if w.Code != http.StatusOK || w.Header().Get("Idempotent-Replayed") != "true" {
		t.Errorf("answered %d, Idempotent-Replayed %q", w.Code, w.Header().Get("Idempotent-Replayed"))
	}
}

func TestIdempotencyKeyHeader(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]string{"k-1": "k-1", `"k-1"`: "k-1", `"a \"b\" \\c"`: `a "b" \c`, `"`: `"`} {
		f := setUp(t)
		w := f.do(request{call: "POST /v1/events", body: `{"event":"threat.detected","data":{}}`, header: http.Header{"Idempotency-Key": {header}}})
		if w.Code != http.StatusAccepted || f.published[0].IdempotencyKey != want {
			t.Errorf("%s: answered %d, published %+v", header, w.Code, f.published)
		}
	}
	f := setUp(t)
	w := f.do(request{call: "POST /v1/events", body: `{"event":"threat.detected","data":{},"idempotency_key":"k"}`, header: http.Header{"Idempotency-Key": {"k"}}})
	if w.Code != http.StatusAccepted {
		t.Errorf("the same key in header and body was answered %d", w.Code)
	}
}

// statuses gives the status of each event of a batch.
func statuses(t *testing.T, doc map[string]any) []int {
	t.Helper()
	var all []int
	for _, item := range doc["data"].([]any) {
		item := item.(map[string]any)
		status := int(item["status"].(float64))
		if problem, ok := item["problem"].(map[string]any); ok && int(problem["status"].(float64)) != status {
			t.Errorf("the problem of %v has another status", item)
		}
		if (item["receipt"] == nil) == (item["problem"] == nil) {
			t.Errorf("%v has not one of receipt and problem", item)
		}
		all = append(all, status)
	}
	return all
}

func TestBatchAnswersEachInItsPlace(t *testing.T) {
	t.Parallel()
	outcomes := func(req cybervault.PublishRequest) (cybervault.PublishReceipt, error) {
		switch req.IdempotencyKey {
		case "again":
			r := receipt(req)
			r.Replayed = true
			return r, nil
		case "conflict":
			return cybervault.PublishReceipt{}, cybervault.Errorf(cybervault.CodeConflict, "other content")
		case "full":
			return cybervault.PublishReceipt{}, cybervault.Errorf(cybervault.CodeUnavailable, "the store is full")
		case "broken":
			return cybervault.PublishReceipt{}, errors.New("a pointer was nil")
		}
		return receipt(req), nil
	}
	event := func(key string) string {
		return `{"event":"threat.detected","data":{},"idempotency_key":"` + key + `"}`
	}
	lines := []string{
		event("one"), `{"event":`, "\xff", `{}`, `[1]`, event("again"), padded(cybervault.MaxEventBytes + 1),
		event("conflict"), event("full"), event("broken"), padded(cybervault.MaxEventBytes), `{"event":"a.b","data":{}} x`,
	}
	want := []int{202, 400, 400, 422, 422, 200, 413, 409, 503, 500, 202, 400}
	f := setUp(t)
	f.publish = outcomes
	doc := f.get(request{call: "POST /v1/events/batch", media: "application/x-ndjson", body: strings.Join(lines, "\r\n") + "\n\n"}, 200)
	if diff := cmp.Diff(want, statuses(t, doc)); diff != "" {
		t.Error(diff)
	}
	if doc["accepted"] != 3.0 || doc["failed"] != 9.0 {
		t.Errorf("accepted %v, failed %v", doc["accepted"], doc["failed"])
	}
	if n := strings.Count(f.log.String(), "a pointer was nil"); n != 1 {
		t.Errorf("the inner failure was logged %d times", n)
	}
	problem := doc["data"].([]any)[1].(map[string]any)["problem"].(map[string]any)
	if detail := problem["detail"]; detail != "the line is not JSON: unexpected end of JSON input, at column 9" {
		t.Errorf("detail %q", detail)
	}

	// The same as an array, without what would spoil the whole of it.
	lines = slices.Concat(lines[:1], lines[3:11])
	want = slices.Concat(want[:1], want[3:11])
	f = setUp(t)
	f.publish = outcomes
	doc = f.get(request{call: "POST /v1/events/batch", body: " [" + strings.Join(lines, " , ") + "]\n"}, 200)
	if diff := cmp.Diff(want, statuses(t, doc)); diff != "" {
		t.Error(diff)
	}
}

func TestBatchSizes(t *testing.T) {
	t.Parallel()
	event := `{"event":"threat.detected","data":{}}`
	f := setUp(t)
	doc := f.get(request{call: "POST /v1/events/batch", body: "[" + strings.Repeat(event+",", 999) + event + "]"}, 200)
	if doc["accepted"] != 1000.0 || len(f.published) != 1000 {
		t.Errorf("accepted %v", doc["accepted"])
	}
	// Without a Content-Type the first byte says what it is.
	for body, n := range map[string]float64{"[]": 0, event: 1, event + "\n" + event: 2} {
		if doc := setUp(t).get(request{call: "POST /v1/events/batch", media: "none", body: body}, 200); doc["accepted"] != n {
			t.Errorf("%q: accepted %v, want %v", body, doc["accepted"], n)
		}
	}
	// A single event on one line that says it is NDJSON may be anything.
	doc = setUp(t).get(request{call: "POST /v1/events/batch", media: "application/x-ndjson", body: "[1]\n" + event}, 200)
	if diff := cmp.Diff([]int{422, 202}, statuses(t, doc)); diff != "" {
		t.Error(diff)
	}
}

func TestEventsAreAnsweredVerbatim(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	if body := f.do(request{call: "GET /v1/events/" + event1.String()}).Body.String(); body != sampleBody {
		t.Errorf("answered %s", body)
	}
	if body := f.do(request{call: "GET /v1/events"}).Body.String(); body != `{"data":[`+sampleBody+`],"next_cursor":null}`+"\n" {
		t.Errorf("answered %s", body)
	}
}

func TestFilters(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	since, until := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
	f.get(request{call: "GET /v1/events?event=threat.*&since=2026-01-01T00:00:00Z&until=2026-02-01T01:00:00%2B01:00&q=10.0.0.1+-data.user:root&limit=200"}, 200)
	want := cybervault.EventQuery{Workspace: ws, Type: "threat.*", Since: since, Until: until, Limit: 200, Search: cybervault.Search{
		Terms:      []cybervault.SearchTerm{{Value: "10.0.0.1"}, {Field: "data.user", Not: true, Value: "root"}},
		Severities: map[string]cybervault.Severity{},
	}}
	for _, t := range f.List(ws) {
		want.Search.Severities[t.Name] = t.Severity
	}
	f.events.Until = f.events.Until.UTC()
	if diff := cmp.Diff(want, f.events); diff != "" {
		t.Error(diff)
	}
	f.get(request{call: "GET /v1/deliveries?webhook=" + webhook1.String() + "&event=" + event1.String() + "&status=dead_letter,held&since=2026-01-01T00:00:00Z&until=2026-02-01T00:00:00Z&q=x&limit=1"}, 200)
	if diff := cmp.Diff(cybervault.DeliveryQuery{
		Workspace: ws, Webhook: webhook1, Event: event1, Statuses: []cybervault.DeliveryStatus{cybervault.DeliveryDeadLetter, cybervault.DeliveryHeld}, Since: since, Until: until, Text: "x", Limit: 1,
	}, f.delivs); diff != "" {
		t.Error(diff)
	}
	for choice, ok := range map[string]bool{"threat.detected": true, "compliance.report.*": true, "*": true, "webhook.test": true} {
		f.get(request{call: "GET /v1/deliveries?event=" + choice}, 200)
		if (f.delivs.EventType == choice) != ok || f.delivs.Limit != cybervault.DefaultPageSize {
			t.Errorf("%s: asked for %+v", choice, f.delivs)
		}
	}
	f.get(request{call: "GET /v1/events/" + event1.String() + "/deliveries?status=pending"}, 200)
	if f.delivs.Event != event1 || !slices.Equal(f.delivs.Statuses, []cybervault.DeliveryStatus{cybervault.DeliveryPending}) {
		t.Errorf("asked for %+v", f.delivs)
	}
	f.get(request{call: "GET /v1/deliveries?status=undelivered"}, 200)
	if len(f.delivs.Statuses) != len(cybervault.DeliveryStatuses())-1 || slices.Contains(f.delivs.Statuses, cybervault.DeliveryDelivered) {
		t.Errorf("undelivered asked for %+v", f.delivs)
	}
	for value, want := range map[string]bool{"true": true, "false": false} {
		f.get(request{call: "GET /v1/events?unmatched=" + value}, 200)
		if f.events.Unmatched != want {
			t.Errorf("unmatched=%s asked for %+v", value, f.events)
		}
	}
	f.get(request{call: "GET /v1/events?unmatched=perhaps"}, 422)
}

// A page of a long search that found nothing leads on from where it stopped.
func TestCursorOfASearch(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	f.resume = webhook1.UUID
	const call = "GET /v1/events?q=data.user:root"
	page := f.get(request{call: call}, 200)
	if rows := page["data"].([]any); len(rows) != 0 {
		t.Errorf("%d rows", len(rows))
	}
	f.get(request{call: call + "&cursor=" + page["next_cursor"].(string)}, 200)
	if f.events.Before.UUID != webhook1.UUID {
		t.Errorf("goes on before %s", f.events.Before)
	}
}

func TestCursor(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	f.more = true
	cursor := f.get(request{call: "GET /v1/events?event=threat.*&limit=1"}, 200)["next_cursor"].(string)
	f.get(request{call: "GET /v1/events?event=threat.*&limit=2&cursor=" + cursor}, 200) // another limit is fine
	if f.events.Before != event1 {
		t.Errorf("asked for what is before %s", f.events.Before)
	}
	flipped := []byte(cursor)
	flipped[3] ^= 1
	for name, r := range map[string]request{
		"tampered with":     {call: "GET /v1/events?event=threat.*&cursor=" + string(flipped)},
		"cut off":           {call: "GET /v1/events?event=threat.*&cursor=" + cursor[:len(cursor)-1]},
		"longer":            {call: "GET /v1/events?event=threat.*&cursor=" + cursor + "A"},
		"other filters":     {call: "GET /v1/events?cursor=" + cursor},
		"other filter":      {call: "GET /v1/events?event=auth.*&cursor=" + cursor},
		"another list":      {call: "GET /v1/deliveries?event=threat.*&cursor=" + cursor},
		"a list of others":  {call: "GET /v1/webhooks?cursor=" + cursor},
		"another workspace": {call: "GET /v1/events?event=threat.*&cursor=" + cursor, key: "key-of-another-workspace"},
		"an empty cursor":   {call: "GET /v1/events?cursor="},
	} {
		doc := f.get(r, 422)
		if doc["field"] != "cursor" {
			t.Errorf("%s: field %v", name, doc["field"])
		}
	}
}

func TestWalkingThroughWebhooks(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	f.webhooks = nil
	var want, got []string
	for n := int64(120); n > 0; n-- {
		w := sampleWebhook()
		w.ID = id[cybervault.WebhookID](n)
		f.webhooks = append(f.webhooks, w)
		want = append(want, w.ID.String())
	}
	for call, pages := "GET /v1/webhooks", 0; call != ""; pages++ {
		doc := f.get(request{call: call}, 200)
		for _, row := range doc["data"].([]any) {
			got = append(got, row.(map[string]any)["id"].(string))
		}
		next, more := doc["next_cursor"].(string)
		if call = "GET /v1/webhooks?cursor=" + next; !more {
			call = ""
		}
		if pages > 3 {
			t.Fatal("the list does not end")
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestCreateWebhook(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	w := f.do(request{call: "POST /v1/webhooks", body: `{"url":"https://a.example","events":["*"],"description":"d","status":"disabled","accept":"any_2xx",
		"headers":{"X-B":"2","X-A":"1"},"retry_schedule":"5s,30s","verification":true,"ca_certificate":"PEM",
		"filter":"data.n > 1","format":"native","rate_limit":0.5,"concurrency":4,"ordered":false,"client_certificate":"PEM",
		"authentication":{"type":"oauth2","token_url":"https://id.example/token","client_id":"id","client_secret":"hunter2","scopes":["a","b"],"audience":null,"client_authentication":"body"},
		"signature":"ed25519","proxy":"http://proxy.example:3128"}`})
	if w.Code != http.StatusCreated || w.Header().Get("Location") != "/v1/webhooks/"+webhook1.String() {
		t.Fatalf("answered %d: %s", w.Code, w.Body)
	}
	status, accept := cybervault.WebhookDisabled, cybervault.AcceptAny2xx
	want := cybervault.WebhookChange{
		URL: new("https://a.example"), Events: &[]string{"*"}, Description: new("d"), Status: &status, Accept: &accept,
		Headers:       &[]cybervault.Header{{Name: "X-B", Value: "2"}, {Name: "X-A", Value: "1"}},
		RetrySchedule: &[]time.Duration{5 * time.Second, 30 * time.Second}, Verification: new(true), CACertificate: new("PEM"),
		Filter: new("data.n > 1"), RateLimit: new(0.5), Concurrency: new(4), Ordered: new(false), ClientCertificate: new("PEM"),
		Authentication: &cybervault.Authentication{Type: cybervault.AuthenticationOAuth2, TokenURL: "https://id.example/token", ClientID: "id", ClientSecret: "hunter2",
			Scopes: []string{"a", "b"}, ClientAuthentication: cybervault.ClientBody},
		Signature: new(cybervault.SignatureEd25519), Proxy: new("http://proxy.example:3128"),
	}
	if diff := cmp.Diff(want, f.change); diff != "" {
		t.Error(diff)
	}
	f = setUp(t)
	f.get(request{call: "POST /v1/webhooks", body: `{"url":"https://a.example","events":[]}`}, 201)
	if diff := cmp.Diff(cybervault.WebhookChange{URL: new("https://a.example"), Events: &[]string{}}, f.change); diff != "" {
		t.Error(diff)
	}
}

func TestPatchWebhook(t *testing.T) {
	t.Parallel()
	patch := "PATCH /v1/webhooks/" + webhook1.String()
	f := setUp(t)
	f.get(request{call: patch, body: `{}`, media: "application/merge-patch+json"}, 200)
	if diff := cmp.Diff(cybervault.WebhookChange{}, f.change); diff != "" {
		t.Errorf("an empty change changes: %s", diff)
	}
	f.get(request{call: patch, body: `{"description":null,"status":null,"accept":null,"headers":null,"retry_schedule":null,"verification":null,"ca_certificate":null,
		"filter":null,"rate_limit":null,"concurrency":null,"ordered":null,"client_certificate":null,
		"authentication":null,"signature":null,"proxy":null}`}, 200)
	status, accept, schedule, headers := cybervault.WebhookEnabled, cybervault.AcceptDefault, []time.Duration(nil), []cybervault.Header(nil)
	if diff := cmp.Diff(cybervault.WebhookChange{
		Description: new(""), Status: &status, Accept: &accept, Headers: &headers, RetrySchedule: &schedule, Verification: new(false), CACertificate: new(""),
		Filter: new(""), RateLimit: new(0.0), Concurrency: new(0), Ordered: new(false), ClientCertificate: new(""),
		Authentication: new(cybervault.Authentication), Signature: new(cybervault.SignatureHMAC), Proxy: new(""),
	}, f.change); diff != "" {
		t.Error(diff)
	}
	f.get(request{call: patch, body: `{"retry_schedule":[],"headers":{"x-token":"***","X-New":"n"}}`}, 200)
	if s := f.change.RetrySchedule; s == nil || *s == nil || len(*s) != 0 {
		t.Errorf("an empty schedule became %v", s)
	}
	if diff := cmp.Diff([]cybervault.Header{{Name: "x-token", Value: "hush"}, {Name: "X-New", Value: "n"}}, *f.change.Headers); diff != "" {
		t.Error(diff)
	}
}

func TestShownWebhook(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	for schedule, want := range map[string]any{"default": nil, "none": []any{}, "own": []any{"90ms", "1m", "2h", "1h30m"}} {
		switch schedule {
		case "default":
			f.webhooks[0].RetrySchedule = nil
		case "none":
			f.webhooks[0].RetrySchedule = []time.Duration{}
		default:
			f.webhooks[0].RetrySchedule = []time.Duration{90 * time.Millisecond, time.Minute, 2 * time.Hour, 90 * time.Minute}
		}
		if diff := cmp.Diff(want, f.get(request{call: "GET /v1/webhooks/" + webhook1.String()}, 200)["retry_schedule"]); diff != "" {
			t.Errorf("%s: %s", schedule, diff)
		}
	}
}

func TestSecretAndRotation(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	doc := f.get(request{call: "GET /v1/webhooks/" + webhook1.String() + "/secret"}, 200)
	want := map[string]any{"secret": "whsec_new", "created_at": "2026-11-01T12:00:00Z", "previous": []any{
		map[string]any{"secret": "whsec_old", "created_at": "2026-11-01T11:00:00Z", "expires_at": "2026-11-01T13:00:00Z"},
	}}
	if diff := cmp.Diff(want, doc); diff != "" {
		t.Error(diff)
	}
	for body, want := range map[string]time.Duration{"": 24 * time.Hour, "{}": 24 * time.Hour, `{"overlap":null}`: 24 * time.Hour,
		`{"overlap":"0s"}`: 0, `{"overlap":"720h"}`: 720 * time.Hour} {
		f.overlap = -1
		doc := f.get(request{call: "POST /v1/webhooks/" + webhook1.String() + "/rotate-secret", body: body}, 200)
		if f.overlap != want || doc["secret"] != "whsec_new" {
			t.Errorf("%s: overlap %s", body, f.overlap)
		}
	}
}

func TestShownAttempt(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ä", 5)
	for name, c := range map[string]struct {
		body []byte
		cut  bool
		text any
		b64  any
	}{
		"text":                   {[]byte("busy <now>"), false, "busy <now>", nil},
		"nothing":                {nil, false, "", nil},
		"bytes":                  {[]byte{0xff, 0}, false, nil, "/wA="},
		"cut within a letter":    {[]byte(long[:9]), true, strings.Repeat("ä", 4), nil},
		"cut between letters":    {[]byte(long[:8]), true, strings.Repeat("ä", 4), nil},
		"half a letter, not cut": {[]byte("a\xc3"), false, nil, "YcM="},
	} {
		f := setUp(t)
		f.attempt.Body, f.attempt.BodyCut = c.body, c.cut
		doc := f.get(request{call: "POST /v1/webhooks/" + webhook1.String() + "/verify"}, 200)
		if doc["response_body"] != c.text || doc["response_body_base64"] != c.b64 || doc["response_body_truncated"] != c.cut {
			t.Errorf("%s: %v, %v", name, doc["response_body"], doc["response_body_base64"])
		}
	}
}

// The answers as a whole, to be read by people.
func TestGoldenAnswers(t *testing.T) {
	t.Parallel()
	for name, call := range map[string]string{
		"webhook": "GET /v1/webhooks/" + webhook1.String(), "delivery": "GET /v1/deliveries/" + dlv1.String(), "deliveries": "GET /v1/deliveries",
		"keys": "GET /v1/keys", "actions": "GET /v1/audit/actions", "event-types": "GET /v1/event-types",
	} {
		var body bytes.Buffer
		if err := json.Indent(&body, setUp(t).do(request{call: call}).Body.Bytes(), "", "  "); err != nil {
			t.Fatal(err)
		}
		golden(t, "answers/"+name+".json", body.String())
	}
}

func TestTelemetry(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	doc := f.get(request{call: "POST /v1/telemetry?source=nginx-1&format=access", key: telemetryKey, body: "a\nb\n?", media: "application/x-www-form-urlencoded"}, 200)
	if f.source != "nginx-1" || f.format != "access" || f.telemetry != "a\nb\n?" || doc["records"] != 2.0 {
		t.Errorf("source %q, read %q, answered %v", f.source, f.telemetry, doc)
	}
	f.ingest = func(io.Reader) (cybervault.TelemetryReceipt, error) { return cybervault.TelemetryReceipt{}, nil }
	doc = f.get(request{call: "POST /v1/telemetry", header: http.Header{"Content-Encoding": {"gzip"}}}, 200)
	if doc["events"] == nil || doc["unreadable_lines"] == nil {
		t.Errorf("a list is null: %v", doc)
	}
}

// brokenBody fails in the middle, or never ends.
type brokenBody struct{ endless bool }

func (b brokenBody) Read(p []byte) (int, error) {
	if b.endless {
		return len(p), nil
	}
	return 0, io.ErrUnexpectedEOF
}

func TestBrokenAndEndlessBodies(t *testing.T) {
	t.Parallel()
	for _, call := range []string{"/v1/events", "/v1/events/batch", "/v1/telemetry", "/v1/webhooks"} {
		for endless, want := range map[bool]int{false: 400, true: 413} {
			f := setUp(t)
			f.ingest = func(r io.Reader) (cybervault.TelemetryReceipt, error) {
				_, err := io.Copy(io.Discard, r)
				if err != nil {
					err = errors.New("the service words it otherwise")
				}
				return cybervault.TelemetryReceipt{}, err
			}
			req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, call, brokenBody{endless})
			req.Header.Set("Authorization", "Bearer "+adminKey)
			if w := serve(f.handler, req); w.Code != want {
				t.Errorf("%s, endless %v: answered %d, want %d", call, endless, w.Code, want)
			}
		}
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	f.fail = cybervault.Errorf(cybervault.CodeUnavailable, "the store cannot be written")
	if w := f.do(request{call: "GET /healthz", key: "none"}); w.Code != http.StatusOK {
		t.Errorf("/healthz answered %d while the store is down", w.Code)
	}
	if w := f.do(request{call: "GET /readyz", key: "none"}); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "cannot be written") {
		t.Errorf("/readyz answered %d %s", w.Code, w.Body)
	}
	if w := f.do(request{call: "GET /metrics", key: "none"}); w.Body.String() != "up 1\n" {
		t.Errorf("/metrics answered %s", w.Body)
	}
}

func TestListActions(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	f.more = true
	const call = "GET /v1/audit/actions?actor=ann&action=webhook&target=whk_1&since=2026-01-01T00:00:00Z&limit=3"
	page := f.get(request{call: call}, 200)
	f.get(request{call: call + "&cursor=" + page["next_cursor"].(string)}, 200)
	want := cybervault.ActionQuery{Workspace: ws, Actor: "ann", Action: "webhook", Target: "whk_1", Since: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Before: 7, Limit: 3}
	if diff := cmp.Diff(want, f.actions); diff != "" {
		t.Error(diff)
	}
}

// What is exported is what audit verify takes.
func TestExportActions(t *testing.T) {
	t.Parallel()
	answer := setUp(t).do(request{call: "GET /v1/audit/actions/export"})
	body := answer.Body.String()
	found, err := audit.VerifyActions(answer.Body, nil)
	if err != nil || found.Head.Number != 1 || answer.Header().Get("Content-Type") != "application/x-ndjson" {
		t.Errorf("%+v, %v: %s", found, err, body)
	}
}

// Whoever changes something by a key is told to those who write it down.
func TestActorOfACall(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	if answer := f.do(request{call: "DELETE /v1/keys/" + sampleKey().ID.String()}); answer.Code != http.StatusNoContent {
		t.Error(answer.Code)
	}
	want := cybervault.Actor{Kind: cybervault.ActorAPIKey, ID: id[cybervault.APIKeyID](99).String(), Name: adminKey, Address: "192.0.2.1"}
	if f.actor != want {
		t.Errorf("%+v", f.actor)
	}
}
