package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/api"
)

var update = flag.Bool("update", false, "write the golden files anew")

// The keys of the tests, each with the one scope it is named after.
const (
	adminKey     = "admin-key"
	readKey      = "read-key"
	eventsKey    = "events-key"
	telemetryKey = "telemetry-key"
	pollKey      = "poll-key"
	agentKey     = "agent-key"
)

var (
	epoch    = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	ws       = id[cybervault.WorkspaceID](1)
	otherWS  = id[cybervault.WorkspaceID](2)
	webhook1 = id[cybervault.WebhookID](10)
	event1   = id[cybervault.EventID](20)
	dlv1     = id[cybervault.DeliveryID](30)
	agent1   = id[cybervault.AgentID](90)
)

// id makes the n-th id of a kind, n milliseconds after the epoch, always the same.
func id[I cybervault.AnyID](n int64) I {
	return cybervault.MakeID[I]((epoch.UnixMilli()+n)<<20, n)
}

// fakes is every service at once; it records what it was asked.
type fakes struct {
	mu sync.Mutex

	published      []cybervault.PublishRequest
	publish        func(cybervault.PublishRequest) (cybervault.PublishReceipt, error)
	change         cybervault.WebhookChange
	overlap        time.Duration
	previewed      []any
	testType       string
	ownType        cybervault.EventType
	savedType      cybervault.EventType
	deletedType    string
	events         cybervault.EventQuery
	resume         cybervault.UUID // where an empty page of a search leads
	delivs         cybervault.DeliveryQuery
	actions        cybervault.ActionQuery
	actor          cybervault.Actor
	more           bool
	webhooks       []*cybervault.Webhook
	source         string
	format         string
	telemetry      string
	ingest         func(io.Reader) (cybervault.TelemetryReceipt, error)
	keys           []*cybervault.APIKey
	fail           error // of every service, but for Authenticate
	panicking      bool
	attempt        *cybervault.Attempt
	criteria       cybervault.ReplayCriteria
	rate           int
	asked          [2]int64 // the sequence numbers
	incidents      cybervault.IncidentQuery
	incidentChange cybervault.IncidentChange
	exception      cybervault.Exception
	ruleSet        string
	agentsAsked    cybervault.AgentQuery
	alertsAsked    cybervault.AlertQuery
	packages       cybervault.PackageState
	patches        []cybervault.PatchChange
	facts          cybervault.HostFacts
	token          cybervault.AgentToken
	newAgentKey    string
	revoked        atomic.Bool
	backups        int
	broken         bool
	closed         bool
	polls          []cybervault.Poll
	poll           func(cybervault.Poll) ([]cybervault.Handed, error)
	changeLog
}

func (f *fakes) check(given cybervault.WorkspaceID) error {
	if f.panicking {
		panic("a fault in a service")
	}
	if given != ws {
		return cybervault.Errorf(cybervault.CodeInternal, "asked for workspace %s", given)
	}
	return f.fail
}

func (f *fakes) Publish(_ context.Context, w cybervault.WorkspaceID, req cybervault.PublishRequest) (cybervault.PublishReceipt, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.check(w); err != nil {
		return cybervault.PublishReceipt{}, err
	}
	f.published = append(f.published, req)
	if f.publish != nil {
		return f.publish(req)
	}
	return receipt(req), nil
}

func receipt(req cybervault.PublishRequest) cybervault.PublishReceipt {
	key := req.IdempotencyKey
	if key == "" {
		key = "idm_" + event1.UUID.String()
	}
	at := req.Timestamp
	if at.IsZero() {
		at = epoch
	}
	return cybervault.PublishReceipt{ID: event1, Type: req.Type, Timestamp: at, IdempotencyKey: key, Deliveries: 2}
}

func (f *fakes) PublishBatch(ctx context.Context, w cybervault.WorkspaceID, reqs []cybervault.PublishRequest) []cybervault.PublishOutcome {
	outcomes := make([]cybervault.PublishOutcome, len(reqs))
	for i, r := range reqs {
		outcomes[i].Receipt, outcomes[i].Err = f.Publish(ctx, w, r)
	}
	return outcomes
}

