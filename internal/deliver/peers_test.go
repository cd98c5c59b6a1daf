package deliver_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/deliver"
)

func breakers(c *deliver.Config) { c.BreakerAfter = deliver.DefaultBreakerAfter }

// A breaker that one node opens is open for all, one of them makes each probe, and
// what that finds holds for all.
func TestABreakerIsOneForAllNodes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPairWith(t, breakers, time.Second, 2*time.Second, 2*time.Second, 2*time.Second, 2*time.Second, 2*time.Second, 2*time.Second,
			2*time.Second, 2*time.Second, 2*time.Second, 2*time.Second, 2*time.Second, 2*time.Second, 2*time.Second, time.Hour)
		var well atomic.Bool
		hook := p.webhook(func(ctx context.Context, _ int) (cybervault.Exchange, error) {
			if well.Load() {
				return answering(200, time.Millisecond)(ctx, 0)
			}
			return answering(500, time.Second)(ctx, 0)
		})
		for range 5 {
			p.at(0, hook)
		}
		for p.nodes[0].Health(hook.ID).Breaker != cybervault.BreakerOpen {
			pass(100 * time.Millisecond)
		}
		opened := time.Now()
		pass(4 * time.Second)
		for n, d := range p.nodes {
			if h := d.Health(hook.ID); h.Breaker != cybervault.BreakerOpen {
				t.Errorf("node %d: %+v", n, h)
			}
		}
		for n := range p.nodes {
			for range 5 {
				p.at(n, hook)
			}
		}
		before := len(p.net.got(hook.URL))
		for range 3 { // probes after 30 s, a minute and two minutes
			for p.nodes[0].Health(hook.ID).Breaker == cybervault.BreakerOpen && time.Since(opened) < 5*time.Minute {
				pass(time.Second)
			}
			if time.Since(opened) > 4*time.Minute {
				break
			}
			pass(time.Second)
		}
		pass(time.Until(opened.Add(250 * time.Second)))
		if made := len(p.net.got(hook.URL)) - before; made != 3 {
			t.Errorf("%d probes in 250 s, want 3", made)
		}
		well.Store(true)
		pass(time.Until(opened.Add(520 * time.Second)))
		if n := p.queue.count(cybervault.DeliveryDelivered); n < 10 {
			t.Errorf("%d delivered after the receiver is well again", n)
		}
		for n, d := range p.nodes {
			if h := d.Health(hook.ID); !h.Well() {
				t.Errorf("node %d: %+v", n, h)
			}
		}
		if p.ward.asked > 40 {
			t.Errorf("the store was asked %d times for a probe", p.ward.asked)
		}
	})
}

// A node whose row another has removed, because the receiver took something from
// that one, counts its failures anew.
func TestASuccessElsewhereCounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPairWith(t, func(c *deliver.Config) { c.DisableAfter = time.Hour; breakers(c) }, time.Hour)
		hook := p.webhook(func(ctx context.Context, n int) (cybervault.Exchange, error) {
			if n == 2 {
				return answering(200, 0)(ctx, n)
			}
			return answering(500, 0)(ctx, n)
		})
		p.at(0, hook)
		pass(4 * time.Second)
		if h := p.nodes[1].Health(hook.ID); h.FailingSince.IsZero() || h.Failures != 1 {
			t.Errorf("the other node has not heard of a failure: %+v", h)
		}
		pass(30 * time.Minute)
		p.at(1, hook)
		pass(4 * time.Second)
		if h := p.nodes[0].Health(hook.ID); !h.Well() {
			t.Errorf("the first node has not heard of the success: %+v", h)
		}
		pass(31 * time.Minute)
		p.at(0, hook) // an hour after the first failure, which does not count any more
		pass(time.Minute)
		if got := p.ward.reasons(); len(got) != 0 {
			t.Errorf("disabled: %q", got)
		}
	})
}

// What a lost node had is found by a sweep, by a lane that expected its leases to
// last. Sweeps asked for at once share a run.
func TestASweepFindsWhatALostNodeHad(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, time.Minute)
		hook := p.webhook(answering(200, 0))
		lost := hook.ID
		for range 3 {
			run := p.ids[0].NextRun(2)
			p.queue.put(cybervault.Assignment{Delivery: cybervault.DeliveryID{UUID: run[1]}, Webhook: lost, Event: cybervault.EventID{UUID: run[0]},
				EventType: cybervault.EventThreatDetected, Attempt: 1, Sequence: run[1].Key(), Body: []byte("{}")}, 0, p.now().Add(50*time.Second), 256*7+5)
		}
		for _, d := range p.nodes { // sets their alarms to the end of the leases
			if err := d.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		pass(time.Second)
		p.queue.mu.Lock()
		for _, r := range p.queue.rows {
			r.token, r.due = 0, p.now()
		}
		p.queue.mu.Unlock()
		pass(time.Second)
		if n := p.queue.count(cybervault.DeliveryDelivered); n != 0 {
			t.Fatalf("%d delivered before anybody was told", n)
		}
		backlogs := p.queue.lookedAt()
		done := make(chan error)
		for range 10 {
			go func() { done <- p.nodes[1].Sweep(t.Context()) }()
		}
		for range 10 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		pass(time.Second)
		if n := p.queue.count(cybervault.DeliveryDelivered); n != 3 {
			t.Errorf("%d delivered a second after the sweep, want 3", n)
		}
		if n := p.queue.lookedAt() - backlogs; n > 2 {
			t.Errorf("ten sweeps asked for at once were %d", n)
		}
	})
}
