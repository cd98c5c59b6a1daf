package deliver_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/deliver"
	"github.com/cybervault/cybervault/internal/store"
	"github.com/cybervault/cybervault/test/testenv"
)

// cluster is several nodes on one PostgreSQL, each with a store and a dispatcher
// of its own. They hear of each other through the database only.
type cluster struct {
	t     *testing.T
	cfg   store.Config
	hooks *settings
	ws    cybervault.WorkspaceID
	nodes []*member
}

type member struct {
	s   *store.Store
	d   *deliver.Dispatcher
	ids *cybervault.IDSource
}

func newCluster(t *testing.T, nodes int, change func(node int, c *deliver.Config)) *cluster {
	t.Helper()
	c := &cluster{
		t: t, hooks: &settings{byID: map[cybervault.WebhookID]*cybervault.Webhook{}},
		cfg: store.Config{DatabaseURL: testenv.Postgres(t), Key: make([]byte, store.KeySize)},
	}
	for n := range nodes {
		s := c.open()
		m := &member{s: s, ids: cybervault.NewIDSource(uint8(n), 0, s.Now)}
		if n == 0 {
			var err error
			if c.ws, err = s.Workspace(t.Context(), cybervault.NewID[cybervault.WorkspaceID](m.ids), "first"); err != nil {
				t.Fatal(err)
			}
		}
		config := deliver.Config{
			Queue: s, Webhooks: c.hooks, IDs: m.ids, HealthStore: s, Shared: s.Shared(),
			RetrySchedule: []time.Duration{20 * time.Millisecond, 20 * time.Millisecond, 20 * time.Millisecond, 20 * time.Millisecond, 20 * time.Millisecond, 20 * time.Millisecond, 20 * time.Millisecond, 20 * time.Millisecond},
			UserAgent:     "CyberVault-Webhooks/test", Now: s.Now, Logger: slog.New(slog.DiscardHandler),
		}
		change(n, &config)
		m.d = deliver.New(config)
		if err := m.d.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			m.d.Stop(context.Background())
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		c.nodes = append(c.nodes, m)
	}
	return c
}

