package app_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/app"
	"github.com/cybervault/cybervault/internal/backup"
	"github.com/cybervault/cybervault/internal/config"
	"github.com/cybervault/cybervault/internal/store"
)

// settingsFor are those of a server with a directory of its own.
func settingsFor(t *testing.T) config.Config {
	t.Helper()
	cfg := config.Default()
	cfg.Listen, cfg.DataDir = "127.0.0.1:0", filepath.Join(t.TempDir(), "data [1]*?")
	return cfg
}

// startAndStop runs a server once, so that its directory has a store and a key.
func startAndStop(t *testing.T, cfg config.Config) error {
	t.Helper()
	a, err := app.New(t.Context(), cfg, slog.New(slog.DiscardHandler), "1.2.3")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	// Waits in the listener's queue until the server serves.
	resp, err := http.Get("http://" + a.Address() + "/healthz")
	if err != nil {
		t.Error(err)
	} else {
		resp.Body.Close()
	}
	cancel()
	return <-ended
}

// backedUp is a directory that a server has used, and a backup of it.
func backedUp(t *testing.T, includeKey bool) (cfg config.Config, archive []byte) {
	t.Helper()
	cfg = settingsFor(t)
	if err := startAndStop(t, cfg); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := app.BackupDirectory(t.Context(), cfg, "1.2.3", t.TempDir(), includeKey, &out); err != nil {
		t.Fatal(err)
	}
	return cfg, out.Bytes()
}

func restore(t *testing.T, cfg config.Config, archive []byte, force bool) (app.Restored, error) {
	t.Helper()
	return app.Restore(t.Context(), cfg, bytes.NewReader(archive), app.RestoreOptions{Now: time.Now(), Force: force})
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRestoreWithItsKey(t *testing.T) {
	t.Parallel()
	old, archive := backedUp(t, true)
	cfg := settingsFor(t)
	done, err := restore(t, cfg, archive, false)
	if err != nil || done.KeyMissing != "" || done.Aside != "" {
		t.Fatalf("restored %+v, %v", done, err)
	}
	if !bytes.Equal(readFile(t, cfg.KeyFile()), readFile(t, old.KeyFile())) {
		t.Error("the key is another")
	}
	if info, err := os.Stat(cfg.KeyFile()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key file is %v, %v", info, err)
	}
	if err := startAndStop(t, cfg); err != nil {
		t.Errorf("the restored server: %v", err)
	}
	m, err := app.VerifyBackup(t.Context(), bytes.NewReader(archive), t.TempDir())
	if err != nil || m.Program != "1.2.3" || m.Counts.APIKeys != 0 || m.Workspace == "" {
		t.Errorf("the backup is %+v, %v", m, err)
	}
}

func TestRestoreAsksForItsKey(t *testing.T) {
	t.Parallel()
	old, archive := backedUp(t, false)
	if key := bytes.TrimSpace(readFile(t, old.KeyFile())); bytes.Contains(archive, key) {
		t.Error("the key is in a backup that was made without it")
	}
	cfg := settingsFor(t)
	done, err := restore(t, cfg, archive, false)
	if err != nil || done.KeyMissing != cfg.KeyFile() {
		t.Fatalf("restored %+v, %v", done, err)
	}
	// A key of its own making would open nothing: it does not make one.
	if err := startAndStop(t, cfg); err == nil || !strings.Contains(err.Error(), "put its key file back") {
		t.Errorf("started without the key: %v", err)
	}
	if _, err := os.Stat(cfg.KeyFile()); err == nil {
		t.Error("a key was made")
	}
	// Another one is refused, and nothing is touched.
	other := settingsFor(t)
	if err := startAndStop(t, other); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(other.DataDir, app.DatabaseFile)); err != nil {
		t.Fatal(err)
	}
	_, err = restore(t, other, archive, true)
	if cybervault.ErrorCode(err) != cybervault.CodeInvalid || !strings.Contains(err.Error(), "the key with fingerprint") {
		t.Errorf("restored beside another key: %v", err)
	}
	if _, err := os.Stat(filepath.Join(other.DataDir, app.DatabaseFile)); err == nil {
		t.Error("a database was put beside another key")
	}
	// One that is named, or there already, is taken.
	named := settingsFor(t)
	named.SecretKeyFile = old.KeyFile()
	if done, err := restore(t, named, archive, false); err != nil || done.KeyMissing != "" {
		t.Errorf("restored with the key named: %+v, %v", done, err)
	}
}

