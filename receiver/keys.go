package receiver

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"strings"
)

// What the versions of signatures are called in webhook-signature.
const (
	versionHMAC    = "v1"
	versionEd25519 = "v1a"
)

const publicKeyPrefix = "whpk_"

// standardSet holds what signatures of Standard Webhooks 1.0 are checked with.
type standardSet struct {
	secrets [][]byte
	public  []ed25519.PublicKey
}

// standardKeys decodes secrets and public keys. One that cannot be read is passed
// over as long as another can.
func standardKeys(secrets, publicKeys []string) (set standardSet, err error) {
	for _, s := range secrets {
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s, "whsec_"))
		if err == nil && len(key) > 0 {
			set.secrets = append(set.secrets, key)
		}
	}
	for _, p := range publicKeys {
		encoded, ok := strings.CutPrefix(p, publicKeyPrefix)
		key, err := base64.StdEncoding.DecodeString(encoded)
		if ok && err == nil && len(key) == ed25519.PublicKeySize {
			set.public = append(set.public, key)
		}
	}
	switch {
	case len(set.secrets)+len(set.public) > 0:
		return set, nil
	case len(publicKeys) > 0:
		return set, fmt.Errorf("%w: a public key must be as the webhook shows it, whpk_ and base64", ErrSecret)
	}
	return set, fmt.Errorf("%w: it must be as the webhook shows it, whsec_ and base64; a public key, whpk_, belongs into PublicKeys", ErrSecret)
}

// sentSignatures decodes the signatures of webhook-signature, by version.
func sentSignatures(headers []string) map[string][][]byte {
	sent := map[string][][]byte{}
	for s := range strings.FieldsSeq(strings.Join(headers, " ")) {
		version, encoded, _ := strings.Cut(s, ",")
		if raw, err := base64.StdEncoding.DecodeString(encoded); err == nil {
			sent[version] = append(sent[version], raw)
		}
	}
	return sent
}

// wants counts the signatures that there is something to check with. Other
// versions are for other kinds of keys; the standard says to pass over them.
func (k *standardSet) wants(sent map[string][][]byte) (n int) {
	if len(k.secrets) > 0 {
		n += len(sent[versionHMAC])
	}
	if len(k.public) > 0 {
		n += len(sent[versionEd25519])
	}
	return n
}

// wanted names the versions that wants counts.
func (k *standardSet) wanted() string {
	switch {
	case len(k.public) == 0:
		return `"v1,<base64>"`
	case len(k.secrets) == 0:
		return `"v1a,<base64>"`
	}
	return `"v1,<base64>" or "v1a,<base64>"`
}

// fit reports whether one of the signatures is that of head and body.
func (k *standardSet) fit(sent map[string][][]byte, head, body []byte) bool {
	if anyFits(k.secrets, sent[versionHMAC], head, body) {
		return true
	}
	content := append(append(make([]byte, 0, len(head)+len(body)), head...), body...)
	for _, key := range k.public {
		for _, s := range sent[versionEd25519] {
			if ed25519.Verify(key, content, s) {
				return true
			}
		}
	}
	return false
}