func (f *fakes) Webhooks(_ context.Context, w cybervault.WorkspaceID) ([]*cybervault.Webhook, error) {
	return f.webhooks, f.check(w)
}

func (f *fakes) PreviewFilter(_ context.Context, w cybervault.WorkspaceID, filter string, choices []string, since time.Time) (*cybervault.FilterPreview, error) {
	f.previewed = []any{filter, choices, since}
	return &cybervault.FilterPreview{Examined: 3, Matched: 1, Errors: 1, Sample: []cybervault.FilterVerdict{
		{Event: event1, Type: cybervault.EventThreatDetected, Matched: true, Why: "the filter says true"},
	}}, f.check(w)
}

func (f *fakes) Webhook(_ context.Context, w cybervault.WorkspaceID, id cybervault.WebhookID) (*cybervault.Webhook, error) {
	if err := f.check(w); err != nil {
		return nil, err
	}
	for _, hook := range f.webhooks {
		if hook.ID == id {
			return hook, nil
		}
	}
	return nil, cybervault.Errorf(cybervault.CodeNotFound, "no row")
}

func (f *fakes) CreateWebhook(_ context.Context, w cybervault.WorkspaceID, change cybervault.WebhookChange) (*cybervault.Webhook, error) {
	f.change = change
	if err := f.check(w); err != nil {
		return nil, err
	}
	return sampleWebhook(), nil
}

func (f *fakes) UpdateWebhook(ctx context.Context, w cybervault.WorkspaceID, id cybervault.WebhookID, change cybervault.WebhookChange) (*cybervault.Webhook, error) {
	f.change = change
	return f.Webhook(ctx, w, id)
}

func (f *fakes) DeleteWebhook(ctx context.Context, w cybervault.WorkspaceID, id cybervault.WebhookID) error {
	_, err := f.Webhook(ctx, w, id)
	return err
}

func (f *fakes) RotateSecret(ctx context.Context, w cybervault.WorkspaceID, id cybervault.WebhookID, overlap time.Duration) (*cybervault.Webhook, error) {
	f.overlap = overlap
	return f.Webhook(ctx, w, id)
}

func (f *fakes) VerifyWebhook(ctx context.Context, w cybervault.WorkspaceID, id cybervault.WebhookID) (*cybervault.Attempt, error) {
	if _, err := f.Webhook(ctx, w, id); err != nil {
		return nil, err
	}
	return f.attempt, nil
}

func (f *fakes) TestWebhook(ctx context.Context, w cybervault.WorkspaceID, id cybervault.WebhookID, eventType string) (*cybervault.Delivery, error) {
	f.testType = eventType
	if _, err := f.Webhook(ctx, w, id); err != nil {
		return nil, err
	}
	return sampleDelivery(), nil
}

func (f *fakes) Events(_ context.Context, q cybervault.EventQuery) (cybervault.Page[*cybervault.Event], error) {
	f.events = q
	page := cybervault.Page[*cybervault.Event]{Rows: []*cybervault.Event{sampleEvent()}, More: f.more}
	if f.resume != (cybervault.UUID{}) {
		page = cybervault.Page[*cybervault.Event]{Rows: []*cybervault.Event{}, More: true, Resume: f.resume}
	}
	return page, f.check(q.Workspace)
}

func (f *fakes) Event(_ context.Context, w cybervault.WorkspaceID, id cybervault.EventID) (*cybervault.Event, error) {
	if err := f.check(w); err != nil {
		return nil, err
	}
	if id != event1 {
		return nil, cybervault.Errorf(cybervault.CodeNotFound, "no row")
	}
	return sampleEvent(), nil
}

func (f *fakes) Deliveries(_ context.Context, q cybervault.DeliveryQuery) (cybervault.Page[*cybervault.Delivery], error) {
	f.delivs = q
	return cybervault.Page[*cybervault.Delivery]{Rows: []*cybervault.Delivery{sampleDelivery()}, More: f.more}, f.check(q.Workspace)
}

func (f *fakes) Delivery(_ context.Context, w cybervault.WorkspaceID, id cybervault.DeliveryID) (*cybervault.Delivery, error) {
	if err := f.check(w); err != nil {
		return nil, err
	}
	if id != dlv1 {
		return nil, cybervault.Errorf(cybervault.CodeNotFound, "no row")
	}
	return sampleDelivery(), nil
}

