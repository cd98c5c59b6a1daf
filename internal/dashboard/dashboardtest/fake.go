// Package dashboardtest holds all that the dashboard reads and changes in
// memory: realistic data for pictures, hostile data for tests, and knobs for
// what goes wrong. It stands in for router, store and access in the tests of
// the dashboard and of the browser; the server never imports it.
package dashboardtest

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cybervault/cybervault"
)

// Token is what logs in.
const Token = "test-token"

// Fake is a workspace in memory. Safe for concurrent use.
type Fake struct {
	Workspace cybervault.WorkspaceID

	mu         sync.Mutex
	now        func() time.Time
	at         time.Time // when not zero, ids and times are made for this moment
	ids        *cybervault.IDSource
	webhooks   []*cybervault.Webhook // newest first
	events     []*cybervault.Event   // newest first, as are deliveries and keys
	deliveries []*cybervault.Delivery
	attempts   map[cybervault.DeliveryID][]*cybervault.Attempt
	answers    map[cybervault.WebhookID]Answer
	keys       []*cybervault.APIKey
	actions    []*cybervault.Action // oldest first
	system     cybervault.System
	sources    []cybervault.TelemetrySource
	standing   map[cybervault.WebhookID]cybervault.WebhookHealth
	agents     []*cybervault.Agent
	alerts     []*cybervault.Alert
	tokens     []*cybervault.AgentToken
	checks     []cybervault.Check
	incidents  []*cybervault.Incident
	members    map[cybervault.IncidentID][]*cybervault.IncidentMember
	rules      []cybervault.RuleDetail // by title
	off        map[string]cybervault.RuleOff
	exceptions []cybervault.Exception // newest first
	types      []cybervault.EventType
	watchers   map[chan struct{}]bool
	fail       error
	capped     bool
	pause      cybervault.EventID // where a long search pauses
}

// Answer says how the receiver behind a webhook behaves: what it answers to
// attempt number n.
type Answer func(number int) cybervault.Exchange

// New returns an empty workspace with the core catalogue.
func New(now func() time.Time) *Fake {
	f := &Fake{
		now:      now,
		attempts: make(map[cybervault.DeliveryID][]*cybervault.Attempt),
		answers:  make(map[cybervault.WebhookID]Answer),
		members:  make(map[cybervault.IncidentID][]*cybervault.IncidentMember),
		off:      make(map[string]cybervault.RuleOff),
		types:    coreTypes(),
		watchers: make(map[chan struct{}]bool),
		standing: make(map[cybervault.WebhookID]cybervault.WebhookHealth),
	}
	f.ids = cybervault.NewIDSource(1, 0, f.clock)
	f.Workspace.UUID = f.ids.Next()
	return f
}

// clock is called with mu held, or before f is shared.
func (f *Fake) clock() time.Time {
	if !f.at.IsZero() {
		return f.at
	}
	return f.now()
}

// Fail makes every read and change answer with err, until it is nil again.
func (f *Fake) Fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = err
}

func (f *Fake) check(ws cybervault.WorkspaceID) error {
	if f.fail != nil {
		return f.fail
	}
	if ws != f.Workspace {
		return cybervault.Errorf(cybervault.CodeNotFound, "There is no such workspace.")
	}
	return nil
}

func missing(what string) error {
	return cybervault.Errorf(cybervault.CodeNotFound, "There is no %s with this id.", what)
}

// Webhooks implements dashboard.Webhooks, as do the methods after it.
func (f *Fake) Webhooks(_ context.Context, ws cybervault.WorkspaceID) ([]*cybervault.Webhook, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []*cybervault.Webhook
	for _, w := range f.webhooks {
		if w.DeletedAt.IsZero() {
			list = append(list, w)
		}
	}
	return list, f.check(ws)
}

func (f *Fake) webhook(ws cybervault.WorkspaceID, id cybervault.WebhookID) (*cybervault.Webhook, int, error) {
	if err := f.check(ws); err != nil {
		return nil, 0, err
	}
	for i, w := range f.webhooks {
		if w.ID == id {
			return w, i, nil
		}
	}
	return nil, 0, missing("webhook")
}

