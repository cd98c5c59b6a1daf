package router_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cybervault/cybervault"
)

// replays keeps one replay in memory, of as many deliveries as are left.
type replays struct {
	mu      sync.Mutex
	running *cybervault.Replay // nil: none
	left    int64
	others  int // that run as well
	steps   []time.Time
	status  cybervault.DeliveryStatus // of the last new delivery
	fail    error                     // of every step
}

func (s *replays) SaveReplay(_ context.Context, r *cybervault.Replay) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := *r
	s.running = &kept
	return nil
}

func (s *replays) Replay(context.Context, cybervault.WorkspaceID, cybervault.ReplayID) (*cybervault.Replay, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	shown := *s.running
	return &shown, nil
}

func (s *replays) Replays(context.Context, cybervault.WorkspaceID, cybervault.ReplayID, int) (cybervault.Page[*cybervault.Replay], error) {
	return cybervault.Page[*cybervault.Replay]{}, nil
}

func (s *replays) RunningReplays(context.Context) ([]*cybervault.Replay, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.others > 0 {
		return make([]*cybervault.Replay, s.others), nil
	}
	if s.running == nil || s.running.Status != cybervault.ReplayRunning {
		return nil, nil
	}
	shown := *s.running
	return []*cybervault.Replay{&shown}, nil
}

func (s *replays) EndReplay(context.Context, cybervault.WorkspaceID, cybervault.ReplayID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running.Status = cybervault.ReplayCancelled
	return nil
}

func (s *replays) MatchReplay(context.Context, *cybervault.Replay) (int64, []*cybervault.Delivery, error) {
	return s.left, nil, nil
}

func (s *replays) StepReplay(_ context.Context, r *cybervault.Replay, limit int, due time.Time, birth func() cybervault.NewDelivery) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.steps = append(s.steps, time.Now())
	if s.fail != nil {
		return s.fail
	}
	for ; limit > 0 && s.left > 0; limit-- {
		s.left--
		r.Created++
		s.status = birth().Status
	}
	r.DueAt = due
	if s.left == 0 {
		r.Status = cybervault.ReplayDone
	}
	kept := *r
	s.running = &kept
	return nil
}

func (s *replays) created() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running.Created
}

func newReplays(t *testing.T, left int64) (*desk, *replays) {
	t.Helper()
	s := &replays{left: left}
	k := &desk{t: t, replays: s}
	k.open()
	k.r.StartReplays()
	return k, s
}

func (k *desk) startReplay(w *cybervault.Webhook, rate int) *cybervault.Replay {
	k.t.Helper()
	r, err := k.r.StartReplay(k.t.Context(), k.ws, w.ID, cybervault.ReplayCriteria{Since: time.Unix(1, 0)}, rate)
	if err != nil {
		k.t.Fatal(err)
	}
	return r
}

func TestReplayKeepsItsRate(t *testing.T) {
	t.Parallel()
	for rate, seconds := range map[int]int64{1: 10, 3: 10, 100: 5, 1000: 2} {
		synctest.Test(t, func(t *testing.T) {
			k, s := newReplays(t, int64(rate)*seconds)
			defer k.r.Close()
			w := k.webhook("*")
			k.startReplay(w, rate)
			began := time.Now()
			for passed := range seconds {
				synctest.Wait()
				if got, most := s.created(), (passed+1)*int64(rate); got > most || got < passed*int64(rate) {
					t.Fatalf("rate %d: %d deliveries after %s", rate, got, time.Since(began))
				}
				<-time.After(time.Second)
			}
			synctest.Wait()
			if s.running.Status != cybervault.ReplayDone || s.status != cybervault.DeliveryPending || !k.d.wokenFor(w.ID) {
				t.Errorf("rate %d: the replay is %s, the last delivery %s", rate, s.running.Status, s.status)
			}
		})
	}
}

func TestReplayWaitsForItsWebhook(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k, s := newReplays(t, 100)
		defer k.r.Close()
		w := k.webhook("*")
		k.startReplay(w, 1)
		synctest.Wait()
		k.update(w.ID, cybervault.WebhookChange{Status: new(cybervault.WebhookDisabled)})
		before := s.created()
		<-time.After(time.Minute)
		synctest.Wait()
		if got := s.created(); got != before {
			t.Errorf("%d deliveries were made for a disabled webhook", got-before)
		}
		_, err := k.r.StartReplay(t.Context(), k.ws, w.ID, cybervault.ReplayCriteria{Since: time.Unix(1, 0)}, 1)
		wantCode(t, err, cybervault.CodeConflict, "")
		k.update(w.ID, cybervault.WebhookChange{Status: new(cybervault.WebhookEnabled), Verification: new(true)})
		<-time.After(time.Minute)
		synctest.Wait()
		if s.created() == before || s.status != cybervault.DeliveryHeld {
			t.Errorf("after it was enabled, unverified: %d deliveries, the last one %s", s.created(), s.status)
		}
		if err := k.r.DeleteWebhook(t.Context(), k.ws, w.ID); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Minute)
		synctest.Wait()
		if s.running.Status != cybervault.ReplayCancelled {
			t.Errorf("after its webhook was deleted the replay is %s", s.running.Status)
		}
	})
}

