package app

import (
	"context"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/access"
	"github.com/cybervault/cybervault/internal/deliver"
	"github.com/cybervault/cybervault/internal/observe"
	"github.com/cybervault/cybervault/internal/outbound"
)

// Stages declare what they need in their own words; these few types translate
// where the words of the stage that has it differ.

// sender is outbound as deliver wants it.
type sender struct{ client *outbound.Client }

func (s sender) Do(ctx context.Context, r *deliver.Request) (cybervault.Exchange, error) {
	return s.client.Do(ctx, outbound.Request(*r))
}

// destinations is outbound as router wants it.
type destinations struct{ *outbound.Client }

func (destinations) CheckCACertificate(pem string) error { return outbound.CheckCACertificate(pem) }

// dashboardKeys is access as the dashboard wants it.
type dashboardKeys struct{ *access.Access }

func (k dashboardKeys) RevokeKey(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.APIKeyID) error {
	return k.Revoke(ctx, ws, id)
}

// observer hears of results for the metrics and the live pages.
type observer struct {
	metrics *observe.Metrics
	changes *observe.Changes
}

func (o observer) Recorded(r *cybervault.Result) {
	o.metrics.Recorded(r)
	o.changes.Signal()
}
