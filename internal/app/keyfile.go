package app

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/store"
)

// loadKey reads the key that seals secrets at rest (base64 of 32 bytes), and
// makes it when the file does not exist. A key that others can read is refused.
func loadKey(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return makeKey(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read the key that seals secrets: %w", err)
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 {
		return nil, cybervault.Invalid("secret-key-file", "%s can be read by others: run chmod 600 on it", path)
	}
	key, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(text)))
	if err != nil || len(key) != store.KeySize {
		return nil, cybervault.Invalid("secret-key-file", "%s does not hold the base64 of %d bytes: restore the file the secrets were sealed with", path, store.KeySize)
	}
	return key, nil
}

// makeKey writes a new key so that a crash leaves either all of it or nothing.
func makeKey(path string) ([]byte, error) {
	key := make([]byte, store.KeySize)
	_, _ = rand.Read(key) // never fails: crypto/rand ends the program instead
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of the key that seals secrets: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".secret.key-*") // mode 0600
	if err != nil {
		return nil, fmt.Errorf("make the key that seals secrets: %w", err)
	}
	_, err = f.WriteString(base64.StdEncoding.EncodeToString(key) + "\n")
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		// Link, unlike rename, never replaces a key that another start just made.
		err = os.Link(f.Name(), path)
	}
	_ = os.Remove(f.Name())
	if errors.Is(err, fs.ErrExist) {
		return loadKey(path)
	}
	if err != nil {
		return nil, fmt.Errorf("make the key that seals secrets: %w", err)
	}
	return key, nil
}
