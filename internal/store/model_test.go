package store_test

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/store"
)

// model is what the store should hold, kept in plain maps.
type model struct {
	cfg   store.Config
	s     *store.Store
	now   time.Time
	ids   *cybervault.IDSource
	ws    cybervault.WorkspaceID
	hooks []cybervault.WebhookID
	token int64

	events     map[cybervault.EventID]*cybervault.Event
	keys       map[string]cybervault.EventID
	deliveries map[cybervault.DeliveryID]*modelDelivery
	sequences  map[cybervault.WebhookID]int64
	leases     []*cybervault.Assignment // ever given out, most of them stale by now
}

type modelDelivery struct {
	webhook  cybervault.WebhookID
	sequence int64
	status   cybervault.DeliveryStatus
	attempts int
	severity cybervault.Severity
	token    int64
	due      time.Time
}

func newModel(t *rapid.T, path string) *model {
	m := &model{
		now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), events: map[cybervault.EventID]*cybervault.Event{}, keys: map[string]cybervault.EventID{},
		deliveries: map[cybervault.DeliveryID]*modelDelivery{}, sequences: map[cybervault.WebhookID]int64{},
	}
	m.cfg = store.Config{Path: path, Key: make([]byte, store.KeySize), Now: func() time.Time { return m.now }}
	m.open(t)
	m.ids = cybervault.NewIDSource(1, 0, m.cfg.Now)
	var err error
	if m.ws, err = m.s.Workspace(t.Context(), cybervault.NewID[cybervault.WorkspaceID](m.ids), "first"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		w := &cybervault.Webhook{ID: cybervault.NewID[cybervault.WebhookID](m.ids), Workspace: m.ws, Verification: true}
		if err := m.s.SaveWebhook(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		m.hooks = append(m.hooks, w.ID)
	}
	return m
}

func (m *model) open(t *rapid.T) {
	var err error
	if m.s, err = store.Open(t.Context(), m.cfg); err != nil {
		t.Fatal(err)
	}
}

func (m *model) lease() cybervault.Lease {
	m.token++
	return cybervault.Lease{Token: m.token, Until: m.now.Add(30 * time.Second)}
}

func (m *model) hook(t *rapid.T) cybervault.WebhookID {
	return rapid.SampledFrom(m.hooks).Draw(t, "webhook")
}

// Publish publishes a batch, some of it with keys that are taken.
func (m *model) Publish(t *rapid.T) {
	var pubs []*cybervault.Publication
	for range rapid.IntRange(1, 4).Draw(t, "events") {
		n := rapid.IntRange(0, 3).Draw(t, "deliveries")
		run := m.ids.NextRun(1 + n)
		pub := &cybervault.Publication{Event: &cybervault.Event{ID: cybervault.EventID{UUID: run[0]}, Workspace: m.ws, Type: "a.b", Timestamp: m.now}}
		pub.Event.Body = fmt.Appendf(nil, `{"id":%q}`, pub.Event.ID)
		if key := rapid.SampledFrom([]string{"", "", "k1", "k2", "k3"}).Draw(t, "key"); key != "" {
			pub.Event.IdempotencyKey, pub.Event.PublisherKey = key, true
		}
		for i := range n {
			d := cybervault.NewDelivery{ID: cybervault.DeliveryID{UUID: run[1+i]}, Webhook: m.hook(t)}
			d.Severity = rapid.SampledFrom(cybervault.Severities()).Draw(t, "severity")
			d.Status = rapid.SampledFrom([]cybervault.DeliveryStatus{cybervault.DeliveryPending, cybervault.DeliveryPending, cybervault.DeliveryHeld, cybervault.DeliverySkipped}).Draw(t, "status")
			if d.Status == cybervault.DeliveryPending && rapid.Bool().Draw(t, "leased") {
				d.Lease = m.lease()
			}
			pub.Deliveries = append(pub.Deliveries, d)
		}
		pubs = append(pubs, pub)
	}
	outcomes, errs := m.s.Publish(t.Context(), pubs)
	for i, pub := range pubs {
		if errs[i] != nil {
			t.Fatal(errs[i])
		}
		if holder, taken := m.keys[pub.Event.IdempotencyKey]; pub.Event.PublisherKey && taken {
			if outcomes[i].Existing == nil || outcomes[i].Existing.ID != holder {
				t.Fatalf("key %q: existing %v, want %s", pub.Event.IdempotencyKey, outcomes[i].Existing, holder)
			}
			continue
		}
		if outcomes[i].Existing != nil {
			t.Fatalf("a fresh event was taken for %s", outcomes[i].Existing.ID)
		}
		m.added(t, pub)
	}
}

