package receiver

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"pgregory.net/rapid"

	"github.com/cybervault/cybervault"
)

const (
	oldSecret   = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="
	newSecret   = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDC2FVsBQIhrs="
	otherSecret = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
)

var (
	now  = time.Unix(1736951520, 0)
	body = []byte(`{"id":"wh_01946a60-dcd0-7f21-8a00-5d0c9b7e3f12","event":"threat.detected","timestamp":"2025-01-15T14:32:00Z",` +
		`"data":{"threat_id":"thr_94x2k1","severity":"critical","source_ip":"203.0.113.42","target_asset":"prod-db-01.cybervault.internal","vector":"sql_injection","confidence":0.98,"mitre_id":"T1190"},` +
		`"metadata":{"workspace_id":"ws_01942600-1a2b-7c3d-8e00-4f5061728394","engine_version":"ai_v3.1","idempotency_key":"idm_x9z8y7w6"}}`)
)

func at(t time.Time) Option { return Clock(func() time.Time { return t }) }

// headers signs body as CyberVault does: the secrets newest first, and the
// plain signature with the oldest.
func headers(t testing.TB, when time.Time, body []byte, secrets ...string) http.Header {
	t.Helper()
	h := http.Header{}
	h.Set("webhook-id", "wh_01946a60-dcd0-7f21-8a00-5d0c9b7e3f12")
	h.Set("webhook-timestamp", strconv.FormatInt(when.Unix(), 10))
	var signatures []string
	for _, s := range secrets {
		one, err := cybervault.SignStandard(s, h.Get("webhook-id"), when.Unix(), body)
		if err != nil {
			t.Fatal(err)
		}
		signatures = append(signatures, one)
	}
	h.Set("webhook-signature", strings.Join(signatures, " "))
	h.Set("X-CyberVault-Signature", cybervault.SignHex(secrets[len(secrets)-1], body))
	if len(secrets) > 1 {
		h.Set("X-CyberVault-Signature-Next", cybervault.SignHex(secrets[0], body))
	}
	return h
}

