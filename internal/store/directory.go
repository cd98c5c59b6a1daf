package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// MakeDirectory makes a directory that only its owner may enter, and those above
// it that are missing, so that a power cut does not take them away again with
// what is synced inside.
func MakeDirectory(dir string) error {
	var fresh []string
	for at := filepath.Clean(dir); ; at = filepath.Dir(at) {
		if _, err := os.Stat(at); !errors.Is(err, fs.ErrNotExist) || at == filepath.Dir(at) {
			break
		}
		fresh = append(fresh, at)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, made := range fresh {
		SyncDirectory(filepath.Dir(made))
	}
	return nil
}

// SyncDirectory brings to the disk which files a directory has. Systems that
// cannot do so keep it by other means, and their refusal means nothing.
func SyncDirectory(dir string) {
	f, err := os.Open(dir)
	if err != nil {
		return
	}
	_ = f.Sync()
	_ = f.Close()
}
