package backup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cybervault/cybervault"
)

// WriteFile makes a file whole or not at all, for its owner alone: content writes
// and checks it under another name in the same directory. One that exists is
// replaced only with force.
func WriteFile(path string, force bool, content func(*os.File) error) (err error) {
	if _, err := os.Lstat(path); err == nil && !force {
		return exists(path)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // mode 0600
	if err != nil {
		return fmt.Errorf("make %s: %w", path, err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	err = content(f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if force {
		err = os.Rename(f.Name(), path)
	} else if err = os.Link(f.Name(), path); errors.Is(err, fs.ErrExist) { // unlike rename, it replaces nothing
		return exists(path)
	}
	if err != nil {
		return fmt.Errorf("make %s: %w", path, err)
	}
	return SyncDir(filepath.Dir(path))
}

func exists(path string) error {
	return cybervault.Errorf(cybervault.CodeConflict, "%s exists already: choose another name, or replace it with --force", path)
}

// SyncDir makes what was renamed in a directory durable. Not every system can
// open one for that, and where it cannot there is nothing to do.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer func() { _ = d.Close() }()
	if err := d.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, os.ErrInvalid) {
		return fmt.Errorf("make %s durable: %w", dir, err)
	}
	return nil
}
