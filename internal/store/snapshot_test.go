package store_test

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/store"
)

// filled is a store with a database of some mebibytes.
func filled(t *testing.T, cfg store.Config) (*store.Store, *source) {
	t.Helper()
	s := open(t, cfg)
	x := newSource(t, s)
	for range 100 {
		if _, err := x.publish(64 << 10); err != nil {
			t.Fatal(err)
		}
	}
	return s, x
}

// A snapshot that is taken while events are published and results recorded holds
// all that was acknowledged before, and of the rest whole transactions.
func TestSnapshotBesideWriters(t *testing.T) {
	t.Parallel()
	cfg := sqliteConfig(t)
	s, x := filled(t, cfg)
	var stop atomic.Bool
	var wg sync.WaitGroup
	began := make(chan struct{}, 1)
	for range 3 {
		wg.Go(func() {
			for !stop.Load() {
				pub, err := x.publish(20_000)
				if err != nil {
					t.Error(err)
					return
				}
				if err := <-x.record(pub); err != nil {
					t.Error(err)
					return
				}
				select {
				case began <- struct{}{}:
				default:
				}
			}
		})
	}
	<-began
	before := x.mustPublish()
	path := filepath.Join(t.TempDir(), "copy ä%?#.db")
	err := s.Snapshot(t.Context(), path)
	stop.Store(true)
	wg.Wait()
	if err != nil {
		t.Fatal(err)
	}
	info, err := store.InspectCopy(t.Context(), path, true)
	if err != nil {
		t.Fatal(err)
	}
	if info.Events < 102 || info.Events != info.Deliveries || info.Schema != store.Schema() || info.Workspace != x.ws || info.Webhooks != 1 || info.LastChange.Transaction < 100 {
		t.Errorf("the copy holds %+v", info)
	}
	if mode, err := os.Stat(path); err != nil || mode.Mode().Perm() != 0o600 {
		t.Errorf("the copy is %v, %v", mode, err)
	}
	copied := open(t, store.Config{Path: path, Key: cfg.Key})
	(&source{T: t, s: copied, ws: x.ws}).wantStored(before, true)
	hooks, err := copied.Webhooks(t.Context())
	if err != nil || len(hooks) != 1 || hooks[0].Secrets[0].Value != x.w.Secrets[0].Value {
		t.Errorf("the webhooks of the copy: %+v, %v", hooks, err)
	}
}

// Another process reads the same, whatever the server does meanwhile.
func TestCopyDatabaseBesideAServer(t *testing.T) {
	t.Parallel()
	cfg := sqliteConfig(t)
	_, x := filled(t, cfg)
	path := filepath.Join(t.TempDir(), "copy.db")
	if err := store.CopyDatabase(t.Context(), cfg.Path, path); err != nil {
		t.Fatal(err)
	}
	info, err := store.InspectCopy(t.Context(), path, true)
	if err != nil || info.Events != 100 || info.Pending != 100 {
		t.Errorf("the copy holds %+v, %v", info, err)
	}
	x.mustPublish() // the server goes on
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := store.CopyDatabase(ended, cfg.Path, filepath.Join(t.TempDir(), "other.db")); err == nil {
		t.Error("a copy that nobody waits for was made")
	}
	if err := store.CopyDatabase(t.Context(), filepath.Join(t.TempDir(), "none.db"), filepath.Join(t.TempDir(), "other.db")); err == nil {
		t.Error("a database that is not there was copied")
	}
}

// A snapshot that is given up leaves nothing behind, and does not stand in the
// way of the next.
func TestSnapshotGivenUp(t *testing.T) {
	t.Parallel()
	s, x := filled(t, sqliteConfig(t))
	dir := t.TempDir()
	for i := range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Snapshot(ctx, filepath.Join(dir, "given-up.db")) }()
		for range i {
			x.mustPublish()
		}
		cancel()
		if <-done == nil { // it was faster
			_ = os.Remove(filepath.Join(dir, "given-up.db"))
		}
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if err := s.Snapshot(t.Context(), filepath.Join(dir, "next.db")); err != nil {
		t.Fatal(err)
	}
	if _, err := store.InspectCopy(t.Context(), filepath.Join(dir, "next.db"), true); err != nil {
		t.Error(err)
	}
}

