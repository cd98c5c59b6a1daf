package dashboard

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/cybervault/cybervault"
)

// badge is a status or a severity as a page shows it: always in words, and in
// a tone of colour besides.
type badge struct {
	Tone string // ok, bad, warn, busy, mute, or a severity
	Text string
}

func deliveryBadge(d *cybervault.Delivery) badge {
	switch d.Status {
	case cybervault.DeliveryPending:
		switch {
		case d.Running && d.Attempts == 0:
			return badge{"busy", "Sending"}
		case d.Attempts > 0:
			return badge{"warn", "Retrying"}
		}
		return badge{"busy", "Pending"}
	case cybervault.DeliveryHeld:
		return badge{"warn", "Held"}
	case cybervault.DeliveryDelivered:
		return badge{"ok", "Delivered"}
	case cybervault.DeliveryDeadLetter:
		return badge{"bad", "Dead letter"}
	case cybervault.DeliveryCancelled:
		return badge{"mute", "Cancelled"}
	case cybervault.DeliverySkipped:
		return badge{"mute", "Skipped"}
	}
	return badge{"mute", cut(string(d.Status), 40)}
}

// statusLabel names a delivery status for a filter.
func statusLabel(s cybervault.DeliveryStatus) string {
	label := strings.ReplaceAll(string(s), "_", " ")
	return strings.ToUpper(label[:1]) + label[1:]
}

// statusMeaning says in a sentence where a delivery stands; the page puts the
// time of the next attempt after it.
func statusMeaning(d *cybervault.Delivery) string {
	switch d.Status {
	case cybervault.DeliveryPending:
		switch {
		case d.Running:
			return "An attempt is under way."
		case d.Attempts > 0:
			return "The last attempt failed; the next one is due"
		}
		return "Waiting for its first attempt."
	case cybervault.DeliveryHeld:
		return "Held until the webhook is verified: a test payload must be accepted first."
	case cybervault.DeliveryDelivered:
		return "The receiver accepted it."
	case cybervault.DeliveryDeadLetter:
		return "Every attempt of the retry schedule failed. It is kept, and can be replayed."
	case cybervault.DeliveryCancelled:
		switch d.Reason {
		case cybervault.ReasonWebhookDeleted:
			return "Cancelled because its webhook was deleted."
		case "", cybervault.ReasonCancelled:
			return "Cancelled on request."
		}
		return "Cancelled: " + cut(d.Reason, shownInDetail) + "."
	case cybervault.DeliverySkipped:
		switch d.Reason {
		case cybervault.ReasonWebhookDisabled:
			return "Skipped because the webhook was disabled when the event arrived."
		case cybervault.ReasonFilter:
			return "Skipped because the webhook's filter says no to this event."
		case cybervault.ReasonFilterError:
			return "Skipped because the webhook's filter could not be evaluated on this event: a field is missing or of another type. has(data.field) asks first."
		}
		return "Skipped: " + cut(d.Reason, shownInDetail) + "."
	}
	return ""
}

// failureWords says why an attempt failed, for somebody who has not read the manual.
func failureWords(f cybervault.Failure, status int) string {
	switch f {
	case "":
		return ""
	case cybervault.FailureStatus:
		return "Answered " + statusText(status)
	case cybervault.FailureTimeout:
		return "No complete answer within " + cybervault.FormatDuration(cybervault.AttemptTimeout)
	case cybervault.FailureDNS:
		return "The host name could not be looked up"
	case cybervault.FailureConnect:
		return "No connection could be made"
	case cybervault.FailureTLS:
		return "No trusted TLS connection could be made"
	case cybervault.FailureRedirect:
		return "Answered " + statusText(status) + "; redirects are never followed"
	case cybervault.FailureBlockedAddress:
		return "The host name led to an address that is refused"
	case cybervault.FailureProtocol:
		return "The answer was not proper HTTP, or broke off"
	}
	return cut(string(f), 60)
}

// statusText writes "503 Service Unavailable", or the bare number.
func statusText(status int) string {
	if text := http.StatusText(status); text != "" {
		return strconv.Itoa(status) + " " + text
	}
	return strconv.Itoa(status)
}

// answerBadge shows the outcome of an exchange in a word.
func answerBadge(f cybervault.Failure, status int) badge {
	switch {
	case f == "" && status == 0:
		return badge{}
	case f == "":
		return badge{"ok", strconv.Itoa(status)}
	case status != 0:
		return badge{"bad", strconv.Itoa(status)}
	}
	return badge{"bad", strings.ReplaceAll(cut(string(f), 40), "_", " ")}
}

func severityBadge(s cybervault.Severity) badge {
	if s.Rank() < 0 {
		return badge{"info", "Info"}
	}
	return badge{string(s), strings.ToUpper(string(s[:1])) + string(s[1:])}
}

// severities knows the severity of each event type of the catalogue.
type severities map[string]cybervault.Severity

func (d *dashboard) severities(ctx context.Context) severities {
	list := d.Catalogue.List(workspaceOf(ctx))
	m := make(severities, len(list))
	for i := range list {
		m[list[i].Name] = list[i].Severity
	}
	return m
}

// of returns an event type's severity, info where the catalogue does not know it.
func (m severities) of(eventType string) cybervault.Severity {
	if s := m[eventType]; s.Rank() >= 0 {
		return s
	}
	return cybervault.SeverityInfo
}

// summaryKeys are the fields of an event's data that tell most, in the order in
// which a summary names them.
var summaryKeys = []string{
	"title", "summary", "vector", "pattern", "hostname", "user", "source_ip", "target_asset",
	"package", "to_version", "error", "framework", "control_id", "reason", "status",
}

// digest reads an event's stored envelope: the severity it names itself, if any,
// and a line that tells it from others of its type.
func digest(body []byte) (severity cybervault.Severity, summary string) {
	var envelope struct {
		Data map[string]json.RawMessage `json:"data"`
	}
	if json.Unmarshal(body, &envelope) != nil {
		return "", ""
	}
	var parts []string
	for _, key := range summaryKeys {
		if s := scalar(envelope.Data[key]); s != "" && len(parts) < 4 {
			parts = append(parts, cut(s, 60))
		}
	}
	severity = cybervault.Severity(scalar(envelope.Data["severity"]))
	if severity.Rank() < 0 {
		severity = ""
	}
	return severity, cut(strings.Join(parts, " · "), shownInList)
}

func scalar(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return ""
}

// sentence makes a sentence of words from elsewhere.
func sentence(s string) string {
	if s = strings.TrimSpace(s); s == "" {
		return ""
	}
	first, size := utf8.DecodeRuneInString(s)
	return strings.TrimSuffix(string(unicode.ToUpper(first))+s[size:], ".") + "."
}

// webhookName is what a person calls a webhook: its description, or where it leads.
func webhookName(w *cybervault.Webhook) string {
	if name := firstLine(w.Description, 60); name != "" {
		return name
	}
	return shortURL(w.URL)
}

// shortURL is host and path of a URL.
func shortURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return cut(raw, 60)
	}
	return cut(u.Host+strings.TrimSuffix(u.EscapedPath(), "/"), 60)
}
