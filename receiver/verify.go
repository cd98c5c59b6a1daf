// Package receiver is for programs that receive CyberVault's webhooks: it
// verifies that a request was signed with the webhook's secret or key, reads the
// event, and sees to it that a repeated delivery is handled once.
//
// It stands at the far end of the flow, in the receiver's own program, and
// imports the standard library only. It makes no requests and writes no logs.
//
// Most programs want [Handler]:
//
//	secret := os.Getenv("CYBERVAULT_WEBHOOK_SECRET")
//	http.Handle("POST /hooks/cybervault", receiver.Handler(receiver.Options{
//		Secrets: []string{secret},
//		Store:   receiver.NewMemoryStore(0),
//	}, func(ctx context.Context, e receiver.Event) error {
//		slog.Info("an event", "event", e.Type, "id", e.ID)
//		return nil
//	}))
//
// A program with a framework of its own reads the body as bytes, before
// anything parses it, and calls [Verify].
package receiver

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The headers of a delivery.
const (
	HeaderID            = "Webhook-Id"                  // Standard Webhooks 1.0: the event's id
	HeaderTimestamp     = "Webhook-Timestamp"           // Standard Webhooks 1.0: the attempt's time in Unix seconds
	HeaderSignatures    = "Webhook-Signature"           // Standard Webhooks 1.0: "v1,<base64>" or "v1a,<base64>", several parted by spaces
	HeaderSignature     = "X-CyberVault-Signature"      // hex HMAC-SHA256 of the body
	HeaderSignatureNext = "X-CyberVault-Signature-Next" // the same with the new secret, while a rotation overlaps
	HeaderEvent         = "X-CyberVault-Event"          // the event type
	HeaderDelivery      = "X-CyberVault-Delivery"       // the delivery's id
	HeaderAttempt       = "X-CyberVault-Attempt"        // 1, 2, 3 …
	HeaderSequence      = "X-CyberVault-Sequence"       // gapless for each webhook, from 1
	HeaderTest          = "X-CyberVault-Test"           // "true" on an example that was asked for
)

// DefaultTolerance is how far the time of an attempt may lie from the clock of
// the receiver, either way.
const DefaultTolerance = 5 * time.Minute

// Why a request is not verified. Each error of Verify wraps one of them.
var (
	// ErrUnsigned: the headers of the signature are not there.
	ErrUnsigned = errors.New("the request is not signed")
	// ErrMalformed: a header of the signature cannot be read.
	ErrMalformed = errors.New("the signature cannot be read")
	// ErrMismatch: no signature fits the body and the secrets.
	ErrMismatch = errors.New("no signature fits")
	// ErrExpired: signed well, but too long ago, or in the future: an old
	// request sent again, or a clock that is wrong.
	ErrExpired = errors.New("the signature is not of this time")
	// ErrSecret: the receiver's own configuration holds no usable secret.
	ErrSecret = errors.New("no usable secret")
)

// Option changes what Verify asks for.
type Option func(*verification)

type verification struct {
	tolerance   time.Duration
	now         func() time.Time
	withoutTime bool
	publicKeys  []string
}

// Tolerance sets how far the time of an attempt may lie from the receiver's
// clock, instead of DefaultTolerance.
func Tolerance(d time.Duration) Option { return func(v *verification) { v.tolerance = d } }

// Clock sets the clock, instead of time.Now.
func Clock(now func() time.Time) Option { return func(v *verification) { v.now = now } }

// WithoutTimestamp accepts X-CyberVault-Signature where the headers of
// Standard Webhooks are missing, for a gateway that drops them. That signature
// covers the body alone: an old request that is sent again is not noticed, save
// by its idempotency key.
func WithoutTimestamp() Option { return func(v *verification) { v.withoutTime = true } }

// PublicKeys accepts the signatures of a webhook whose signature is ed25519: keys
// are its public_key as it is shown ("whpk_…"), the old and the new one while a
// rotation overlaps. Verify then needs no secret; where it is given some, either
// will do, which carries a receiver over from one to the other.
func PublicKeys(keys ...string) Option {
	return func(v *verification) { v.publicKeys = append(v.publicKeys, keys...) }
}

// Verify reports whether a request comes from whoever knows one of the secrets,
// or the private half of one of PublicKeys, nil for yes. secrets are the webhook's
// as they are shown ("whsec_…"); give the old and the new one while a rotation
// overlaps. body must be the request's
// body byte for byte, before any parser.
//
// It checks webhook-id, webhook-timestamp and webhook-signature (Standard
// Webhooks 1.0): one signature among those sent must fit one of the secrets
// or public keys, and the time must be within the tolerance. With WithoutTimestamp it falls
// back on X-CyberVault-Signature and X-CyberVault-Signature-Next. Comparisons
// take the same time wherever two signatures differ. Errors hold no secret and
// no signature. It is safe for concurrent use.
func Verify(secrets []string, header http.Header, body []byte, opts ...Option) error {
	v := verification{tolerance: DefaultTolerance, now: time.Now}
	for _, o := range opts {
		o(&v)
	}
	if len(secrets)+len(v.publicKeys) == 0 {
		return fmt.Errorf("%w: none was given; use the one that was shown when the webhook was made", ErrSecret)
	}
	id, at, signatures := header.Get(HeaderID), header.Get(HeaderTimestamp), header.Values(HeaderSignatures)
	switch {
	case id != "" && at != "" && len(signatures) > 0:
		return v.standard(secrets, id, at, signatures, body)
	case header.Get(HeaderSignature) == "":
		return fmt.Errorf("%w: webhook-id, webhook-timestamp and webhook-signature must all be there", ErrUnsigned)
	case !v.withoutTime:
		return fmt.Errorf("%w with a time: it has X-CyberVault-Signature, but webhook-id, webhook-timestamp or webhook-signature is missing; "+
			"if something on the way drops them, pass WithoutTimestamp and check idempotency keys", ErrUnsigned)
	}
	return plain(secrets, header, body)
}

