// Package storetest is the conformance suite of the store: what every database
// behind it must do, written once and run on each.
//
// It stands outside the flow and is imported by tests only. Each case has an
// empty database to itself and a clock that stands still until the case moves
// it. A new method of the store begins with its case here.
package storetest

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/store"
)

// Run runs the suite. database says where an empty database of the kind under
// test is, each time it is called; the suite sets the key and the clock.
func Run(t *testing.T, database func(t testing.TB) store.Config) {
	t.Helper()
	for _, group := range []map[string]func(*fixture){publishCases(), queueCases(), cancelCases(), attemptCases(), eventListCases(), deliveryListCases(), settingsCases(), overviewCases(), sequenceCases(), retentionCases(), replayCases(), spanCases(), changeCases(), pollCases(), auditCases(), incidentCases(), actionCases(), peopleCases(), deedCases(), searchCases(), agentCases(), alertCases()} {
		for name, run := range group {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				run(newFixture(t, database(t)))
			})
		}
	}
}

// start is when every case begins.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) //nolint:gochecknoglobals // a constant, if a time could be one

// clock is a clock that moves only when told.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Move moves the clock, and everything made afterwards, on by d.
func (c *clock) Move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// fixture is an open store with one workspace, and what makes things to put in.
type fixture struct {
	*testing.T

	cfg   store.Config
	s     *store.Store
	clock *clock
	ids   *cybervault.IDSource
	ws    cybervault.WorkspaceID

	mu    sync.Mutex
	token int64
}

func newFixture(t *testing.T, cfg store.Config) *fixture {
	t.Helper()
	f := &fixture{T: t, clock: &clock{now: start}}
	f.cfg = cfg
	f.cfg.Key, f.cfg.Now, f.cfg.DatabaseNow = bytes.Repeat([]byte{7}, store.KeySize), f.clock.Now, f.clock.Now
	f.s = f.open()
	f.ids = cybervault.NewIDSource(1, 0, f.clock.Now)
	f.ws = f.workspace()
	return f
}

// open opens the database (again); it is closed with the test.
func (f *fixture) open() *store.Store {
	f.Helper()
	s, err := store.Open(f.Context(), f.cfg)
	if err != nil {
		f.Fatalf("open: %v", err)
	}
	f.Cleanup(func() {
		if err := s.Close(); err != nil {
			f.Errorf("close: %v", err)
		}
	})
	return s
}

func (f *fixture) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) wantCode(err error, want cybervault.Code) {
	f.Helper()
	if got := cybervault.ErrorCode(err); got != want {
		f.Fatalf("error = %v, of code %q; want code %q", err, got, want)
	}
}

func (f *fixture) workspace() cybervault.WorkspaceID {
	f.Helper()
	ws, err := f.s.Workspace(f.Context(), cybervault.NewID[cybervault.WorkspaceID](f.ids), "first")
	f.must(err)
	return ws
}

func (f *fixture) lease() cybervault.Lease {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.token++
	return cybervault.Lease{Token: f.token, Until: f.clock.Now().Add(30 * time.Second)}
}

// webhook saves a webhook with what change makes of the plain one.
func (f *fixture) webhook(change ...func(*cybervault.Webhook)) *cybervault.Webhook {
	f.Helper()
	now := f.clock.Now()
	w := &cybervault.Webhook{
		ID: cybervault.NewID[cybervault.WebhookID](f.ids), Workspace: f.ws, URL: "https://receiver.test/in",
		Events: []string{"*"}, Status: cybervault.WebhookEnabled, Accept: cybervault.AcceptDefault,
		Secrets: []cybervault.Secret{cybervault.NewSecret(now)}, CreatedAt: now, UpdatedAt: now,
	}
	for _, c := range change {
		c(w)
	}
	f.must(f.s.SaveWebhook(f.Context(), w))
	return w
}

// event is a publication's event, before its id is minted.
type event struct {
	kind string
	key  string
	data string
	test bool
	ws   cybervault.WorkspaceID // zero: the fixture's
}

// publication makes the publication of e, with a delivery for each of births,
// whose ids are minted with the event's.
func (f *fixture) publication(e event, births ...cybervault.NewDelivery) *cybervault.Publication {
	run := f.ids.NextRun(1 + len(births))
	if e.kind == "" {
		e.kind = cybervault.EventThreatDetected
	}
	if e.data == "" {
		e.data = `{}`
	}
	if e.ws.IsZero() {
		e.ws = f.ws
	}
	id := cybervault.EventID{UUID: run[0]}
	pub := &cybervault.Publication{Deliveries: births, Event: &cybervault.Event{
		ID: id, Workspace: e.ws, Type: e.kind, Timestamp: f.clock.Now().Add(-time.Minute), Test: e.test,
		IdempotencyKey: e.key, PublisherKey: e.key != "",
	}}
	if e.key == "" {
		pub.Event.IdempotencyKey = cybervault.GeneratedKeyPrefix + id.UUID.String()
	}
	pub.Event.Body = fmt.Appendf(nil, `{"id":%q,"event":%q,"data":%s}`, id, e.kind, e.data)
	for i := range births {
		births[i].ID = cybervault.DeliveryID{UUID: run[1+i]}
	}
	return pub
}