// Nothing is replayed onto a disk that has no room for it: what is asked for is
// refused, and what is under way waits.
func TestReplayWaitsForRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k, s := newReplays(t, 1000)
		defer k.r.Close()
		w := k.webhook("*")
		k.startReplay(w, 1)
		synctest.Wait()
		fill := func(err error) {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.full = err
		}
		fill(cybervault.Errorf(cybervault.CodeUnavailable, "the disk is full"))
		before := s.created()
		<-time.After(time.Minute)
		synctest.Wait()
		if got := s.created(); got != before {
			t.Errorf("%d deliveries were made", got-before)
		}
		_, err := k.r.StartReplay(t.Context(), k.ws, w.ID, cybervault.ReplayCriteria{Since: time.Unix(1, 0)}, 1)
		wantCode(t, err, cybervault.CodeUnavailable, "")
		_, err = k.r.ReplayDelivery(t.Context(), k.ws, cybervault.DeliveryID{})
		wantCode(t, err, cybervault.CodeUnavailable, "")
		fill(nil)
		<-time.After(time.Minute)
		synctest.Wait()
		if s.created() == before {
			t.Error("with room again the replay does not go on")
		}
	})
}

func TestReplayGoesOnAfterTrouble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k, s := newReplays(t, 3)
		defer k.r.Close()
		s.fail = cybervault.Errorf(cybervault.CodeUnavailable, "the disk is full")
		k.startReplay(k.webhook("*"), 10)
		<-time.After(10 * time.Second)
		synctest.Wait()
		s.mu.Lock()
		if len(s.steps) < 5 || len(s.steps) > 15 {
			t.Errorf("%d steps in ten seconds of trouble", len(s.steps))
		}
		s.fail = nil
		s.mu.Unlock()
		<-time.After(10 * time.Second)
		synctest.Wait()
		if s.running.Status != cybervault.ReplayDone || s.running.Created != 3 {
			t.Errorf("after the trouble: %+v", s.running)
		}
	})
}

func TestReplayOfNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k, _ := newReplays(t, 0)
		defer k.r.Close()
		w := k.webhook("*")
		if r := k.startReplay(w, 1); r.Status != cybervault.ReplayDone || r.FinishedAt.IsZero() {
			t.Errorf("%+v", r)
		}
		_, err := k.r.StartReplay(t.Context(), cybervault.NewID[cybervault.WorkspaceID](k.ids), w.ID, cybervault.ReplayCriteria{Since: time.Unix(1, 0)}, 1)
		wantCode(t, err, cybervault.CodeNotFound, "")
		_, _, err = k.r.PlanReplay(t.Context(), k.ws, w.ID, cybervault.ReplayCriteria{})
		wantCode(t, err, cybervault.CodeInvalid, "since")
		for _, c := range []struct {
			criteria cybervault.ReplayCriteria
			rate     int
			field    string
		}{
			{cybervault.ReplayCriteria{Since: time.Now().Add(time.Hour)}, 1, "until"},
			{cybervault.ReplayCriteria{Since: time.Unix(1, 0), Events: []string{"*", "Threat.*"}}, 1, "events"},
			{cybervault.ReplayCriteria{Since: time.Unix(1, 0), Events: make([]string, cybervault.MaxReplayChoices+1)}, 1, "events"},
			{cybervault.ReplayCriteria{Since: time.Unix(1, 0), Statuses: []cybervault.DeliveryStatus{cybervault.DeliveryPending}}, 1, "status"},
			{cybervault.ReplayCriteria{Since: time.Unix(1, 0)}, 0, "rate"},
			{cybervault.ReplayCriteria{Since: time.Unix(1, 0)}, cybervault.MaxReplayRate + 1, "rate"},
		} {
			_, err := k.r.StartReplay(t.Context(), k.ws, w.ID, c.criteria, c.rate)
			wantCode(t, err, cybervault.CodeInvalid, c.field)
		}
	})
}

func TestReplaysAtOnce(t *testing.T) {
	t.Parallel()
	k, s := newReplays(t, 1)
	w := k.webhook("*")
	k.r.Close() // nothing takes the others' steps
	start := func(others int) error {
		s.mu.Lock()
		s.others = others
		s.mu.Unlock()
		_, err := k.r.StartReplay(t.Context(), k.ws, w.ID, cybervault.ReplayCriteria{Since: time.Unix(1, 0)}, 1)
		return err
	}
	if err := start(cybervault.MaxRunningReplays - 1); err != nil {
		t.Errorf("one below the limit: %v", err)
	}
	wantCode(t, start(cybervault.MaxRunningReplays), cybervault.CodeConflict, "")
}
