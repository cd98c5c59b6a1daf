package deliver

import (
	"fmt"
	"net/http"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/failpoint"
)

// attempt makes one attempt for a claimed delivery and hands in the result. It
// reports false when no attempt was made.
func (d *Dispatcher) attempt(l *lane, a *cybervault.Assignment) bool {
	w, ok := d.cfg.Webhooks.Lookup(a.Webhook)
	switch {
	case !ok:
		return false // deleted: its deliveries are being cancelled in the store
	case w.Polled(), !takes(w) && !a.Test:
		// Disabled, polled, or to be verified anew: the delivery stays pending and is
		// claimed again once the webhook takes deliveries.
		l.putBack(a)
		return false
	case w.Ordered && !a.Ordered && !a.Test:
		// Claimed before the webhook was made ordered.
		l.putBack(a)
		return false
	}
	if d.void(a) {
		l.giveUpVoid(a)
		return false
	}
	started := d.cfg.Now()
	if lapsed(a.Lease, started) {
		l.expire(a, started)
		return false
	}
	d.running.Add(1)
	exchange, err := d.exchange(w, a, started)
	d.running.Add(-1)
	if err != nil {
		// Broken off by our own stop: not the receiver's failure, so not an
		// attempt. It is made again, under the same number.
		l.giveBack([]*cybervault.Assignment{a})
		l.wakeAt(d.cfg.Now().Add(time.Second), a.Severity)
		return false
	}
	failpoint.Hit(failpoint.AnswerReceived)
	judge(w, &exchange)
	result := &cybervault.Result{
		Attempt: &cybervault.Attempt{ID: cybervault.NewID[cybervault.AttemptID](d.cfg.IDs), Delivery: a.Delivery, Number: a.Attempt,
			StartedAt: started, Exchange: exchange},
		Webhook: a.Webhook,
		Lease:   a.Lease,
	}
	d.decide(w, a, result)
	l.learn(w, a, &result.Attempt.Exchange, started)
	handedIn := time.Now()
	err = d.cfg.Queue.Record(result, func(err error) {
		l.recorded(result, a, handedIn, err)
		if err != nil {
			return
		}
		d.awaited.tell(result.Attempt)
		if d.cfg.Observer != nil {
			d.cfg.Observer.Recorded(result)
		}
	})
	if err != nil {
		l.recorded(result, a, handedIn, err)
	}
	return true
}

// exchange makes the request of an attempt, with all it needs, within
// cybervault.AttemptTimeout from its start.
func (d *Dispatcher) exchange(w *cybervault.Webhook, a *cybervault.Assignment, started time.Time) (cybervault.Exchange, error) {
	request := &Request{URL: w.URL, Body: a.Body, CACertificate: w.CACertificate, ClientCertificate: w.ClientCertificate, Proxy: w.Proxy}
	authorization, _ := w.Authentication.Header()
	var token string
	if w.Authentication.Type == cybervault.AuthenticationOAuth2 {
		value, failed, err := d.tokens.get(d.ctx, w)
		if err != nil {
			return cybervault.Exchange{}, err
		}
		if failed != nil {
			return *failed, nil
		}
		// One that waited for another's fetch may have nothing left; it then
		// times out at once, as it should.
		request.Spent = d.cfg.Now().Sub(started)
		token, authorization = value, "Bearer "+value
	}
	request.Header, request.MaskedHeaders = requestHeaders(w, a, d.cfg.UserAgent, authorization, started)
	x, err := d.cfg.Sender.Do(d.ctx, request)
	switch {
	case err != nil || token == "":
	case x.Status == http.StatusUnauthorized:
		d.tokens.discard(w.ID, token)
	case x.Failure == cybervault.FailureTimeout && request.Spent >= slowToken:
		x.Error += fmt.Sprintf("; %s of that went by until the token endpoint had answered", request.Spent.Round(10*time.Millisecond))
	}
	return x, err
}

// slowToken is how long a token takes that is worth a word when the attempt
// times out.
const slowToken = 500 * time.Millisecond

// decide says what becomes of the delivery after an attempt. A test is tried
// once: the person who asked for it is looking.
func (d *Dispatcher) decide(w *cybervault.Webhook, a *cybervault.Assignment, r *cybervault.Result) {
	if r.Attempt.Succeeded() {
		r.Status = cybervault.DeliveryDelivered
		return
	}
	schedule := d.cfg.RetrySchedule
	if w.RetrySchedule != nil {
		schedule = w.RetrySchedule
	}
	if a.Test {
		schedule = nil
	}
	delay, again := cybervault.NextRetryBy(d.cfg.Chance(a.Delivery, a.Attempt), schedule, a.Attempt, r.Attempt.RetryAfter)
	// A receiver that says it is gone means every delivery, this one included.
	if !again || r.Attempt.Status == http.StatusGone {
		r.Status = cybervault.DeliveryDeadLetter
		return
	}
	r.Status = cybervault.DeliveryPending
	r.DecidedAt = d.cfg.Now()
	r.NextAttemptAt = r.DecidedAt.Add(delay)
}
