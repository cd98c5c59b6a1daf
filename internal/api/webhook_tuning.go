package api

import (
	"encoding/json"
	"strconv"

	"github.com/cybervault/cybervault"
)

// tuningFields are the settings of how a webhook is delivered to; see
// cybervault.Tuning.
func tuningFields() fields[cybervault.WebhookChange] {
	type change = cybervault.WebhookChange
	return fields[change]{
		{
			name: "filter", doc: "a CEL expression over the envelope (id, event, timestamp, data, metadata) that is true for what is to be delivered; null for everything",
			schema: schema{"type": "string", "maxLength": cybervault.MaxFilterBytes, "examples": []string{`data.severity == "critical" && data.confidence > 0.9`}},
			read:   func(raw json.RawMessage, into *change) error { return set(&into.Filter, raw, readString) },
			null:   func(into *change) { into.Filter = new(string) },
		}, {
			name: "rate_limit", doc: "attempts a second at most; null for no limit",
			schema: schema{"type": "number", "exclusiveMinimum": 0, "maximum": cybervault.MaxRateLimit},
			read:   func(raw json.RawMessage, into *change) error { return set(&into.RateLimit, raw, readRate) },
			null:   func(into *change) { into.RateLimit = new(float64) },
		}, {
			name: "concurrency", doc: "attempts under way at once; null for " + strconv.Itoa(cybervault.DefaultConcurrency),
			schema: schema{"type": "integer", "minimum": 1, "maximum": cybervault.MaxConcurrency},
			read:   func(raw json.RawMessage, into *change) error { return set(&into.Concurrency, raw, readCount) },
			null:   func(into *change) { into.Concurrency = new(int) },
		}, {
			name: "ordered", doc: "deliver one after the other in the order of commit, and hold back behind a failure", schema: schema{"type": "boolean", "default": false},
			read: func(raw json.RawMessage, into *change) error { return set(&into.Ordered, raw, readBool) },
			null: func(into *change) { into.Ordered = new(bool) },
		}, {
			name: "client_certificate", doc: "a certificate, its chain and its unencrypted private key, as PEM, to show to a receiver that asks for one; never shown again; null for none",
			schema: schema{"type": "string"},
			read:   func(raw json.RawMessage, into *change) error { return set(&into.ClientCertificate, raw, readString) },
			null:   func(into *change) { into.ClientCertificate = new(string) },
		},
	}
}

// readRate reads a number above 0; which numbers will do is the service's to say.
func readRate(raw json.RawMessage) (float64, error) {
	var rate float64
	if err := json.Unmarshal(raw, &rate); err != nil || rate <= 0 {
		return 0, cybervault.Errorf(cybervault.CodeInvalid, "is %s: give attempts a second, such as 10 or 0.5, or null for no limit", shownNumber(raw))
	}
	return rate, nil
}

// readCount reads a whole number above 0.
func readCount(raw json.RawMessage) (int, error) {
	n, err := strconv.Atoi(string(raw))
	if err != nil || n <= 0 {
		return 0, cybervault.Errorf(cybervault.CodeInvalid, "is %s: give a whole number from 1 to %d, or null for %d", shownNumber(raw), cybervault.MaxConcurrency, cybervault.DefaultConcurrency)
	}
	return n, nil
}

// shownNumber names what was given: a number itself, anything else by its kind.
func shownNumber(raw json.RawMessage) string {
	if raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9' {
		return shorten(string(raw))
	}
	return kindOf(raw)
}

// tuningJSON is how a webhook is delivered to, as it is shown.
type tuningJSON struct {
	Filter            *string  `json:"filter" doc:"The CEL expression that is true for what is delivered; null for everything."`
	RateLimit         *float64 `json:"rate_limit" doc:"Attempts a second at most; null for no limit."`
	Concurrency       *int     `json:"concurrency" doc:"Attempts under way at once; null for the default."`
	Ordered           bool     `json:"ordered" doc:"Whether deliveries are made one after the other, in the order of commit."`
	ClientCertificate *string  `json:"client_certificate" doc:"*** where there is one, which is never shown; null where there is none."`
}

func showTuning(t *cybervault.Tuning) tuningJSON {
	shown := tuningJSON{Filter: orNull(t.Filter), RateLimit: orNull(t.RateLimit), Concurrency: orNull(t.Concurrency), Ordered: t.Ordered}
	if t.ClientCertificate != "" {
		shown.ClientCertificate = new(maskedHeader)
	}
	return shown
}

// unmaskCertificate leaves a certificate as it is whose value is a mask.
func unmaskCertificate(change *cybervault.WebhookChange, exists bool) error {
	if change.ClientCertificate == nil || *change.ClientCertificate != maskedHeader {
		return nil
	}
	if !exists {
		return cybervault.Invalid("client_certificate", "is %q, which stands for a value that is not shown, but the webhook has none: give its certificate and key as PEM", maskedHeader)
	}
	change.ClientCertificate = nil
	return nil
}
