package store_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/store"
)

// The clock of a node that is a day wrong, either way, neither ends the leases of
// others nor makes leases that last a day.
func TestPostgresGoesByTheDatabasesClock(t *testing.T) {
	t.Parallel()
	cfg := postgresConfig(t)
	right := newSource(t, open(t, cfg))
	for _, skew := range []time.Duration{-24 * time.Hour, 24 * time.Hour} {
		skewed := cfg
		skewed.Now = func() time.Time { return time.Now().Add(skew) }
		wrong := open(t, skewed)
		if ahead := wrong.ClockAhead(); (ahead + skew).Abs() > time.Minute {
			t.Errorf("a clock that is %v wrong is said to be %v behind the database's", skew, ahead)
		}
		for _, nodes := range [][2]*store.Store{{right.s, wrong}, {wrong, right.s}} {
			holder, other := nodes[0], nodes[1]
			right.s = holder
			until := holder.Now().Add(time.Minute)
			pub := right.leasedUntil(until)
			if got := claimFor(t, other, right.w.ID, 5); len(got) != 0 {
				t.Errorf("skew %v: %d deliveries under a live lease were claimed", skew, len(got))
			}
			due, err := other.NextDue(t.Context(), right.w.ID, "")
			if err != nil || due.Sub(other.Now()) > time.Minute || due.Sub(other.Now()) < 30*time.Second {
				t.Errorf("skew %v: the lease of a minute ends in %v, %v", skew, due.Sub(other.Now()), err)
			}
			if err := <-right.record(pub); err != nil {
				t.Error(err)
			}
		}
		pub := right.leasedUntil(wrong.Now().Add(-time.Second))
		if got := claimFor(t, wrong, right.w.ID, 5); len(got) != 1 || got[0].Delivery != pub.Deliveries[0].ID {
			t.Errorf("skew %v: a lease that has ended was not claimed: %v", skew, got)
		}
		if err := wrong.CancelDelivery(t.Context(), right.ws, pub.Deliveries[0].ID, cybervault.ReasonCancelled); err != nil {
			t.Error(err)
		}
	}
}

// A clock that is set while the node runs is noticed with the next sight of the
// database's.
func TestPostgresClockIsSet(t *testing.T) {
	t.Parallel()
	cfg := postgresConfig(t)
	var mu sync.Mutex
	var skew time.Duration
	cfg.Now = func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return time.Now().Round(0).Add(skew) // without the machine's own measure, by which a step goes unnoticed
	}
	s := open(t, cfg)
	mu.Lock()
	skew = 24 * time.Hour
	mu.Unlock()
	until(t, "the node goes by the database's clock again", func() bool { return time.Until(s.Now()).Abs() < time.Hour })
}

// leasedUntil publishes a delivery that is claimed at birth.
func (x *source) leasedUntil(until time.Time) *cybervault.Publication {
	x.Helper()
	run := x.ids.NextRun(2)
	pub := &cybervault.Publication{
		Event: &cybervault.Event{ID: cybervault.EventID{UUID: run[0]}, Workspace: x.ws, Type: cybervault.EventThreatDetected, Timestamp: time.Now(), Body: []byte("{}")},
		Deliveries: []cybervault.NewDelivery{{ID: cybervault.DeliveryID{UUID: run[1]}, Webhook: x.w.ID, Status: cybervault.DeliveryPending,
			Lease: cybervault.Lease{Token: run[1].Key(), Until: until}}},
	}
	if _, errs := x.s.Publish(x.Context(), []*cybervault.Publication{pub}); errs[0] != nil {
		x.Fatal(errs[0])
	}
	return pub
}

