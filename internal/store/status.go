package store

import (
	"fmt"

	"github.com/cybervault/cybervault"
)

// How the statuses of a delivery are stored. The queue's index covers those
// below 2, the living.
const (
	statusPending    = 0
	statusHeld       = 1
	statusDelivered  = 2
	statusDeadLetter = 3
	statusCancelled  = 4
	statusSkipped    = 5
)

func statusCode(s cybervault.DeliveryStatus) int64 {
	switch s {
	case cybervault.DeliveryPending:
		return statusPending
	case cybervault.DeliveryHeld:
		return statusHeld
	case cybervault.DeliveryDelivered:
		return statusDelivered
	case cybervault.DeliveryDeadLetter:
		return statusDeadLetter
	case cybervault.DeliveryCancelled:
		return statusCancelled
	case cybervault.DeliverySkipped:
		return statusSkipped
	}
	panic(fmt.Sprintf("store: %q is not a delivery status", s))
}

func statusOf(code int64) cybervault.DeliveryStatus {
	switch code {
	case statusPending:
		return cybervault.DeliveryPending
	case statusHeld:
		return cybervault.DeliveryHeld
	case statusDelivered:
		return cybervault.DeliveryDelivered
	case statusDeadLetter:
		return cybervault.DeliveryDeadLetter
	case statusCancelled:
		return cybervault.DeliveryCancelled
	case statusSkipped:
		return cybervault.DeliverySkipped
	}
	panic(fmt.Sprintf("store: a delivery has the unknown status %d", code))
}

// severities is how many there are; a delivery's is stored as its rank.
const severities = 5

// severityCode is the rank, info's for a severity that nobody knows.
func severityCode(s cybervault.Severity) int64 { return int64(max(s.Rank(), 0)) }

func severityOf(code int64) cybervault.Severity {
	if all := cybervault.Severities(); code >= 0 && code < int64(len(all)) {
		return all[code]
	}
	panic(fmt.Sprintf("store: a delivery has the unknown severity %d", code))
}