func (m *model) added(t *rapid.T, pub *cybervault.Publication) {
	m.events[pub.Event.ID] = pub.Event
	if pub.Event.PublisherKey {
		m.keys[pub.Event.IdempotencyKey] = pub.Event.ID
	}
	for _, d := range pub.Deliveries {
		x := &modelDelivery{webhook: d.Webhook, status: d.Status, severity: d.Severity, token: d.Lease.Token, due: m.now}
		if d.Status != cybervault.DeliverySkipped {
			m.sequences[d.Webhook]++
			x.sequence = m.sequences[d.Webhook]
		}
		if x.token != 0 {
			x.due = d.Lease.Until
			m.leases = append(m.leases, &cybervault.Assignment{Delivery: d.ID, Webhook: d.Webhook, Attempt: 1, Lease: d.Lease})
		}
		if d.Sequence != x.sequence {
			t.Fatalf("sequence %d handed back, want %d", d.Sequence, x.sequence)
		}
		m.deliveries[d.ID] = x
	}
}

// Claim claims some of what is due: the most severe, but for the places kept for
// the severity that has waited longest.
func (m *model) Claim(t *rapid.T) {
	c := cybervault.Claim{Webhook: m.hook(t), Limit: rapid.IntRange(1, 6).Draw(t, "limit"), Lease: m.lease()}
	c.Patient = rapid.IntRange(0, 2).Draw(t, "patient")
	c.Least = rapid.SampledFrom([]cybervault.Severity{"", "", cybervault.SeverityHigh}).Draw(t, "least")
	want := m.expected(c)
	claimed, err := m.s.Claim(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if len(claimed) != len(want) {
		t.Fatalf("claimed %d, want %d", len(claimed), len(want))
	}
	for i, a := range claimed {
		d := m.deliveries[a.Delivery]
		if d != want[i] || a.Attempt != d.attempts+1 || a.Sequence != d.sequence || a.Severity != d.severity {
			t.Fatalf("claimed %+v in place %d, which is %+v; want %+v", a, i, d, want[i])
		}
		d.token, d.due = c.Lease.Token, c.Lease.Until
		m.leases = append(m.leases, a)
	}
}

// expected is what a claim has to find, in its order.
func (m *model) expected(c cybervault.Claim) (want []*modelDelivery) {
	parts := map[int][]cybervault.DeliveryID{}
	longest, since := -1, time.Time{}
	for id, d := range m.deliveries {
		if rank := d.severity.Rank(); d.webhook == c.Webhook && d.status == cybervault.DeliveryPending && !d.due.After(m.now) && rank >= c.Least.Rank() {
			parts[rank] = append(parts[rank], id)
			if longest < 0 || d.due.Before(since) || d.due.Equal(since) && rank > longest {
				longest, since = rank, d.due
			}
		}
	}
	room := max(c.Limit-c.Patient, 0)
	for _, severity := range slices.Backward(cybervault.Severities()) {
		rank := severity.Rank()
		if rank == longest {
			room = c.Limit
		}
		part := parts[rank]
		slices.SortFunc(part, func(a, b cybervault.DeliveryID) int {
			return cmp.Or(m.deliveries[a].due.Compare(m.deliveries[b].due), cmp.Compare(a.Key(), b.Key()))
		})
		for _, id := range part[:max(min(len(part), room-len(want)), 0)] {
			want = append(want, m.deliveries[id])
		}
	}
	return want
}

// Record hands in a result, as likely as not under a lease that was lost.
func (m *model) Record(t *rapid.T) {
	if len(m.leases) == 0 {
		t.Skip("nothing was ever leased")
	}
	a := rapid.SampledFrom(m.leases).Draw(t, "lease")
	status := rapid.SampledFrom([]cybervault.DeliveryStatus{cybervault.DeliveryPending, cybervault.DeliveryDelivered, cybervault.DeliveryDeadLetter}).Draw(t, "becomes")
	retry := m.now.Add(time.Duration(rapid.IntRange(0, 60).Draw(t, "delay")) * time.Second)
	done := make(chan error, 1)
	err := m.s.Record(&cybervault.Result{
		Webhook: a.Webhook, Lease: a.Lease, Status: status, NextAttemptAt: retry,
		Attempt: &cybervault.Attempt{ID: cybervault.NewID[cybervault.AttemptID](m.ids), Delivery: a.Delivery, Number: a.Attempt, StartedAt: m.now},
	}, func(err error) { done <- err })
	if err != nil {
		t.Fatal(err)
	}
	err = <-done
	d := m.deliveries[a.Delivery]
	if d.status != cybervault.DeliveryPending || d.token != a.Lease.Token {
		if cybervault.ErrorCode(err) != cybervault.CodeConflict {
			t.Fatalf("a stale result for %+v was answered %v", d, err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	d.status, d.token, d.attempts, d.due = status, 0, a.Attempt, retry
}

// Release gives a few leases back, lost ones among them.
func (m *model) Release(t *rapid.T) {
	if len(m.leases) == 0 {
		t.Skip("nothing was ever leased")
	}
	some := rapid.SliceOfN(rapid.SampledFrom(m.leases), 1, 3).Draw(t, "leases")
	if err := m.s.Release(t.Context(), some); err != nil {
		t.Fatal(err)
	}
	for _, a := range some {
		if d := m.deliveries[a.Delivery]; d.status == cybervault.DeliveryPending && d.token == a.Lease.Token {
			d.token, d.due = 0, m.now
		}
	}
}

// Cancel ends one delivery, or all of a webhook.
func (m *model) Cancel(t *rapid.T) {
	if rapid.IntRange(0, 9).Draw(t, "all") == 0 {
		hook := m.hook(t)
		want := int64(0)
		for _, d := range m.deliveries {
			if d.webhook == hook && !d.status.Ended() {
				want++
				d.status, d.token = cybervault.DeliveryCancelled, 0
			}
		}
		if got, err := m.s.CancelDeliveries(t.Context(), hook, cybervault.ReasonWebhookDeleted); err != nil || got != want {
			t.Fatalf("cancelled %d, %v; want %d", got, err, want)
		}
		return
	}
	if len(m.deliveries) == 0 {
		t.Skip("there is no delivery")
	}
	var all []cybervault.DeliveryID
	for id := range m.deliveries {
		all = append(all, id)
	}
	slices.SortFunc(all, func(a, b cybervault.DeliveryID) int { return int(a.Key() - b.Key()) })
	id := rapid.SampledFrom(all).Draw(t, "delivery")
	err := m.s.CancelDelivery(t.Context(), m.ws, id, cybervault.ReasonCancelled)
	d := m.deliveries[id]
	if d.status.Ended() {
		if cybervault.ErrorCode(err) != cybervault.CodeConflict {
			t.Fatalf("cancelling %+v: %v", d, err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	d.status, d.token = cybervault.DeliveryCancelled, 0
}

// Free frees what is held.
func (m *model) Free(t *rapid.T) {
	hook := m.hook(t)
	want := int64(0)
	for _, d := range m.deliveries {
		if d.webhook == hook && d.status == cybervault.DeliveryHeld {
			want++
			d.status = cybervault.DeliveryPending
		}
	}
	if got, err := m.s.FreeHeld(t.Context(), hook); err != nil || got != want {
		t.Fatalf("freed %d, %v; want %d", got, err, want)
	}
}

// Crash goes on with the files as a killed process leaves them: without its leases.
func (m *model) Crash(t *rapid.T) {
	if rapid.IntRange(0, 4).Draw(t, "rarely") != 0 {
		t.Skip("opening takes longer than everything else")
	}
	dead, alive := m.cfg.Path, m.cfg.Path+"+"
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(dead + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(alive+suffix, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.s.Close(); err != nil {
		t.Fatal(err)
	}
	m.cfg.Path = alive
	m.open(t)
	for _, d := range m.deliveries {
		if d.token != 0 {
			d.token, d.due = 0, m.now
		}
	}
}

// Wait moves the clock.
func (m *model) Wait(t *rapid.T) {
	m.now = m.now.Add(time.Duration(rapid.IntRange(1, 40).Draw(t, "seconds")) * time.Second)
}

// Check compares everything stored with the model.
func (m *model) Check(t *rapid.T) {
	events := map[cybervault.EventID]bool{}
	for q := (cybervault.EventQuery{Workspace: m.ws, Limit: cybervault.MaxPageSize}); ; {
		page, err := m.s.Events(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Rows {
			if m.events[e.ID] == nil || events[e.ID] {
				t.Fatalf("event %s was never acknowledged, or stands twice", e.ID)
			}
			events[e.ID] = true
		}
		if !page.More {
			break
		}
		q.Before = page.Rows[len(page.Rows)-1].ID
	}
	if len(events) != len(m.events) {
		t.Fatalf("%d events are stored, %d were acknowledged", len(events), len(m.events))
	}
	seen := 0
	for q := (cybervault.DeliveryQuery{Workspace: m.ws, Limit: cybervault.MaxPageSize}); ; {
		page, err := m.s.Deliveries(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range page.Rows {
			m.compare(t, d)
		}
		seen += len(page.Rows)
		if !page.More {
			break
		}
		q.Before = page.Rows[len(page.Rows)-1].ID
	}
	if seen != len(m.deliveries) {
		t.Fatalf("%d deliveries are stored, %d were acknowledged", seen, len(m.deliveries))
	}
}

func (m *model) compare(t *rapid.T, got *cybervault.Delivery) {
	want := m.deliveries[got.ID]
	if want == nil || got.Status != want.status || got.Sequence != want.sequence || got.Attempts != want.attempts || got.Running != (want.token != 0) ||
		got.Status == cybervault.DeliveryPending && !got.Running && !got.NextAttemptAt.Equal(want.due) {
		t.Fatalf("delivery %+v, want %+v", got, want)
	}
}

// CheckAttempts compares the attempts, once all is done.
func (m *model) CheckAttempts(t *rapid.T) {
	for id, want := range m.deliveries {
		attempts, err := m.s.Attempts(t.Context(), m.ws, id)
		if err != nil || len(attempts) != want.attempts {
			t.Fatalf("%d attempts are stored, %v; want %d", len(attempts), err, want.attempts)
		}
	}
}

// TestModel does random things to a store and to a model of it.
func TestModel(t *testing.T) {
	t.Parallel()
	// Each run begins with a copy of an empty database.
	dir, runs := t.TempDir(), 0
	empty := store.Config{Path: filepath.Join(dir, "empty.db"), Key: make([]byte, store.KeySize)}
	if err := open(t, empty).Close(); err != nil {
		t.Fatal(err)
	}
	template, err := os.ReadFile(empty.Path)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		runs++
		path := filepath.Join(dir, strconv.Itoa(runs)+".db")
		if err := os.WriteFile(path, template, 0o600); err != nil {
			t.Fatal(err)
		}
		m := newModel(t, path)
		defer func() { _ = m.s.Close() }()
		t.Repeat(map[string]func(*rapid.T){
			"publish": m.Publish, "claim": m.Claim, "record": m.Record, "release": m.Release, "cancel": m.Cancel,
			"free": m.Free, "crash": m.Crash, "wait": m.Wait, "": m.Check,
		})
		m.CheckAttempts(t)
	})
}