func TestVerify(t *testing.T) {
	t.Parallel()
	only := func(h http.Header, names ...string) http.Header {
		kept := http.Header{}
		for _, n := range names {
			if v := h.Get(n); v != "" {
				kept.Set(n, v)
			}
		}
		return kept
	}
	without := func(h http.Header, name string) http.Header {
		h = h.Clone()
		h.Del(name)
		return h
	}
	with := func(h http.Header, name string, values ...string) http.Header {
		h = h.Clone()
		h.Del(name)
		for _, v := range values {
			h.Add(name, v)
		}
		return h
	}
	plainHeaders := []string{HeaderSignature, HeaderSignatureNext}
	signed := headers(t, now, body, oldSecret)
	rotating := headers(t, now, body, newSecret, oldSecret)
	v1 := signed.Get(HeaderSignatures)

	tests := []struct {
		name    string
		secrets []string
		header  http.Header
		body    []byte
		opts    []Option
		want    error
		text    string
	}{
		{name: "signed", header: signed},
		{name: "one of several secrets", secrets: []string{newSecret, oldSecret}, header: signed},
		{name: "rotating, old secret known", secrets: []string{oldSecret}, header: rotating},
		{name: "rotating, new secret known", secrets: []string{newSecret}, header: rotating},
		{name: "rotating, neither known", secrets: []string{otherSecret}, header: rotating, want: ErrMismatch, text: "the secret is another webhook's or was rotated"},
		{name: "several signature headers", header: with(signed, HeaderSignatures, "v1,AAAA", v1)},
		{name: "signatures of other versions", header: with(signed, HeaderSignatures, "v1a,zzz v2,"+v1[3:]+" "+v1)},
		{name: "right signature of another version", header: with(signed, HeaderSignatures, "v2,"+v1[3:]), want: ErrMalformed},
		{name: "secret without prefix", secrets: []string{strings.TrimPrefix(oldSecret, "whsec_")}, header: signed},
		{name: "one secret is not base64", secrets: []string{"not a secret", oldSecret}, header: signed},

		{name: "just in time", header: signed, opts: []Option{at(now.Add(DefaultTolerance))}},
		{name: "just too late", header: signed, opts: []Option{at(now.Add(DefaultTolerance + time.Second))}, want: ErrExpired, text: "5m1s ago, more than 5m0s"},
		{name: "just not too early", header: signed, opts: []Option{at(now.Add(-DefaultTolerance))}},
		{name: "from the future", header: signed, opts: []Option{at(now.Add(-DefaultTolerance - time.Second))}, want: ErrExpired, text: "5m1s ahead"},
		{name: "own tolerance", header: signed, opts: []Option{at(now.Add(time.Hour)), Tolerance(time.Hour)}},
		{name: "beyond own tolerance", header: signed, opts: []Option{at(now.Add(2 * time.Second)), Tolerance(time.Second)}, want: ErrExpired},
		{name: "time changed", header: with(signed, HeaderTimestamp, "1736951521"), want: ErrMismatch},
		{name: "id changed", header: with(signed, HeaderID, "wh_other"), want: ErrMismatch},
		{name: "time is no number", header: with(signed, HeaderTimestamp, "2025-01-15T14:32:00Z"), want: ErrMalformed, text: "Unix seconds"},
		{name: "signature is no base64", header: with(signed, HeaderSignatures, "v1,!!"), want: ErrMalformed},
		{name: "signature without version", header: with(signed, HeaderSignatures, v1[3:]), want: ErrMalformed},
		{name: "signature cut", header: with(signed, HeaderSignatures, "v1,AAAA"), want: ErrMismatch},

		{name: "no headers", header: http.Header{}, want: ErrUnsigned},
		{name: "no id", header: without(signed, HeaderID), want: ErrUnsigned, text: "pass WithoutTimestamp"},
		{name: "no time", header: without(signed, HeaderTimestamp), want: ErrUnsigned},
		{name: "no signature", header: without(only(signed, HeaderID, HeaderTimestamp), HeaderSignature), want: ErrUnsigned, text: "must all be there"},

		{name: "plain is not enough", header: only(signed, plainHeaders...), want: ErrUnsigned, text: "pass WithoutTimestamp"},
		{name: "plain, asked for", header: only(signed, plainHeaders...), opts: []Option{WithoutTimestamp()}},
		{name: "plain, changed body", header: only(signed, plainHeaders...), body: append([]byte(" "), body[:len(body)-2]...), opts: []Option{WithoutTimestamp()}, want: ErrMismatch},
		{name: "plain, rotating, old known", secrets: []string{oldSecret}, header: only(rotating, plainHeaders...), opts: []Option{WithoutTimestamp()}},
		{name: "plain, rotating, new known", secrets: []string{newSecret}, header: only(rotating, plainHeaders...), opts: []Option{WithoutTimestamp()}},
		{name: "plain, wrong secret", secrets: []string{otherSecret}, header: only(rotating, plainHeaders...), opts: []Option{WithoutTimestamp()}, want: ErrMismatch},
		{name: "plain, not hexadecimal", header: http.Header{"X-Cybervault-Signature": {"zz"}}, opts: []Option{WithoutTimestamp()}, want: ErrMalformed},
		{name: "plain, empty secret", secrets: []string{""}, header: http.Header{"X-Cybervault-Signature": {cybervault.SignHex("", body)}}, opts: []Option{WithoutTimestamp()}, want: ErrSecret},
		{name: "plain allowed, but the better one is there and wrong", header: with(signed, HeaderSignatures, "v1,AAAA"), opts: []Option{WithoutTimestamp()}, want: ErrMismatch},

		{name: "no secrets", secrets: []string{}, header: signed, want: ErrSecret, text: "none was given"},
		{name: "secret is not base64", secrets: []string{"whsec_***"}, header: signed, want: ErrSecret, text: "whsec_ and base64"},
		{name: "empty secret", secrets: []string{"whsec_"}, header: signed, want: ErrSecret},

		{name: "empty body", header: signed, body: []byte{}, want: ErrMismatch, text: "the body is empty"},
		{name: "body indented", header: signed, body: indented(t), want: ErrMismatch, text: "changed in its white space alone"},
		{name: "body with a line end", header: signed, body: append(bytes.Clone(body), '\n'), want: ErrMismatch, text: "changed in its white space alone"},
		{name: "body encoded again", header: signed, body: encodedAgain(t), want: ErrMismatch, text: "does not begin as CyberVault writes an event"},
		{name: "body changed", header: signed, body: bytes.Replace(body, []byte("critical"), []byte("info"), 1), want: ErrMismatch, text: "or the body is not as it was sent"},
		{name: "body is not JSON", header: signed, body: []byte("hello"), want: ErrMismatch},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.secrets == nil {
				tt.secrets = []string{oldSecret}
			}
			if tt.body == nil {
				tt.body = body
			}
			err := Verify(tt.secrets, tt.header, tt.body, append([]Option{at(now)}, tt.opts...)...)
			if tt.want == nil && err != nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if err != nil && !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %q, want …%s…", err, tt.text)
			}
			for _, s := range []string{oldSecret, newSecret, otherSecret, v1, signed.Get(HeaderSignature)} {
				if err != nil && strings.Contains(err.Error(), s) {
					t.Errorf("the error tells a secret or a signature: %v", err)
				}
			}
		})
	}
}