// publish stores publications that are not duplicates.
func (f *fixture) publish(pubs ...*cybervault.Publication) {
	f.Helper()
	outcomes, errs := f.s.Publish(f.Context(), pubs)
	for i, err := range errs {
		f.must(err)
		if outcomes[i].Existing != nil {
			f.Fatalf("publication %d: stored before, as %s", i, outcomes[i].Existing.ID)
		}
	}
}

// leased is a delivery to w claimed at birth.
func (f *fixture) leased(w *cybervault.Webhook) cybervault.NewDelivery {
	return cybervault.NewDelivery{Webhook: w.ID, Status: cybervault.DeliveryPending, Lease: f.lease()}
}

// waiting is a delivery to w that nobody has claimed.
func waiting(w *cybervault.Webhook) cybervault.NewDelivery {
	return cybervault.NewDelivery{Webhook: w.ID, Status: cybervault.DeliveryPending}
}

func born(w *cybervault.Webhook, status cybervault.DeliveryStatus, reason string) cybervault.NewDelivery {
	return cybervault.NewDelivery{Webhook: w.ID, Status: status, Reason: reason}
}

// result is that of attempt number of a delivery.
func (f *fixture) result(d *cybervault.NewDelivery, number int, status cybervault.DeliveryStatus) *cybervault.Result {
	r := &cybervault.Result{
		Webhook: d.Webhook, Lease: d.Lease, Status: status,
		Attempt: &cybervault.Attempt{
			ID: cybervault.NewID[cybervault.AttemptID](f.ids), Delivery: d.ID, Number: number, StartedAt: f.clock.Now(),
			Exchange: cybervault.Exchange{URL: "https://receiver.test/in", Status: 200, Elapsed: 20 * time.Millisecond},
		},
	}
	if status != cybervault.DeliveryDelivered {
		r.Attempt.Status, r.Attempt.Failure, r.Attempt.Error = 500, cybervault.FailureStatus, "answered 500"
	}
	if status == cybervault.DeliveryPending {
		r.NextAttemptAt = f.clock.Now().Add(time.Minute)
	}
	return r
}

// record hands a result in and waits for the answer.
func (f *fixture) record(r *cybervault.Result) error {
	f.Helper()
	done := make(chan error, 1)
	f.must(f.s.Record(r, func(err error) { done <- err }))
	return <-done
}

// claim claims what is due for w, under one lease.
func (f *fixture) claim(w *cybervault.Webhook, limit int) []*cybervault.Assignment {
	f.Helper()
	claimed, err := f.s.Claim(f.Context(), cybervault.Claim{Webhook: w.ID, Limit: limit, Lease: f.lease()})
	f.must(err)
	return claimed
}

// asBirth is a claimed delivery in the form that result takes.
func asBirth(a *cybervault.Assignment) *cybervault.NewDelivery {
	return &cybervault.NewDelivery{ID: a.Delivery, Webhook: a.Webhook, Lease: a.Lease}
}

func (f *fixture) delivery(id cybervault.DeliveryID) *cybervault.Delivery {
	f.Helper()
	d, err := f.s.Delivery(f.Context(), f.ws, id)
	f.must(err)
	return d
}

func (f *fixture) attempts(id cybervault.DeliveryID) []*cybervault.Attempt {
	f.Helper()
	attempts, err := f.s.Attempts(f.Context(), f.ws, id)
	f.must(err)
	return attempts
}

func (f *fixture) deliveries(q cybervault.DeliveryQuery) []*cybervault.Delivery {
	f.Helper()
	q.Workspace = f.ws
	var all []*cybervault.Delivery
	for {
		page, err := f.s.Deliveries(f.Context(), q)
		f.must(err)
		all = append(all, page.Rows...)
		if !page.More {
			return all
		}
		q.Before = page.Rows[len(page.Rows)-1].ID
	}
}

func (f *fixture) events(q cybervault.EventQuery) []*cybervault.Event {
	f.Helper()
	q.Workspace = f.ws
	var all []*cybervault.Event
	for {
		page, err := f.s.Events(f.Context(), q)
		f.must(err)
		all = append(all, page.Rows...)
		if !page.More {
			return all
		}
		q.Before = page.Rows[len(page.Rows)-1].ID
	}
}

// ended is a context that is over already.
func ended() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// strangersWorkspace is an id of a workspace that owns nothing.
func (f *fixture) strangersWorkspace() cybervault.WorkspaceID {
	return cybervault.NewID[cybervault.WorkspaceID](f.ids)
}
