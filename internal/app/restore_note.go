package app

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/backup"
)

// A restore that moves a database aside leaves the directory without one for a
// moment. A note beside it tells whoever comes after a kill in that moment: a
// server would find nothing there, and begin anew with an empty store.

// noteSuffix names the note, which holds the name of what was moved aside.
const noteSuffix = ".restoring"

func noteRestore(path, aside string) error {
	note := path + noteSuffix
	if err := os.WriteFile(note, []byte(filepath.Base(aside)+"\n"), 0o600); err != nil {
		return fmt.Errorf("note that the database is moved aside: %w", err)
	}
	if err := syncFile(note); err != nil {
		return err
	}
	return backup.SyncDir(filepath.Dir(path))
}

// halfRestored tells where the database is that a restore has moved aside without
// putting another in its place; "": there was no such restore. The database's own
// file is the first that goes and the last that comes, so while it is there the
// directory is whole.
func halfRestored(path string) (aside string, err error) {
	note, err := os.ReadFile(path + noteSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("look whether a restore was broken off: %w", err)
	}
	switch _, err := os.Lstat(path); {
	case err == nil:
		return "", nil
	case !errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("look at the data directory: %w", err)
	}
	name := strings.TrimSpace(string(note))
	if name == "" || name != filepath.Base(name) { // killed while it was written: nothing had been moved
		return "", cybervault.Invalid("data", "%s holds no file name: if there is no database beside it to bring back, remove it", path+noteSuffix)
	}
	return filepath.Join(filepath.Dir(path), name), nil
}

// checkRestored refuses a directory in which a restore was broken off, and removes
// the note of one that was not.
func checkRestored(path string) error {
	aside, err := halfRestored(path)
	if err != nil {
		return err
	}
	if aside != "" {
		return cybervault.Invalid("data", "a restore was broken off before the restored database was in its place: run 'cybervault restore' again, "+
			"or bring the old one back by renaming %[1]s, and %[1]s-wal if it is there, to %[2]s", aside, path)
	}
	if err := os.Remove(path + noteSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the note of a restore: %w", err)
	}
	return nil
}
