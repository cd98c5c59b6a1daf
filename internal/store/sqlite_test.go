package store_test

import (
	"bytes"
	"context"
	"database/sql"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/store"
	"github.com/cybervault/cybervault/internal/store/storetest"
)

func TestSQLite(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t testing.TB) store.Config {
		t.Helper()
		return store.Config{Path: filepath.Join(t.TempDir(), "data ä%?#", "cybervault.db")}
	})
}

func sqliteConfig(t testing.TB) store.Config {
	t.Helper()
	return store.Config{Path: filepath.Join(t.TempDir(), "cybervault.db"), Key: make([]byte, store.KeySize)}
}

func open(t testing.TB, cfg store.Config) *store.Store {
	t.Helper()
	s, err := store.Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// source is what puts things into a store.
type source struct {
	*testing.T

	s   *store.Store
	ids *cybervault.IDSource
	ws  cybervault.WorkspaceID
	w   *cybervault.Webhook
}

func newSource(t *testing.T, s *store.Store) *source {
	t.Helper()
	x := &source{T: t, s: s, ids: cybervault.NewIDSource(1, 0, time.Now)}
	var err error
	if x.ws, err = s.Workspace(t.Context(), cybervault.NewID[cybervault.WorkspaceID](x.ids), "first"); err != nil {
		t.Fatal(err)
	}
	x.w = &cybervault.Webhook{
		ID: cybervault.NewID[cybervault.WebhookID](x.ids), Workspace: x.ws, URL: "https://receiver.test/in",
		Events: []string{"*"}, Secrets: []cybervault.Secret{cybervault.NewSecret(time.Now())},
		Headers: []cybervault.Header{{Name: "Authorization", Value: "Bearer correct-horse-battery-staple"}},
	}
	if err := s.SaveWebhook(t.Context(), x.w); err != nil {
		t.Fatal(err)
	}
	return x
}

// publish publishes an event with a body of so many bytes and a leased delivery.
func (x *source) publish(size int) (*cybervault.Publication, error) {
	run := x.ids.NextRun(2)
	pub := &cybervault.Publication{
		Event: &cybervault.Event{
			ID: cybervault.EventID{UUID: run[0]}, Workspace: x.ws, Type: cybervault.EventThreatDetected,
			Timestamp: time.Now(), Body: bytes.Repeat([]byte("x"), size),
		},
		Deliveries: []cybervault.NewDelivery{{
			ID: cybervault.DeliveryID{UUID: run[1]}, Webhook: x.w.ID, Status: cybervault.DeliveryPending,
			Lease: cybervault.Lease{Token: run[1].Key(), Until: time.Now().Add(time.Hour)},
		}},
	}
	_, errs := x.s.Publish(context.Background(), []*cybervault.Publication{pub})
	return pub, errs[0]
}

func (x *source) mustPublish() *cybervault.Publication {
	x.Helper()
	pub, err := x.publish(100)
	if err != nil {
		x.Fatal(err)
	}
	return pub
}

// record hands in that the publication's delivery succeeded.
func (x *source) record(pub *cybervault.Publication) <-chan error {
	x.Helper()
	d := &pub.Deliveries[0]
	done := make(chan error, 1)
	err := x.s.Record(&cybervault.Result{
		Webhook: d.Webhook, Lease: d.Lease, Status: cybervault.DeliveryDelivered,
		Attempt: &cybervault.Attempt{ID: cybervault.NewID[cybervault.AttemptID](x.ids), Delivery: d.ID, Number: 1, StartedAt: time.Now(),
			Exchange: cybervault.Exchange{Status: 200, Body: bytes.Repeat([]byte("y"), 4096)}},
	}, func(err error) { done <- err })
	if err != nil {
		x.Fatal(err)
	}
	return done
}

func (x *source) wantStored(pub *cybervault.Publication, want bool) {
	x.Helper()
	_, eventErr := x.s.Event(x.Context(), x.ws, pub.Event.ID)
	_, deliveryErr := x.s.Delivery(x.Context(), x.ws, pub.Deliveries[0].ID)
	for what, err := range map[string]error{"event": eventErr, "delivery": deliveryErr} {
		if want && err != nil {
			x.Errorf("%s of an acknowledged publication: %v", what, err)
		}
		if !want && cybervault.ErrorCode(err) != cybervault.CodeNotFound {
			x.Errorf("%s of a refused publication: %v, want none", what, err)
		}
	}
}

func wantCode(t *testing.T, err error, want cybervault.Code) {
	t.Helper()
	if got := cybervault.ErrorCode(err); got != want {
		t.Fatalf("error = %v, of code %q; want code %q", err, got, want)
	}
}

// until waits for a condition.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited a minute for: %s", what)
		}
	}
}