// Webhook reads one.
func (f *Fake) Webhook(_ context.Context, ws cybervault.WorkspaceID, id cybervault.WebhookID) (*cybervault.Webhook, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w, _, err := f.webhook(ws, id)
	return w, err
}

// CreateWebhook adds one.
func (f *Fake) CreateWebhook(_ context.Context, ws cybervault.WorkspaceID, change cybervault.WebhookChange) (*cybervault.Webhook, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.check(ws); err != nil {
		return nil, err
	}
	now := f.clock()
	w := &cybervault.Webhook{
		Workspace: ws, Status: cybervault.WebhookEnabled, Accept: cybervault.AcceptDefault,
		Secrets: []cybervault.Secret{cybervault.NewSecret(now)}, CreatedAt: now,
	}
	w.ID.UUID = f.ids.Next()
	if err := apply(w, change); err != nil {
		return nil, err
	}
	if err := w.Check(); err != nil {
		return nil, err
	}
	if strings.HasPrefix(w.URL, "http://") {
		return nil, cybervault.Invalid("url", "has the scheme \"http\": only https:// is accepted")
	}
	f.webhooks = slices.Insert(f.webhooks, 0, w)
	f.signal()
	return w, nil
}

// UpdateWebhook changes one.
func (f *Fake) UpdateWebhook(_ context.Context, ws cybervault.WorkspaceID, id cybervault.WebhookID, change cybervault.WebhookChange) (*cybervault.Webhook, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.change(ws, id, func(w *cybervault.Webhook) error {
		if err := apply(w, change); err != nil {
			return err
		}
		return w.Check()
	})
}

func (f *Fake) change(ws cybervault.WorkspaceID, id cybervault.WebhookID, do func(*cybervault.Webhook) error) (*cybervault.Webhook, error) {
	old, i, err := f.webhook(ws, id)
	if err != nil {
		return nil, err
	}
	w := *old
	if err := do(&w); err != nil {
		return nil, err
	}
	w.UpdatedAt = f.clock()
	f.webhooks[i] = &w
	f.signal()
	return &w, nil
}

// DeleteWebhook removes one; its deliveries stay.
func (f *Fake) DeleteWebhook(_ context.Context, ws cybervault.WorkspaceID, id cybervault.WebhookID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, err := f.change(ws, id, func(w *cybervault.Webhook) error {
		w.DeletedAt, w.Status = f.clock(), cybervault.WebhookDisabled
		return nil
	})
	return err
}

// RotateSecret makes a new secret.
func (f *Fake) RotateSecret(_ context.Context, ws cybervault.WorkspaceID, id cybervault.WebhookID, overlap time.Duration) (*cybervault.Webhook, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.change(ws, id, func(w *cybervault.Webhook) error {
		now := f.clock()
		secrets := []cybervault.Secret{cybervault.NewSecret(now)}
		if overlap > 0 {
			old := w.Secrets[0]
			old.ExpiresAt = now.Add(overlap)
			secrets = append(secrets, old)
		}
		w.Secrets = secrets
		return nil
	})
}

// VerifyWebhook sends the test payload to nobody and answers what the webhook's Answer says.
func (f *Fake) VerifyWebhook(_ context.Context, ws cybervault.WorkspaceID, id cybervault.WebhookID) (*cybervault.Attempt, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w, _, err := f.webhook(ws, id)
	if err != nil {
		return nil, err
	}
	a := f.attempt(w, cybervault.DeliveryID{}, cybervault.EventWebhookTest, 1)
	if a.Succeeded() {
		_, err = f.change(ws, id, func(w *cybervault.Webhook) error { w.VerifiedAt = f.clock(); return nil })
	}
	return a, err
}

// TestWebhook delivers an event type's example.
func (f *Fake) TestWebhook(_ context.Context, ws cybervault.WorkspaceID, id cybervault.WebhookID, eventType string) (*cybervault.Delivery, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w, _, err := f.webhook(ws, id)
	if err != nil {
		return nil, err
	}
	for _, t := range f.types {
		if t.Name == eventType {
			e := f.event(eventType, t.Example)
			e.Test = true
			d := f.deliver(w, e)
			d.Test = true
			f.signal()
			return d, nil
		}
	}
	return nil, cybervault.Invalid("event", "%q is not in the catalogue", eventType)
}

