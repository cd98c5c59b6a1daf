package simulation

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/deliver"
)

// mood is how a receiver answers at the moment.
type mood int

const (
	well    mood = iota
	mixed        // anything
	failing      // 5xx, refused, reset
	hanging      // no answer in time
	busy         // 429 and 503, with Retry-After or without
	slow         // answers, after seconds
	gone         // 410, now and then
	moods
)

// network is the way from a node to the receivers, and the receivers.
type network struct {
	w    *world
	node *node
}

// Do is one request. It arrives at once; chance says what is answered, and when.
func (n *network) Do(ctx context.Context, r *deliver.Request) (cybervault.Exchange, error) {
	began := time.Now()
	header := func(name string) string {
		for _, h := range r.Header {
			if strings.EqualFold(h.Name, name) {
				return h.Value
			}
		}
		return ""
	}
	w := n.w
	w.mu.Lock()
	if n.node.dead() || ctx.Err() != nil {
		w.mu.Unlock()
		return cybervault.Exchange{}, context.Canceled
	}
	id, err := cybervault.ParseID[cybervault.DeliveryID](header("X-CyberVault-Delivery"))
	number, _ := strconv.Atoi(header("X-CyberVault-Attempt"))
	sequence, _ := strconv.ParseInt(header("X-CyberVault-Sequence"), 10, 64)
	e := w.ledger.deliveries[id]
	if err != nil || e == nil {
		w.fail(0, "a request for %q, which was never committed", header("X-CyberVault-Delivery"))
		w.mu.Unlock()
		return cybervault.Exchange{}, errors.New("unknown")
	}
	w.ledger.attemptBegins(n.node, e, number, sequence, r.URL)
	if id := header("webhook-id"); id != e.event.id.String() {
		w.fail(e.n, "sent as event %q instead of %s", id, e.event.id)
	}
	w.checkSignature(e, r)
	e.requests++
	x, elapsed := w.answer(e, number)
	w.mu.Unlock()

	timer := time.NewTimer(n.node.stalledFor() + elapsed)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		err = ctx.Err()
	case <-n.node.killed:
		err = context.Canceled
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ledger.attemptEnds(n.node, e, began, x, err == nil)
	x.URL, x.Elapsed = r.URL, time.Since(began)
	if err != nil {
		return cybervault.Exchange{}, err
	}
	return x, nil
}

// answer is what the receiver says to a request, and after how long.
func (w *world) answer(e *entry, number int) (x cybervault.Exchange, after time.Duration) {
	r := w.plan.seed.rand(ofAnswer, uint64(e.n), uint64(number), uint64(e.requests))
	after = time.Duration(1 + r.Int64N(int64(80*time.Millisecond)))
	m := e.hook.mood
	if m == mixed {
		m = mood(r.IntN(int(moods)))
	}
	if w.healed {
		m = well
	}
	switch m {
	case failing:
		switch r.IntN(5) {
		case 0:
			x.Failure = cybervault.FailureConnect
		case 1:
			x.Failure = cybervault.FailureProtocol
		case 2:
			x.Failure = cybervault.FailureDNS
		default:
			x.Status = []int{500, 502, 404, 401, 301, 204}[r.IntN(6)]
		}
	case hanging:
		x.Failure = cybervault.FailureTimeout
		after = cybervault.AttemptTimeout + time.Duration(r.Int64N(int64(time.Millisecond)))
	case busy:
		x.Status = []int{429, 503}[r.IntN(2)]
		x.RetryAfter = []time.Duration{0, time.Second, 20 * time.Second, 3 * time.Minute, 48 * time.Hour}[r.IntN(5)]
	case slow:
		x.Status = 200
		after = time.Duration(r.Int64N(int64(cybervault.AttemptTimeout)))
	case gone:
		x.Status = 500
		if r.IntN(6) == 0 {
			x.Status = http.StatusGone
		}
	default:
		x.Status = []int{200, 200, 200, 201}[r.IntN(4)]
	}
	return x, after
}
