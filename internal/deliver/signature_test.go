package deliver_test

import (
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/cybervault/cybervault"
)

func TestHeadersOfAnAttempt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		hook := w.webhook(answering(200, 0))
		w.hooks.change(hook.ID, func(h *cybervault.Webhook) {
			h.Headers = []cybervault.Header{{Name: "Authorization", Value: "Bearer t0ken"}, {Name: "X-Team", Value: "blue"}}
			h.CACertificate = "a PEM"
		})
		w.publish(hook)
		id := w.publish(hook)
		synctest.Wait()
		got := w.net.got(hook.URL)[1]
		r := w.queue.get(id)
		for name, want := range map[string]string{
			"Content-Type":            "application/json",
			"User-Agent":              "CyberVault-Webhooks/test",
			"X-CyberVault-Event":      cybervault.EventThreatDetected,
			"X-CyberVault-Delivery":   id.String(),
			"X-CyberVault-Attempt":    "1",
			"X-CyberVault-Sequence":   "2",
			"X-CyberVault-Signature":  cybervault.SignHex(hook.Secrets[0].Value, got.request.Body),
			"webhook-id":              r.assignment.Event.String(),
			"webhook-timestamp":       strconv.FormatInt(got.at.Unix(), 10),
			"Authorization":           "Bearer t0ken",
			"X-Team":                  "blue",
			"X-CyberVault-Test":       "",
			"X-CyberVault-Signature-": "",
		} {
			if got.headers[name] != want {
				t.Errorf("%s: %q, want %q", name, got.headers[name], want)
			}
		}
		if _, there := got.headers["X-CyberVault-Signature-Next"]; there {
			t.Error("X-CyberVault-Signature-Next is there although nothing is being rotated")
		}
		if masked := strings.Join(got.request.MaskedHeaders, " "); masked != "Authorization X-Team" {
			t.Errorf("masked: %q, want the webhook's own headers and no other", masked)
		}
		if got.request.URL != hook.URL || got.request.CACertificate != "a PEM" {
			t.Errorf("sent to %q trusting %q", got.request.URL, got.request.CACertificate)
		}
	})
}

// Both schemes, at each moment of two rotations that overlap: who knows only the
// first secret must be able to verify X-CyberVault-Signature until it ends, and
// who knows any live one webhook-signature.
func TestSignaturesWhileASecretIsRotated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		hook := w.webhook(answering(200, 0))
		start := w.now()
		first, second, third := cybervault.NewSecret(start), cybervault.NewSecret(start), cybervault.NewSecret(start)
		first.ExpiresAt, second.ExpiresAt = start.Add(time.Hour), start.Add(3*time.Hour)
		w.hooks.change(hook.ID, func(h *cybervault.Webhook) { h.Secrets = []cybervault.Secret{third, second, first} })
		for _, c := range []struct {
			after time.Duration
			live  []cybervault.Secret // newest first
		}{
			{0, []cybervault.Secret{third, second, first}},
			{time.Hour, []cybervault.Secret{third, second}}, // an overlap's end is not part of it
			{3 * time.Hour, []cybervault.Secret{third}},
		} {
			pass(start.Add(c.after).Sub(w.now()))
			w.publish(hook)
			synctest.Wait()
			all := w.net.got(hook.URL)
			got := all[len(all)-1]
			body := got.request.Body
			if want := cybervault.SignHex(c.live[len(c.live)-1].Value, body); got.headers["X-CyberVault-Signature"] != want {
				t.Errorf("after %v X-CyberVault-Signature is not by the oldest live secret", c.after)
			}
			next, there := got.headers["X-CyberVault-Signature-Next"]
			if there != (len(c.live) > 1) || there && next != cybervault.SignHex(third.Value, body) {
				t.Errorf("after %v X-CyberVault-Signature-Next is %q", c.after, next)
			}
			if raw, err := hex.DecodeString(got.headers["X-CyberVault-Signature"]); err != nil || len(raw) != 32 {
				t.Errorf("after %v the signature is not hex of 32 bytes", c.after)
			}
			header := http.Header{}
			for _, name := range []string{"webhook-id", "webhook-timestamp", "webhook-signature"} {
				header.Set(name, got.headers[name])
			}
			if n := len(strings.Fields(header.Get("webhook-signature"))); n != len(c.live) {
				t.Errorf("after %v there are %d standard signatures, want %d", c.after, n, len(c.live))
			}
			for i, secret := range []cybervault.Secret{third, second, first} {
				official, err := standardwebhooks.NewWebhook(secret.Value)
				if err != nil {
					t.Fatal(err)
				}
				err = official.VerifyIgnoringTimestamp(body, header)
				if valid := err == nil; valid != (i < len(c.live)) {
					t.Errorf("after %v the official library says %v of secret %d", c.after, err, i)
				}
				if i < len(c.live) && official.VerifyIgnoringTimestamp(append(slices.Clip(body), ' '), header) == nil {
					t.Errorf("after %v the official library accepts a changed body", c.after)
				}
			}
		}
	})
}

// With Ed25519 webhook-signature holds no HMAC, and one signature for each live
// key, newest first; X-CyberVault-Signature stays as it is.
func TestSignaturesWithEd25519(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		hook := w.webhook(answering(200, 0))
		newest, older := cybervault.NewSigningKey(w.now()), cybervault.NewSigningKey(w.now())
		older.ExpiresAt = w.now().Add(time.Hour)
		w.hooks.change(hook.ID, func(h *cybervault.Webhook) {
			h.Signature, h.SigningKeys = cybervault.SignatureEd25519, []cybervault.SigningKey{newest, older}
		})
		for i, live := range [][]cybervault.SigningKey{{newest, older}, {newest}} {
			w.publish(hook)
			synctest.Wait()
			got := w.net.got(hook.URL)[i]
			signatures := strings.Fields(got.headers["webhook-signature"])
			if len(signatures) != len(live) {
				t.Fatalf("%d signatures, want %d", len(signatures), len(live))
			}
			for j, k := range live {
				ok, err := cybervault.VerifyEd25519(cybervault.PublicKey(k.Private), signatures[j], got.headers["webhook-id"], got.at.Unix(), got.request.Body)
				if err != nil || !ok {
					t.Errorf("signature %d of attempt %d: %t, %v", j, i, ok, err)
				}
			}
			if got.headers["X-CyberVault-Signature"] != cybervault.SignHex(hook.Secrets[0].Value, got.request.Body) {
				t.Error("X-CyberVault-Signature is not as it was")
			}
			pass(time.Hour)
		}
	})
}