func (f *fakes) Attempts(_ context.Context, w cybervault.WorkspaceID, _ cybervault.DeliveryID) ([]*cybervault.Attempt, error) {
	return []*cybervault.Attempt{f.attempt}, f.check(w)
}

func (f *fakes) ReplayDelivery(ctx context.Context, w cybervault.WorkspaceID, id cybervault.DeliveryID) (*cybervault.Delivery, error) {
	d, err := f.Delivery(ctx, w, id)
	if err != nil {
		return nil, err
	}
	d.ReplayOf = id
	return d, nil
}

func (f *fakes) CancelDelivery(ctx context.Context, w cybervault.WorkspaceID, id cybervault.DeliveryID) (*cybervault.Delivery, error) {
	return f.Delivery(ctx, w, id)
}

func (f *fakes) List(cybervault.WorkspaceID) []cybervault.EventType {
	return []cybervault.EventType{threatType()}
}

func (f *fakes) Lookup(_ cybervault.WorkspaceID, name string) (cybervault.EventType, bool) {
	if name != "" && name == f.ownType.Name {
		return f.ownType, true
	}
	return threatType(), name == cybervault.EventThreatDetected
}

func (f *fakes) SaveEventType(_ context.Context, w cybervault.WorkspaceID, t cybervault.EventType) (cybervault.EventType, bool, error) {
	if f.savedType = t; t.Schema == nil {
		t.Schema, t.Example = json.RawMessage(`{}`), json.RawMessage(`{}`)
	}
	return t, t.Name != cybervault.EventThreatDetected, f.check(w)
}

func (f *fakes) DeleteEventType(_ context.Context, w cybervault.WorkspaceID, name string) error {
	f.deletedType = name
	return f.check(w)
}

func threatType() cybervault.EventType {
	return cybervault.EventType{
		Name: cybervault.EventThreatDetected, Severity: cybervault.SeverityCritical, Description: "The engine flags malicious activity.", Core: true,
		Schema: json.RawMessage(`{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","required":["severity"],
			"properties":{"severity":{"$ref":"#/$defs/severity"}},"$defs":{"severity":{"enum":["high","critical"]}}}`),
		Example: json.RawMessage(`{"severity":"critical"}`),
	}
}

func (f *fakes) Ingest(_ context.Context, w cybervault.WorkspaceID, source, format string, body io.Reader) (cybervault.TelemetryReceipt, error) {
	f.source, f.format = source, format
	if err := f.check(w); err != nil {
		return cybervault.TelemetryReceipt{}, err
	}
	if f.ingest != nil {
		return f.ingest(body)
	}
	b, err := io.ReadAll(body)
	f.telemetry = string(b)
	return cybervault.TelemetryReceipt{Records: 2, Unreadable: 1, Events: []cybervault.EventID{event1},
		Samples: []cybervault.UnreadableLine{{Line: 3, Reason: "no time", Text: "?"}}}, err
}

func (f *fakes) IngestOTLP(_ context.Context, w cybervault.WorkspaceID, message []byte, asJSON bool) (cybervault.TelemetryReceipt, error) {
	if err := f.check(w); err != nil {
		return cybervault.TelemetryReceipt{}, err
	}
	if f.ingest != nil {
		return f.ingest(bytes.NewReader(message))
	}
	f.telemetry = strconv.FormatBool(asJSON) + " " + string(message)
	return cybervault.TelemetryReceipt{Records: 2}, nil
}