func TestRestoreReplacesNothing(t *testing.T) {
	t.Parallel()
	old, archive := backedUp(t, true)
	database := filepath.Join(old.DataDir, app.DatabaseFile)
	before := readFile(t, database)
	if _, err := restore(t, old, archive, false); cybervault.ErrorCode(err) != cybervault.CodeInvalid || !strings.Contains(err.Error(), "--force") {
		t.Errorf("restored over a database: %v", err)
	}
	// A log that was left alone would be taken for the restored database's.
	if err := os.WriteFile(database+"-wal", []byte("a log"), 0o600); err != nil {
		t.Fatal(err)
	}
	done, err := restore(t, old, archive, true)
	if err != nil || done.Aside == "" {
		t.Fatalf("restored %+v, %v", done, err)
	}
	if !bytes.Equal(readFile(t, done.Aside), before) || string(readFile(t, done.Aside+"-wal")) != "a log" {
		t.Error("what was there was not moved aside")
	}
	if _, err := os.Stat(database + "-wal"); err == nil {
		t.Error("the old log lies beside the restored database")
	}
	unlock, err := store.LockDatabase(database)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if _, err := restore(t, old, archive, true); err == nil || !strings.Contains(err.Error(), "another CyberVault server") {
		t.Errorf("restored under a server: %v", err)
	}
}

// A backup that is damaged anywhere leaves the directory as it was.
func TestDamagedBackupIsNotRestored(t *testing.T) {
	t.Parallel()
	_, archive := backedUp(t, true)
	cfg := settingsFor(t)
	refused := func(what string, bad []byte) {
		t.Helper()
		if _, err := restore(t, cfg, bad, false); cybervault.ErrorCode(err) != cybervault.CodeInvalid || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("%s: %v", what, err)
		}
	}
	for i := 0; i < len(archive); i += max(1, len(archive)/50) {
		bad := bytes.Clone(archive)
		bad[i] ^= 4
		refused("a changed byte", bad)
		refused("cut off", archive[:i])
	}
	refused("longer", append(bytes.Clone(archive), "more"...))
	left, err := os.ReadDir(cfg.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range left {
		if !strings.HasSuffix(file.Name(), ".lock") {
			t.Errorf("left behind: %s", file.Name())
		}
	}
}

// remade is a backup with another database or manifest, and all digests right.
func remade(t *testing.T, archive []byte, change func(m *backup.Manifest, database []byte) []byte) []byte {
	t.Helper()
	var database, out bytes.Buffer
	m, key, err := backup.Read(t.Context(), bytes.NewReader(archive), nil, &database)
	if err != nil {
		t.Fatal(err)
	}
	content := change(m, database.Bytes())
	if err := m.Measure(t.Context(), bytes.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	if err := backup.Write(t.Context(), &out, m, key, bytes.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestBackupThatIsNotWhatItSays(t *testing.T) {
	t.Parallel()
	_, archive := backedUp(t, true)
	for want, change := range map[string]func(*backup.Manifest, []byte) []byte{
		"a newer one":          func(m *backup.Manifest, b []byte) []byte { m.Schema = 999; return b },
		"what its manifest":    func(m *backup.Manifest, b []byte) []byte { m.Counts.Events++; return b },
		"the key in it is not": func(m *backup.Manifest, b []byte) []byte { m.Key.Fingerprint = "0000000000000000"; return b },
		"the copy of the":      func(_ *backup.Manifest, b []byte) []byte { return b[:len(b)-4096] },
	} {
		_, err := restore(t, settingsFor(t), remade(t, archive, change), false)
		if cybervault.ErrorCode(err) != cybervault.CodeInvalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestServerRemovesWhatAKilledOneLeft(t *testing.T) {
	t.Parallel()
	cfg := settingsFor(t)
	for _, name := range []string{".backup-123", ".restore-456"} {
		left := filepath.Join(cfg.DataDir, name)
		if err := os.MkdirAll(left, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(left, app.DatabaseFile), []byte("a copy"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := startAndStop(t, cfg); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(cfg.DataDir); err != nil || slices.ContainsFunc(left, os.DirEntry.IsDir) {
		t.Errorf("the copies are still there: %v, %v", left, err)
	}
}
