package cybervault

import (
	"encoding/json"
	"time"
)

// MaxPageSize is the most rows a list answers at once; DefaultPageSize is what
// it answers when not told.
const (
	MaxPageSize     = 200
	DefaultPageSize = 50
)

// EventQuery asks for events of one workspace, newest first. Zero fields do
// not restrict.
type EventQuery struct {
	Workspace WorkspaceID
	Type      string // a name, "threat.*" or "*"
	Since     time.Time
	Until     time.Time
	Text      string  // found, case-insensitively, anywhere in the stored envelope
	Search    Search  // all its terms hold
	Unmatched bool    // only those that no webhook had chosen, filters aside
	Before    EventID // only older ones: the last id of the page before
	Limit     int     // 1 to MaxPageSize
}

// DeliveryQuery asks for deliveries of one workspace, newest first. Zero
// fields do not restrict.
type DeliveryQuery struct {
	Workspace WorkspaceID
	Webhook   WebhookID
	Event     EventID
	EventType string           // a name, "threat.*" or "*"
	Statuses  []DeliveryStatus // any of them; none: all
	Since     time.Time
	Until     time.Time
	Text      string // found, case-insensitively, anywhere in the event's stored envelope
	Before    DeliveryID
	Limit     int
}

// Page is one page of a list. More says that older rows may follow the last one.
type Page[T any] struct {
	Rows []T
	More bool
	// Resume is the id of the row before which to go on, where that is not the last
	// of Rows: the search looked at as many as it may at once, and found too few or none.
	Resume UUID
}

// Overview is what happened in one workspace since a moment.
type Overview struct {
	Since      time.Time
	Buckets    []OverviewBucket // oldest first, of equal width, gapless up to now
	Width      time.Duration    // of a bucket
	ByType     map[string]int64 // events
	ByStatus   map[DeliveryStatus]int64
	LatencyP50 time.Duration // from commit to success, of deliveries whose first attempt succeeded; zero if there are none
	LatencyP99 time.Duration
	// Capped says that there were more rows than an overview counts, so that
	// the figures cover the newest part only.
	Capped bool
}

// OverviewBucket counts what began in one span of time.
type OverviewBucket struct {
	Start     time.Time
	ByType    map[string]int64 // events
	Delivered int64
	Failed    int64 // attempts that failed
}

// PublishRequest is an event as its publisher hands it in.
type PublishRequest struct {
	Type           string          `json:"event"`
	Data           json.RawMessage `json:"data"`
	Timestamp      time.Time       `json:"timestamp,omitzero"`        // zero: the moment of publishing
	IdempotencyKey string          `json:"idempotency_key,omitempty"` // empty: CyberVault makes one
}

// PublishReceipt is the answer to a publisher, once event and deliveries are
// on disk.
type PublishReceipt struct {
	ID             EventID   `json:"id"`
	Type           string    `json:"event"`
	Timestamp      time.Time `json:"timestamp"`
	IdempotencyKey string    `json:"idempotency_key"`
	Deliveries     int       `json:"deliveries"` // made for it, skipped ones not counted
	Replayed       bool      `json:"-"`          // the same key and content had been stored before
}

// PublishOutcome is the receipt or the error of one request of a batch.
type PublishOutcome struct {
	Receipt PublishReceipt
	Err     error
}

// WebhookChange holds the settings of a webhook that a caller may give; nil
// leaves a setting as it is (or at its default for a new webhook).
type WebhookChange struct {
	URL           *string
	Events        *[]string
	Description   *string
	Status        *WebhookStatus
	Accept        *Accept
	Headers       *[]Header
	RetrySchedule *[]time.Duration
	Verification  *bool
	CACertificate *string

	Filter            *string
	RateLimit         *float64
	Concurrency       *int
	Ordered           *bool
	ClientCertificate *string
	Authentication    *Authentication // of type "" for none; without its secret: the stored one stays
	Signature         *Signature
	Proxy             *string
}

// Scope is something an API key may do.
type Scope string

// The scopes of an API key. ScopeAdmin includes the others.
const (
	ScopeEventsWrite    Scope = "events:write"
	ScopeTelemetryWrite Scope = "telemetry:write"
	ScopeRead           Scope = "read"
	ScopePoll           Scope = "deliveries:poll" // to fetch and acknowledge the deliveries of polled webhooks
	ScopeAdmin          Scope = "admin"
	// ScopeAgent is what an agent's own key has, and no other: heartbeats.
	ScopeAgent Scope = "agent"
)

// Scopes lists every scope that a key can be given.
func Scopes() []Scope {
	return []Scope{ScopeEventsWrite, ScopeTelemetryWrite, ScopeRead, ScopePoll, ScopeAdmin}
}

// APIKey is a program's credential for one workspace. Only its SHA-256 is kept.
type APIKey struct {
	ID        APIKeyID
	Workspace WorkspaceID
	Name      string
	Hint      string // the first characters of the key, to recognise it by
	Hash      [32]byte
	Scopes    []Scope
	CreatedAt time.Time
	RevokedAt time.Time // zero while it is valid
	ExpiresAt time.Time // zero: never
	UsedAt    time.Time // to within a few minutes; zero: never

	// Agent is whose own key it is, and lies with the agent; nil for all others.
	Agent *Agent
}

// Allows reports whether the key has the scope.
func (k *APIKey) Allows(scope Scope) bool {
	for _, s := range k.Scopes {
		if s == scope || s == ScopeAdmin {
			return true
		}
	}
	return false
}