func (f *fakes) Authenticate(_ context.Context, bearer string) (*cybervault.APIKey, error) {
	scopes := map[string]cybervault.Scope{adminKey: cybervault.ScopeAdmin, readKey: cybervault.ScopeRead,
		eventsKey: cybervault.ScopeEventsWrite, telemetryKey: cybervault.ScopeTelemetryWrite, pollKey: cybervault.ScopePoll}
	scope, ok := scopes[bearer]
	if bearer == "key-of-another-workspace" {
		return &cybervault.APIKey{ID: id[cybervault.APIKeyID](98), Workspace: otherWS, Scopes: cybervault.Scopes()}, nil
	}
	if bearer == agentKey {
		return &cybervault.APIKey{Workspace: ws, Name: "agent web-1", Scopes: []cybervault.Scope{cybervault.ScopeAgent, cybervault.ScopeTelemetryWrite}, Agent: sampleAgent()}, nil
	}
	if !ok || f.revoked.Load() {
		return nil, cybervault.Errorf(cybervault.CodeUnauthorized, "the API key is unknown or was revoked")
	}
	return &cybervault.APIKey{ID: id[cybervault.APIKeyID](99), Workspace: ws, Name: bearer, Scopes: []cybervault.Scope{scope}}, nil
}

func (f *fakes) CreateKey(_ context.Context, w cybervault.WorkspaceID, name string, scopes []cybervault.Scope, expires time.Time) (*cybervault.APIKey, string, error) {
	k := sampleKey()
	k.Name, k.Scopes, k.ExpiresAt = name, scopes, expires
	return k, "cvk_plain", f.check(w)
}

func (f *fakes) Keys(_ context.Context, w cybervault.WorkspaceID) ([]*cybervault.APIKey, error) {
	return f.keys, f.check(w)
}

func (f *fakes) Revoke(ctx context.Context, w cybervault.WorkspaceID, key cybervault.APIKeyID) error {
	f.actor = cybervault.ActorOf(ctx)
	if key != sampleKey().ID {
		return cybervault.Errorf(cybervault.CodeNotFound, "no row")
	}
	return f.check(w)
}

func sampleAction(n int64) *cybervault.Action {
	a := &cybervault.Action{
		Number: n, Workspace: ws, At: epoch, Actor: cybervault.Actor{Kind: cybervault.ActorUser, ID: "usr_1", Name: "ann@example.com", Address: "192.0.2.7"},
		Action: "webhook.update", Target: webhook1.String(), Before: json.RawMessage(`{"status":"enabled"}`), After: json.RawMessage(`{"status":"disabled <b>"}`),
	}
	a.Hash = a.Digest()
	return a
}

func (f *fakes) Actions(_ context.Context, q cybervault.ActionQuery) (cybervault.Page[*cybervault.Action], error) {
	f.actions = q
	return cybervault.Page[*cybervault.Action]{Rows: []*cybervault.Action{sampleAction(7)}, More: f.more}, f.check(q.Workspace)
}

func (f *fakes) ExportActions(_ context.Context, w cybervault.WorkspaceID, line func(cybervault.ActionLine) error) (cybervault.ActionHead, error) {
	if err := f.check(w); err != nil {
		return cybervault.ActionHead{}, err
	}
	a := sampleAction(1).Line()
	return cybervault.ActionHead{Number: 1, Hash: a.Hash}, line(a)
}

func (f *fakes) Ready(context.Context) error { return f.fail }

// The samples.

func sampleKey() *cybervault.APIKey {
	return &cybervault.APIKey{ID: id[cybervault.APIKeyID](40), Workspace: ws, Name: "exporter", Hint: "cvk_abcdef",
		Scopes: []cybervault.Scope{cybervault.ScopeRead}, CreatedAt: epoch}
}

func sampleWebhook() *cybervault.Webhook {
	return &cybervault.Webhook{
		ID: webhook1, Workspace: ws, URL: "https://example.com/in", Events: []string{"threat.*"}, Status: cybervault.WebhookEnabled,
		Accept: cybervault.AcceptDefault, Headers: []cybervault.Header{{Name: "X-Token", Value: "hush"}},
		Secrets: []cybervault.Secret{
			{Value: "whsec_new", CreatedAt: epoch},
			{Value: "whsec_old", CreatedAt: epoch.Add(-time.Hour), ExpiresAt: epoch.Add(time.Hour)},
			{Value: "whsec_gone", CreatedAt: epoch.Add(-2 * time.Hour), ExpiresAt: epoch},
		},
		CreatedAt: epoch, UpdatedAt: epoch,
	}
}

const sampleBody = `{"id":"wh_x",  "event":"threat.detected","data":{"html":"<b>&</b>","n":1.0e2}}`