func (c *cluster) open() *store.Store {
	c.t.Helper()
	s, err := store.Open(c.t.Context(), c.cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	return s
}

// webhook makes a webhook that all nodes know.
func (c *cluster) webhook(change func(*cybervault.Webhook)) *cybervault.Webhook {
	c.t.Helper()
	m := c.nodes[0]
	now := m.s.Now()
	w := &cybervault.Webhook{
		ID: cybervault.NewID[cybervault.WebhookID](m.ids), Workspace: c.ws, Events: []string{"*"}, Status: cybervault.WebhookEnabled,
		Accept: cybervault.AcceptDefault, Secrets: []cybervault.Secret{cybervault.NewSecret(now)}, CreatedAt: now, UpdatedAt: now,
	}
	w.URL = "https://receiver.example/" + w.ID.String()
	change(w)
	if err := m.s.SaveWebhook(c.t.Context(), w); err != nil {
		c.t.Fatal(err)
	}
	c.hooks.mu.Lock()
	defer c.hooks.mu.Unlock()
	c.hooks.byID[w.ID] = w
	return w
}

// publish commits an event with a delivery to each webhook on a node, which alone
// hears of it, and claims at birth what its dispatcher admits.
func (m *member) publish(t *testing.T, ws cybervault.WorkspaceID, hooks ...*cybervault.Webhook) {
	t.Helper()
	run := m.ids.NextRun(1 + len(hooks))
	id := cybervault.EventID{UUID: run[0]}
	pub := &cybervault.Publication{Event: &cybervault.Event{
		ID: id, Workspace: ws, Type: cybervault.EventThreatDetected, Timestamp: m.s.Now(), IdempotencyKey: cybervault.GeneratedKeyPrefix + id.UUID.String(),
		Body: fmt.Appendf(nil, `{"id":%q}`, id),
	}}
	lease := m.d.NewLease()
	for i, w := range hooks {
		d := cybervault.NewDelivery{ID: cybervault.DeliveryID{UUID: run[1+i]}, Webhook: w.ID, Status: cybervault.DeliveryPending, Ordered: w.Ordered}
		if m.d.Admit(w.ID, len(pub.Event.Body), cybervault.SeverityInfo, false) {
			d.Lease = lease
		}
		pub.Deliveries = append(pub.Deliveries, d)
	}
	_, errs := m.s.Publish(t.Context(), []*cybervault.Publication{pub})
	if errs[0] != nil {
		t.Error(errs[0])
		return
	}
	for _, d := range pub.Deliveries {
		if d.Lease.Token == 0 {
			m.d.Wake(d.Webhook, "")
			continue
		}
		m.d.Dispatch([]*cybervault.Assignment{{
			Delivery: d.ID, Webhook: d.Webhook, Event: id, EventType: pub.Event.Type, Sequence: d.Sequence, Attempt: 1, Body: pub.Event.Body, Lease: d.Lease,
		}})
	}
}

// until waits for a condition, with patience for a machine under load.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("still not: %s", what)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// lineReceiver takes deliveries of ordered webhooks and complains when one comes
// out of line: before the one in front has been taken, behind a later one, or
// while another is under way.
type lineReceiver struct {
	mu        sync.Mutex
	lines     map[string]*lineSeen
	total     int
	repeated  int
	complaint []string
}

type lineSeen struct {
	begun, taken int64
	running      map[int64]int
}

// alone reports whether no other delivery of the line is under way.
func (l *lineSeen) alone(sequence int64) bool {
	for other, n := range l.running {
		if other != sequence && n > 0 {
			return false
		}
	}
	return true
}

func (r *lineReceiver) Do(_ context.Context, req *deliver.Request) (cybervault.Exchange, error) {
	var sequence int64
	for _, h := range req.Header {
		if h.Name == "X-CyberVault-Sequence" {
			sequence, _ = strconv.ParseInt(h.Value, 10, 64)
		}
	}
	r.mu.Lock()
	l := r.lines[req.URL]
	if l == nil {
		l = &lineSeen{running: map[int64]int{}}
		r.lines[req.URL] = l
	}
	switch {
	case sequence > l.taken+1, sequence < l.begun:
		r.complaint = append(r.complaint, fmt.Sprintf("%d began after %d had, with %d taken", sequence, l.begun, l.taken))
	case !l.alone(sequence):
		r.complaint = append(r.complaint, fmt.Sprintf("%d began beside another", sequence))
	case sequence == l.taken:
		r.repeated++
	}
	l.begun = max(l.begun, sequence)
	l.running[sequence]++
	r.mu.Unlock()
	took := time.Duration(rand.IntN(2000)) * time.Microsecond
	if rand.IntN(40) == 0 {
		took *= 200
	}
	pass(took)
	r.mu.Lock()
	defer r.mu.Unlock()
	l.running[sequence]--
	if rand.IntN(20) == 0 {
		return cybervault.Exchange{Status: 500}, nil
	}
	if sequence == l.taken+1 {
		r.total++
	}
	l.taken = max(l.taken, sequence)
	return cybervault.Exchange{Status: 200}, nil
}

// Two nodes publish to the same ordered webhooks and deliver them. Receivers fail
// now and then, and one node's leases are taken from it, as from one that is lost,
// while it goes on. Whatever comes, each line is in order.
func TestPostgresLinesHoldBetweenNodes(t *testing.T) {
	t.Parallel()
	r := &lineReceiver{lines: map[string]*lineSeen{}}
	const lost = 2 // a number that no store of the cluster has: whoever opens another one takes its leases
	c := newCluster(t, 2, func(node int, cfg *deliver.Config) {
		cfg.Sender = r
		if node == 1 {
			cfg.IDs = cybervault.NewIDSource(lost, 0, cfg.Now)
		}
	})
	var hooks []*cybervault.Webhook
	for i := range 8 {
		hooks = append(hooks, c.webhook(func(w *cybervault.Webhook) {
			w.Ordered = true
			if i < 2 {
				w.RateLimit = 50
			}
		}))
	}
	each := 160 * testenv.Torture()
	var publishing sync.WaitGroup
	for _, m := range c.nodes {
		publishing.Go(func() {
			for i := range each {
				m.publish(t, c.ws, hooks...)
				if i%50 == 0 {
					<-time.After(50 * time.Millisecond)
				}
			}
		})
	}
	want := 2 * each * len(hooks)
	for _, share := range []int{4, 2} {
		until(t, "a part is delivered", func() bool { return r.taken() >= want/share/2 })
		if err := c.open().Close(); err != nil { // which is told the lost number, and frees its leases
			t.Error(err)
		}
	}
	publishing.Wait()
	until(t, "all is delivered", func() bool { return r.taken() == want })
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.complaint {
		t.Error(s)
	}
	t.Logf("%d delivered in order, %d of them more than once", r.total, r.repeated)
}

func (r *lineReceiver) taken() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.total
}
