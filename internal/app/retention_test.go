package app

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cybervault/cybervault"
)

// steps is a store that has three steps' worth of old events at the first look
// and nothing afterwards; its second call fails.
type steps struct {
	mu       sync.Mutex // the test looks while the sweeper goes on
	calls    int
	times    []time.Time
	from     []cybervault.SweepPosition
	expiries []cybervault.Expiry
	prunes   []time.Time
	spans    []string

	rotations []cybervault.Expiry
	rotate    func(n int) (cybervault.Swept, error) // nil: nothing
}

func (s *steps) Rotate(_ context.Context, expiry cybervault.Expiry) (cybervault.Swept, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rotations = append(s.rotations, expiry)
	if s.rotate == nil {
		return cybervault.Swept{}, nil
	}
	return s.rotate(len(s.rotations))
}

func (s *steps) PruneChanges(_ context.Context, before time.Time) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.prunes = append(s.prunes, before)
	return len(s.prunes) < 3, nil
}

func (s *steps) PruneSpans(_ context.Context, after string) (string, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spans = append(s.spans, after)
	return after + "x", len(s.spans) < 3, nil
}

func (s *steps) Sweep(_ context.Context, expiry cybervault.Expiry, from cybervault.SweepPosition) (cybervault.Swept, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	s.times, s.from, s.expiries = append(s.times, time.Now()), append(s.from, from), append(s.expiries, expiry)
	if s.calls == 2 {
		return cybervault.Swept{}, errors.New("the disk is full")
	}
	return cybervault.Swept{Events: 1, Deliveries: 2, Attempts: 3, Done: s.calls > 3, Position: cybervault.SweepPosition{After: int64(s.calls)}}, nil
}

func (s *steps) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

func TestRetentionSweeps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &steps{}
		var removed [3]int64 // written by the sweeper, read while it rests
		r := &retention{store: store, keep: 30 * 24 * time.Hour, keepDead: 90 * 24 * time.Hour, mine: func() bool { return true }, now: time.Now, log: slog.New(slog.DiscardHandler),
			removed: func(e, d, a int64) { removed[0] += e; removed[1] += d; removed[2] += a }}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		began := time.Now()
		go func() { defer close(ended); r.run(ctx) }()
		synctest.Wait()
		if n := store.count(); n != 1 {
			t.Fatalf("%d steps without a rest", n)
		}
		<-time.After(sweepEvery + time.Second)
		synctest.Wait()
		store.mu.Lock()
		if store.calls != 4 || store.from[2] != (cybervault.SweepPosition{After: 1}) || store.from[3] != (cybervault.SweepPosition{After: 3}) {
			t.Fatalf("%d steps, from %v", store.calls, store.from)
		}
		if store.times[2].Sub(store.times[1]) < sweepEvery || store.times[3].Sub(store.times[2]) < minRest {
			t.Errorf("steps at %v", store.times)
		}
		if removed != [3]int64{3, 6, 9} {
			t.Errorf("counted %v", removed)
		}
		if e := store.expiries[0]; !e.Before.Equal(began.Add(-r.keep)) || !e.DeadLettersBefore.Equal(began.Add(-r.keepDead)) {
			t.Errorf("expiry %+v", e)
		}
		store.mu.Unlock()
		<-time.After(fullSweepEvery + sweepEvery)
		cancel()
		<-ended
		fulls := 0
		for _, from := range store.from {
			if from == (cybervault.SweepPosition{}) {
				fulls++
			}
		}
		if fulls != 2 {
			t.Errorf("%d sweeps began at the beginning, want 2", fulls)
		}
	})
}

func TestRetentionKeepsForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &steps{}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		began := time.Now()
		go func() {
			defer close(ended)
			(&retention{store: store, mine: func() bool { return true }, now: time.Now, log: slog.New(slog.DiscardHandler)}).run(ctx)
		}()
		<-time.After(time.Minute)
		cancel()
		<-ended
		if store.calls != 0 {
			t.Error("swept, though everything is to be kept")
		}
		if len(store.rotations) != 1 || store.rotations[0] != (cybervault.Expiry{}) {
			t.Errorf("rotated with %+v, though everything is to be kept", store.rotations)
		}
		// But for the change log, which is there to be followed.
		if len(store.prunes) != 3 || !store.prunes[0].Equal(began.Add(-changesKept)) {
			t.Errorf("the change log was pruned before %v", store.prunes)
		}
	})
	store := &steps{}
	r := &retention{store: store, keep: time.Hour, mine: func() bool { return true }, now: time.Now, removed: func(int64, int64, int64) {}, log: slog.New(slog.DiscardHandler)}
	if _, err := r.sweep(t.Context(), cybervault.SweepPosition{}); store.calls != 2 || err == nil {
		t.Fatalf("%d steps, %v", store.calls, err)
	}
	if !store.expiries[0].DeadLettersBefore.IsZero() {
		t.Errorf("dead letters before %v go, though they are to be kept", store.expiries[0].DeadLettersBefore)
	}
}

// Whole partitions go first; while they do not, no row of them is removed.
func TestRetentionRotates(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &steps{rotate: func(n int) (cybervault.Swept, error) {
			if n == 1 {
				return cybervault.Swept{Events: 1000}, errors.New("a table is locked")
			}
			return cybervault.Swept{Events: 100, Deliveries: 10, Attempts: 20}, nil
		}}
		var events atomic.Int64
		r := &retention{store: store, keep: time.Hour, mine: func() bool { return true }, now: time.Now, removed: func(e, _, _ int64) { events.Add(e) }, log: slog.New(slog.DiscardHandler)}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		began := time.Now()
		go func() { defer close(ended); r.run(ctx) }()
		synctest.Wait()
		if n := store.count(); n != 0 || events.Load() != 1000 {
			t.Errorf("%d steps of a sweep after a rotation that failed, %d events counted", n, events.Load())
		}
		<-time.After(sweepEvery + time.Second)
		synctest.Wait()
		cancel()
		<-ended
		if len(store.rotations) != 2 || !store.rotations[0].Before.Equal(began.Add(-time.Hour)) {
			t.Errorf("rotated with %+v", store.rotations)
		}
		if store.calls == 0 || events.Load() != 1101 {
			t.Errorf("%d steps, %d events counted", store.calls, events.Load())
		}
	})
}
