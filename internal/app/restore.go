package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/backup"
	"github.com/cybervault/cybervault/internal/config"
	"github.com/cybervault/cybervault/internal/store"
)

// RestoreOptions say how a backup is put back.
type RestoreOptions struct {
	Paused bool // disable every webhook, so that nothing is sent
	Force  bool // move a database that is there aside
	Now    time.Time
}

// Restored is what a restore did.
type Restored struct {
	Manifest   *backup.Manifest
	Disabled   int64  // webhooks, with Paused
	Aside      string // where the database that was there is now; "": there was none
	KeyMissing string // where the key file must be put before the start; "": it is there
}

// Restore makes the data directory hold what a backup does. Until the last step
// the directory is as it was before.
func Restore(ctx context.Context, cfg config.Config, r io.Reader, o RestoreOptions) (done Restored, err error) {
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return done, fmt.Errorf("make the data directory: %w", err)
	}
	path := filepath.Join(cfg.DataDir, DatabaseFile)
	unlock, err := store.LockDatabase(path)
	if err != nil {
		return done, err
	}
	defer unlock()
	there, err := databaseFiles(path)
	if err != nil {
		return done, err
	}
	left, err := halfRestored(path)
	if err != nil {
		return done, err
	}
	if len(there) > 0 && left == "" && !o.Force {
		return done, cybervault.Invalid("data", "%s is there already: choose a fresh directory, or give --force, which moves it aside", there[0])
	}
	dir, err := os.MkdirTemp(cfg.DataDir, restorePattern)
	if err != nil {
		return done, fmt.Errorf("make room to unpack the backup: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	fresh := filepath.Join(dir, DatabaseFile)
	keys := restoredKey{path: cfg.KeyFile()}
	m, key, err := unpack(ctx, r, fresh, keys.check)
	if err != nil {
		return done, err
	}
	done.Manifest = m
	if done.Disabled, err = store.PrepareRestored(ctx, fresh, m.CreatedAt, o.Now, o.Paused); err != nil {
		return done, err
	}
	if err := syncFile(fresh); err != nil {
		return done, err
	}
	if done.KeyMissing, err = keys.put(m, key); err != nil {
		return done, err
	}
	if done.Aside, err = moveAside(there, path, o.Now); err != nil {
		return done, err
	}
	if err := os.Rename(fresh, path); err != nil {
		return done, fmt.Errorf("put the database in its place: %w", err)
	}
	if err := backup.SyncDir(cfg.DataDir); err != nil {
		return done, err
	}
	return done, checkRestored(path)
}

// databaseFiles lists the files of a database that exist: a write-ahead log that
// was left alone would be taken for the restored one's.
func databaseFiles(path string) (found []string, err error) {
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
		switch _, err := os.Lstat(path + suffix); {
		case err == nil:
			found = append(found, path+suffix)
		case !errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("look at the data directory: %w", err)
		}
	}
	return found, nil
}

// moveAside moves the files of a database to a name that nothing has, and leaves a
// note of it for as long as the new one is not in its place.
func moveAside(files []string, path string, now time.Time) (aside string, err error) {
	left, err := halfRestored(path)
	if err != nil {
		return "", err
	}
	switch {
	case left != "": // by a restore that was broken off: what is there belongs to it
		aside = left
	case len(files) == 0:
		return "", nil
	default:
		if aside, err = freeName(path + ".replaced-" + now.UTC().Format("20060102T150405Z")); err != nil {
			return "", err
		}
		if err := noteRestore(path, aside); err != nil {
			return "", err
		}
	}
	// The log goes last: until then a database without it would be opened.
	for _, file := range files {
		if err := os.Rename(file, aside+file[len(path):]); err != nil {
			return "", fmt.Errorf("move the database that is there aside: %w", err)
		}
	}
	return aside, nil
}

// freeName is a name that no file of a database has: two restores may fall into one
// second.
func freeName(name string) (string, error) {
	for n, free := 2, name; ; n++ {
		taken, err := databaseFiles(free)
		if err != nil || len(taken) == 0 {
			return free, err
		}
		free = fmt.Sprintf("%s-%d", name, n)
	}
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err == nil {
		err = errors.Join(f.Sync(), f.Close())
	}
	if err != nil {
		return fmt.Errorf("make the database durable: %w", err)
	}
	return nil
}

// restoredKey sees to it that the restored database meets its own key.
type restoredKey struct {
	path  string
	there bool
}

// check refuses a backup whose key is not the one that is there.
func (k *restoredKey) check(m *backup.Manifest) error {
	key, err := readKey(k.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	k.there = true
	if found := store.KeyFingerprint(key); m.Key.Fingerprint != "" && found != m.Key.Fingerprint {
		return cybervault.Invalid("secret-key-file", "%s holds the key with fingerprint %s, and the secrets in this backup are sealed with %s: put that one there, or name its file",
			k.path, found, m.Key.Fingerprint)
	}
	return nil
}

// put writes the key that the backup brought, and reports where one is missing.
func (k *restoredKey) put(m *backup.Manifest, content []byte) (missing string, err error) {
	switch {
	case k.there:
		return "", nil
	case content == nil:
		return k.path, nil
	}
	key, err := decodeKey(content)
	if err != nil || store.KeyFingerprint(key) != m.Key.Fingerprint {
		return "", cybervault.Errorf(cybervault.CodeInvalid, "the backup is damaged: the key in it is not the one that its manifest names")
	}
	return "", storeKey(k.path, key)
}