func TestSnapshotIsRefused(t *testing.T) {
	t.Parallel()
	var free atomic.Int64
	free.Store(1 << 40)
	cfg := sqliteConfig(t)
	cfg.DiskReserve, cfg.DiskFree = 1<<20, func(string) (int64, error) { return free.Load(), nil }
	s, _ := filled(t, cfg)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "there.db"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Snapshot(t.Context(), filepath.Join(dir, "there.db")); err == nil {
		t.Error("a snapshot replaced a file")
	}
	free.Store(4 << 20)
	wantCode(t, s.Snapshot(t.Context(), filepath.Join(dir, "copy.db")), cybervault.CodeUnavailable)
	free.Store(1 << 40)
	// Two at once: one is told to wait.
	errs := make(chan error, 8)
	for i := range cap(errs) {
		go func() { errs <- s.Snapshot(t.Context(), filepath.Join(dir, string(rune('a'+i)))) }()
	}
	made := 0
	for range cap(errs) {
		if err := <-errs; err == nil {
			made++
		} else {
			wantCode(t, err, cybervault.CodeConflict)
		}
	}
	if made == 0 {
		t.Error("none of several was made")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantCode(t, s.Snapshot(t.Context(), filepath.Join(dir, "closed.db")), cybervault.CodeUnavailable)
}

func TestPostgresSnapshotSaysWhatToUse(t *testing.T) {
	t.Parallel()
	s := open(t, postgresConfig(t))
	wantCode(t, s.Snapshot(t.Context(), filepath.Join(t.TempDir(), "copy.db")), cybervault.CodeConflict)
}

func TestDamagedCopyIsFound(t *testing.T) {
	t.Parallel()
	cfg := sqliteConfig(t)
	s, _ := filled(t, cfg)
	path := filepath.Join(t.TempDir(), "copy.db")
	if err := s.Snapshot(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	damaged := append([]byte{}, whole...)
	for i := len(damaged) / 2 &^ 4095; i < len(damaged)/2&^4095+64<<10; i++ {
		damaged[i] ^= 0xff
	}
	other := filepath.Join(t.TempDir(), "damaged.db")
	for name, bytes := range map[string][]byte{"changed": damaged, "cut off": whole[:len(whole)-8192], "empty": nil, "no database": []byte("hello")} {
		if err := os.WriteFile(other, bytes, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := store.InspectCopy(t.Context(), other, true); err == nil {
			t.Errorf("a copy that is %s was taken for a whole one", name)
		}
	}
}

// The numbers of a restored database go on where the old server cannot have been.
func TestRestoredNumbers(t *testing.T) {
	t.Parallel()
	cfg := sqliteConfig(t)
	s, x := filled(t, cfg)
	quiet := *x.w
	quiet.ID = cybervault.NewID[cybervault.WebhookID](x.ids)
	quiet.Status = cybervault.WebhookEnabled
	if err := s.SaveWebhook(t.Context(), &quiet); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "copy.db")
	if err := s.Snapshot(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	taken := time.Now()
	disabled, err := store.PrepareRestored(t.Context(), path, taken, taken.Add(time.Hour), true)
	if err != nil || disabled != 1 {
		t.Fatalf("%d webhooks disabled, %v", disabled, err)
	}
	restored := open(t, store.Config{Path: path, Key: cfg.Key})
	page, err := restored.Sequence(t.Context(), x.ws, x.w.ID, 1, 200)
	if err != nil || len(page.Rows) != 100 {
		t.Errorf("%d numbers of before are found, %v", len(page.Rows), err)
	}
	x.s = restored
	first := x.mustPublish()
	d, err := restored.Delivery(t.Context(), x.ws, first.Deliveries[0].ID)
	if err != nil || d.Sequence != 37_000_001 { // 100 and 10,000 a second for an hour, rounded up
		t.Errorf("the first number is %v, %v", d, err)
	}
	x.w = &quiet
	d, err = restored.Delivery(t.Context(), x.ws, x.mustPublish().Deliveries[0].ID)
	if err != nil || d.Sequence != 37_000_001 {
		t.Errorf("the first number of a webhook that had none is %v, %v", d, err)
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	t.Parallel()
	cfg := sqliteConfig(t)
	if err := open(t, cfg).Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", cfg.Path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), "INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, 1)"); err != nil {
		t.Fatal(err)
	}
	_ = db.Close()
	_, err = store.InspectCopy(t.Context(), cfg.Path, false)
	wantCode(t, err, cybervault.CodeInvalid)
}