// ReplayDelivery implements dashboard.Replayer.
func (f *Fake) ReplayDelivery(_ context.Context, ws cybervault.WorkspaceID, id cybervault.DeliveryID) (*cybervault.Delivery, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	old, err := find(f, ws, f.deliveries, "delivery", func(d *cybervault.Delivery) bool { return d.ID == id })
	if err != nil {
		return nil, err
	}
	w, _, err := f.webhook(ws, old.Webhook)
	if err != nil {
		return nil, err
	}
	e, err := find(f, ws, f.events, "event", func(e *cybervault.Event) bool { return e.ID == old.Event })
	if err != nil {
		return nil, err
	}
	d := f.deliver(w, e)
	d.ReplayOf = id
	f.signal()
	return d, nil
}

// CancelDelivery ends a delivery that has not ended.
func (f *Fake) CancelDelivery(_ context.Context, ws cybervault.WorkspaceID, id cybervault.DeliveryID) (*cybervault.Delivery, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d, err := find(f, ws, f.deliveries, "delivery", func(d *cybervault.Delivery) bool { return d.ID == id })
	if err != nil {
		return nil, err
	}
	if d.Status.Ended() {
		return nil, cybervault.Errorf(cybervault.CodeConflict, "The delivery has ended already.")
	}
	changed := *d
	changed.Status, changed.Reason, changed.FinishedAt, changed.NextAttemptAt = cybervault.DeliveryCancelled, cybervault.ReasonCancelled, f.clock(), time.Time{}
	f.deliveries[slices.Index(f.deliveries, d)] = &changed
	f.signal()
	return &changed, nil
}

func find[T any](f *Fake, ws cybervault.WorkspaceID, list []*T, what string, is func(*T) bool) (*T, error) {
	if err := f.check(ws); err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(list, is); i >= 0 {
		return list[i], nil
	}
	return nil, missing(what)
}

// List implements dashboard.Catalogue.
func (f *Fake) List(cybervault.WorkspaceID) []cybervault.EventType {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.types)
}

// SaveEventType implements dashboard.Catalogue, as does the method after it. It takes
// no name without a dot, and no schema or example that is not JSON.
func (f *Fake) SaveEventType(_ context.Context, ws cybervault.WorkspaceID, t cybervault.EventType) (cybervault.EventType, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.check(ws); err != nil {
		return t, false, err
	}
	switch {
	case !strings.Contains(t.Name, ".") || strings.ContainsAny(t.Name, "<> "):
		return t, false, cybervault.Invalid("type", "is no name")
	case !json.Valid(t.Schema):
		return t, false, cybervault.Invalid("schema.properties", "is not JSON")
	case !json.Valid(t.Example):
		return t, false, cybervault.Invalid("example", "is not JSON")
	}
	t.Core = false
	if i := slices.IndexFunc(f.types, func(old cybervault.EventType) bool { return old.Name == t.Name }); i >= 0 {
		f.types[i] = t
		return t, false, nil
	}
	f.types = append(f.types, t)
	return t, true, nil
}

// DeleteEventType removes one.
func (f *Fake) DeleteEventType(_ context.Context, ws cybervault.WorkspaceID, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.check(ws); err != nil {
		return err
	}
	i := slices.IndexFunc(f.types, func(t cybervault.EventType) bool { return t.Name == name })
	switch {
	case i < 0:
		return missing("event type")
	case f.types[i].Core:
		return cybervault.Errorf(cybervault.CodeConflict, "%s is an event type of CyberVault's own and cannot be deleted", name)
	}
	f.types = slices.Delete(f.types, i, i+1)
	return nil
}

// AddType puts an event type into the catalogue.
func (f *Fake) AddType(t cybervault.EventType) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.types = append(f.types, t)
}

// Keys implements dashboard.Keys, as do the two methods after it.
func (f *Fake) Keys(_ context.Context, ws cybervault.WorkspaceID) ([]*cybervault.APIKey, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.keys), f.check(ws)
}

