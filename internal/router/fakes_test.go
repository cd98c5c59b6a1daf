package router_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/router"
)

// memStore keeps events, deliveries and webhooks as the store does.
type memStore struct {
	mu         sync.Mutex
	events     []*cybervault.Event
	births     map[cybervault.EventID]int
	deliveries []*cybervault.Delivery
	webhooks   map[cybervault.WebhookID]*cybervault.Webhook
	fail       map[string]error // by method
	freed      []cybervault.WebhookID
	marked     int // calls of MarkOrdered
	// before runs, if set, at the beginning of each call of a method.
	before func(method string)
}

var errDisk = cybervault.Errorf(cybervault.CodeUnavailable, "the disk is full")

func (s *memStore) enter(method string) error {
	s.mu.Lock()
	hook := s.before
	err := s.fail[method]
	s.mu.Unlock()
	if hook != nil {
		hook(method)
	}
	return err
}

func (s *memStore) breaks(method string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail[method] = err
}

func (s *memStore) Publish(ctx context.Context, pubs []*cybervault.Publication) ([]cybervault.Published, []error) {
	out, errs := make([]cybervault.Published, len(pubs)), make([]error, len(pubs))
	for i, pub := range pubs {
		if err := s.enter("Publish"); err != nil || ctx.Err() != nil {
			errs[i] = errDisk
			continue
		}
		s.mu.Lock()
		if e := s.holder(pub.Event); e != nil {
			out[i] = cybervault.Published{Existing: e, ExistingDeliveries: s.births[e.ID]}
			s.mu.Unlock()
			continue
		}
		s.events = append(s.events, pub.Event)
		for j := range pub.Deliveries {
			if pub.Deliveries[j].Status != cybervault.DeliverySkipped {
				s.births[pub.Event.ID]++
			}
			s.insert(pub.Event, &pub.Deliveries[j])
		}
		s.mu.Unlock()
	}
	return out, errs
}

func (s *memStore) holder(e *cybervault.Event) *cybervault.Event {
	for _, other := range s.events {
		if e.PublisherKey && other.PublisherKey && other.Workspace == e.Workspace && other.IdempotencyKey == e.IdempotencyKey {
			return other
		}
	}
	return nil
}

func (s *memStore) insert(e *cybervault.Event, d *cybervault.NewDelivery) {
	if d.Status != cybervault.DeliverySkipped {
		d.Sequence = 1
		for _, other := range s.deliveries {
			if other.Webhook == d.Webhook && other.Sequence >= d.Sequence {
				d.Sequence = other.Sequence + 1
			}
		}
	}
	s.deliveries = append(s.deliveries, &cybervault.Delivery{
		ID: d.ID, Workspace: e.Workspace, Event: e.ID, EventType: e.Type, Severity: d.Severity, Webhook: d.Webhook, Sequence: d.Sequence,
		Status: d.Status, Reason: d.Reason, Running: d.Lease.Token != 0, ReplayOf: d.ReplayOf, Test: e.Test,
	})
}

func (s *memStore) AddDelivery(_ context.Context, e *cybervault.Event, d *cybervault.NewDelivery) error {
	if err := s.enter("AddDelivery"); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.insert(e, d)
	return nil
}

func (s *memStore) Original(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.EventID) (*cybervault.Event, int, error) {
	if err := s.enter("Original"); err != nil {
		return nil, 0, err
	}
	e, err := s.Event(ctx, ws, id)
	return e, s.births[id], err
}

func (s *memStore) Event(_ context.Context, ws cybervault.WorkspaceID, id cybervault.EventID) (*cybervault.Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.events {
		if e.ID == id && e.Workspace == ws {
			return e, nil
		}
	}
	return nil, cybervault.Errorf(cybervault.CodeNotFound, "no event")
}

