package store

import (
	"testing"

	"github.com/cybervault/cybervault"
)

// A status that somebody wrote into a row by hand is no reason to fall over.
func TestAuditStatus(t *testing.T) {
	t.Parallel()
	for code, want := range map[int64]cybervault.DeliveryStatus{statusDelivered: cybervault.DeliveryDelivered, statusSkipped: cybervault.DeliverySkipped, 6: "unknown_6", -1: "unknown_-1"} {
		if got := auditStatus(code); got != want {
			t.Errorf("%d is %q, want %q", code, got, want)
		}
	}
}
