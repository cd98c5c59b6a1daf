package store_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/store"
	"github.com/cybervault/cybervault/internal/store/storetest"
	"github.com/cybervault/cybervault/test/testenv"
)

func TestPostgres(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t testing.TB) store.Config {
		t.Helper()
		return store.Config{DatabaseURL: testenv.Postgres(t)}
	})
}

func postgresConfig(t testing.TB) store.Config {
	t.Helper()
	return store.Config{DatabaseURL: testenv.Postgres(t), Key: make([]byte, store.KeySize)}
}

// outside runs statements on a connection of its own, in the named database of
// the cluster, or the configured one.
func outside(t *testing.T, cfg store.Config, database string, statements ...string) {
	t.Helper()
	c, err := pgx.ParseConfig(cfg.DatabaseURL)
	if err != nil {
		t.Fatal(err)
	}
	if database != "" {
		c.Database = database
	}
	conn, err := pgx.ConnectConfig(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	for _, s := range statements {
		if _, err := conn.Exec(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// away makes the database unreachable, as for a server that is stopped: every
// connection ends, and none is taken. It returns what undoes that.
func away(t *testing.T, cfg store.Config) (back func()) {
	t.Helper()
	c, err := pgx.ParseConfig(cfg.DatabaseURL)
	if err != nil {
		t.Fatal(err)
	}
	outside(t, cfg, "postgres", "ALTER DATABASE "+c.Database+" ALLOW_CONNECTIONS false",
		"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '"+c.Database+"'")
	return func() { outside(t, cfg, "postgres", "ALTER DATABASE "+c.Database+" ALLOW_CONNECTIONS true") }
}

func TestPostgresStopsInMidWork(t *testing.T) {
	t.Parallel()
	cfg := postgresConfig(t)
	x := newSource(t, open(t, cfg))
	leased := []*cybervault.Publication{x.mustPublish(), x.mustPublish(), x.mustPublish()}

	back := away(t, cfg)
	refused, err := x.publish(100)
	wantCode(t, err, cybervault.CodeUnavailable)
	wantCode(t, x.s.Ping(t.Context()), cybervault.CodeUnavailable)
	_, err = x.s.Deliveries(t.Context(), cybervault.DeliveryQuery{Workspace: x.ws})
	wantCode(t, err, cybervault.CodeUnavailable)
	var results []<-chan error
	for _, pub := range leased {
		results = append(results, x.record(pub))
	}
	// More than the writer has connections, so that each has met the trouble.
	for range 20 {
		_, err := x.publish(100)
		wantCode(t, err, cybervault.CodeUnavailable)
	}
	for _, done := range results {
		select {
		case err := <-done:
			t.Fatalf("a result was answered while PostgreSQL is away: %v", err)
		default:
		}
	}

	back()
	for i, done := range results {
		if err := <-done; err != nil {
			t.Errorf("result %d, once PostgreSQL is back: %v", i, err)
		}
	}
	for _, pub := range leased {
		if d, err := x.s.Delivery(t.Context(), x.ws, pub.Deliveries[0].ID); err != nil || d.Status != cybervault.DeliveryDelivered {
			t.Errorf("delivery %+v, %v", d, err)
		}
	}
	x.wantStored(refused, false)
	until(t, "publishing works again", func() bool { _, err := x.publish(100); return err == nil })
	until(t, "the store says so", func() bool { return x.s.Ping(t.Context()) == nil && !x.s.Stats().Refusing })
}

// Connections that died while nobody used them cost no publisher an error.
func TestPostgresRestartedBetweenCalls(t *testing.T) {
	t.Parallel()
	cfg := postgresConfig(t)
	x := newSource(t, open(t, cfg))
	for range 3 {
		away(t, cfg)()
		for range 10 {
			x.mustPublish()
		}
	}
}

// A node that stops after its database was away has nothing to complain of.
func TestPostgresClosesWhatIsCut(t *testing.T) {
	t.Parallel()
	s, err := store.Open(t.Context(), postgresConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	newSource(t, s).mustPublish()
	s.CutLines()
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

func TestPostgresNodesStartAtOnce(t *testing.T) {
	t.Parallel()
	cfg := postgresConfig(t)
	const nodes = 4
	got := make([]cybervault.WorkspaceID, nodes)
	var wg sync.WaitGroup
	for node := range nodes {
		wg.Go(func() {
			s, err := store.Open(t.Context(), cfg)
			if err != nil {
				t.Errorf("node %d: %v", node, err)
				return
			}
			defer func() { _ = s.Close() }()
			ids := cybervault.NewIDSource(uint8(node), 0, time.Now)
			if got[node], err = s.Workspace(t.Context(), cybervault.NewID[cybervault.WorkspaceID](ids), "first"); err != nil {
				t.Errorf("node %d: %v", node, err)
			}
		})
	}
	wg.Wait()
	for node, ws := range got {
		if ws != got[0] {
			t.Errorf("node %d made the workspace %s, node 0 %s", node, ws, got[0])
		}
	}
}

// Two nodes share one queue: what one claims, the other does not.
func TestPostgresNodesShareTheQueue(t *testing.T) {
	t.Parallel()
	cfg := postgresConfig(t)
	one, two := newSource(t, open(t, cfg)), open(t, cfg)
	pub := one.mustPublish()
	lease := cybervault.Lease{Token: 1, Until: time.Now().Add(time.Hour)}
	if got, err := two.Claim(t.Context(), cybervault.Claim{Webhook: one.w.ID, Limit: 10, Lease: lease}); err != nil || len(got) != 0 {
		t.Errorf("the second node claimed %v, %v, of what the first has leased", got, err)
	}
	if err := one.s.Release(t.Context(), []*cybervault.Assignment{{Delivery: pub.Deliveries[0].ID, Lease: pub.Deliveries[0].Lease}}); err != nil {
		t.Fatal(err)
	}
	if got, err := two.Claim(t.Context(), cybervault.Claim{Webhook: one.w.ID, Limit: 10, Lease: lease}); err != nil || len(got) != 1 {
		t.Errorf("the second node claimed %v, %v, after the release", got, err)
	}
	wantCode(t, <-one.record(pub), cybervault.CodeConflict)
}

func TestPostgresRefusesToOpen(t *testing.T) {
	t.Parallel()
	newer := postgresConfig(t)
	_ = open(t, newer).Close()
	outside(t, newer, "", "INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, true)")
	gone := newer
	gone.DatabaseURL = "postgres://someone:hunter2@127.0.0.1:1/none"
	broken := newer
	broken.DatabaseURL = "postgres://someone:hunter2@host:port:port/none"
	for name, c := range map[string]struct {
		cfg  store.Config
		code cybervault.Code
		word string
	}{
		"a newer schema":   {newer, cybervault.CodeInvalid, "schema version 9999"},
		"nobody there":     {gone, cybervault.CodeUnavailable, "127.0.0.1, port 1"},
		"no URL of a kind": {broken, cybervault.CodeInvalid, "database-url"},
	} {
		_, err := store.Open(t.Context(), c.cfg)
		wantCode(t, err, c.code)
		if !strings.Contains(err.Error(), c.word) {
			t.Errorf("%s: error = %v, want one with %q", name, err, c.word)
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error shows the password", name)
		}
	}
}

func TestPostgresSecretsAreNotReadable(t *testing.T) {
	t.Parallel()
	cfg := postgresConfig(t)
	x := newSource(t, open(t, cfg))
	conn, err := pgx.Connect(t.Context(), cfg.DatabaseURL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	var row string
	if err := conn.QueryRow(t.Context(), "SELECT url || encode(sealed, 'escape') FROM webhooks").Scan(&row); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(row, x.w.URL) {
		t.Error("the webhook's URL is not found: the search is broken")
	}
	for _, secret := range []string{strings.TrimPrefix(x.w.Secrets[0].Value, cybervault.SecretPrefix), "correct-horse-battery-staple"} {
		if strings.Contains(row, secret) {
			t.Errorf("%q stands in the database", secret)
		}
	}
}

// A transaction that began earlier and commits later is waited for: no reader
// sees what came after it before, and none misses it.
func TestPostgresChangesWaitForWhoBeganEarlier(t *testing.T) {
	t.Parallel()
	cfg := postgresConfig(t)
	s := open(t, cfg)
	x := newSource(t, s)
	start, err := s.LastChange(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	read := func(after cybervault.ChangePosition) ([]cybervault.Change, cybervault.ChangePosition) {
		t.Helper()
		page, err := s.Changes(t.Context(), cybervault.ChangeQuery{Workspace: x.ws, After: after, Kinds: []cybervault.ChangeKind{cybervault.ChangeEvent}})
		if err != nil {
			t.Fatal(err)
		}
		return page.Rows, page.Next
	}
	c, err := pgx.ParseConfig(cfg.DatabaseURL)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.ConnectConfig(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	slow, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// The row of a writer of another node, whose commit is still under way.
	if _, err := slow.Exec(t.Context(), `INSERT INTO changes (id, at, changed) VALUES (pg_current_xact_id()::text::bigint, 42, '\x01')`); err != nil {
		t.Fatal(err)
	}
	late := x.mustPublish()
	for range 3 {
		if rows, next := read(start); len(rows) != 0 || next.Mark == 42 {
			t.Fatalf("%d changes are told before an older transaction has ended, up to %+v", len(rows), next)
		}
	}
	if err := slow.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	var rows []cybervault.Change
	until(t, "the changes are told", func() bool { rows, _ = read(start); return len(rows) > 0 })
	if len(rows) != 1 || rows[0].Event.ID != late.Event.ID {
		t.Errorf("told are %+v", rows)
	}
	// And the late one stands where it began: before the other.
	var between int
	if err := conn.QueryRow(t.Context(), "SELECT COUNT(*) FROM changes WHERE at = 42 AND id < $1", rows[0].At.Transaction).Scan(&between); err != nil || between != 1 {
		t.Errorf("%d rows stand before it, %v", between, err)
	}
}

// A database that was restored from a dump of another one, which counted its
// transactions further, begins its log anew; positions of the old one are refused.
func TestPostgresChangesOfARestoredDump(t *testing.T) {
	t.Parallel()
	cfg := postgresConfig(t)
	s := open(t, cfg)
	x := newSource(t, s)
	unread := x.mustPublish()
	outside(t, cfg, "", "UPDATE changes SET id = id + 1000000000000", "UPDATE audit_state SET transaction_id = transaction_id + 1000000000000")
	var old cybervault.ChangePosition
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, cfg)
	x.s = s
	old.Transaction = 1_000_000_000_001
	var start cybervault.ChangePosition
	until(t, "the log begins anew", func() (ok bool) {
		var err error
		start, err = s.LastChange(t.Context())
		return err == nil
	})
	if start.Transaction > 1_000_000_000_000 {
		t.Fatalf("it ends at %+v", start)
	}
	_, err := s.Changes(t.Context(), cybervault.ChangeQuery{Workspace: x.ws, After: old})
	wantCode(t, err, cybervault.CodeGone)
	pub := x.mustPublish()
	until(t, "what is published is told", func() bool {
		page, err := s.Changes(t.Context(), cybervault.ChangeQuery{Workspace: x.ws, After: start})
		return err == nil && len(page.Rows) > 0 && page.Rows[0].Event.ID == pub.Event.ID
	})
	// What the audit log had not read before the dump was made it reads now, once.
	state, err := s.AuditState(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the audit log reads on", func() bool {
		batch, err := s.AuditPending(t.Context(), state, 10)
		return err == nil && len(batch.Leaves) == 2 && batch.Leaves[0].Ref.Key == unread.Event.ID.Key() && batch.Leaves[1].Ref.Key == pub.Event.ID.Key()
	})
}
