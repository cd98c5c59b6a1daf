package cybervault

import "slices"

// ChangeKind says what a change is about.
type ChangeKind string

// The kinds of changes.
const (
	ChangeEvent    ChangeKind = "event"    // an event was stored
	ChangeDelivery ChangeKind = "delivery" // a delivery was made, or an attempt or a person moved it
	ChangeAttempt  ChangeKind = "attempt"  // an attempt was recorded
)

// ChangeKinds lists every kind.
func ChangeKinds() []ChangeKind {
	return []ChangeKind{ChangeEvent, ChangeDelivery, ChangeAttempt}
}

// ChangePosition is a place in the change log, which is in the order of commit:
// behind the first Done changes of one transaction.
type ChangePosition struct {
	Transaction int64 // its place in the log
	Mark        int64 // tells it from one at the same place of another database's log
	Done        int
}

// ChangeQuery asks for what changed in one workspace after a position, oldest
// first. Zero fields do not restrict.
type ChangeQuery struct {
	Workspace WorkspaceID
	After     ChangePosition
	Kinds     []ChangeKind
	Webhook   WebhookID // then only its deliveries and attempts
	Types     []string  // of the event: names, "threat.*", "*"
}

// Wants reports whether the query asks for changes of a kind.
func (q *ChangeQuery) Wants(kind ChangeKind) bool {
	if kind == ChangeEvent && !q.Webhook.IsZero() {
		return false
	}
	return len(q.Kinds) == 0 || slices.Contains(q.Kinds, kind)
}

// WantsType reports whether the query asks for changes about events of a type.
func (q *ChangeQuery) WantsType(eventType string) bool {
	if len(q.Types) == 0 {
		return true
	}
	for _, choice := range q.Types {
		if MatchesEventType(choice, eventType) {
			return true
		}
	}
	return false
}

// Change is one thing that changed, as it is now. Event is set for
// ChangeEvent, Delivery for the others, Attempt for ChangeAttempt.
type Change struct {
	Kind     ChangeKind
	At       ChangePosition // behind it
	Event    *Event
	Delivery *Delivery
	Attempt  *Attempt
	Status   DeliveryStatus // that a delivery was given by this change; it may have moved on since
}

// ChangePage is what a look at the change log found.
type ChangePage struct {
	Rows []Change
	Next ChangePosition // to go on from, behind what the query did not ask for too
	More bool           // there was more than one look reads
}
