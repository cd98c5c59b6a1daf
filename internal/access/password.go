package access

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"runtime"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"github.com/cybervault/cybervault"
)

// Limits on passwords, after NIST SP 800-63B-4: long rather than complicated.
const (
	MinPasswordRunes = 12
	MaxPasswordBytes = 256
	minDistinctRunes = 5
)

// The cost of a password's hash: what OWASP's cheat sheet gives as the least for
// Argon2id (RFC 9106), which two cores do some 50 times a second.
const (
	argonTime    = 2
	argonMemory  = 19 << 10 // KiB
	argonThreads = 1
	argonSalt    = 16
	argonKey     = 32
)

// hasher bounds how many hashes are made at once: each takes 19 MiB and a core.
type hasher struct{ places chan struct{} }

func newHasher() *hasher { return &hasher{places: make(chan struct{}, runtime.GOMAXPROCS(0))} }

func (h *hasher) derive(ctx context.Context, password string, salt []byte, time, memory uint32, threads uint8, length uint32) ([]byte, error) {
	select {
	case h.places <- struct{}{}:
		defer func() { <-h.places }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return argon2.IDKey([]byte(password), salt, time, memory, threads, length), nil
}

// hash makes the PHC string of a password.
func (h *hasher) hash(ctx context.Context, password string) (string, error) {
	salt := make([]byte, argonSalt)
	_, _ = rand.Read(salt) // never fails: crypto/rand ends the program instead
	key, err := h.derive(ctx, password, salt, argonTime, argonMemory, argonThreads, argonKey)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonTime, argonThreads,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(key)), nil
}

// matches reports whether the password is the one that was hashed. With no hash, for
// somebody who has no password or does not exist, it takes as long and says no.
func (h *hasher) matches(ctx context.Context, hashed, password string) (bool, error) {
	var version int
	var memory, time uint32
	var threads uint8
	salt, want := make([]byte, argonSalt), make([]byte, argonKey)
	known := false
	if parts := strings.Split(hashed, "$"); len(parts) == 6 && parts[1] == "argon2id" {
		_, err := fmt.Sscanf(parts[2]+" "+parts[3], "v=%d m=%d,t=%d,p=%d", &version, &memory, &time, &threads)
		decodedSalt, err2 := base64.RawStdEncoding.Strict().DecodeString(parts[4])
		decodedKey, err3 := base64.RawStdEncoding.Strict().DecodeString(parts[5])
		if err == nil && err2 == nil && err3 == nil && version == argon2.Version && time > 0 && threads > 0 && len(decodedKey) > 0 {
			known, salt, want = true, decodedSalt, decodedKey
		}
	}
	if !known {
		memory, time, threads = argonMemory, argonTime, argonThreads
	}
	got, err := h.derive(ctx, password, salt, time, memory, threads, uint32(len(want)))
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(got, want) == 1 && known, nil
}

// checkPassword refuses a password that is easily guessed.
func checkPassword(password, email string) error {
	lower := strings.ToLower(password)
	name, _, _ := strings.Cut(strings.ToLower(email), "@")
	distinct := map[rune]bool{}
	for _, r := range lower {
		distinct[r] = true
	}
	switch {
	case utf8.RuneCountInString(password) < MinPasswordRunes:
		return cybervault.Invalid("password", "has fewer than %d characters: a few words with spaces between do well", MinPasswordRunes)
	case len(password) > MaxPasswordBytes:
		return cybervault.Invalid("password", "has more than %d bytes", MaxPasswordBytes)
	case !utf8.ValidString(password) || strings.ContainsFunc(password, unicode.IsControl):
		return cybervault.Invalid("password", "holds a control character")
	case len(distinct) < minDistinctRunes:
		return cybervault.Invalid("password", "repeats the same few characters: use at least %d different ones", minDistinctRunes)
	case len(name) > 3 && strings.Contains(lower, name), strings.Contains(lower, "cybervault"), strings.Contains(lower, "password"), strings.Contains(lower, "123456"):
		return cybervault.Invalid("password", "holds your name, this product's, \"password\" or a row of digits, which are tried first")
	}
	return nil
}
