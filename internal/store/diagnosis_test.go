package store_test

import (
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/store"
)

// databases are the two kinds of store, for what the suite of storetest cannot
// set up.
func databases(t *testing.T) map[string]func(testing.TB) store.Config {
	t.Helper()
	return map[string]func(testing.TB) store.Config{"sqlite": sqliteConfig, "postgres": postgresConfig}
}

func TestPostgresAndSQLiteSayHowTheyAre(t *testing.T) {
	t.Parallel()
	for name, config := range databases(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := config(t)
			later := 10 * time.Minute
			var shift atomic.Int64
			cfg.Now = func() time.Time { return time.Now().Add(time.Duration(shift.Load())) }
			s := open(t, cfg)
			x := newSource(t, s)
			if d, err := s.Diagnose(t.Context()); err != nil || !d.Oldest.IsZero() {
				t.Errorf("empty: %+v, %v", d, err)
			}
			x.w.Status = cybervault.WebhookEnabled
			if err := s.SaveWebhook(t.Context(), x.w); err != nil {
				t.Fatal(err)
			}
			pub := x.mustPublish() // leased for an hour
			d, err := s.Diagnose(t.Context())
			if err != nil || d.Schema != d.Known || d.Known == 0 || time.Since(d.Oldest).Abs() > time.Minute {
				t.Errorf("%+v, %v", d, err)
			}
			if d.Clock != (name == "postgres") || d.ClockSkew.Abs() > time.Minute || (d.Bytes > 0) != (name == "sqlite") {
				t.Errorf("%+v", d)
			}
			wantOverdue(t, x, time.Now().Add(later), false)
			wantOverdue(t, x, time.Now().Add(2*time.Hour), true)
			if a, err := s.LastAttempt(t.Context(), x.w.ID); a != nil || err != nil {
				t.Errorf("the last attempt of none is %+v, %v", a, err)
			}
			if err := <-x.record(pub); err != nil {
				t.Fatal(err)
			}
			if a, err := s.LastAttempt(t.Context(), x.w.ID); err != nil || a == nil || a.Status != 200 {
				t.Errorf("the last attempt is %+v, %v", a, err)
			}
			if all, err := s.Overdue(t.Context(), time.Now().Add(24*time.Hour)); err != nil || len(all) != 0 {
				t.Errorf("overdue once delivered: %+v, %v", all, err)
			}
			dead := x.mustPublish()
			wantDead(t, x, 0)
			x.kill(dead)
			wantDead(t, x, 1)
			shift.Store(-int64(time.Minute))
			if d, err := s.Diagnose(t.Context()); err != nil || name == "postgres" && (d.ClockSkew < 50*time.Second || d.ClockSkew > 70*time.Second) {
				t.Errorf("a minute behind: %+v, %v", d, err)
			}
		})
	}
}

func wantOverdue(t *testing.T, x *source, before time.Time, want bool) {
	t.Helper()
	all, err := x.s.Overdue(t.Context(), before)
	if err != nil || (len(all) == 1) != want || want && (all[0].Webhook != x.w.ID || !all[0].Leased) {
		t.Errorf("overdue before %s: %+v, %v", before, all, err)
	}
}

func wantDead(t *testing.T, x *source, want int64) {
	t.Helper()
	for since, want := range map[time.Duration]int64{time.Hour: want, -time.Hour: 0} {
		if n, err := x.s.DeadLetters(t.Context(), x.w.ID, time.Now().Add(-since)); err != nil || n != want {
			t.Errorf("%d dead letters since %s ago, %v; want %d", n, since, err, want)
		}
	}
}

// kill records that the publication's delivery has failed for good.
func (x *source) kill(pub *cybervault.Publication) {
	x.Helper()
	d := &pub.Deliveries[0]
	done := make(chan error, 1)
	err := x.s.Record(&cybervault.Result{
		Webhook: d.Webhook, Lease: d.Lease, Status: cybervault.DeliveryDeadLetter,
		Attempt: &cybervault.Attempt{ID: cybervault.NewID[cybervault.AttemptID](x.ids), Delivery: d.ID, Number: 1, StartedAt: time.Now(),
			Exchange: cybervault.Exchange{Failure: cybervault.FailureTimeout}},
	}, func(err error) { done <- err })
	if err != nil {
		x.Fatal(err)
	}
	if err := <-done; err != nil {
		x.Fatal(err)
	}
}

func TestClosedDatabaseIsLookedAt(t *testing.T) {
	t.Parallel()
	cfg := sqliteConfig(t)
	if store.InUse(cfg.Path) {
		t.Error("a database that is not there is in use")
	}
	s := open(t, cfg)
	if !store.InUse(cfg.Path) {
		t.Error("the server has it open")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if store.InUse(cfg.Path) {
		t.Error("nobody has it open")
	}
	d, err := store.DiagnoseClosed(t.Context(), cfg)
	if err != nil || d.Schema != store.Schema() {
		t.Errorf("%+v, %v", d, err)
	}
	if left, _ := filepath.Glob(cfg.Path + "-*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestPostgresIsLookedAtFromOutside(t *testing.T) {
	t.Parallel()
	cfg := postgresConfig(t)
	open(t, cfg)
	if d, err := store.DiagnoseClosed(t.Context(), cfg); err != nil || d.Schema != d.Known || !d.Clock {
		t.Errorf("%+v, %v", d, err)
	}
	_, err := store.DiagnoseClosed(t.Context(), store.Config{DatabaseURL: "postgres://user:very-secret@127.0.0.1:1/none"})
	wantCode(t, err, cybervault.CodeUnavailable)
}
