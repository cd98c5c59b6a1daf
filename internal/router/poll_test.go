package router_test

import (
	"context"
	"sync"
	"testing"

	"github.com/cybervault/cybervault"
)

// line is a store of what polled webhooks wait for; it notes the acknowledgements.
type line struct {
	mu           sync.Mutex
	acknowledged []cybervault.DeliveryID
	attempts     []*cybervault.Attempt
	waits        []*cybervault.Assignment
}

func (l *line) Line(context.Context, cybervault.WebhookID, bool, int) ([]*cybervault.Assignment, error) {
	return l.waits, nil
}

func (l *line) Acknowledge(_ context.Context, _ cybervault.WebhookID, _ bool, last cybervault.DeliveryID, fresh func() *cybervault.Attempt) ([]*cybervault.Result, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acknowledged = append(l.acknowledged, last)
	a := fresh()
	l.attempts = append(l.attempts, a)
	return []*cybervault.Result{{Attempt: a, Status: cybervault.DeliveryDelivered}}, nil
}

func TestPollURL(t *testing.T) {
	t.Parallel()
	k := newDesk(t)
	w := k.webhook("*")
	_, err := k.r.Poll(t.Context(), k.ws, w.ID, cybervault.Poll{Limit: 1})
	wantCode(t, err, cybervault.CodeForbidden, "")
	after := cybervault.NewID[cybervault.DeliveryID](k.ids)
	answer, err := k.r.Poll(t.Context(), k.ws, w.ID, cybervault.Poll{Limit: 1, Admin: true, After: after})
	if err != nil || len(answer.Acknowledged) != 1 || len(k.d.dropped) != 1 {
		t.Errorf("with a URL, by an admin: %+v, %v, dropped %v", answer, err, k.d.dropped)
	}
	_, err = k.r.UpdateWebhook(t.Context(), k.ws, w.ID, cybervault.WebhookChange{URL: new(cybervault.PollURL), Verification: new(true)})
	wantCode(t, err, cybervault.CodeInvalid, "verification")
	k.update(w.ID, cybervault.WebhookChange{URL: new(cybervault.PollURL)})
	if k.store.marked != 1 {
		t.Errorf("what it holds was put in line %d times, want once", k.store.marked)
	}
	k.mustPublish(threat(`{}`))
	births := k.store.of(w.ID)
	if len(births) != 1 || births[0].Status != cybervault.DeliveryPending || births[0].Running {
		t.Errorf("published to it: %+v", births)
	}
	if len(k.d.taken) != 0 {
		t.Errorf("the dispatcher was given %d of its deliveries", len(k.d.taken))
	}
	_, err = k.r.VerifyWebhook(t.Context(), k.ws, w.ID)
	wantCode(t, err, cybervault.CodeConflict, "")
	if _, err := k.r.TestWebhook(t.Context(), k.ws, w.ID, cybervault.EventThreatDetected); err != nil || len(k.d.taken) != 0 {
		t.Errorf("a test: %v, %d dispatched", err, len(k.d.taken))
	}
	_, err = k.r.Poll(t.Context(), cybervault.NewID[cybervault.WorkspaceID](k.ids), w.ID, cybervault.Poll{Limit: 1})
	wantCode(t, err, cybervault.CodeNotFound, "")
}

func TestPollWhileDisabled(t *testing.T) {
	t.Parallel()
	k := newDesk(t)
	w := k.webhook("*")
	k.update(w.ID, cybervault.WebhookChange{URL: new(cybervault.PollURL)})
	k.line.waits = []*cybervault.Assignment{{Webhook: w.ID}}
	after := cybervault.NewID[cybervault.DeliveryID](k.ids)
	answer, err := k.r.Poll(t.Context(), k.ws, w.ID, cybervault.Poll{Limit: 1, After: after, Caller: "192.0.2.1:5"})
	if err != nil || len(answer.Deliveries) != 1 || len(answer.Acknowledged) != 1 || answer.Webhook.ID != w.ID {
		t.Fatalf("%+v, %v", answer, err)
	}
	if a := k.line.attempts[0]; a.ID.IsZero() || a.StartedAt.IsZero() || a.Protocol != cybervault.ProtocolPoll || a.Status != 200 || a.RemoteAddr != "192.0.2.1:5" || a.URL != cybervault.PollURL {
		t.Errorf("the attempt is %+v", a)
	}
	k.update(w.ID, cybervault.WebhookChange{Status: new(cybervault.WebhookDisabled)})
	answer, err = k.r.Poll(t.Context(), k.ws, w.ID, cybervault.Poll{Limit: 1, After: after})
	if err != nil || len(answer.Deliveries) != 0 || len(k.line.acknowledged) != 2 {
		t.Errorf("while it is disabled: %+v, %v, %d acknowledged", answer, err, len(k.line.acknowledged))
	}
}

// While what a webhook holds is being put in line, nothing is handed out.
func TestPollWaitsForTheLine(t *testing.T) {
	t.Parallel()
	k := newDesk(t)
	w := k.webhook("*")
	k.line.waits = []*cybervault.Assignment{{Webhook: w.ID}}
	marking, goOn := make(chan struct{}), make(chan struct{})
	k.store.before = func(method string) {
		if method == "MarkOrdered" {
			close(marking)
			<-goOn
		}
	}
	updated := make(chan error, 1)
	go func() {
		_, err := k.r.UpdateWebhook(t.Context(), k.ws, w.ID, cybervault.WebhookChange{URL: new(cybervault.PollURL)})
		updated <- err
	}()
	<-marking
	_, err := k.r.Poll(t.Context(), k.ws, w.ID, cybervault.Poll{Limit: 1})
	wantCode(t, err, cybervault.CodeUnavailable, "")
	close(goOn)
	if err := <-updated; err != nil {
		t.Fatal(err)
	}
	if answer, err := k.r.Poll(t.Context(), k.ws, w.ID, cybervault.Poll{Limit: 1}); err != nil || len(answer.Deliveries) != 1 {
		t.Errorf("afterwards: %+v, %v", answer, err)
	}
}