func sampleEvent() *cybervault.Event {
	return &cybervault.Event{ID: event1, Workspace: ws, Type: cybervault.EventThreatDetected, Timestamp: epoch, Body: []byte(sampleBody)}
}

func sampleDelivery() *cybervault.Delivery {
	return &cybervault.Delivery{
		ID: dlv1, Workspace: ws, Event: event1, EventType: cybervault.EventThreatDetected, Severity: cybervault.SeverityHigh, Webhook: webhook1, Sequence: 7,
		Status: cybervault.DeliveryPending, Attempts: 1, NextAttemptAt: epoch.Add(time.Minute), LastStatus: 503, LastFailure: cybervault.FailureStatus,
	}
}

func sampleAttempt() *cybervault.Attempt {
	return &cybervault.Attempt{
		ID: id[cybervault.AttemptID](50), Delivery: dlv1, Number: 1, StartedAt: epoch,
		Exchange: cybervault.Exchange{
			URL: "https://example.com/in", Status: 503, Failure: cybervault.FailureStatus, Error: "answered 503 Service Unavailable",
			Request: []cybervault.Header{{Name: "X-Token", Value: "***"}}, Answer: []cybervault.Header{{Name: "Retry-After", Value: "7"}},
			Body: []byte("busy <now>"), Timings: cybervault.Timings{FirstByte: 1500 * time.Microsecond}, Elapsed: 2 * time.Millisecond,
			RemoteAddr: "192.0.2.1:443", Protocol: "HTTP/2.0",
			TLS: &cybervault.PeerTLS{
				Version: "TLS 1.3", CipherSuite: "TLS_AES_128_GCM_SHA256", Subject: "CN=example.com", Issuer: "CN=An authority,O=Example",
				Names: []string{"example.com", "www.example.com"}, NotBefore: epoch, NotAfter: epoch.AddDate(0, 3, 0),
				Fingerprint: strings.Repeat("0f", 32),
			},
		},
	}
}

// fixture is an API on fakes.
type fixture struct {
	*fakes
	t       *testing.T
	handler http.Handler
	log     *bytes.Buffer
}

func setUp(t *testing.T) *fixture {
	t.Helper()
	f := &fakes{webhooks: []*cybervault.Webhook{sampleWebhook()}, keys: []*cybervault.APIKey{sampleKey()}, attempt: sampleAttempt()}
	log := &bytes.Buffer{}
	handler := api.New(api.Config{
		Publisher: f, Webhooks: f, Log: f, Changes: f, Commits: f, Poller: f, Replayer: f, Previewer: f, Replays: f, Catalogue: f, Telemetry: f, Fleet: f, Packages: f, Alerts: f, Incidents: f, Controls: f, Audit: f, Actions: f, Keys: f, Backups: f, Doctor: f, Health: f,
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "up 1\n") }),
		Version: "1.2.3", Now: func() time.Time { return epoch },
		Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	return &fixture{fakes: f, t: t, handler: handler, log: log}
}

// request is one request of a test; zero fields have useful defaults.
type request struct {
	call   string // "GET /v1/events"
	key    string // "": adminKey; "none": no key
	body   string
	media  string // "": application/json where there is a body; "none": no header
	header http.Header
	length int64 // of the body as declared; 0: as it is
}

func (f *fixture) do(r request) *httptest.ResponseRecorder {
	f.t.Helper()
	method, target, _ := strings.Cut(r.call, " ")
	req := httptest.NewRequest(method, target, strings.NewReader(r.body))
	maps.Copy(req.Header, r.header)
	if r.length != 0 {
		req.ContentLength = r.length
	}
	if r.body != "" && r.media == "" {
		r.media = "application/json"
	}
	if r.media != "" && r.media != "none" {
		req.Header.Set("Content-Type", r.media)
	}
	if r.key == "" {
		r.key = adminKey
	}
	if r.key != "none" {
		req.Header.Set("Authorization", "Bearer "+r.key)
	}
	req.Header.Set("X-Request-Id", "req-1")
	w := httptest.NewRecorder()
	f.handler.ServeHTTP(w, req)
	return w
}

