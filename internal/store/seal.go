package store

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/cybervault/cybervault"
)

// KeySize is the length of the key that seals secrets, in bytes.
const KeySize = 32

// KeyFingerprint tells one key from another without telling the key: the key is
// random, so its digest says nothing about it.
func KeyFingerprint(key []byte) string {
	sum := sha256.Sum256(append([]byte("cybervault sealing key\x00"), key...))
	return hex.EncodeToString(sum[:8])
}

// sealer encrypts what must not be readable in a copy of the database, with
// AES-256-GCM (NIST SP 800-38D) under a random 96-bit nonce. The id of the row
// is authenticated with it, so that a sealed value cannot be moved to another.
type sealer struct {
	aead cipher.AEAD
	key  []byte
}

func newSealer(key []byte) (*sealer, error) {
	if len(key) != KeySize {
		return nil, cybervault.Invalid("secret-key-file", "holds a key of %d bytes; it must be %d random bytes", len(key), KeySize)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("use the sealing key: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("use the sealing key: %w", err)
	}
	return &sealer{aead: aead, key: slices.Clone(key)}, nil
}

// mark is what a value can be recognised by, and not guessed from, without the key:
// HMAC-SHA256 under a key that follows from it.
func (s *sealer) mark(value []byte) []byte {
	inner := sha256.Sum256(append([]byte("cybervault mark\x00"), s.key...))
	h := hmac.New(sha256.New, inner[:])
	h.Write(value)
	return h.Sum(nil)
}

// sealFormat starts every sealed value, so that the format can change.
const sealFormat = 1

func (s *sealer) seal(id string, value any) ([]byte, error) {
	plain, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	out := make([]byte, 1+s.aead.NonceSize(), 1+s.aead.NonceSize()+len(plain)+s.aead.Overhead())
	out[0] = sealFormat
	_, _ = rand.Read(out[1:]) // never fails: crypto/rand ends the program instead
	return s.aead.Seal(out, out[1:], plain, []byte(id)), nil
}

func (s *sealer) open(id string, sealed []byte, value any) error {
	n := 1 + s.aead.NonceSize()
	if len(sealed) < n || sealed[0] != sealFormat {
		return fmt.Errorf("the sealed part of %s is damaged or of an unknown format", id)
	}
	plain, err := s.aead.Open(nil, sealed[1:n], sealed[n:], []byte(id))
	if err != nil {
		return &cybervault.Error{
			Code: cybervault.CodeInvalid, Field: "secret-key-file",
			Message: "does not open the secrets of " + id + ": give the key file they were sealed with", Err: err,
		}
	}
	if err := json.Unmarshal(plain, value); err != nil {
		return fmt.Errorf("the sealed part of %s: %w", id, err)
	}
	return nil
}