// CreateKey adds one.
func (f *Fake) CreateKey(_ context.Context, ws cybervault.WorkspaceID, name string, scopes []cybervault.Scope, expires time.Time) (*cybervault.APIKey, string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.check(ws); err != nil {
		return nil, "", err
	}
	if len(name) > 100 {
		return nil, "", cybervault.Invalid("name", "The name is longer than 100 bytes.")
	}
	k := &cybervault.APIKey{Workspace: ws, Name: name, Scopes: scopes, CreatedAt: f.clock(), ExpiresAt: expires}
	k.ID.UUID = f.ids.Next()
	clear := "cv_" + strings.ReplaceAll(f.ids.Next().String(), "-", "")
	k.Hint = clear[:11]
	f.keys = slices.Insert(f.keys, 0, k)
	return k, clear, nil
}

// RevokeKey ends one.
func (f *Fake) RevokeKey(_ context.Context, ws cybervault.WorkspaceID, id cybervault.APIKeyID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	k, err := find(f, ws, f.keys, "API key", func(k *cybervault.APIKey) bool { return k.ID == id })
	if err != nil {
		return err
	}
	revoked := *k
	revoked.RevokedAt = f.clock()
	f.keys[slices.Index(f.keys, k)] = &revoked
	return nil
}

// Watch implements dashboard.Changes.
func (f *Fake) Watch() (changed <-chan struct{}, stop func()) {
	c := make(chan struct{}, 1)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.watchers[c] = true
	return c, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.watchers, c)
	}
}

// Watchers is how many live streams are open.
func (f *Fake) Watchers() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.watchers)
}

// StopServer closes every watcher's channel, as a server does when it stops.
func (f *Fake) StopServer() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.watchers {
		close(c)
	}
	clear(f.watchers)
}

// Signal tells the watchers that something was committed.
func (f *Fake) Signal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.signal()
}

func (f *Fake) signal() {
	for c := range f.watchers {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// SetAnswer says how the receiver behind a webhook behaves from now on.
func (f *Fake) SetAnswer(id cybervault.WebhookID, a Answer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers[id] = a
}

// Publish stores an event with its deliveries, as the router would, and
// answers with it. Data that is nil is the type's example.
func (f *Fake) Publish(eventType string, data json.RawMessage) *cybervault.Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.publish(eventType, data)
}

func (f *Fake) publish(eventType string, data json.RawMessage) *cybervault.Event {
	if data == nil {
		for _, t := range f.types {
			if t.Name == eventType {
				data = t.Example
			}
		}
	}
	e := f.event(eventType, data)
	for _, v := range slices.Backward(f.webhooks) {
		if w := v; w.DeletedAt.IsZero() && w.Subscribes(eventType) {
			f.deliver(w, e)
		}
	}
	f.signal()
	return e
}

func (f *Fake) event(eventType string, data json.RawMessage) *cybervault.Event {
	e := &cybervault.Event{Workspace: f.Workspace, Type: eventType, Timestamp: f.clock()}
	e.ID.UUID = f.ids.Next()
	e.IdempotencyKey = cybervault.GeneratedKeyPrefix + e.ID.UUID.String()
	body, err := json.Marshal(cybervault.Envelope{
		ID: e.ID, Event: eventType, Timestamp: e.Timestamp, Data: data,
		Metadata: cybervault.Metadata{WorkspaceID: f.Workspace, EngineVersion: "ai_v3.1", IdempotencyKey: e.IdempotencyKey},
	})
	if err != nil { // data that is no JSON: kept as it is, as hostile tests want it
		body = data
	}
	e.Body = body
	f.events = slices.Insert(f.events, 0, e)
	sortNewest(f.events, func(e *cybervault.Event) int64 { return e.ID.Key() })
	return e
}

func sortNewest[T any](list []*T, key func(*T) int64) {
	slices.SortStableFunc(list, func(a, b *T) int { return cmp.Compare(key(b), key(a)) })
}

// SetWebhook changes a webhook in place, without any check.
func (f *Fake) SetWebhook(id cybervault.WebhookID, do func(*cybervault.Webhook)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, err := f.change(f.Workspace, id, func(w *cybervault.Webhook) error { do(w); return nil }); err != nil {
		panic(err) // a mistake in a test's own data
	}
}
