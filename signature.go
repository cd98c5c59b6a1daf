package cybervault

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"strings"
	"time"
)

// SignHex returns the value of X-CyberVault-Signature: the lower-case hex
// HMAC-SHA256 of body, keyed with the bytes of the secret as it is shown.
func SignHex(secret string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}

// SignStandard returns one signature of Standard Webhooks 1.0, "v1,<base64>":
// HMAC-SHA256 over "id.timestamp.body", keyed with the base64 decoding of what
// follows "whsec_". timestamp is in Unix seconds. A secret whose rest is not
// base64 is an error of CodeInvalid.
func SignStandard(secret, id string, timestamp int64, body []byte) (string, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, SecretPrefix))
	if err != nil {
		return "", Invalid("secret", "is not base64 after %q", SecretPrefix)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(signedHead(make([]byte, 0, len(id)+24), id, timestamp))
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)), nil
}

// signedHead appends what stands before the body in the signed content.
func signedHead(to []byte, id string, timestamp int64) []byte {
	to = append(append(to, id...), '.')
	return append(strconv.AppendInt(to, timestamp, 10), '.')
}

// What starts the two halves of an Ed25519 key pair in Standard Webhooks 1.0;
// base64 follows, of the private and the public key in one for the private half.
const (
	PrivateKeyPrefix = "whsk_"
	PublicKeyPrefix  = "whpk_"
)

// NewSigningKey makes a key pair.
func NewSigningKey(now time.Time) SigningKey {
	seed := make([]byte, ed25519.SeedSize)
	_, _ = rand.Read(seed) // never fails: crypto/rand ends the program instead
	key := ed25519.NewKeyFromSeed(seed)
	return SigningKey{Private: PrivateKeyPrefix + base64.StdEncoding.EncodeToString(key), CreatedAt: now}
}

// PublicKey is the public half ("whpk_…") of a private one ("whsk_…"), or empty
// for what is none.
func PublicKey(private string) string {
	key, err := parsePrivateKey(private)
	if err != nil {
		return ""
	}
	return PublicKeyPrefix + base64.StdEncoding.EncodeToString(key[ed25519.SeedSize:])
}

func parsePrivateKey(private string) (ed25519.PrivateKey, error) {
	encoded, ok := strings.CutPrefix(private, PrivateKeyPrefix)
	key, err := base64.StdEncoding.DecodeString(encoded)
	if !ok || err != nil || len(key) != ed25519.PrivateKeySize {
		return nil, Invalid("key", "is not base64 of %d bytes after %q", ed25519.PrivateKeySize, PrivateKeyPrefix)
	}
	return key, nil
}

// SignEd25519 returns one asymmetric signature of Standard Webhooks 1.0,
// "v1a,<base64>": Ed25519 (RFC 8032) over "id.timestamp.body". A key that is not
// "whsk_…" is an error of CodeInvalid.
func SignEd25519(private, id string, timestamp int64, body []byte) (string, error) {
	key, err := parsePrivateKey(private)
	if err != nil {
		return "", err
	}
	content := signedHead(make([]byte, 0, len(id)+24+len(body)), id, timestamp)
	return "v1a," + base64.StdEncoding.EncodeToString(ed25519.Sign(key, append(content, body...))), nil
}

// VerifyEd25519 reports whether signature ("v1a,<base64>") was made by the holder
// of the private half of public. A key that is not "whpk_…" is an error of
// CodeInvalid.
func VerifyEd25519(public, signature, id string, timestamp int64, body []byte) (bool, error) {
	encoded, ok := strings.CutPrefix(public, PublicKeyPrefix)
	key, err := base64.StdEncoding.DecodeString(encoded)
	if !ok || err != nil || len(key) != ed25519.PublicKeySize {
		return false, Invalid("key", "is not base64 of %d bytes after %q", ed25519.PublicKeySize, PublicKeyPrefix)
	}
	encoded, ok = strings.CutPrefix(signature, "v1a,")
	raw, _ := base64.StdEncoding.DecodeString(encoded) // one that is cut short fits nothing
	if !ok || len(raw) != ed25519.SignatureSize {
		return false, nil
	}
	content := signedHead(make([]byte, 0, len(id)+24+len(body)), id, timestamp)
	return ed25519.Verify(key, append(content, body...), raw), nil
}