func TestSQLiteLeasesOfADeadProcessAreFree(t *testing.T) {
	t.Parallel()
	cfg := sqliteConfig(t)
	x := newSource(t, open(t, cfg))
	pub := x.mustPublish()
	// What a killed process leaves is the file and its log, without a Close.
	copied := cfg
	copied.Path = filepath.Join(t.TempDir(), "cybervault.db")
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(cfg.Path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(copied.Path+suffix, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, copied)
	claimed, err := s.Claim(t.Context(), cybervault.Claim{Webhook: x.w.ID, Limit: 10, Lease: cybervault.Lease{Token: 1, Until: time.Now().Add(time.Hour)}})
	if err != nil || len(claimed) != 1 || claimed[0].Delivery != pub.Deliveries[0].ID {
		t.Fatalf("claimed %v, %v; want the delivery that the dead process had leased", claimed, err)
	}
}

func TestSQLiteHasOneServer(t *testing.T) {
	t.Parallel()
	cfg := sqliteConfig(t)
	s := open(t, cfg)
	_, err := store.Open(t.Context(), cfg)
	wantCode(t, err, cybervault.CodeInvalid)
	if !strings.Contains(err.Error(), "another CyberVault server") {
		t.Errorf("error = %v, want one that speaks of another server", err)
	}
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("the first server after the second was refused: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, cfg)
}

func TestSQLiteSecretsAreNotReadable(t *testing.T) {
	t.Parallel()
	cfg := sqliteConfig(t)
	x := newSource(t, open(t, cfg))
	for _, closed := range []bool{false, true} {
		if closed {
			if err := x.s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		var all []byte
		files, err := filepath.Glob(cfg.Path + "*")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, data...)
			if info, err := os.Stat(name); err != nil || info.Mode().Perm()&0o077 != 0 && !strings.HasSuffix(name, ".lock") {
				t.Errorf("%s: mode %v, %v; others must not read it", filepath.Base(name), info.Mode(), err)
			}
		}
		if !bytes.Contains(all, []byte(x.w.URL)) {
			t.Error("the webhook's URL is not found: the search is broken")
		}
		for _, secret := range []string{strings.TrimPrefix(x.w.Secrets[0].Value, cybervault.SecretPrefix), "correct-horse-battery-staple"} {
			if bytes.Contains(all, []byte(secret)) {
				t.Errorf("%q stands in the database's files", secret)
			}
		}
	}
}

func TestSQLiteRefusesToOpen(t *testing.T) {
	t.Parallel()
	newer := sqliteConfig(t)
	_ = open(t, newer).Close()
	db, err := sql.Open("sqlite", newer.Path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	garbage, under := sqliteConfig(t), sqliteConfig(t)
	if err := os.WriteFile(garbage.Path, bytes.Repeat([]byte("no database "), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	under.Path = filepath.Join(garbage.Path, "file", "cybervault.db")
	for name, c := range map[string]struct {
		cfg  store.Config
		word string
	}{
		"a newer schema":         {newer, "schema version 9999"},
		"no database":            {garbage, "not a database"},
		"a directory that is no": {under, "directory"},
		"a directory as file":    {store.Config{Path: t.TempDir(), Key: make([]byte, store.KeySize)}, "cannot be written to"},
		"no path":                {store.Config{Key: make([]byte, store.KeySize)}, "is empty"},
	} {
		for range 2 { // a refusal leaves no lock behind
			if _, err := store.Open(t.Context(), c.cfg); err == nil || !strings.Contains(err.Error(), c.word) {
				t.Errorf("%s: error = %v, want one with %q", name, err, c.word)
			}
		}
	}
}

// readOnlyChild is set in the process that runs as somebody who may not write.
const readOnlyChild = "CYBERVAULT_TEST_READ_ONLY_FILE"

// Root may write to any file, so the test runs itself again as nobody.
func TestSQLiteReadOnlyFile(t *testing.T) {
	if path := os.Getenv(readOnlyChild); path != "" {
		_, err := store.Open(t.Context(), store.Config{Path: path, Key: make([]byte, store.KeySize)})
		wantCode(t, err, cybervault.CodeInvalid)
		if !strings.Contains(err.Error(), "cannot be written to") {
			t.Errorf("error = %v, want one that says the file cannot be written to", err)
		}
		return
	}
	t.Parallel()
	dir, err := os.MkdirTemp("", "cybervault-store-") //nolint:usetesting // the directory of t.TempDir is closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "cybervault.db")
	_ = open(t, store.Config{Path: path, Key: make([]byte, store.KeySize)}).Close()
	for name, mode := range map[string]os.FileMode{path: 0o444, path + ".lock": 0o666} {
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
	}
	self := "/proc/self/exe" // found by whoever may not look into the directory of the test binary
	if _, err := os.Stat(self); err != nil {
		if self, err = os.Executable(); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestSQLiteReadOnlyFile$", "-test.v")
	cmd.Dir, cmd.Env = "/", append(os.Environ(), readOnlyChild+"="+path, "TMPDIR="+dir)
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("--- PASS")) {
		t.Errorf("%v:\n%s", err, out)
	}
}

// fullDisk makes the disk full for x, by way of the limit on the size of a file,
// and returns what was acknowledged until then and how to make room again. The
// limit is the process's, so nothing may run beside the test.
func fullDisk(x *source) (stored []*cybervault.Publication, room func()) {
	x.Helper()
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		x.Fatal(err)
	}
	set := func(limit syscall.Rlimit) {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			x.Fatal(err)
		}
	}
	room = func() { set(before) }
	x.Cleanup(room)
	set(syscall.Rlimit{Cur: 512 << 10, Max: before.Max})
	for {
		pub, err := x.publish(50_000)
		if err == nil {
			stored = append(stored, pub)
			continue
		}
		wantCode(x.T, err, cybervault.CodeUnavailable)
		x.wantStored(pub, false)
		break
	}
	set(syscall.Rlimit{Cur: 4096, Max: before.Max}) // not even for one page
	return stored, room
}

func TestSQLiteFullDisk(t *testing.T) { //nolint:paralleltest // see fullDisk
	x := newSource(t, open(t, sqliteConfig(t)))
	leased := []*cybervault.Publication{x.mustPublish(), x.mustPublish(), x.mustPublish()}
	stored, room := fullDisk(x)
	wantCode(t, x.s.Ping(t.Context()), cybervault.CodeUnavailable)
	if !x.s.Stats().Refusing {
		t.Error("the store does not say that it refuses to write")
	}
	var results []<-chan error
	for _, pub := range leased {
		results = append(results, x.record(pub))
	}
	for range 3 { // publishers are refused while results are kept
		pub, err := x.publish(50_000)
		wantCode(t, err, cybervault.CodeUnavailable)
		x.wantStored(pub, false)
	}
	for _, done := range results {
		select {
		case err := <-done:
			t.Fatalf("a result was answered while the disk is full: %v", err)
		default:
		}
	}

	room()
	for i, done := range results {
		if err := <-done; err != nil {
			t.Errorf("result %d, once there is room again: %v", i, err)
		}
	}
	for _, pub := range leased {
		if d, err := x.s.Delivery(t.Context(), x.ws, pub.Deliveries[0].ID); err != nil || d.Status != cybervault.DeliveryDelivered {
			t.Errorf("delivery %+v, %v", d, err)
		}
	}
	until(t, "publishing works again", func() bool {
		pub, err := x.publish(50_000)
		if err == nil {
			stored = append(stored, pub)
		}
		return err == nil
	})
	for _, pub := range stored {
		x.wantStored(pub, true)
	}
	if err := x.s.Ping(t.Context()); err != nil {
		t.Errorf("ping once there is room again: %v", err)
	}
}

// Closing while the disk is full leaves nobody waiting.
func TestSQLiteClosedWhileFull(t *testing.T) { //nolint:paralleltest // see fullDisk
	x := newSource(t, open(t, sqliteConfig(t)))
	pub := x.mustPublish()
	_, room := fullDisk(x)
	done := x.record(pub)
	_ = x.s.Close() // may not be able to fold the log into the file
	wantCode(t, <-done, cybervault.CodeUnavailable)
	room()
}
