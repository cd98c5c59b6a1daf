package deliver

import (
	"strconv"
	"time"

	"github.com/cybervault/cybervault"
)

// Headers returns what an attempt for a delivery would carry if it were made now,
// for a receiver that fetches it.
func (d *Dispatcher) Headers(w *cybervault.Webhook, a *cybervault.Assignment) []cybervault.Header {
	if !w.Polled() && len(w.Headers) > 0 {
		// They are for the receiver at the URL, and may be its credentials.
		bare := *w
		bare.Headers = nil
		w = &bare
	}
	headers, _ := requestHeaders(w, a, d.cfg.UserAgent, "", d.cfg.Now())
	return headers
}

// requestHeaders makes the headers of one attempt, ours first, and names those
// whose values the log must not show.
func requestHeaders(w *cybervault.Webhook, a *cybervault.Assignment, userAgent, authorization string, now time.Time) (headers []cybervault.Header, masked []string) {
	secrets := liveSecrets(w, now)
	newest, oldest := secrets[0].Value, secrets[len(secrets)-1].Value
	timestamp := now.Unix()
	var text [64]byte // so that each id and number costs one allocation
	event, _ := a.Event.AppendText(text[:0])
	eventID := string(event)
	delivery, _ := a.Delivery.AppendText(text[:0])
	deliveryID := string(delivery)

	headers = make([]cybervault.Header, 0, 12+len(w.Headers))
	add := func(name, value string) { headers = append(headers, cybervault.Header{Name: name, Value: value}) }
	add("Content-Type", "application/json")
	add("User-Agent", userAgent)
	add("X-CyberVault-Event", a.EventType)
	add("X-CyberVault-Delivery", deliveryID)
	add("X-CyberVault-Attempt", strconv.Itoa(a.Attempt))
	add("X-CyberVault-Sequence", strconv.FormatInt(a.Sequence, 10))
	if a.Test {
		add("X-CyberVault-Test", "true")
	}
	// While a rotation overlaps, receivers that know one signature only go on
	// with the old secret; the others are shown the new one's beside it.
	add("X-CyberVault-Signature", cybervault.SignHex(oldest, a.Body))
	if newest != oldest {
		add("X-CyberVault-Signature-Next", cybervault.SignHex(newest, a.Body))
	}
	add("webhook-id", eventID)
	add("webhook-timestamp", strconv.FormatInt(timestamp, 10))
	add("webhook-signature", standardSignatures(w, secrets, eventID, timestamp, a.Body, now))
	if authorization != "" {
		add("Authorization", authorization)
		masked = append(masked, "Authorization")
	}
	for _, h := range w.Headers {
		headers = append(headers, h)
		masked = append(masked, h.Name)
	}
	return headers, masked
}

// standardSignatures is the value of webhook-signature: one for each live secret,
// or for each live key where the webhook chose Ed25519, newest first. A receiver
// that chose it does not want to share a secret, so it is never sent both.
func standardSignatures(w *cybervault.Webhook, secrets []cybervault.Secret, id string, timestamp int64, body []byte, now time.Time) (signatures string) {
	add := func(signature string, err error) {
		switch {
		case err != nil: // a secret or key that cannot be read cannot have been stored by us
		case signatures == "":
			signatures = signature
		default:
			signatures += " " + signature
		}
	}
	if w.Signature == cybervault.SignatureEd25519 {
		for i, k := range w.SigningKeys {
			if i == 0 || k.ExpiresAt.After(now) {
				add(cybervault.SignEd25519(k.Private, id, timestamp, body))
			}
		}
		return signatures
	}
	for _, s := range secrets {
		add(cybervault.SignStandard(s.Value, id, timestamp, body))
	}
	return signatures
}

// liveSecrets returns the secrets that sign at the moment, newest first. The
// newest never ends.
func liveSecrets(w *cybervault.Webhook, now time.Time) []cybervault.Secret {
	for i, s := range w.Secrets[1:] {
		if !s.ExpiresAt.After(now) {
			live := make([]cybervault.Secret, 0, len(w.Secrets))
			live = append(live, w.Secrets[:i+1]...)
			for _, later := range w.Secrets[i+2:] {
				if later.ExpiresAt.After(now) {
					live = append(live, later)
				}
			}
			return live
		}
	}
	return w.Secrets
}
