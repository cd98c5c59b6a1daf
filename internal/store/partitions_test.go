package store_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/store"
)

// publishKeyed publishes an event with a publisher's key and a delivery that
// nobody has claimed.
func (x *source) publishKeyed(key string) (*cybervault.Publication, cybervault.Published) {
	x.Helper()
	run := x.ids.NextRun(2)
	pub := &cybervault.Publication{
		Event: &cybervault.Event{
			ID: cybervault.EventID{UUID: run[0]}, Workspace: x.ws, Type: cybervault.EventThreatDetected,
			Timestamp: time.Now(), Body: []byte("{}"), IdempotencyKey: key, PublisherKey: true,
		},
		Deliveries: []cybervault.NewDelivery{{ID: cybervault.DeliveryID{UUID: run[1]}, Webhook: x.w.ID, Status: cybervault.DeliveryPending}},
	}
	out, errs := x.s.Publish(context.Background(), []*cybervault.Publication{pub})
	if errs[0] != nil {
		x.Errorf("publish %q: %v", key, errs[0])
		return pub, cybervault.Published{}
	}
	return pub, out[0]
}

// wantDuplicate publishes a key that an event has already.
func (x *source) wantDuplicate(key string, of *cybervault.Publication) {
	x.Helper()
	_, out := x.publishKeyed(key)
	if out.Existing == nil || out.Existing.ID != of.Event.ID {
		x.Errorf("%q was published again: %+v, want the event %s", key, out.Existing, of.Event.ID)
	}
}

// allAudited makes it as if the audit log had read all there is, which what removes
// waits for.
func allAudited(t testing.TB, s *store.Store) {
	t.Helper()
	state, err := s.AuditState(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	grown, err := s.Grown(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var last cybervault.ChangePosition
	// The end is told once no transaction is under way, whoever's in the cluster.
	eventually(t, "the end of the change log is settled", func() bool {
		last, err = s.LastChange(t.Context())
		return err == nil && last.Transaction == grown
	})
	ahead := state
	ahead.Transaction, ahead.Mark = last.Transaction, last.Mark
	if err := s.AppendAudit(t.Context(), cybervault.AuditStep{From: state, To: ahead}); err != nil {
		t.Fatal(err)
	}
}

// inside asks a database for one number.
func inside(t *testing.T, cfg store.Config, query string, args ...any) (n int64) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), cfg.DatabaseURL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	if err := conn.QueryRow(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// The release before goes on publishing while its tables become partitioned, and
// afterwards, beside the new one.
func TestPostgresPartitionsOfAFilledDatabase(t *testing.T) {
	t.Parallel()
	cfg := postgresConfig(t)
	old, err := store.OpenBeforePartitions(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = old.Close() })
	x := newSource(t, old)
	x.ids = cybervault.NewIDSource(old.Node(), 0, time.Now)
	leased, replayed := x.mustPublish(), x.mustPublish()
	if err := <-x.record(replayed); err != nil {
		t.Fatal(err)
	}
	before, _ := x.publishKeyed("before")
	all := []*cybervault.Publication{leased, replayed, before}

	stop := make(chan struct{})
	var during []*cybervault.Publication
	var publisher sync.WaitGroup
	publisher.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			pub, out := x.publishKeyed(fmt.Sprint("during ", n))
			if out.Existing != nil {
				t.Errorf("a new key is taken by %s", out.Existing.ID)
			}
			during = append(during, pub)
			x.wantDuplicate("before", before)
		}
	})
	fresh := *x
	fresh.s = open(t, cfg)
	fresh.ids = cybervault.NewIDSource(fresh.s.Node(), 0, time.Now)
	close(stop)
	publisher.Wait()
	all = append(all, during...)

	if n := inside(t, cfg, "SELECT COUNT(*) FROM events_first"); n != int64(len(all)) {
		t.Errorf("the first partition has %d events, want %d", n, len(all))
	}
	if n := inside(t, cfg, "SELECT COUNT(*) FROM events_rest"); n != 0 {
		t.Errorf("the default partition has %d events", n)
	}
	for i, pub := range during {
		fresh.wantDuplicate(fmt.Sprint("during ", i), pub)
	}
	fresh.wantDuplicate("before", before)
	after, _ := fresh.publishKeyed("after")
	x.wantDuplicate("after", after)
	fromOld, _ := x.publishKeyed("after, by the release before")
	fresh.wantDuplicate("after, by the release before", fromOld)
	all = append(all, after, fromOld)
	for _, pub := range all {
		fresh.wantStored(pub, true)
		x.wantStored(pub, true)
	}

	if err := <-fresh.record(leased); err != nil {
		t.Errorf("the result of a lease from before: %v", err)
	}
	replay := cybervault.NewDelivery{ID: cybervault.NewID[cybervault.DeliveryID](fresh.ids), Webhook: x.w.ID, Status: cybervault.DeliveryPending, ReplayOf: replayed.Deliveries[0].ID}
	if err := fresh.s.AddDelivery(t.Context(), replayed.Event, &replay); err != nil {
		t.Error(err)
	}
	claimed, err := fresh.s.Claim(t.Context(), cybervault.Claim{Webhook: x.w.ID, Limit: len(all) + 10, Lease: cybervault.Lease{Token: 1, Until: time.Now().Add(time.Hour)}})
	if want := len(all) - 2 + 1; err != nil || len(claimed) != want {
		t.Errorf("claimed %d, %v, want %d: all but the two that were delivered, and the replay", len(claimed), err, want)
	}
	page, err := fresh.s.Sequence(t.Context(), x.ws, x.w.ID, 1, 0)
	if err != nil || len(page.Rows) != min(len(all)+1, cybervault.MaxSequencePage) {
		t.Errorf("%d numbers, %v, want %d", len(page.Rows), err, len(all)+1)
	}
	if attempts, err := fresh.s.Attempts(t.Context(), x.ws, replayed.Deliveries[0].ID); err != nil || len(attempts) != 1 {
		t.Errorf("%d attempts, %v", len(attempts), err)
	}
}

