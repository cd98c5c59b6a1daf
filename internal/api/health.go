package api

import (
	"time"

	"github.com/cybervault/cybervault"
)

// Receivers tells how the receivers of webhooks have been answering.
type Receivers interface {
	// Health returns what is known of a webhook's receiver.
	Health(id cybervault.WebhookID) cybervault.WebhookHealth
}

type receiverJSON struct {
	Breaker             cybervault.BreakerState `json:"breaker" doc:"closed: attempts are made as they are due; open: none is made until next_probe_at; half_open: one is under way and decides."`
	FailingSince        *time.Time              `json:"failing_since" doc:"When the first attempt since the last success failed; null while it is well."`
	ConsecutiveFailures int                     `json:"consecutive_failures" doc:"Attempts failed since the last success."`
	NextProbeAt         *time.Time              `json:"next_probe_at" doc:"While the breaker is open: when the next attempt may be made."`
}

// webhookWithHealthJSON is what reading one webhook answers.
type webhookWithHealthJSON struct {
	webhookJSON
	Health *receiverJSON `json:"health,omitempty" doc:"How its receiver has been answering, test deliveries apart."`
}

func (s *server) showHealth(id cybervault.WebhookID) *receiverJSON {
	if s.Receivers == nil {
		return nil
	}
	h := s.Receivers.Health(id)
	return &receiverJSON{
		Breaker: h.Breaker, FailingSince: orNull(h.FailingSince.UTC()), ConsecutiveFailures: h.Failures, NextProbeAt: orNull(h.ProbeAt.UTC()),
	}
}
