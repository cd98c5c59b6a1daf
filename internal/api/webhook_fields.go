package api

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

// webhookFields is the body that creates or changes a webhook. Whether the
// values will do together is the service's to say.
func webhookFields() fields[cybervault.WebhookChange] {
	type change = cybervault.WebhookChange
	all := fields[change]{
		{
			name: "url", required: true, doc: "give the https:// URL that is to receive the events",
			schema: schema{"type": "string", "format": "uri", "maxLength": cybervault.MaxURLBytes},
			read:   func(raw json.RawMessage, into *change) error { return set(&into.URL, raw, readString) },
		}, {
			name: "events", required: true, doc: "choose event types: names, namespaces such as \"threat.*\", or \"*\" for all",
			schema: schema{"type": "array", "items": schema{"type": "string"}, "minItems": 1},
			read: func(raw json.RawMessage, into *change) error {
				return set(&into.Events, raw, func(raw json.RawMessage) ([]string, error) { return readStrings(raw, "events") })
			},
		}, {
			name: "description", doc: "for people", schema: schema{"type": "string", "maxLength": cybervault.MaxDescriptionBytes},
			read: func(raw json.RawMessage, into *change) error { return set(&into.Description, raw, readString) },
			null: func(into *change) { into.Description = new(string) },
		}, {
			name: "status", doc: "a disabled webhook gets no deliveries", schema: enum(cybervault.WebhookEnabled, cybervault.WebhookDisabled),
			read: func(raw json.RawMessage, into *change) error {
				return set(&into.Status, raw, choice("a status", cybervault.WebhookEnabled, cybervault.WebhookDisabled))
			},
			null: func(into *change) { into.Status = new(cybervault.WebhookEnabled) },
		}, {
			name: "accept", doc: "which answers are success: default is 200 and 201", schema: enum(cybervault.AcceptDefault, cybervault.AcceptAny2xx),
			read: func(raw json.RawMessage, into *change) error {
				return set(&into.Accept, raw, choice("a choice", cybervault.AcceptDefault, cybervault.AcceptAny2xx))
			},
			null: func(into *change) { into.Accept = new(cybervault.AcceptDefault) },
		}, {
			name: "headers", doc: "static headers to send, name and value; values are never shown again",
			schema: schema{"type": "object", "additionalProperties": schema{"type": "string", "maxLength": cybervault.MaxHeaderValueBytes}, "maxProperties": cybervault.MaxWebhookHeaders},
			read:   func(raw json.RawMessage, into *change) error { return set(&into.Headers, raw, readHeaders) },
			null:   func(into *change) { into.Headers = new([]cybervault.Header) },
		}, {
			name: "retry_schedule", doc: "the delays after each failed attempt, as a list or joined with commas; null for the server's schedule, an empty list for no retry",
			schema: schema{"anyOf": []schema{
				{"type": "array", "items": schema{"type": "string"}, "maxItems": cybervault.MaxRetrySteps, "examples": []any{[]string{"5s", "30s", "2m"}}},
				{"type": "string", "examples": []string{"5s,30s,2m"}},
			}},
			read: func(raw json.RawMessage, into *change) error { return set(&into.RetrySchedule, raw, readSchedule) },
			null: func(into *change) { into.RetrySchedule = new([]time.Duration) },
		}, {
			name: "verification", doc: "hold deliveries until a test payload was accepted", schema: schema{"type": "boolean", "default": false},
			read: func(raw json.RawMessage, into *change) error { return set(&into.Verification, raw, readBool) },
			null: func(into *change) { into.Verification = new(bool) },
		}, {
			name: "ca_certificate", doc: "certificates of the CAs to trust instead of the system's, as PEM; null for the system's", schema: schema{"type": "string"},
			read: func(raw json.RawMessage, into *change) error { return set(&into.CACertificate, raw, readString) },
			null: func(into *change) { into.CACertificate = new(string) },
		},
	}
	all = append(all, tuningFields()...)
	all = append(all, channelFields()...)
	return append(all,
		// Known to the wire format, but not done by this version: silently
		// ignoring it would deliver what the caller did not ask for.
		unsupported("format", `"native"`),
		readOnly("id"), readOnly("disabled_reason"), readOnly("verified_at"), readOnly("created_at"), readOnly("updated_at"), readOnly("secret"), readOnly("public_key"),
	)
}

