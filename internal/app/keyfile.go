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
// makes it when the file does not exist. It is not made beside a database that
// exists, whose secrets it could not open: that one's own is lost or elsewhere.
func loadKey(path, database string) ([]byte, error) {
	key, err := readKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if _, err := os.Stat(database); err == nil {
		return nil, cybervault.Invalid("secret-key-file", "%s does not exist, and %s was used with a key already: put its key file back (a backup names the key's fingerprint). "+
			"If the key is lost, so are the webhooks' secrets: move the database away to begin anew", path, database)
	}
	return makeKey(path)
}

// readKey reads the key. One that others can read is refused.
func readKey(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the key that seals secrets: %w", err)
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 {
		return nil, cybervault.Invalid("secret-key-file", "%s can be read by others: run chmod 600 on it", path)
	}
	key, err := decodeKey(text)
	if err != nil {
		return nil, cybervault.Invalid("secret-key-file", "%s does not hold the base64 of %d bytes: restore the file the secrets were sealed with", path, store.KeySize)
	}
	return key, nil
}

var errNoKey = errors.New("this is no key")

func decodeKey(text []byte) ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(text)))
	if err != nil || len(key) != store.KeySize {
		return nil, errNoKey
	}
	return key, nil
}

func encodeKey(key []byte) []byte {
	return []byte(base64.StdEncoding.EncodeToString(key) + "\n")
}

// makeKey makes a new key, or reads the one that another start just made.
func makeKey(path string) ([]byte, error) {
	key := make([]byte, store.KeySize)
	_, _ = rand.Read(key) // never fails: crypto/rand ends the program instead
	if err := storeKey(path, key); errors.Is(err, fs.ErrExist) {
		return readKey(path)
	} else if err != nil {
		return nil, err
	}
	return key, nil
}

// storeKey writes a key so that a crash leaves either all of it or nothing, and
// never over another: then the error is fs.ErrExist.
func storeKey(path string, key []byte) error {
	if err := store.MakeDirectory(filepath.Dir(path)); err != nil {
		return fmt.Errorf("make the directory of the key that seals secrets: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".secret.key-*") // mode 0600
	if err != nil {
		return fmt.Errorf("make the key that seals secrets: %w", err)
	}
	_, err = f.Write(encodeKey(key))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		// Link, unlike rename, never replaces a key that is there.
		err = os.Link(f.Name(), path)
	}
	_ = os.Remove(f.Name())
	store.SyncDirectory(filepath.Dir(path)) // before anything is sealed with it
	if err != nil {
		return fmt.Errorf("make the key that seals secrets: %w", err)
	}
	return nil
}
