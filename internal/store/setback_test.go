package store_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
)

// What waits for its next attempt waits as long as it was to, whatever the clock
// is set to meanwhile, and a lease that somebody holds stays theirs.
func TestWhatWaitsMovesWithTheClock(t *testing.T) {
	t.Parallel()
	var offset atomic.Int64
	cfg := sqliteConfig(t)
	cfg.Now = func() time.Time { return time.Unix(1_800_000_000, 0).Add(time.Duration(offset.Load())) }
	x := newSource(t, open(t, cfg))
	set := func(by time.Duration) { offset.Add(int64(by)) }
	claim := func(token int64) []*cybervault.Assignment {
		t.Helper()
		found, err := x.s.Claim(t.Context(), cybervault.Claim{Webhook: x.w.ID, Limit: 10, Lease: cybervault.Lease{Token: token, Until: cfg.Now().Add(time.Minute)}})
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	waiting, leased := x.mustPublish(), x.mustPublish() // each is leased by the real clock, for an hour that is over in this one
	late := x.mustPublish()
	if got := claim(1); len(got) != 3 {
		t.Fatalf("claimed %d of three", len(got))
	}
	retry := func(pub *cybervault.Publication) *cybervault.Result {
		return &cybervault.Result{
			Webhook: x.w.ID, Lease: cybervault.Lease{Token: 1}, Status: cybervault.DeliveryPending, NextAttemptAt: cfg.Now().Add(time.Hour),
			Attempt: &cybervault.Attempt{ID: cybervault.NewID[cybervault.AttemptID](x.ids), Delivery: pub.Deliveries[0].ID, Number: 1, StartedAt: cfg.Now()}, DecidedAt: cfg.Now(),
		}
	}
	record := func(r *cybervault.Result) {
		t.Helper()
		done := make(chan error, 1)
		if err := x.s.Record(r, func(err error) { done <- err }); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	record(retry(waiting))
	judged := retry(late) // before the step, and recorded after it
	set(-24 * time.Hour)
	if got := claim(2); len(got) != 0 {
		t.Errorf("claimed %v at once", got)
	}
	record(judged)
	set(2 * time.Minute)
	if got := claim(3); len(got) != 1 || got[0].Delivery != leased.Deliveries[0].ID {
		t.Errorf("claimed %v two minutes later, want the one whose lease has ended", got)
	}
	set(-2 * time.Second) // too little to be taken notice of
	set(time.Hour)
	got := map[cybervault.DeliveryID]bool{}
	for _, a := range claim(4) {
		got[a.Delivery] = true
	}
	if !got[waiting.Deliveries[0].ID] || !got[late.Deliveries[0].ID] {
		t.Errorf("claimed %v an hour later, want both retries among them", got)
	}
}

// A lease that was given after a small step back is not moved by that one too when
// the clock is set back again: it would end too early, and be somebody else's.
func TestASmallStepBackIsNotMadeUpForLater(t *testing.T) {
	t.Parallel()
	var offset atomic.Int64
	cfg := sqliteConfig(t)
	cfg.Now = func() time.Time { return time.Unix(1_800_000_000, 0).Add(time.Duration(offset.Load())) }
	x := newSource(t, open(t, cfg))
	set := func(by time.Duration) { offset.Add(int64(by)) }
	claim := func(token int64) int {
		t.Helper()
		found, err := x.s.Claim(t.Context(), cybervault.Claim{Webhook: x.w.ID, Limit: 10, Lease: cybervault.Lease{Token: token, Until: cfg.Now().Add(time.Minute)}})
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}
	x.mustPublish()       // leased by the real clock, for an hour that is over in this one
	set(-9 * time.Second) // too little to be taken notice of
	if n := claim(1); n != 1 {
		t.Fatalf("claimed %d of one", n)
	}
	set(-20 * time.Second)
	if n := claim(2); n != 0 {
		t.Error("claimed at once")
	}
	set(59 * time.Second)
	if n := claim(3); n != 0 {
		t.Error("claimed a second before the lease ends")
	}
	set(2 * time.Second)
	if n := claim(4); n != 1 {
		t.Error("not claimed a second after the lease has ended")
	}
}