func (s *memStore) Events(_ context.Context, q cybervault.EventQuery) (cybervault.Page[*cybervault.Event], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var page cybervault.Page[*cybervault.Event]
	for _, e := range slices.Backward(s.events) {
		switch {
		case e.Workspace != q.Workspace || q.Type != "" && !cybervault.MatchesEventType(q.Type, e.Type) || e.Timestamp.Before(q.Since):
		case !q.Before.IsZero() && bytes.Compare(e.ID.UUID[:], q.Before.UUID[:]) >= 0:
		case len(page.Rows) == q.Limit:
			page.More = true
		default:
			page.Rows = append(page.Rows, e)
		}
	}
	return page, nil
}

func (s *memStore) Delivery(_ context.Context, ws cybervault.WorkspaceID, id cybervault.DeliveryID) (*cybervault.Delivery, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.deliveries {
		if d.ID == id && d.Workspace == ws {
			found := *d
			return &found, nil
		}
	}
	return nil, cybervault.Errorf(cybervault.CodeNotFound, "no delivery")
}

func (s *memStore) CancelDelivery(_ context.Context, ws cybervault.WorkspaceID, id cybervault.DeliveryID, reason string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.deliveries {
		if d.ID == id && d.Workspace == ws {
			if d.Status.Ended() {
				return cybervault.Errorf(cybervault.CodeConflict, "ended")
			}
			d.Status, d.Reason = cybervault.DeliveryCancelled, reason
			return nil
		}
	}
	return cybervault.Errorf(cybervault.CodeNotFound, "no delivery")
}

func (s *memStore) Webhooks(context.Context) ([]*cybervault.Webhook, error) {
	if err := s.enter("Webhooks"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*cybervault.Webhook
	for _, w := range s.webhooks {
		if w.DeletedAt.IsZero() {
			out = append(out, w)
		}
	}
	return out, nil
}

func (s *memStore) SaveWebhook(ctx context.Context, w *cybervault.Webhook) error {
	if err := s.enter("SaveWebhook"); err != nil || ctx.Err() != nil {
		return errDisk
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if stored := s.webhooks[w.ID]; stored != nil && stored.Revision != w.Revision {
		return cybervault.Errorf(cybervault.CodeConflict, "changed")
	}
	w.Revision++
	s.webhooks[w.ID] = w
	return nil
}

func (s *memStore) WebhooksByKey(_ context.Context, keys []int64) (out []*cybervault.Webhook, err error) {
	if err := s.enter("WebhooksByKey"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.webhooks {
		if slices.Contains(keys, w.ID.Key()) {
			out = append(out, w)
		}
	}
	return out, nil
}

func (s *memStore) CancelDeliveries(ctx context.Context, id cybervault.WebhookID, reason string) (n int64, err error) {
	if err := s.enter("CancelDeliveries"); err != nil || ctx.Err() != nil {
		return 0, errDisk
	}
	return s.move(id, func(d *cybervault.Delivery) bool { return !d.Status.Ended() }, cybervault.DeliveryCancelled, reason), nil
}

func (s *memStore) FreeHeld(ctx context.Context, id cybervault.WebhookID) (int64, error) {
	if err := s.enter("FreeHeld"); err != nil || ctx.Err() != nil {
		return 0, errDisk
	}
	s.mu.Lock()
	s.freed = append(s.freed, id)
	s.mu.Unlock()
	return s.move(id, func(d *cybervault.Delivery) bool { return d.Status == cybervault.DeliveryHeld }, cybervault.DeliveryPending, ""), nil
}

func (s *memStore) MarkOrdered(context.Context, cybervault.WebhookID) (int64, error) {
	err := s.enter("MarkOrdered")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.marked++
	return 0, err
}

func (s *memStore) move(id cybervault.WebhookID, match func(*cybervault.Delivery) bool, to cybervault.DeliveryStatus, reason string) (n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.deliveries {
		if d.Webhook == id && match(d) {
			d.Status, d.Reason = to, reason
			n++
		}
	}
	return n
}

func (s *memStore) Pending(context.Context) (pending, held int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.deliveries {
		switch d.Status {
		case cybervault.DeliveryPending:
			pending++
		case cybervault.DeliveryHeld:
			held++
		case cybervault.DeliveryDelivered, cybervault.DeliveryDeadLetter, cybervault.DeliveryCancelled, cybervault.DeliverySkipped:
		}
	}
	return pending, held, nil
}

func (s *memStore) of(id cybervault.WebhookID) (out []cybervault.Delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.deliveries {
		if d.Webhook == id {
			out = append(out, *d)
		}
	}
	return out
}

// dispatcher records what the router asks of it, and answers tests.
type dispatcher struct {
	ids    *cybervault.IDSource
	answer func(*cybervault.Assignment) *cybervault.Attempt // for tests; nil: never

	mu       sync.Mutex
	full     bool
	reserved int
	bytes    int
	taken    []*cybervault.Assignment
	woken    []cybervault.WebhookID
	wokenBy  []cybervault.Severity
	forgot   []cybervault.WebhookID
	dropped  []cybervault.DeliveryID
	awaited  map[cybervault.DeliveryID]chan *cybervault.Attempt
}

func (d *dispatcher) NewLease() cybervault.Lease {
	return cybervault.Lease{Token: d.ids.Next().Key(), Until: time.Now().Add(time.Minute)}
}

func (d *dispatcher) Admit(_ cybervault.WebhookID, size int, _ cybervault.Severity, urgent bool) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.full && !urgent {
		return false
	}
	d.reserved++
	d.bytes += size
	return true
}

func (d *dispatcher) Withdraw(_ cybervault.WebhookID, size int, _ cybervault.Severity) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reserved--
	d.bytes -= size
}

func (d *dispatcher) Dispatch(assignments []*cybervault.Assignment) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, a := range assignments {
		d.reserved--
		d.bytes -= len(a.Body)
		d.taken = append(d.taken, a)
		if ch := d.awaited[a.Delivery]; ch != nil && d.answer != nil {
			ch <- d.answer(a)
		}
	}
}

