package receiver_test

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/receiver"
)

func TestVerifyEd25519(t *testing.T) {
	t.Parallel()
	now := time.Unix(1769860800, 0)
	key, other := cybervault.NewSigningKey(now), cybervault.NewSigningKey(now)
	public, otherPublic := cybervault.PublicKey(key.Private), cybervault.PublicKey(other.Private)
	sign := func(private string) string {
		s, err := cybervault.SignEd25519(private, "wh_1", now.Unix(), []byte(event))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	hmac, err := cybervault.SignStandard(secret, "wh_1", now.Unix(), []byte(event))
	if err != nil {
		t.Fatal(err)
	}
	clock := func(at time.Time) receiver.Option { return receiver.Clock(func() time.Time { return at }) }
	for name, test := range map[string]struct {
		signature string
		secrets   []string
		keys      []string
		body      string // "" for the right one
		at        time.Time
		want      error
	}{
		"right":                     {signature: sign(key.Private), keys: []string{public}},
		"while a rotation overlaps": {signature: sign(other.Private) + " " + sign(key.Private), keys: []string{public}},
		"with either key":           {signature: sign(key.Private), keys: []string{otherPublic, public}},
		"beside a secret":           {signature: sign(key.Private), secrets: []string{secret}, keys: []string{public}},
		"an HMAC beside a key":      {signature: hmac, secrets: []string{secret}, keys: []string{public}},
		"a broken key beside":       {signature: sign(key.Private), keys: []string{"whpk_x", public}},
		"another key":               {signature: sign(other.Private), keys: []string{public}, want: receiver.ErrMismatch},
		"another body":              {signature: sign(key.Private), keys: []string{public}, body: strings.Replace(event, "T14", "T15", 1), want: receiver.ErrMismatch},
		"an HMAC":                   {signature: hmac, keys: []string{public}, want: receiver.ErrMalformed},
		"no HMAC":                   {signature: sign(key.Private), secrets: []string{secret}, want: receiver.ErrMalformed},
		"as the other version":      {signature: strings.Replace(sign(key.Private), "v1a,", "v1,", 1), secrets: []string{secret}, keys: []string{public}, want: receiver.ErrMismatch},
		"too old":                   {signature: sign(key.Private), keys: []string{public}, at: now.Add(time.Hour), want: receiver.ErrExpired},
		"a short signature":         {signature: "v1a,AAAA", keys: []string{public}, want: receiver.ErrMismatch},
		"the private key":           {signature: sign(key.Private), keys: []string{key.Private}, want: receiver.ErrSecret},
		"a key for a secret":        {signature: sign(key.Private), secrets: []string{public}, want: receiver.ErrSecret},
		"nothing":                   {signature: sign(key.Private), want: receiver.ErrSecret},
	} {
		body, at := event, now
		if test.body != "" {
			body = test.body
		}
		if !test.at.IsZero() {
			at = test.at
		}
		header := http.Header{"Webhook-Id": {"wh_1"}, "Webhook-Timestamp": {strconv.FormatInt(now.Unix(), 10)}, "Webhook-Signature": {test.signature}}
		err := receiver.Verify(test.secrets, header, []byte(body), receiver.PublicKeys(test.keys...), clock(at))
		if !errors.Is(err, test.want) || test.want == nil && err != nil {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}

// What is public must never pass for a secret: anybody could sign with it.
func TestAPublicKeyIsNoSecret(t *testing.T) {
	t.Parallel()
	public := cybervault.PublicKey(cybervault.NewSigningKey(time.Now()).Private)
	header := http.Header{"X-Cybervault-Signature": {cybervault.SignHex(public, []byte(event))}}
	if err := receiver.Verify([]string{public}, header, []byte(event), receiver.WithoutTimestamp()); !errors.Is(err, receiver.ErrSecret) {
		t.Errorf("verified with a public key: %v", err)
	}
}
