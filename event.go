package cybervault

import (
	"encoding/json"
	"regexp"
	"strings"
	"time"
)

// Limits on an event.
const (
	MaxEventBytes          = 256 << 10 // of one event as published, and of the stored envelope's data
	MaxBatchEvents         = 1000
	MaxIdempotencyKeyBytes = 255
)

// Severity ranks event types and detections, from SeverityInfo to SeverityCritical.
type Severity string

// The severities, lowest first.
const (
	SeverityInfo     Severity = "info"
	SeverityLow      Severity = "low"
	SeverityMedium   Severity = "medium"
	SeverityHigh     Severity = "high"
	SeverityCritical Severity = "critical"
)

// Severities lists every severity, lowest first.
func Severities() []Severity {
	return []Severity{SeverityInfo, SeverityLow, SeverityMedium, SeverityHigh, SeverityCritical}
}

// Rank orders severities: 0 for info to 4 for critical, -1 for an unknown one.
func (s Severity) Rank() int {
	switch s {
	case SeverityInfo:
		return 0
	case SeverityLow:
		return 1
	case SeverityMedium:
		return 2
	case SeverityHigh:
		return 3
	case SeverityCritical:
		return 4
	}
	return -1
}

// Severe reports whether s is high or critical: what does not wait for a place
// behind a backlog.
func (s Severity) Severe() bool { return s.Rank() >= SeverityHigh.Rank() }

// The twelve core event types, and the test payload's type, which belongs to no
// subscription.
const (
	EventThreatDetected          = "threat.detected"
	EventIncidentCreated         = "incident.created"
	EventIncidentUpdated         = "incident.updated"
	EventIncidentResolved        = "incident.resolved"
	EventAuthSuspicious          = "auth.suspicious"
	EventEndpointOffline         = "endpoint.offline"
	EventEndpointOnline          = "endpoint.online"
	EventPatchDeployed           = "patch.deployed"
	EventPatchFailed             = "patch.failed"
	EventComplianceReportReady   = "compliance.report.ready"
	EventComplianceControlFailed = "compliance.control.failed"
	EventSystemAlert             = "system.alert"
	EventWebhookTest             = "webhook.test"
)

// EventType is one entry of the catalogue.
type EventType struct {
	Name        string          `json:"name"`
	Severity    Severity        `json:"severity"`
	Description string          `json:"description"`
	Core        bool            `json:"core"`    // false for a workspace's own
	Schema      json.RawMessage `json:"schema"`  // JSON Schema 2020-12 of the envelope's data
	Example     json.RawMessage `json:"example"` // a data object that validates against Schema
}

// Event is one thing that happened, of one event type, stored once, immutable.
type Event struct {
	ID             EventID
	Workspace      WorkspaceID
	Type           string
	Timestamp      time.Time // when it happened, UTC
	IdempotencyKey string    // as it stands in the envelope's metadata
	PublisherKey   bool      // the publisher chose IdempotencyKey; false where CyberVault made it
	Test           bool      // the test payload or an example: goes to one webhook only, marked X-CyberVault-Test
	Body           []byte    // the envelope, made once: these bytes are stored, signed and sent
}

// Envelope is the wire form of an event, its keys in the order of the wire
// format. Data stays raw, so that nothing is ever re-encoded.
type Envelope struct {
	ID        EventID         `json:"id"`
	Event     string          `json:"event"`
	Timestamp time.Time       `json:"timestamp"`
	Data      json.RawMessage `json:"data"`
	Metadata  Metadata        `json:"metadata"`
}

// Metadata is the envelope's last part.
type Metadata struct {
	WorkspaceID    WorkspaceID `json:"workspace_id"`
	EngineVersion  string      `json:"engine_version"`
	IdempotencyKey string      `json:"idempotency_key"`
}

// GeneratedKeyPrefix starts every idempotency key that CyberVault makes itself;
// the event's UUID follows.
const GeneratedKeyPrefix = "idm_"

var eventTypeName = regexp.MustCompile(`^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$`)

// CheckEventTypeName reports what is wrong with the name of an event type: lower-case
// words joined by dots, two at least, 100 bytes at most.
func CheckEventTypeName(name string) error {
	if len(name) > 100 || !eventTypeName.MatchString(name) {
		return Invalid("event", "%q is not an event type name: use lower-case words joined by dots, such as %q", truncate(name, 100), EventThreatDetected)
	}
	return nil
}

// MatchesEventType reports whether a webhook's choice (a name, "threat.*" or
// "*") covers the event type name. The test payload is covered by no choice.
func MatchesEventType(choice, name string) bool {
	if name == EventWebhookTest {
		return false
	}
	if choice == "*" || choice == name {
		return true
	}
	namespace, ok := strings.CutSuffix(choice, "*")
	return ok && strings.HasSuffix(namespace, ".") && strings.HasPrefix(name, namespace)
}
