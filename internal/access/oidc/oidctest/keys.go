package oidctest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"sync"
)

// keys are the provider's, written without a library for JOSE, so that a fault of
// the client's is not on both sides.
type keys struct {
	id    string
	curve *ecdsa.PrivateKey
	rsa   func() *rsa.PrivateKey // made when it is needed: it takes a while
}

func newKeys() keys {
	return keys{id: random(), curve: newCurve(), rsa: sync.OnceValue(func() *rsa.PrivateKey {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err) // crypto/rand does not fail
		}
		return key
	})}
}

func newCurve() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err) // crypto/rand does not fail
	}
	return key
}

// public returns the JSON Web Key Set, with the RSA key where it is in use.
func (k *keys) public(withRSA bool) any {
	type key map[string]string
	point, err := k.curve.PublicKey.Bytes() // 4, X, Y
	if err != nil {
		panic(err) // P-256 has bytes
	}
	set := []key{{"kty": "EC", "use": "sig", "alg": "ES256", "crv": "P-256", "kid": k.id, "x": encode(point[1:33]), "y": encode(point[33:])}}
	if !withRSA {
		return map[string]any{"keys": set}
	}
	public := k.rsa().PublicKey
	set = append(set, key{
		"kty": "RSA", "use": "sig", "alg": "RS256", "kid": k.id + "-rsa",
		"n": encode(public.N.Bytes()), "e": encode(big.NewInt(int64(public.E)).Bytes()),
	})
	return map[string]any{"keys": set}
}

// sign makes a JSON Web Signature in the compact form.
func (k *keys) sign(how Signing, secret string, payload []byte) (string, error) {
	alg, id := how, k.id
	switch how {
	case OtherKey:
		alg = ES256
	case RS256:
		id += "-rsa"
	case ES256, HS256, Unsigned:
	}
	header, err := json.Marshal(map[string]string{"alg": string(alg), "kid": id, "typ": "JWT"})
	if err != nil {
		return "", fmt.Errorf("the header of the ID token: %w", err)
	}
	signed := encode(header) + "." + encode(payload)
	sum := sha256.Sum256([]byte(signed))
	var signature []byte
	switch how {
	case ES256:
		signature, err = signCurve(k.curve, sum[:])
	case OtherKey:
		signature, err = signCurve(newCurve(), sum[:])
	case RS256:
		signature, err = rsa.SignPKCS1v15(rand.Reader, k.rsa(), crypto.SHA256, sum[:])
	case HS256:
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(signed))
		signature = mac.Sum(nil)
	case Unsigned:
	}
	if err != nil {
		return "", fmt.Errorf("signing the ID token: %w", err)
	}
	return signed + "." + encode(signature), nil
}

// signCurve writes R and S one after the other (RFC 7518, section 3.4).
func signCurve(key *ecdsa.PrivateKey, sum []byte) ([]byte, error) {
	r, s, err := ecdsa.Sign(rand.Reader, key, sum)
	if err != nil {
		return nil, err
	}
	both := make([]byte, 64)
	r.FillBytes(both[:32])
	s.FillBytes(both[32:])
	return both, nil
}

// accessHash is at_hash for algorithms of SHA-256 (OpenID Connect Core 3.1.3.6).
func accessHash(access string) string {
	sum := sha256.Sum256([]byte(access))
	return encode(sum[:16])
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
