// Package passkeytest is an authenticator and the browser that asks it, for tests: it
// makes a passkey and signs with it, as WebAuthn Level 3 has it (section 6), with a
// P-256 key and no attestation. What a test wants wrong it sets.
//
// It stands where a person's browser and device do, before the dashboard; the product
// itself never uses it.
package passkeytest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/fxamacker/cbor/v2"
)

// Flags of authenticator data (section 6.1).
const (
	UserPresent    = 0x01
	UserVerified   = 0x04
	BackupEligible = 0x08
	BackedUp       = 0x10

	attested = 0x40
)

// Authenticator holds one passkey. Not safe for concurrent use.
type Authenticator struct {
	ID      []byte // of the credential
	Flags   byte
	Counter uint32 // of signatures so far
	Origin  string // that the browser says it is at
	Host    string // that the passkey belongs to; empty: what the options ask for

	key  *ecdsa.PrivateKey
	user []byte
}

// New returns an authenticator without a passkey, in a browser at an origin.
func New(origin string) *Authenticator {
	return &Authenticator{Flags: UserPresent | UserVerified, Origin: origin}
}

type bytesURL []byte

func (b bytesURL) MarshalText() ([]byte, error) {
	return []byte(base64.RawURLEncoding.EncodeToString(b)), nil
}

func (b *bytesURL) UnmarshalText(text []byte) (err error) {
	*b, err = base64.RawURLEncoding.DecodeString(string(text))
	return err
}

type descriptor struct {
	ID bytesURL `json:"id"`
}

// creation and request are what is read of the options, under the names of the standard.
//
//nolint:tagliatelle // see above
type (
	creation struct {
		Challenge bytesURL     `json:"challenge"`
		RP        entity       `json:"rp"`
		User      user         `json:"user"`
		Exclude   []descriptor `json:"excludeCredentials"`
		Params    []parameter  `json:"pubKeyCredParams"`
	}
	request struct {
		Challenge bytesURL     `json:"challenge"`
		RPID      string       `json:"rpId"`
		Allow     []descriptor `json:"allowCredentials"`
	}
	entity struct {
		ID string `json:"id"`
	}
	user struct {
		ID bytesURL `json:"id"`
	}
	parameter struct {
		Alg int `json:"alg"`
	}
)

// Create makes the passkey that the options (PublicKeyCredentialCreationOptionsJSON) ask
// for and returns the browser's answer (RegistrationResponseJSON).
func (a *Authenticator) Create(options []byte) ([]byte, error) {
	var ask creation
	if err := json.Unmarshal(options, &ask); err != nil {
		return nil, err
	}
	const es256 = -7
	if !slices.ContainsFunc(ask.Params, func(p parameter) bool { return p.Alg == es256 }) {
		return nil, fmt.Errorf("passkeytest: the options do not take ES256: %s", options)
	}
	if slices.ContainsFunc(ask.Exclude, func(d descriptor) bool { return string(d.ID) == string(a.ID) }) {
		return nil, errors.New("passkeytest: InvalidStateError: the passkey is there already")
	}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, err
	}
	if a.ID == nil {
		a.ID = make([]byte, 32)
		_, _ = rand.Read(a.ID) // never fails: crypto/rand ends the program instead
	}
	a.user = ask.User.ID
	point, err := a.key.PublicKey.Bytes()
	if err != nil {
		return nil, err
	}
	public, err := cbor.Marshal(map[int]any{1: 2, 3: es256, -1: 1, -2: point[1:33], -3: point[33:]})
	if err != nil {
		return nil, err
	}
	data := a.data(ask.RP.ID, a.Flags|attested)
	data = append(data, make([]byte, 16)...) // no model is named
	data = binary.BigEndian.AppendUint16(data, uint16(len(a.ID)))
	data = append(append(data, a.ID...), public...)
	object, err := cbor.Marshal(map[string]any{"fmt": "none", "attStmt": map[string]any{}, "authData": data})
	if err != nil {
		return nil, err
	}
	client, err := a.client("webauthn.create", ask.Challenge)
	if err != nil {
		return nil, err
	}
	return a.answer(map[string]any{"clientDataJSON": bytesURL(client), "attestationObject": bytesURL(object), "transports": []string{"internal"}})
}

// Get signs what the options (PublicKeyCredentialRequestOptionsJSON) ask for and returns
// the browser's answer (AuthenticationResponseJSON).
func (a *Authenticator) Get(options []byte) ([]byte, error) {
	var ask request
	if err := json.Unmarshal(options, &ask); err != nil {
		return nil, err
	}
	if a.key == nil {
		return nil, errors.New("passkeytest: there is no passkey")
	}
	a.Counter++
	data := a.data(ask.RPID, a.Flags)
	client, err := a.client("webauthn.get", ask.Challenge)
	if err != nil {
		return nil, err
	}
	hash := sha256.Sum256(client)
	digest := sha256.Sum256(append(slices.Clone(data), hash[:]...))
	signature, err := ecdsa.SignASN1(rand.Reader, a.key, digest[:])
	if err != nil {
		return nil, err
	}
	return a.answer(map[string]any{"clientDataJSON": bytesURL(client), "authenticatorData": bytesURL(data), "signature": bytesURL(signature), "userHandle": bytesURL(a.user)})
}

func (a *Authenticator) data(host string, flags byte) []byte {
	if a.Host != "" {
		host = a.Host
	}
	hash := sha256.Sum256([]byte(host))
	return binary.BigEndian.AppendUint32(append(hash[:], flags), a.Counter)
}

func (a *Authenticator) client(kind string, challenge bytesURL) ([]byte, error) {
	return json.Marshal(map[string]any{"type": kind, "challenge": challenge, "origin": a.Origin, "crossOrigin": false})
}

func (a *Authenticator) answer(response map[string]any) ([]byte, error) {
	return json.Marshal(map[string]any{
		"id": bytesURL(a.ID), "rawId": bytesURL(a.ID), "type": "public-key", "authenticatorAttachment": "platform",
		"clientExtensionResults": map[string]any{"credProps": map[string]any{"rk": true}}, "response": response,
	})
}
