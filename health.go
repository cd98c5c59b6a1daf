package cybervault

import "time"

// BreakerState says whether deliveries are attempted to a webhook.
type BreakerState string

// The states of a webhook's circuit breaker.
const (
	BreakerClosed   BreakerState = "closed"    // attempts are made as they are due
	BreakerOpen     BreakerState = "open"      // nothing is attempted until ProbeAt; deliveries wait without using up their schedule
	BreakerHalfOpen BreakerState = "half_open" // one attempt is under way, and its outcome decides
)

// WebhookHealth is how a webhook's receiver has been answering. Test deliveries
// do not count.
type WebhookHealth struct {
	Webhook      WebhookID
	Breaker      BreakerState
	FailingSince time.Time // when the first attempt since the last success failed; zero while it is well
	Failures     int       // attempts failed since the last success; after a restart, as of the last change of state
	OpenedAt     time.Time // when the breaker opened; zero while it is closed
	ProbeAt      time.Time // when the next attempt may be made; zero while it is closed
}

// Well reports whether there is nothing to remember.
func (h *WebhookHealth) Well() bool {
	return h.FailingSince.IsZero() && (h.Breaker == BreakerClosed || h.Breaker == "")
}

// MaxWaiting is up to where the deliveries of one webhook that have not ended are counted
// for a page.
const MaxWaiting = 10_000
