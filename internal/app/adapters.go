package app

import (
	"context"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/access"
	"github.com/cybervault/cybervault/internal/deliver"
	"github.com/cybervault/cybervault/internal/observe"
	"github.com/cybervault/cybervault/internal/outbound"
	"github.com/cybervault/cybervault/internal/router"
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

func (destinations) CheckClientCertificate(pem string) error {
	return outbound.CheckClientCertificate(pem)
}

// apiWebhooks is router as the API wants it: whoever switches verification on by
// a program is sent the test payload at once. The dashboard asks for it itself,
// and shows the answer.
type apiWebhooks struct{ *router.Router }

func (w apiWebhooks) CreateWebhook(ctx context.Context, ws cybervault.WorkspaceID, change cybervault.WebhookChange) (*cybervault.Webhook, error) {
	hook, err := w.Router.CreateWebhook(ctx, ws, change)
	if err == nil {
		w.StartVerification(nil, hook)
	}
	return hook, err
}

func (w apiWebhooks) UpdateWebhook(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.WebhookID, change cybervault.WebhookChange) (*cybervault.Webhook, error) {
	before, err := w.Webhook(ctx, ws, id)
	if err != nil {
		return nil, err
	}
	hook, err := w.Router.UpdateWebhook(ctx, ws, id, change)
	if err == nil {
		w.StartVerification(before, hook)
	}
	return hook, err
}

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

// poller is router and deliver as the API wants them: what is handed out, with
// the headers that an attempt would carry.
type poller struct {
	router     *router.Router
	dispatcher *deliver.Dispatcher
	observer   observer
}

func (p poller) Poll(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.WebhookID, poll cybervault.Poll) ([]cybervault.Handed, error) {
	answer, err := p.router.Poll(ctx, ws, id, poll)
	for _, r := range answer.Acknowledged {
		p.observer.Recorded(r)
	}
	if err != nil {
		return nil, err
	}
	handed := make([]cybervault.Handed, len(answer.Deliveries))
	for i, a := range answer.Deliveries {
		handed[i] = cybervault.Handed{Assignment: a, Headers: p.dispatcher.Headers(answer.Webhook, a)}
	}
	return handed, nil
}
