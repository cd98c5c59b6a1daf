package cybervault

import (
	"slices"
	"strings"
	"time"
)

// DeliveryStatus is where a delivery stands. See docs/delivery-states.md.
type DeliveryStatus string

// The statuses of a delivery. Pending and held are alive; the rest are ends.
const (
	DeliveryPending    DeliveryStatus = "pending"     // waiting, running, or to be tried again at NextAttemptAt
	DeliveryHeld       DeliveryStatus = "held"        // its webhook is not verified yet
	DeliveryDelivered  DeliveryStatus = "delivered"   // an attempt was answered with success
	DeliveryDeadLetter DeliveryStatus = "dead_letter" // the retry schedule is used up
	DeliveryCancelled  DeliveryStatus = "cancelled"   // by a person, or because its webhook was deleted
	DeliverySkipped    DeliveryStatus = "skipped"     // a filter or a disabled webhook said no
)

// DeliveryStatuses lists every status, in the order of the state diagram.
func DeliveryStatuses() []DeliveryStatus {
	return []DeliveryStatus{DeliveryPending, DeliveryHeld, DeliveryDelivered, DeliveryDeadLetter, DeliveryCancelled, DeliverySkipped}
}

// UndeliveredStatuses is the word by which a list is asked for all statuses but
// delivered.
const UndeliveredStatuses = "undelivered"

// ParseDeliveryStatuses reads statuses joined by commas, such as
// "pending,dead_letter"; "undelivered" stands for all but delivered. The error,
// of CodeInvalid about the field status, names what would be right.
func ParseDeliveryStatuses(text string) ([]DeliveryStatus, error) {
	var statuses []DeliveryStatus
	add := func(s DeliveryStatus) {
		if !slices.Contains(statuses, s) {
			statuses = append(statuses, s)
		}
	}
	for name := range strings.SplitSeq(text, ",") {
		switch status := DeliveryStatus(strings.TrimSpace(name)); {
		case status == UndeliveredStatuses:
			for _, s := range DeliveryStatuses() {
				if s != DeliveryDelivered {
					add(s)
				}
			}
		case slices.Contains(DeliveryStatuses(), status):
			add(status)
		default:
			return nil, Invalid("status", "%q is not a status: use %s, several joined by commas, or %s", cutName(string(status)), joinedStatuses(), UndeliveredStatuses)
		}
	}
	return statuses, nil
}

func joinedStatuses() string {
	names := make([]string, 0, len(DeliveryStatuses()))
	for _, s := range DeliveryStatuses() {
		names = append(names, string(s))
	}
	return strings.Join(names, ", ")
}

// cutName shortens what is quoted back to somebody.
func cutName(s string) string {
	const most = 40
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// Ended reports whether no further attempt can follow.
func (s DeliveryStatus) Ended() bool { return s != DeliveryPending && s != DeliveryHeld }

// Why a delivery was skipped or cancelled.
const (
	ReasonWebhookDisabled = "webhook_disabled"
	ReasonFilter          = "filter"       // the webhook's filter said no
	ReasonFilterError     = "filter_error" // the filter could not be evaluated on this event
	ReasonWebhookDeleted  = "webhook_deleted"
	ReasonCancelled       = "cancelled"
)

// Delivery is the duty to bring one event to one webhook.
type Delivery struct {
	ID        DeliveryID
	Workspace WorkspaceID
	Event     EventID
	EventType string
	Severity  Severity // of the event itself where it names one, else of its type
	Webhook   WebhookID
	Sequence  int64 // gapless for each webhook, from 1, in the order of commit; 0 for a skipped delivery
	Status    DeliveryStatus
	Reason    string // why it was skipped or cancelled; empty otherwise
	Attempts  int    // made so far
	// NextAttemptAt is when a pending delivery is due; zero while an attempt
	// is under way and once it has ended.
	NextAttemptAt time.Time
	Running       bool // leased by a node: an attempt is waiting in memory or under way
	FinishedAt    time.Time
	ReplayOf      DeliveryID // the delivery this is a replay of, or zero
	Test          bool
	LastStatus    int     // status code of the last answer, 0 if none came
	LastFailure   Failure // of the last attempt; empty after a success
}

// CreatedAt is when the delivery was committed to, to the millisecond.
func (d *Delivery) CreatedAt() time.Time { return d.ID.Time() }

// Lease is a node's claim on a delivery. Token fences it: a result that comes
// with another token than the stored one is refused.
type Lease struct {
	Token int64
	Until time.Time
	// Taken is when its node asked for it, as the machine measures time, whatever the
	// clock is set to. Only that node knows; zero where it is not to be gone by.
	Taken time.Time
}

// Bounds that keep an ordered webhook in order while a node is cut off from a
// database that several share, and believes to hold leases that it has lost.
const (
	// LineTrust is how long ago the store must have said that a lease is still held
	// for an attempt to begin under it.
	LineTrust = time.Second
	// LineGrace is for how long a delivery stays where it is after its lease was
	// taken from a node: the longest for which that node may be at it.
	LineGrace = LineTrust + AttemptTimeout + 2*time.Second
)

// Assignment is a leased delivery with all that an attempt needs besides the
// webhook's own settings, which are looked up when the attempt starts.
type Assignment struct {
	Delivery  DeliveryID
	Webhook   WebhookID
	Event     EventID
	EventType string
	Severity  Severity
	Sequence  int64
	Attempt   int // the number of the attempt to make, from 1
	Test      bool
	Ordered   bool   // claimed in the order of sequence numbers
	Body      []byte // shared between the assignments of one event: read only
	Lease     Lease
}

// Publication is an event with the deliveries it leads to, to be committed
// together. Deliveries with a lease are claimed at birth by this node.
type Publication struct {
	Event      *Event
	Deliveries []NewDelivery
}

// NewDelivery is a delivery about to be committed. The store gives it its
// sequence number.
type NewDelivery struct {
	ID       DeliveryID
	Webhook  WebhookID
	Status   DeliveryStatus // pending, held or skipped
	Severity Severity       // empty: info; one that StepReplay makes gets that of the replayed one
	Reason   string
	Lease    Lease // zero: not claimed, found by query
	ReplayOf DeliveryID
	Ordered  bool  // its webhook is: it waits for those before it
	Sequence int64 // set by the store at commit
}

// Published is what became of a Publication.
type Published struct {
	// Existing is the event that already holds the publisher's idempotency
	// key, nil when the publication was stored.
	Existing *Event
	// ExistingDeliveries is how many deliveries Existing had at birth.
	ExistingDeliveries int
}

// Result is a finished attempt and what becomes of its delivery.
type Result struct {
	Attempt *Attempt
	Webhook WebhookID
	Lease   Lease
	Status  DeliveryStatus // pending (try again at NextAttemptAt), delivered or dead_letter
	// NextAttemptAt is set when Status is pending.
	NextAttemptAt time.Time
	// DecidedAt is when that was said, by the clock as it was then.
	DecidedAt time.Time
}

// Claim says what is to be leased of a webhook's due deliveries: the most severe
// first and, of those equally severe, the longest due.
type Claim struct {
	Webhook WebhookID
	Limit   int
	// Patient is how many of Limit are kept for the severity that has waited
	// longest, so that none waits for ever behind more severe ones.
	Patient int
	Least   Severity // nothing less severe is claimed; empty for all
	Lease   Lease
}

// Backlog is what the store holds for one webhook and no node has claimed.
type Backlog struct {
	Webhook  WebhookID
	DueAt    time.Time // of the earliest
	SevereAt time.Time // of the earliest that is severe; zero if none is
}