// What a migration left that was interrupted does not keep it from being run again.
func TestPostgresPartitionsAfterAnInterruptedMigration(t *testing.T) {
	t.Parallel()
	cfg := postgresConfig(t)
	old, err := store.OpenBeforePartitions(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = old.Close() })
	x := newSource(t, old)
	one, _ := x.publishKeyed("one")
	// It cannot have the tables once the rows have been looked through.
	outside(t, cfg, "", "CREATE VIEW events_first AS SELECT 1 AS one")
	if _, err := store.Open(t.Context(), cfg); err == nil {
		t.Fatal("the migration went through, though a name is taken")
	}
	x.wantDuplicate("one", one)
	two, _ := x.publishKeyed("two")
	outside(t, cfg, "", "DROP VIEW events_first")
	x.s = open(t, cfg)
	x.wantDuplicate("one", one)
	x.wantDuplicate("two", two)
	if n := inside(t, cfg, "SELECT COUNT(*) FROM events_first"); n != 2 {
		t.Errorf("the first partition has %d events", n)
	}
}

// The days to come have their partitions, whoever else makes them.
func TestPostgresPartitionsAreMadeAhead(t *testing.T) {
	t.Parallel()
	cfg := postgresConfig(t)
	var clock sync.Mutex
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	cfg.Now = func() time.Time { clock.Lock(); defer clock.Unlock(); return now }
	cfg.DatabaseNow = cfg.Now
	var nodes []*store.Store
	for range 3 {
		nodes = append(nodes, open(t, cfg))
	}
	x := newSource(t, nodes[0])
	x.ids = cybervault.NewIDSource(1, 0, cfg.Now)
	today := x.mustPublish()
	later := func(d time.Duration) { clock.Lock(); now = now.Add(d); clock.Unlock() }
	later(10 * 24 * time.Hour) // beyond what was made
	caught, _ := x.publishKeyed("caught")
	if n := inside(t, cfg, "SELECT COUNT(*) FROM events_rest"); n != 1 {
		t.Fatalf("the default partition has %d events, want the one of a day without a partition", n)
	}
	x.wantDuplicate("caught", caught)
	var wg sync.WaitGroup
	for _, s := range nodes {
		wg.Go(func() {
			if _, err := s.Rotate(t.Context(), cybervault.Expiry{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for table, rows := range map[string]int64{"events_20260301": 1, "deliveries_20260301": 1, "events_20260304": 0, "events_20260311": 1, "deliveries_20260311": 1, "attempts_20260314": 0, "events_rest": 0} {
		if n := inside(t, cfg, "SELECT COUNT(*) FROM "+table); n != rows {
			t.Errorf("%s has %d rows, want %d", table, n, rows)
		}
	}
	if n := inside(t, cfg, "SELECT COUNT(*) FROM pg_inherits WHERE inhparent = 'events'::regclass"); n != 10 {
		t.Errorf("there are %d partitions of events, want the first, four of March 1, four of March 11 and the default", n)
	}
	x.wantStored(today, true)
	x.wantStored(caught, true)
	x.wantDuplicate("caught", caught)
	if claimed, err := x.s.Claim(t.Context(), cybervault.Claim{Webhook: x.w.ID, Limit: 10, Lease: cybervault.Lease{Token: 1, Until: now.Add(time.Hour)}}); err != nil || len(claimed) != 1 {
		t.Errorf("claimed %d, %v, want the one that was caught", len(claimed), err)
	}
}

// Old days go as a whole, with what they left in other tables; what has to stay
// stays, even where it lies across midnight from its event.
func TestPostgresPartitionsAreDropped(t *testing.T) {
	t.Parallel()
	cfg := postgresConfig(t)
	var clock sync.Mutex
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	cfg.Now = func() time.Time { clock.Lock(); defer clock.Unlock(); return now }
	cfg.DatabaseNow = cfg.Now
	set := func(at time.Time) { clock.Lock(); now = at; clock.Unlock() }
	x := newSource(t, open(t, cfg))
	x.ids = cybervault.NewIDSource(1, 0, cfg.Now)
	var results []<-chan error
	for n := range 200 {
		results = append(results, x.record(x.mustPublish()))
		if n%10 == 0 {
			x.publishKeyed(fmt.Sprint("key ", n))
		}
	}
	for _, done := range results {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	claimed, err := x.s.Claim(t.Context(), cybervault.Claim{Webhook: x.w.ID, Limit: 100, Lease: cybervault.Lease{Token: 7, Until: now.Add(time.Minute)}})
	if err != nil || len(claimed) != 20 {
		t.Fatalf("claimed %d, %v", len(claimed), err)
	}
	for _, a := range claimed {
		pub := &cybervault.Publication{Deliveries: []cybervault.NewDelivery{{ID: a.Delivery, Webhook: a.Webhook, Lease: a.Lease}}}
		if err := <-x.record(pub); err != nil {
			t.Fatal(err)
		}
	}
	stays, _ := x.publishKeyed("stays") // pending
	midnight := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	set(midnight.Add(-time.Millisecond))
	x.ids.NextRun(4095)
	across := x.mustPublish()
	if event, delivery := across.Event.ID.Time(), across.Deliveries[0].ID.Time(); !event.Before(midnight) || delivery.Before(midnight) {
		t.Fatalf("the event is of %v, its delivery of %v: not across midnight", event, delivery)
	}
	count := func(query string, want int64) {
		t.Helper()
		if n := inside(t, cfg, query); n != want {
			t.Errorf("%s: %d, want %d", query, n, want)
		}
	}
	count("SELECT COUNT(*) FROM events_20260301", 222)
	count("SELECT COUNT(*) FROM deliveries_20260302", 1)
	count("SELECT COUNT(*) FROM idempotency_keys", 21)
	count("SELECT COUNT(*) FROM webhook_sequence_marks", 3)

	// The first of March is not over yet, thirty days ago.
	expiry := func() cybervault.Expiry {
		before := cfg.Now().Add(-30 * 24 * time.Hour)
		return cybervault.Expiry{Before: before, DeadLettersBefore: before}
	}
	set(time.Date(2026, 3, 31, 23, 0, 0, 0, time.UTC))
	if swept, err := x.s.Rotate(t.Context(), expiry()); err != nil || swept.Events != 0 {
		t.Errorf("a day went before it was old: %+v, %v", swept, err)
	}
	if swept, err := x.s.Sweep(t.Context(), expiry(), cybervault.SweepPosition{}); err != nil || swept.Events != 0 {
		t.Errorf("rows of a day went that will go as a whole: %+v, %v", swept, err)
	}
	set(time.Date(2026, 4, 1, 1, 0, 0, 0, time.UTC))
	if swept, err := x.s.Rotate(t.Context(), expiry()); err != nil || swept.Events != 0 {
		t.Errorf("went before the audit log had read it: %+v, %v", swept, err)
	}
	allAudited(t, x.s)
	if swept, err := x.s.Rotate(t.Context(), expiry()); err != nil || swept.Events != 220 || swept.Deliveries != 220 || swept.Attempts != 220 {
		t.Errorf("went: %+v, %v", swept, err)
	}
	count("SELECT COUNT(*) FROM pg_class WHERE relname IN ('events_first', 'events_20260301', 'deliveries_20260301', 'attempts_20260301')", 0)
	count("SELECT COUNT(*) FROM events_rest", 2)
	count("SELECT COUNT(*) FROM idempotency_keys", 1)
	count("SELECT COUNT(*) FROM webhook_sequence_marks WHERE sequence = 221", 1)
	count("SELECT COUNT(*) FROM webhook_sequence_marks", 1)
	x.wantStored(across, true)
	x.wantStored(stays, true)
	x.wantDuplicate("stays", stays)
	if err := x.s.CancelDelivery(t.Context(), x.ws, stays.Deliveries[0].ID, ""); err != nil {
		t.Error(err)
	}
	if err := <-x.record(across); err != nil {
		t.Errorf("a delivery that outlived its day: %v", err)
	}
	set(time.Date(2026, 4, 4, 0, 0, 0, 0, time.UTC))
	allAudited(t, x.s)
	for position, done := (cybervault.SweepPosition{}), false; !done; {
		step, err := x.s.Sweep(t.Context(), expiry(), position)
		if err != nil {
			t.Fatal(err)
		}
		position, done = step.Position, step.Done
	}
	if _, err := x.s.Rotate(t.Context(), expiry()); err != nil {
		t.Error(err)
	}
	for _, table := range []string{"events", "deliveries", "attempts"} {
		count("SELECT COUNT(*) FROM "+table, 0)
	}
	count("SELECT COUNT(*) FROM pg_class WHERE relname IN ('events_20260302', 'deliveries_20260302', 'attempts_20260302')", 0)
}

// A partition of which much stays is left to the sweep.
func TestPostgresPartitionsOfWhichMuchStays(t *testing.T) {
	t.Parallel()
	cfg := postgresConfig(t)
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	cfg.Now = func() time.Time { return now }
	cfg.DatabaseNow = cfg.Now
	x := newSource(t, open(t, cfg))
	x.ids = cybervault.NewIDSource(1, 0, cfg.Now)
	for range 10 {
		x.mustPublish()
		if err := <-x.record(x.mustPublish()); err != nil {
			t.Fatal(err)
		}
	}
	expiry := cybervault.Expiry{Before: now.Add(24 * time.Hour)}
	allAudited(t, x.s)
	if swept, err := x.s.Rotate(t.Context(), expiry); err != nil || swept.Events != 0 {
		t.Errorf("went as a whole: %+v, %v", swept, err)
	}
	if swept, err := x.s.Sweep(t.Context(), expiry, cybervault.SweepPosition{}); err != nil || swept.Events != 10 {
		t.Errorf("went: %+v, %v", swept, err)
	}
}

// Where everything is kept for ever there are not more and more partitions.
func TestPostgresPartitionsBecomeLonger(t *testing.T) {
	t.Parallel()
	cfg := postgresConfig(t)
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var since atomic.Int64 // the store reads the clock from goroutines of its own
	cfg.Now = func() time.Time { return start.Add(time.Duration(since.Load())) }
	cfg.DatabaseNow = cfg.Now
	s := open(t, cfg)
	count := func() int64 {
		return inside(t, cfg, "SELECT COUNT(*) FROM pg_inherits WHERE inhparent = 'deliveries'::regclass")
	}
	rotate := func() {
		t.Helper()
		since.Add(int64(4 * 24 * time.Hour))
		if _, err := s.Rotate(t.Context(), cybervault.Expiry{}); err != nil {
			t.Fatal(err)
		}
	}
	for range 14 {
		rotate()
	}
	if n := count(); n != 2+4*15 {
		t.Fatalf("%d partitions after 15 times four days", n)
	}
	for range 14 {
		rotate()
	}
	if n := count(); n != 2+4*15+2 {
		t.Errorf("%d partitions after 56 more days, want two of 28 days", n)
	}
}

// A partition that another node has dropped is not written to any more.
func TestPostgresPartitionDroppedByAnotherNode(t *testing.T) {
	t.Parallel()
	cfg := postgresConfig(t)
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	cfg.Now = func() time.Time { return now }
	cfg.DatabaseNow = cfg.Now
	x := newSource(t, open(t, cfg))
	x.ids = cybervault.NewIDSource(1, 0, cfg.Now)
	before := x.mustPublish()
	outside(t, cfg, "", "DROP TABLE events_20260301, deliveries_20260301, attempts_20260301")
	for range 20 { // more than the writer has connections
		pub := x.mustPublish()
		if err := <-x.record(pub); err != nil {
			t.Fatal(err)
		}
		x.wantStored(pub, true)
	}
	wantCode(t, <-x.record(before), cybervault.CodeConflict)
	if n := inside(t, cfg, "SELECT COUNT(*) FROM attempts_rest"); n != 20 {
		t.Errorf("the default partition has %d attempts, want all 20", n)
	}
}

// What is being written to a partition while it is to go is not undone by the
// copy of what stays.
func TestPostgresPartitionWrittenToWhileItGoes(t *testing.T) {
	t.Parallel()
	cfg := postgresConfig(t)
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	cfg.Now = func() time.Time { return now }
	cfg.DatabaseNow = cfg.Now
	x := newSource(t, open(t, cfg))
	x.ids = cybervault.NewIDSource(1, 0, cfg.Now)
	for range 5 {
		if err := <-x.record(x.mustPublish()); err != nil {
			t.Fatal(err)
		}
	}
	x.mustPublish()
	allAudited(t, x.s)
	conn, err := pgx.Connect(t.Context(), cfg.DatabaseURL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	other, err := conn.Begin(t.Context()) // as a node does that names the partition
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Exec(t.Context(), "UPDATE deliveries_20260301 SET status = 2, finished_at = 1 WHERE status = 0"); err != nil {
		t.Fatal(err)
	}
	rotated := make(chan error, 1)
	go func() {
		_, err := x.s.Rotate(context.WithoutCancel(t.Context()), cybervault.Expiry{Before: now.Add(24 * time.Hour), DeadLettersBefore: now.Add(24 * time.Hour)})
		rotated <- err
	}()
	until(t, "the rotation waits", func() bool {
		return inside(t, cfg, "SELECT COUNT(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'") > 0
	})
	if err := other.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-rotated; err != nil {
		t.Fatal(err)
	}
	if n := inside(t, cfg, "SELECT COUNT(*) FROM deliveries WHERE status = 0"); n != 0 {
		t.Error("a delivery is pending again that had ended")
	}
	if n := inside(t, cfg, "SELECT COUNT(*) FROM events"); n != 0 {
		t.Errorf("%d events are left", n)
	}
}