func (d *dispatcher) Wake(id cybervault.WebhookID, severity cybervault.Severity) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.woken = append(d.woken, id)
	d.wokenBy = append(d.wokenBy, severity)
}

func (d *dispatcher) Forget(id cybervault.WebhookID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.forgot = append(d.forgot, id)
}

func (d *dispatcher) Drop(_ cybervault.WebhookID, id cybervault.DeliveryID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dropped = append(d.dropped, id)
}

func (d *dispatcher) Await(id cybervault.DeliveryID) (<-chan *cybervault.Attempt, func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	ch := make(chan *cybervault.Attempt, 1)
	d.awaited[id] = ch
	return ch, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.awaited, id)
	}
}

// answers tells whoever awaits an attempt.
func (d *dispatcher) answers(a *cybervault.Attempt) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, ch := range d.awaited {
		ch <- a
	}
}

func (d *dispatcher) wokenFor(id cybervault.WebhookID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Contains(d.woken, id)
}

// catalogue knows three types. Data must be an object without "bad".
type catalogue struct{}

func (catalogue) Lookup(_ cybervault.WorkspaceID, name string) (cybervault.EventType, bool) {
	severity, known := map[string]cybervault.Severity{
		cybervault.EventThreatDetected: cybervault.SeverityCritical, cybervault.EventPatchFailed: cybervault.SeverityHigh,
		cybervault.EventSystemAlert: cybervault.SeverityMedium, cybervault.EventWebhookTest: "",
	}[name]
	return cybervault.EventType{Name: name, Severity: severity, Example: json.RawMessage(`{"example": true}`)}, known
}

func (c catalogue) Validate(ws cybervault.WorkspaceID, name string, data []byte) error {
	if _, ok := c.Lookup(ws, name); !ok {
		return cybervault.Invalid("event", "%q is not in the catalogue", name)
	}
	if !json.Valid(data) || !strings.HasPrefix(strings.TrimSpace(string(data)), "{") || bytes.Contains(data, []byte(`"bad"`)) {
		return cybervault.Invalid("data", "breaks the schema")
	}
	return nil
}

