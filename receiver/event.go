package receiver

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Event is what a delivery brings: the envelope, and what the headers say of
// the delivery.
type Event struct {
	ID        string          `json:"id"`        // "wh_…": the same for every delivery of the event
	Type      string          `json:"event"`     // such as "threat.detected"
	Timestamp time.Time       `json:"timestamp"` // when it happened
	Data      json.RawMessage `json:"data"`      // an object that depends on Type; see Decode
	Metadata  Metadata        `json:"metadata"`

	// From the headers, which are not signed: for logs, never for decisions.
	Delivery string `json:"-"` // "dlv_…"
	Attempt  int    `json:"-"` // 1, 2, 3 …; 0 if the header is missing
	Sequence int64  `json:"-"` // gapless for each webhook, from 1; 0 if the header is missing
	Test     bool   `json:"-"` // an example that was asked for: nothing happened

	Body []byte `json:"-"` // the envelope as it was received
}

// Metadata is the last part of the envelope.
type Metadata struct {
	WorkspaceID    string `json:"workspace_id"`
	EngineVersion  string `json:"engine_version"`
	IdempotencyKey string `json:"idempotency_key"` // the same for every delivery of the event
}

// Decode reads the event's data into v, as json.Unmarshal does.
func (e *Event) Decode(v any) error {
	if err := json.Unmarshal(e.Data, v); err != nil {
		return fmt.Errorf("data of %s %s: %w", e.Type, e.ID, err)
	}
	return nil
}

// Key is what to deduplicate by: workspace and idempotency key, or the event's
// id where it has no key.
func (e *Event) Key() string {
	if e.Metadata.IdempotencyKey == "" {
		return e.ID
	}
	return e.Metadata.WorkspaceID + "/" + e.Metadata.IdempotencyKey
}

// ReadEvent reads a verified delivery in the native format. It verifies
// nothing: call Verify first. The event keeps body.
func ReadEvent(header http.Header, body []byte) (Event, error) {
	var e Event
	if err := json.Unmarshal(body, &e); err != nil {
		return Event{}, fmt.Errorf("the body is not an event: %w", err)
	}
	if e.ID == "" || e.Type == "" {
		return Event{}, errors.New("the body is not an event: it has no id or no event type; is the webhook's format native?")
	}
	e.Body = body
	e.Delivery = header.Get(HeaderDelivery)
	// Only for logs, so a header that is not a number is as good as none.
	e.Attempt, _ = strconv.Atoi(header.Get(HeaderAttempt))
	e.Sequence, _ = strconv.ParseInt(header.Get(HeaderSequence), 10, 64)
	e.Test = header.Get(HeaderTest) == "true"
	return e, nil
}
