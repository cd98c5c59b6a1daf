package cybervault

import (
	"slices"
	"time"
)

type replayKind struct{}

func (replayKind) Prefix() string { return "rpl_" }

// ReplayID is the id of a replay of many deliveries.
type ReplayID = ID[replayKind]

// Limits on a replay of many deliveries.
const (
	DefaultReplayRate = 100 // new deliveries a second
	MaxReplayRate     = 1000
	ReplaySample      = 10  // deliveries that a dry run shows
	MaxReplayChoices  = 100 // event choices
	MaxRunningReplays = 100 // of a server at once
)

// ReplayStatus is where a replay of many deliveries stands.
type ReplayStatus string

// The statuses of a replay of many deliveries.
const (
	ReplayRunning   ReplayStatus = "running"
	ReplayDone      ReplayStatus = "done"
	ReplayCancelled ReplayStatus = "cancelled" // by a person, or because its webhook was deleted
)

// ReplayCriteria chooses deliveries of one webhook. A delivery that is a replay
// itself, or a test, is never chosen: so an event is replayed once.
type ReplayCriteria struct {
	Since    time.Time        `json:"since"`              // made at or after
	Until    time.Time        `json:"until"`              // made before
	Events   []string         `json:"events,omitempty"`   // names, "threat.*", "*"; empty: all
	Statuses []DeliveryStatus `json:"statuses,omitempty"` // ends; empty: every end
}

// Replay is the order to make new deliveries of what one webhook has had.
type Replay struct {
	ID         ReplayID
	Workspace  WorkspaceID
	Webhook    WebhookID
	Criteria   ReplayCriteria
	Rate       int   // new deliveries a second at most
	Matched    int64 // deliveries that matched when it was asked for
	Created    int64 // new deliveries so far
	Skipped    int64 // matched, and removed because of their age before their turn
	Position   int64 // row key of the last delivery that is done with
	Status     ReplayStatus
	DueAt      time.Time // when it may go on
	FinishedAt time.Time // zero while it is running
}

// Check reports what is wrong with the criteria and the rate.
func (r *Replay) Check() error {
	c := &r.Criteria
	if c.Since.IsZero() {
		return Invalid("since", "is missing: give the moment from which deliveries are to be replayed")
	}
	if !c.Since.Before(c.Until) {
		return Invalid("until", "is not after since")
	}
	if len(c.Events) > MaxReplayChoices {
		return Invalid("events", "has %d choices, more than %d", len(c.Events), MaxReplayChoices)
	}
	for _, choice := range c.Events {
		if !validChoice(choice) {
			return Invalid("events", "%q is no event type name, no namespace such as \"threat.*\", and not \"*\"", truncate(choice, 100))
		}
	}
	for _, status := range c.Statuses {
		if !slices.Contains(DeliveryStatuses(), status) || !status.Ended() {
			return Invalid("status", "%q is not the status of a delivery that has ended: use delivered, dead_letter, cancelled or skipped", truncate(string(status), 60))
		}
	}
	if r.Rate < 1 || r.Rate > MaxReplayRate {
		return Invalid("rate", "%d is not between 1 and %d new deliveries a second", r.Rate, MaxReplayRate)
	}
	return nil
}

func validChoice(choice string) bool {
	if choice == "*" {
		return true
	}
	if n := len(choice); n > 2 && choice[n-2:] == ".*" {
		choice = choice[:n-1] + "x"
	}
	return CheckEventTypeName(choice) == nil
}