func claimFor(t *testing.T, s *store.Store, webhook cybervault.WebhookID, limit int) []*cybervault.Assignment {
	t.Helper()
	got, err := s.Claim(t.Context(), cybervault.Claim{Webhook: webhook, Limit: limit, Lease: cybervault.Lease{Token: 1 << 20, Until: s.Now().Add(time.Minute)}})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// Three nodes that claim at once never get the same delivery, and none of them
// nothing.
func TestPostgresNodesShareABacklog(t *testing.T) {
	t.Parallel()
	cfg := postgresConfig(t)
	x := newSource(t, open(t, cfg))
	const all, batch = 3000, 50
	pubs := make([]*cybervault.Publication, all)
	for i := range pubs {
		run := x.ids.NextRun(2)
		pubs[i] = &cybervault.Publication{
			Event:      &cybervault.Event{ID: cybervault.EventID{UUID: run[0]}, Workspace: x.ws, Type: cybervault.EventThreatDetected, Timestamp: time.Now(), Body: []byte("{}")},
			Deliveries: []cybervault.NewDelivery{{ID: cybervault.DeliveryID{UUID: run[1]}, Webhook: x.w.ID, Status: cybervault.DeliveryPending}},
		}
	}
	for _, err := range second(x.s.Publish(t.Context(), pubs)) {
		if err != nil {
			t.Fatal(err)
		}
	}
	nodes := []*store.Store{x.s, open(t, cfg), open(t, cfg)}
	var mu sync.Mutex
	claimed, left := map[cybervault.DeliveryID]int{}, all
	shares := make([]int, len(nodes))
	var wg sync.WaitGroup
	for n, s := range nodes {
		ids := cybervault.NewIDSource(s.Node(), 0, time.Now)
		wg.Go(func() {
			for {
				got, err := s.Claim(t.Context(), cybervault.Claim{Webhook: x.w.ID, Limit: batch, Lease: cybervault.Lease{Token: ids.Next().Key(), Until: s.Now().Add(time.Hour)}})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for _, a := range got {
					claimed[a.Delivery]++
				}
				shares[n] += len(got)
				left -= len(got)
				over := left <= 0
				mu.Unlock()
				if over {
					return
				}
			}
		})
	}
	wg.Wait()
	for id, n := range claimed {
		if n != 1 {
			t.Errorf("%s was claimed %d times", id, n)
		}
	}
	if len(claimed) != all {
		t.Errorf("%d were claimed, want %d", len(claimed), all)
	}
	for n, share := range shares {
		if share < batch {
			t.Errorf("node %d got %d of %d: %v", n, share, all, shares)
		}
	}
}

func second[A, B any](_ A, b B) B { return b }

// A claim of a line takes nothing past a delivery that another transaction is at,
// and does not wait for it.
func TestPostgresAClaimOfALineWaitsForNobody(t *testing.T) {
	t.Parallel()
	cfg := postgresConfig(t)
	x := newSource(t, open(t, cfg))
	changed := *x.w
	changed.Ordered = true
	if err := x.s.SaveWebhook(t.Context(), &changed); err != nil {
		t.Fatal(err)
	}
	var line []int64
	for range 3 {
		pub := x.leasedUntil(x.s.Now().Add(-time.Second))
		line = append(line, pub.Deliveries[0].ID.Key())
	}
	if n, err := x.s.MarkOrdered(t.Context(), x.w.ID); n != 3 || err != nil {
		t.Fatalf("marked %d, %v", n, err)
	}
	at := func(key int64, claim func()) {
		t.Helper()
		conn, err := pgx.Connect(t.Context(), cfg.DatabaseURL)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
		tx, err := conn.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(t.Context(), "SELECT 1 FROM deliveries WHERE id = $1 FOR UPDATE", key); err != nil {
			t.Fatal(err)
		}
		claim()
		if err := tx.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	claim := func(want int) {
		t.Helper()
		got, next, err := x.s.ClaimOrdered(t.Context(), x.w.ID, 10, cybervault.Lease{Token: x.ids.Next().Key(), Until: x.s.Now().Add(time.Minute)})
		if err != nil || len(got) != want || next.IsZero() != (want > 0) || next.Sub(x.s.Now()) > time.Second {
			t.Errorf("claimed %d, next in %v, %v; want %d", len(got), next.Sub(x.s.Now()), err, want)
		}
		for i, a := range got {
			if a.Sequence != int64(i+1) {
				t.Errorf("claimed %d as number %d", a.Sequence, i+1)
			}
		}
		if err := x.s.Release(t.Context(), got); err != nil {
			t.Error(err)
		}
	}
	at(line[0], func() { claim(0) })
	at(line[1], func() { claim(1) })
	claim(3)
}

// What stands in a line stays where it is for a while after the lease was taken
// from a node, which may be cut off and at it.
func TestPostgresALineIsLeftAloneAfterItsNode(t *testing.T) {
	t.Parallel()
	cfg := postgresConfig(t)
	s := open(t, cfg)
	x := newSource(t, s)
	second := open(t, cfg)
	x.ids = cybervault.NewIDSource(second.Node(), 0, time.Now)
	x.leasedUntil(s.Now().Add(time.Minute))
	if _, err := s.MarkOrdered(t.Context(), x.w.ID); err != nil {
		t.Fatal(err)
	}
	x.leasedUntil(s.Now().Add(time.Minute))
	_ = second.Close()
	began := s.Now()
	open(t, cfg)
	if got := claimFor(t, s, x.w.ID, 5); len(got) != 1 || got[0].Sequence != 2 {
		t.Errorf("claimed %d of the lost node's, want the one that stands in no line", len(got))
	}
	_, next, err := s.ClaimOrdered(t.Context(), x.w.ID, 5, cybervault.Lease{Token: 1, Until: s.Now().Add(time.Minute)})
	if wait := next.Sub(began); err != nil || wait < cybervault.LineGrace || wait > cybervault.LineGrace+20*time.Second {
		t.Errorf("the line goes on after %v, %v; want %v", wait, err, cybervault.LineGrace)
	}
}
