package dashboard

import (
	"strings"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
)

// What was sent is found again, whatever signed it, and what cannot be is not
// passed off as right.
func TestSignaturesAreMadeAgain(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	older, newest, gone := cybervault.NewSecret(now), cybervault.NewSecret(now), cybervault.NewSecret(now)
	key := cybervault.NewSigningKey(now)
	w := &cybervault.Webhook{Secrets: []cybervault.Secret{newest, older}}
	w.SigningKeys = []cybervault.SigningKey{key}
	e := &cybervault.Event{Body: []byte(`{"id":"evt_1"}`)}
	const id, seconds = "evt_1", 1_800_000_000
	standard := func(secret string) string {
		s, err := cybervault.SignStandard(secret, id, seconds, e.Body)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	asymmetric, err := cybervault.SignEd25519(key.Private, id, seconds, e.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := &cybervault.Attempt{}
	a.Request = []cybervault.Header{
		{Name: "x-cybervault-signature", Value: cybervault.SignHex(older.Value, e.Body)},
		{Name: "X-CyberVault-Signature-Next", Value: cybervault.SignHex(newest.Value, e.Body)},
		{Name: "webhook-id", Value: id},
		{Name: "webhook-timestamp", Value: "1800000000"},
		{Name: "Webhook-Signature", Value: standard(newest.Value) + " " + asymmetric + " " + standard(gone.Value)},
	}
	v := signed(a, e, w)
	if v == nil || len(v.Checks) != 5 {
		t.Fatalf("got %+v", v)
	}
	end := func(s string) string { return "…" + s[len(s)-4:] + "." }
	for i, want := range []string{
		"By the older secret, which ends in " + end(older.Value),
		"By the newest secret, which ends in " + end(newest.Value),
		"By the newest secret, which ends in " + end(newest.Value),
		"By the newest public key, which ends in " + end(cybervault.PublicKey(key.Private)),
		"The secret or key it was made with was rotated out",
	} {
		if c := v.Checks[i]; !strings.HasPrefix(c.By, want) || (c.Verdict.Tone == "ok") != (i < 4) {
			t.Errorf("%s: %+v", c.Header, c)
		}
	}
	// echo -n '{"id":"evt_1"}' | sha256sum; the same of evt_1.1800000000.{"id":"evt_1"}
	if v.BodySHA256 != "40993c639ffb5f13a0a2ef5c93c965f10b405f2b87a379272381da2dbc158dfa" || v.ContentSHA != "4c4e6719ff2fac829633b71c7466c8af0c97ed9788d13c8bcb5d66f4a3d7325f" || v.Content != `evt_1.1800000000.{"id":"evt_1"}` {
		t.Errorf("got %+v", v)
	}
	if signed(a, e, nil) != nil || signed(&cybervault.Attempt{}, e, w) != nil {
		t.Error("signatures without a webhook, or without any sent")
	}
}