func indented(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := json.Indent(&b, body, "", "  "); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// encodedAgain is what a framework that sorts keys makes of the body.
func encodedAgain(t *testing.T) []byte {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The official library's signatures are accepted here, and CyberVault's there.
func TestAgreesWithStandardWebhooks(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		secret := cybervault.NewSecret(now).Value
		payload := rapid.SliceOf(rapid.Byte()).Draw(r, "body")
		id := rapid.StringMatching(`wh_[0-9a-f-]{1,36}`).Draw(r, "id")
		// The library has no clock to set.
		when := time.Now().Add(time.Duration(rapid.IntRange(-290, 290).Draw(r, "seconds")) * time.Second)
		official, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			r.Fatal(err)
		}

		theirs, err := official.Sign(id, when, payload)
		if err != nil {
			r.Fatal(err)
		}
		h := http.Header{}
		h.Set(standardwebhooks.HeaderWebhookID, id)
		h.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(when.Unix(), 10))
		h.Set(standardwebhooks.HeaderWebhookSignature, theirs)
		if err := Verify([]string{secret}, h, payload); err != nil {
			r.Fatalf("the library's signature: %v", err)
		}

		ours, err := cybervault.SignStandard(secret, id, when.Unix(), payload)
		if err != nil {
			r.Fatal(err)
		}
		h.Set(standardwebhooks.HeaderWebhookSignature, ours)
		if err := official.Verify(payload, h); err != nil {
			r.Fatalf("our signature, by the library: %v", err)
		}

		// Two live secrets, as in a rotation: both sides find theirs.
		another, err := cybervault.SignStandard(newSecret, id, when.Unix(), payload)
		if err != nil {
			r.Fatal(err)
		}
		h.Set(standardwebhooks.HeaderWebhookSignature, another+" "+ours)
		if err := official.Verify(payload, h); err != nil {
			r.Fatalf("two signatures, by the library: %v", err)
		}
		if err := Verify([]string{secret}, h, payload); err != nil {
			r.Fatalf("two signatures: %v", err)
		}

		h.Set(standardwebhooks.HeaderWebhookSignature, another)
		if official.Verify(payload, h) == nil || Verify([]string{secret}, h, payload) == nil {
			r.Fatal("a signature with another secret was accepted")
		}
	})
}

// No change of a single bit of the body goes unnoticed, by either signature.
func TestEveryBitCounts(t *testing.T) {
	t.Parallel()
	full := headers(t, now, body, oldSecret)
	plain := http.Header{}
	plain.Set(HeaderSignature, full.Get(HeaderSignature))
	for i := range body {
		changed := bytes.Clone(body)
		changed[i] ^= 1 << (i % 8)
		if err := Verify([]string{oldSecret}, full, changed, at(now)); !errors.Is(err, ErrMismatch) {
			t.Fatalf("byte %d: %v", i, err)
		}
		if err := Verify([]string{oldSecret}, plain, changed, WithoutTimestamp()); !errors.Is(err, ErrMismatch) {
			t.Fatalf("byte %d: %v", i, err)
		}
	}
}

// Whatever a stranger sends, Verify neither panics nor says yes.
func FuzzVerify(f *testing.F) {
	h := headers(f, now, body, oldSecret)
	f.Add(h.Get(HeaderID), h.Get(HeaderTimestamp), h.Get(HeaderSignatures), h.Get(HeaderSignature), body)
	f.Add("", "", "", "00", []byte("{}"))
	f.Fuzz(func(t *testing.T, id, when, signatures, plain string, body []byte) {
		h := http.Header{}
		h.Set(HeaderID, id)
		h.Set(HeaderTimestamp, when)
		h.Set(HeaderSignatures, signatures)
		h.Set(HeaderSignature, plain)
		// No one knows this secret, so nothing fits it.
		secret := cybervault.NewSecret(now).Value
		if err := Verify([]string{secret}, h, body, at(now), WithoutTimestamp()); err == nil {
			t.Fatal("a forgery was accepted")
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	h := headers(b, now, body, oldSecret)
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if err := Verify([]string{oldSecret}, h, body, at(now)); err != nil {
			b.Fatal(err)
		}
	}
}
