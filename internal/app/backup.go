package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/api"
	"github.com/cybervault/cybervault/internal/backup"
	"github.com/cybervault/cybervault/internal/config"
	"github.com/cybervault/cybervault/internal/store"
)

// copyPattern names the directories in which a server copies its database, next
// to that, and restorePattern those in which a backup is unpacked. They are removed
// with the work, or at the next start.
const (
	copyPattern    = ".backup-*"
	restorePattern = ".restore-*"
)

// backups makes backups of a running server's store for the API.
type backups struct {
	store       *store.Store
	dir         string
	workspace   cybervault.WorkspaceID
	version     string
	fingerprint string // of the key; the key itself never goes through the API
	now         func() time.Time
}

// Backup makes one. It holds every workspace's data, so it is the first one's to
// ask for.
func (b *backups) Backup(ctx context.Context, ws cybervault.WorkspaceID) (api.Backup, error) {
	if ws != b.workspace {
		return nil, cybervault.Errorf(cybervault.CodeForbidden, "a backup holds the data of every workspace: ask with an admin key of the first one")
	}
	if err := b.store.CheckSnapshot(ctx); err != nil {
		return nil, err
	}
	return takeCopy(ctx, b.dir, b.now(), b.version, b.fingerprint, nil, b.store.Snapshot)
}

// removeCopies removes what was left behind by whoever was killed.
func removeCopies(dir string) {
	for _, pattern := range []string{copyPattern, restorePattern} {
		left, err := filepath.Glob(filepath.Join(escapeGlob(dir), pattern))
		if err != nil {
			return // the patterns are fixed
		}
		for _, path := range left {
			_ = os.RemoveAll(path) // it only costs room
		}
	}
}

// escapeGlob takes the meaning from what has one in a pattern.
func escapeGlob(path string) string {
	out := make([]rune, 0, len(path))
	for _, r := range path {
		switch r {
		case '*', '?', '[':
			out = append(out, '[', r, ']')
		default:
			out = append(out, r)
		}
	}
	return string(out)
}

// taken is a copy of a database, measured and ready to be written as a backup.
type taken struct {
	dir      string
	file     *os.File
	manifest backup.Manifest
	key      []byte // nil: not in the backup
}

// takeCopy has a database copied into a new directory below dir. The caller
// closes what it returns, which removes the directory.
func takeCopy(ctx context.Context, dir string, now time.Time, version, fingerprint string, key []byte, snapshot func(ctx context.Context, path string) error) (_ *taken, err error) {
	t := &taken{key: key}
	if t.dir, err = os.MkdirTemp(dir, copyPattern); err != nil { // mode 0700
		return nil, fmt.Errorf("make room for the copy of the database: %w", err)
	}
	defer func() {
		if err != nil {
			_ = t.Close()
		}
	}()
	path := filepath.Join(t.dir, DatabaseFile)
	if err := snapshot(ctx, path); err != nil {
		return nil, err
	}
	info, err := store.InspectCopy(ctx, path, false)
	if err != nil {
		return nil, err
	}
	t.manifest = backup.Manifest{
		CreatedAt: now.UTC().Truncate(time.Microsecond), Program: version, Schema: info.Schema, Workspace: info.Workspace.String(), Counts: countsOf(info),
		LastChange: backup.Change{Transaction: info.LastChange.Transaction, Mark: info.LastChange.Mark}, Key: backup.Key{Fingerprint: fingerprint},
	}
	if t.file, err = os.Open(path); err != nil {
		return nil, fmt.Errorf("read the copy of the database: %w", err)
	}
	return t, t.manifest.Measure(ctx, t.file)
}

func countsOf(info store.CopyInfo) backup.Counts {
	return backup.Counts{Events: info.Events, Deliveries: info.Deliveries, Pending: info.Pending, Webhooks: info.Webhooks, APIKeys: info.APIKeys}
}

// Write writes the backup.
func (t *taken) Write(ctx context.Context, w io.Writer) error {
	if _, err := t.file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read the copy of the database: %w", err)
	}
	return backup.Write(ctx, w, &t.manifest, t.key, t.file)
}

// CreatedAt says from when it is.
func (t *taken) CreatedAt() time.Time { return t.manifest.CreatedAt }

// Close removes the copy.
func (t *taken) Close() error {
	var err error
	if t.file != nil {
		err = t.file.Close()
	}
	return errors.Join(err, os.RemoveAll(t.dir))
}

// BackupDirectory writes a backup of the embedded store in the data directory,
// with no word to the server that may have it open. The copy is made below temp.
func BackupDirectory(ctx context.Context, cfg config.Config, version, temp string, includeKey bool, w io.Writer) error {
	key, err := readKey(cfg.KeyFile())
	if includeKey && err != nil {
		return err
	}
	fingerprint, content := "", []byte(nil)
	if err == nil {
		fingerprint = store.KeyFingerprint(key)
	}
	if includeKey {
		content = encodeKey(key)
	}
	from := filepath.Join(cfg.DataDir, DatabaseFile)
	if _, err := os.Stat(from); err != nil {
		return cybervault.Invalid("data", "there is no database %s: name the data directory of an embedded store", from)
	}
	t, err := takeCopy(ctx, temp, time.Now(), version, fingerprint, content, func(ctx context.Context, path string) error { return store.CopyDatabase(ctx, from, path) })
	if err != nil {
		return err
	}
	return errors.Join(t.Write(ctx, w), t.Close())
}

// VerifyBackup reads a backup whole: every byte of it, the database's own
// structure, and its rows. It is unpacked below temp for that.
func VerifyBackup(ctx context.Context, r io.Reader, temp string) (*backup.Manifest, error) {
	dir, err := os.MkdirTemp(temp, ".cybervault-verify-*") // mode 0700
	if err != nil {
		return nil, fmt.Errorf("make room to unpack the backup: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	m, _, err := unpack(ctx, r, filepath.Join(dir, DatabaseFile), nil)
	return m, err
}

// unpack writes the database of a backup to a new file, and checks it.
func unpack(ctx context.Context, r io.Reader, path string, accept func(*backup.Manifest) error) (m *backup.Manifest, key []byte, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("make room to unpack the backup: %w", err)
	}
	m, key, err = backup.Read(ctx, r, func(m *backup.Manifest) error {
		if known := store.Schema(); m.Schema > known {
			return cybervault.Errorf(cybervault.CodeInvalid, "the backup has schema version %d, this program knows %d: use CyberVault %s, which made it, or a newer one",
				m.Schema, known, m.Program)
		}
		if accept != nil {
			return accept(m)
		}
		return nil
	}, f)
	if err = errors.Join(err, f.Close()); err != nil {
		return m, nil, err
	}
	info, err := store.InspectCopy(ctx, path, true)
	if err != nil {
		return m, nil, err
	}
	if info.Schema != m.Schema || countsOf(info) != m.Counts || info.Workspace.String() != m.Workspace ||
		info.LastChange.Transaction != m.LastChange.Transaction || info.LastChange.Mark != m.LastChange.Mark {
		return m, nil, cybervault.Errorf(cybervault.CodeInvalid, "the backup is damaged: its database does not hold what its manifest says")
	}
	return m, key, nil
}
