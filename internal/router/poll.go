package router

import (
	"context"
	"net/http"
	"sync"

	"github.com/cybervault/cybervault"
)

// PollStore is where the deliveries wait that receivers fetch: the store. polled
// says that the webhook has no URL to send to.
type PollStore interface {
	// Line lists what waits, the lowest sequence number first.
	Line(ctx context.Context, webhook cybervault.WebhookID, polled bool, limit int) ([]*cybervault.Assignment, error)
	// Acknowledge ends what waits up to last as delivered; fresh makes the attempt
	// of each. CodeGone if the webhook has no such delivery.
	Acknowledge(ctx context.Context, webhook cybervault.WebhookID, polled bool, last cybervault.DeliveryID, fresh func() *cybervault.Attempt) ([]*cybervault.Result, error)
}

// Poll acknowledges what was handed out before, if it is told up to where, then
// hands out what waits. Nothing is handed out while the webhook is disabled.
//
// That takes an admin: a key for polling is in the hands of one receiver, and the
// deliveries of another are not its own.
//
// Errors: CodeNotFound, CodeForbidden, CodeGone (what is to be acknowledged is not
// there), CodeUnavailable.
func (r *Router) Poll(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.WebhookID, poll cybervault.Poll) (cybervault.PollAnswer, error) {
	w, err := r.Webhook(ctx, ws, id)
	if err != nil {
		return cybervault.PollAnswer{}, err
	}
	answer := cybervault.PollAnswer{Webhook: w}
	if !w.Polled() && !poll.Admin {
		return answer, cybervault.Errorf(cybervault.CodeForbidden,
			"the deliveries of this webhook are sent to its URL: polling it takes the scope %q; a receiver of its own has a webhook with the url %q", cybervault.ScopeAdmin, cybervault.PollURL)
	}
	if r.joining.underWay(id) {
		return answer, cybervault.Errorf(cybervault.CodeUnavailable, "what the webhook holds is being put in line after a change: try again in a moment")
	}
	if !poll.After.IsZero() {
		// What has been said stays said, whoever still listens.
		answer.Acknowledged, err = r.cfg.Polls.Acknowledge(context.WithoutCancel(ctx), id, w.Polled(), poll.After, func() *cybervault.Attempt {
			return &cybervault.Attempt{ID: cybervault.NewID[cybervault.AttemptID](r.cfg.IDs), StartedAt: r.cfg.Now(), Exchange: cybervault.Exchange{
				URL: cybervault.PollURL, Status: http.StatusOK, Protocol: cybervault.ProtocolPoll, RemoteAddr: poll.Caller,
			}}
		})
		if err != nil {
			return answer, err
		}
		if len(answer.Acknowledged) > 0 {
			r.changed()
		}
		if !w.Polled() {
			for _, ended := range answer.Acknowledged { // its lane may have claimed it meanwhile
				r.dispatcher.Drop(id, ended.Attempt.Delivery)
			}
		}
	}
	if !w.Live() {
		return answer, nil
	}
	answer.Deliveries, err = r.cfg.Polls.Line(ctx, id, w.Polled(), poll.Limit)
	return answer, err
}

// joining holds the webhooks whose deliveries are being put in line. While one is,
// nothing is handed out of it: what is put in line late could stand before what
// has been handed out, and would be acknowledged with it.
type joining struct {
	mu    sync.Mutex
	count map[cybervault.WebhookID]int
}

// begin notes a webhook until the function it returns is called.
func (j *joining) begin(id cybervault.WebhookID) (end func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.count == nil {
		j.count = map[cybervault.WebhookID]int{}
	}
	j.count[id]++
	return sync.OnceFunc(func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		if j.count[id]--; j.count[id] == 0 {
			delete(j.count, id)
		}
	})
}

func (j *joining) underWay(id cybervault.WebhookID) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.count[id] > 0
}