// standard checks the signatures of Standard Webhooks 1.0.
func (v *verification) standard(secrets []string, id, at string, headers []string, body []byte) error {
	seconds, err := strconv.ParseInt(at, 10, 64)
	if err != nil {
		return fmt.Errorf("%w: webhook-timestamp must be Unix seconds", ErrMalformed)
	}
	keys, err := standardKeys(secrets, v.publicKeys)
	if err != nil {
		return err
	}
	sent := sentSignatures(headers)
	if keys.wants(sent) == 0 {
		return fmt.Errorf(`%w: webhook-signature must hold at least one %s`, ErrMalformed, keys.wanted())
	}
	head := []byte(id + "." + at + ".")
	fits := func(body []byte) bool { return keys.fit(sent, head, body) }
	if !fits(body) {
		return mismatch(body, fits)
	}
	// Only now, so that the answer to a forger does not depend on the clock.
	signed := time.Unix(seconds, 0)
	switch now := v.now(); {
	case now.Sub(signed) > v.tolerance:
		return fmt.Errorf("%w: the attempt was made %s ago, more than %s; is this machine's clock right?", ErrExpired, now.Sub(signed).Round(time.Second), v.tolerance)
	case signed.Sub(now) > v.tolerance:
		return fmt.Errorf("%w: the attempt lies %s ahead, more than %s; is this machine's clock right?", ErrExpired, signed.Sub(now).Round(time.Second), v.tolerance)
	}
	return nil
}

// plain checks X-CyberVault-Signature and X-CyberVault-Signature-Next.
func plain(secrets []string, header http.Header, body []byte) error {
	var sent [][]byte
	for _, name := range []string{HeaderSignature, HeaderSignatureNext} {
		if mac, err := hex.DecodeString(header.Get(name)); err == nil && len(mac) > 0 {
			sent = append(sent, mac)
		}
	}
	if len(sent) == 0 {
		return fmt.Errorf("%w: X-CyberVault-Signature must be hexadecimal", ErrMalformed)
	}
	var keys [][]byte
	for _, s := range secrets {
		// Anyone can sign with nothing, or with what is public.
		if s != "" && !strings.HasPrefix(s, publicKeyPrefix) {
			keys = append(keys, []byte(s))
		}
	}
	if len(keys) == 0 {
		return fmt.Errorf("%w: X-CyberVault-Signature is keyed with the secret, whsec_ and base64", ErrSecret)
	}
	fits := func(body []byte) bool { return anyFits(keys, sent, nil, body) }
	if !fits(body) {
		return mismatch(body, fits)
	}
	return nil
}

// anyFits reports whether one of the sent signatures is that of head and body
// with one of the keys.
func anyFits(keys, sent [][]byte, head, body []byte) bool {
	found := false
	for _, key := range keys {
		mac := hmac.New(sha256.New, key)
		mac.Write(head)
		mac.Write(body)
		sum := mac.Sum(nil)
		for _, s := range sent {
			if hmac.Equal(s, sum) {
				found = true
			}
		}
	}
	return found
}

// mismatch explains, as far as can be told, why no signature fits. The usual
// mistake is to verify a body that a framework has parsed and encoded again.
func mismatch(body []byte, fits func([]byte) bool) error {
	const remedy = "verify the bytes of the request's body before anything parses them"
	if len(body) == 0 {
		return fmt.Errorf("%w: the body is empty; if something read it before, %s", ErrMismatch, remedy)
	}
	var compact bytes.Buffer
	if json.Compact(&compact, body) == nil {
		if compact.Len() < len(body) && (fits(compact.Bytes()) || fits(bytes.TrimSpace(body))) {
			return fmt.Errorf("%w: the body was changed in its white space alone, so it was parsed and encoded again; %s", ErrMismatch, remedy)
		}
		if !bytes.HasPrefix(body, []byte(`{"id":"`)) && bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) {
			return fmt.Errorf("%w: the body does not begin as CyberVault writes an event, so it was probably parsed and encoded again; %s", ErrMismatch, remedy)
		}
	}
	return fmt.Errorf("%w: the secret is another webhook's or was rotated, or the body is not as it was sent; %s", ErrMismatch, remedy)
}