// unsupported refuses every value but null and the one that changes nothing.
func unsupported(name, harmless string) field[cybervault.WebhookChange] {
	return field[cybervault.WebhookChange]{
		name: name, hidden: true, null: ignoreNull[cybervault.WebhookChange],
		read: func(raw json.RawMessage, _ *cybervault.WebhookChange) error {
			if harmless != "" && string(raw) == harmless {
				return nil
			}
			return cybervault.Errorf(cybervault.CodeInvalid, "is not supported by this version: leave it out")
		},
	}
}

func readOnly(name string) field[cybervault.WebhookChange] {
	return field[cybervault.WebhookChange]{
		name: name, hidden: true,
		read: func(json.RawMessage, *cybervault.WebhookChange) error {
			return cybervault.Errorf(cybervault.CodeInvalid, "cannot be set: leave it out")
		},
	}
}

// set reads a value and points to it.
func set[T any](into **T, raw json.RawMessage, read func(json.RawMessage) (T, error)) error {
	v, err := read(raw)
	if err != nil {
		return err
	}
	*into = &v
	return nil
}

// choice reads one of a few strings.
func choice[S ~string](what string, values ...S) func(json.RawMessage) (S, error) {
	return func(raw json.RawMessage) (S, error) {
		text, err := readString(raw)
		if err != nil {
			return "", err
		}
		known := make([]string, len(values))
		for i, v := range values {
			if string(v) == text {
				return v, nil
			}
			known[i] = quote(string(v))
		}
		return "", cybervault.Errorf(cybervault.CodeInvalid, "%s is not %s: use %s", quote(text), what, strings.Join(known, " or "))
	}
}

// readHeaders reads an object of names and values, in the order it was written.
func readHeaders(raw json.RawMessage) ([]cybervault.Header, error) {
	if raw[0] != '{' {
		return nil, cybervault.Errorf(cybervault.CodeInvalid, "is %s: give an object of names and values", kindOf(raw))
	}
	found, err := members(raw, nil)
	if err != nil {
		return nil, within("headers", err)
	}
	headers := make([]cybervault.Header, len(found))
	for i, m := range found {
		value, err := readString(m.value)
		if err != nil {
			return nil, at("headers["+quote(m.name)+"]", err)
		}
		headers[i] = cybervault.Header{Name: m.name, Value: value}
	}
	return headers, nil
}

// readSchedule reads ["5s","30s"] or "5s,30s". An empty list is a schedule
// without retry, and not nil.
func readSchedule(raw json.RawMessage) ([]time.Duration, error) {
	if raw[0] == '"' {
		schedule, err := cybervault.ParseRetrySchedule(unquote(raw))
		if err == nil && len(schedule) == 0 {
			err = cybervault.Errorf(cybervault.CodeInvalid, "is empty: give delays such as \"5s,30s,2m\", null for the server's schedule, or an empty list for no retry")
		}
		return schedule, err
	}
	if raw[0] != '[' {
		return nil, cybervault.Errorf(cybervault.CodeInvalid, "is %s: give a list such as [\"5s\",\"30s\",\"2m\"]", kindOf(raw))
	}
	words, err := readStrings(raw, "retry_schedule")
	if err != nil {
		return nil, err
	}
	schedule := make([]time.Duration, len(words))
	for i, word := range words {
		if schedule[i], err = time.ParseDuration(word); err != nil {
			return nil, cybervault.Invalid("retry_schedule["+itoa(i)+"]", "%q is not a duration: use a number and a unit, such as 30s, 10m or 2h", shorten(word))
		}
	}
	return schedule, cybervault.CheckRetrySchedule(schedule)
}