// desk is a router with all that surrounds it.
type desk struct {
	full    error // nothing may be replayed, for that reason
	shared  bool  // other nodes have the store too
	t       *testing.T
	r       *router.Router
	store   *memStore
	d       *dispatcher
	ids     *cybervault.IDSource
	ws      cybervault.WorkspaceID
	changed int
	replays router.ReplayStore
	line    *line
	log     *slog.Logger // nil: nowhere
	mu      sync.Mutex
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	k := &desk{t: t, line: &line{}}
	k.open()
	return k
}

// open fills an empty desk.
func (k *desk) open() {
	k.t.Helper()
	k.ids = cybervault.NewIDSource(0, 0, time.Now)
	k.ws = cybervault.NewID[cybervault.WorkspaceID](k.ids)
	k.store = &memStore{births: map[cybervault.EventID]int{}, webhooks: map[cybervault.WebhookID]*cybervault.Webhook{}, fail: map[string]error{}}
	k.restart()
}

// restart makes a new router over the same store.
func (k *desk) restart() {
	k.t.Helper()
	log := k.log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	r, err := router.New(k.t.Context(), router.Config{
		Log: k.store, Webhooks: k.store, Replays: k.replays, Polls: k.line, Catalogue: catalogue{}, Destinations: destinations{}, IDs: k.ids, EngineVersion: "ai_v1.2", Shared: k.shared, Admit: func(int64) error { k.mu.Lock(); defer k.mu.Unlock(); return k.full },
		Changed: func() { k.mu.Lock(); k.changed++; k.mu.Unlock() }, Now: time.Now, Logger: log,
	})
	if err != nil {
		k.t.Fatalf("New: %v", err)
	}
	k.r = r
	k.d = &dispatcher{ids: k.ids, awaited: map[cybervault.DeliveryID]chan *cybervault.Attempt{}}
	k.d.answer = func(a *cybervault.Assignment) *cybervault.Attempt {
		w, _ := r.Lookup(a.Webhook)
		return &cybervault.Attempt{Delivery: a.Delivery, Number: 1, StartedAt: time.Now(), Exchange: cybervault.Exchange{URL: w.URL, Status: 200}}
	}
	r.SetDispatcher(k.d)
	k.t.Cleanup(r.Close)
}

// webhook adds an enabled webhook for the chosen events.
func (k *desk) webhook(events ...string) *cybervault.Webhook {
	k.t.Helper()
	w, err := k.r.CreateWebhook(k.t.Context(), k.ws, cybervault.WebhookChange{URL: new("https://receiver.example/in"), Events: &events})
	if err != nil {
		k.t.Fatalf("CreateWebhook: %v", err)
	}
	return w
}

func (k *desk) update(id cybervault.WebhookID, c cybervault.WebhookChange) *cybervault.Webhook {
	k.t.Helper()
	w, err := k.r.UpdateWebhook(k.t.Context(), k.ws, id, c)
	if err != nil {
		k.t.Fatalf("UpdateWebhook: %v", err)
	}
	return w
}

func (k *desk) publish(req cybervault.PublishRequest) (cybervault.PublishReceipt, error) {
	return k.r.Publish(k.t.Context(), k.ws, req)
}

func (k *desk) mustPublish(req cybervault.PublishRequest) cybervault.PublishReceipt {
	k.t.Helper()
	receipt, err := k.publish(req)
	if err != nil {
		k.t.Fatalf("Publish: %v", err)
	}
	return receipt
}

func threat(data string) cybervault.PublishRequest {
	return cybervault.PublishRequest{Type: cybervault.EventThreatDetected, Data: []byte(data)}
}

// wantCode checks an error's code and field.
func wantCode(t *testing.T, err error, code cybervault.Code, field string) {
	t.Helper()
	got := cybervault.ErrorCode(err)
	gotField := ""
	if e, ok := err.(*cybervault.Error); ok { //nolint:errorlint // the outermost is what a caller is answered with
		gotField = e.Field
	}
	if got != code || gotField != field {
		t.Errorf("error %q has code %q and field %q, want %q and %q", err, got, gotField, code, field)
	}
}