// get makes a request that must be answered with status, and decodes the answer.
func (f *fixture) get(r request, status int) map[string]any {
	f.t.Helper()
	w := f.do(r)
	if w.Code != status {
		f.t.Fatalf("%s: answered %d, want %d: %s", r.call, w.Code, status, w.Body)
	}
	var doc map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
		f.t.Fatalf("%s: the answer is not JSON: %v", r.call, err)
	}
	return doc
}

// golden compares got with a file under testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (write it anew with -update):\n got: %s\nwant: %s", path, got, want)
	}
}

func sampleAgent() *cybervault.Agent {
	return &cybervault.Agent{
		HostFacts: cybervault.HostFacts{Hostname: "web-1.example.com", OS: "Debian GNU/Linux 12", Version: "v0.1.0", Addresses: []string{"192.0.2.7"}}, ID: agent1, Workspace: ws,
		Labels: map[string]string{"role": "web"}, Interval: 30 * time.Second, Missed: 3, Status: cybervault.AgentOnline, EnrolledAt: epoch, LastSeen: epoch.Add(time.Minute), ChangedAt: epoch.Add(time.Second),
	}
}

func (f *fakes) NewToken(_ context.Context, t *cybervault.AgentToken) (string, error) {
	f.token = *t
	t.ID, t.By, t.CreatedAt = id[cybervault.AgentTokenID](91), "ann", epoch
	return "cve_plain", f.check(t.Workspace)
}

func (f *fakes) Tokens(_ context.Context, w cybervault.WorkspaceID) ([]*cybervault.AgentToken, error) {
	return []*cybervault.AgentToken{{ID: id[cybervault.AgentTokenID](91), Workspace: ws, Name: "web", Interval: 30 * time.Second, Missed: 3, Uses: 2, By: "ann", CreatedAt: epoch, ExpiresAt: epoch.Add(time.Hour)}}, f.check(w)
}

func (f *fakes) DeleteToken(_ context.Context, w cybervault.WorkspaceID, _ cybervault.AgentTokenID) error {
	return f.check(w)
}

func (f *fakes) Enrol(_ context.Context, token string, facts cybervault.HostFacts) (*cybervault.Agent, string, error) {
	if token == "" {
		return nil, "", cybervault.Errorf(cybervault.CodeUnauthorized, "an enrolment token is needed")
	}
	f.facts = facts
	return sampleAgent(), "cva_plain", f.check(ws)
}

func (f *fakes) Beat(_ context.Context, a *cybervault.Agent, facts cybervault.HostFacts) (string, error) {
	f.facts = facts
	return f.newAgentKey, f.check(a.Workspace)
}

func (f *fakes) Report(_ context.Context, a *cybervault.Agent, state cybervault.PackageState, changes []cybervault.PatchChange) error {
	f.packages, f.patches = state, changes
	return f.check(a.Workspace)
}

func (f *fakes) Alerts(_ context.Context, q cybervault.AlertQuery) (cybervault.Page[*cybervault.Alert], error) {
	f.alertsAsked = q
	return cybervault.Page[*cybervault.Alert]{More: f.more, Rows: []*cybervault.Alert{{
		ID: "alr_1", Workspace: ws, Code: "breaker_open", Subject: "whk_1", Severity: cybervault.SeverityHigh, Status: cybervault.AlertFiring, Summary: "It is open.", Remedy: "Look.", FiredAt: sampleAgent().EnrolledAt, Number: 7,
	}}}, f.check(q.Workspace)
}

func (f *fakes) Agents(_ context.Context, q cybervault.AgentQuery) (cybervault.Page[*cybervault.Agent], error) {
	f.agentsAsked = q
	return cybervault.Page[*cybervault.Agent]{Rows: []*cybervault.Agent{sampleAgent()}, More: f.more}, f.check(q.Workspace)
}

func (f *fakes) Agent(_ context.Context, w cybervault.WorkspaceID, a cybervault.AgentID) (*cybervault.Agent, error) {
	if a != agent1 {
		return nil, cybervault.Errorf(cybervault.CodeNotFound, "there is no such agent")
	}
	return sampleAgent(), f.check(w)
}

func (f *fakes) Remove(_ context.Context, w cybervault.WorkspaceID, a cybervault.AgentID) error {
	_, err := f.Agent(context.Background(), w, a)
	return err
}
