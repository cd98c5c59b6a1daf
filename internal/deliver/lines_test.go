package deliver_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/deliver"
)

// link is one node's way to a queue that several share. While it is cut nothing
// gets through, and results wait.
type link struct {
	*memQueue
	mu   sync.Mutex
	down chan struct{} // not nil while it is cut
}

func (l *link) cut() chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.down
}

// set cuts or mends the link.
func (l *link) set(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case cut && l.down == nil:
		l.down = make(chan struct{})
	case !cut && l.down != nil:
		close(l.down)
		l.down = nil
	}
}

func (l *link) Claim(ctx context.Context, c cybervault.Claim) ([]*cybervault.Assignment, error) {
	if l.cut() != nil {
		return nil, errTrouble
	}
	return l.memQueue.Claim(ctx, c)
}

func (l *link) ClaimOrdered(ctx context.Context, webhook cybervault.WebhookID, limit int, lease cybervault.Lease) ([]*cybervault.Assignment, time.Time, error) {
	if l.cut() != nil {
		return nil, time.Time{}, errTrouble
	}
	return l.memQueue.ClaimOrdered(ctx, webhook, limit, lease)
}

func (l *link) Holds(ctx context.Context, a *cybervault.Assignment) (bool, error) {
	if l.cut() != nil {
		return false, errTrouble
	}
	return l.memQueue.Holds(ctx, a)
}

func (l *link) Release(ctx context.Context, assignments []*cybervault.Assignment) error {
	if l.cut() != nil {
		return errTrouble
	}
	return l.memQueue.Release(ctx, assignments)
}

func (l *link) Backlogs(ctx context.Context) ([]cybervault.Backlog, error) {
	if l.cut() != nil {
		return nil, errTrouble
	}
	pass(l.commit)
	return l.memQueue.Backlogs(ctx)
}

func (l *link) Record(r *cybervault.Result, done func(error)) error {
	down := l.cut()
	if down == nil {
		return l.memQueue.Record(r, done)
	}
	l.records.Go(func() {
		<-down
		_ = l.Record(r, done)
	})
	return nil
}

// pair is two nodes on one queue, of which each hears only what it did itself.
type pair struct {
	*world
	links [2]*link
	nodes [2]*deliver.Dispatcher
	ids   [2]*cybervault.IDSource
}

func newPair(t *testing.T, schedule ...time.Duration) *pair {
	t.Helper()
	return newPairWith(t, func(*deliver.Config) {}, schedule...)
}

func newPairWith(t *testing.T, change func(*deliver.Config), schedule ...time.Duration) *pair {
	t.Helper()
	w := newWorld(t, schedule...)
	w.stop(0)
	p := &pair{world: w}
	for n := range p.nodes {
		p.links[n] = &link{memQueue: w.queue}
		p.ids[n] = cybervault.NewIDSource(uint8(n+1), 0, w.now)
		config := w.config
		config.Queue, config.IDs, config.Shared = p.links[n], p.ids[n], true
		change(&config)
		d := deliver.New(config)
		if err := d.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			p.links[n].set(false)
			d.Stop(context.Background())
			w.queue.records.Wait()
		})
		p.nodes[n] = d
	}
	return p
}

// at publishes on a node.
func (p *pair) at(n int, hook *cybervault.Webhook) cybervault.DeliveryID {
	p.d, p.world.ids = p.nodes[n], p.ids[n]
	return p.publish(hook)
}

// bury frees the leases of a node, as is done with those of one that seems dead.
func (p *pair) bury(n int) {
	p.queue.mu.Lock()
	defer p.queue.mu.Unlock()
	soon := p.now().Add(cybervault.LineGrace)
	for _, r := range p.queue.rows {
		if r.status == cybervault.DeliveryPending && r.token != 0 && r.token%256 == int64(n+1) {
			r.token = 0
			if r.due.After(soon) {
				r.due = soon
			}
		}
	}
}

// line makes a webhook ordered and complains of each attempt that is out of line:
// before what stands in front has ended, behind a later one, or beside another.
func (p *pair) line(hook *cybervault.Webhook, complain func(string)) {
	p.ordered(hook, complain)
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	answer := p.net.answers[hook.URL]
	var mu sync.Mutex
	var begun int64
	running := map[int64]int{}
	p.net.answers[hook.URL] = func(ctx context.Context, n int) (cybervault.Exchange, error) {
		sequence, _ := strconv.ParseInt(p.net.got(hook.URL)[n-1].headers["X-CyberVault-Sequence"], 10, 64)
		mu.Lock()
		if sequence < begun {
			complain(fmt.Sprintf("%d began behind %d", sequence, begun))
		}
		begun = max(begun, sequence)
		running[sequence]++
		for other, k := range running {
			if other != sequence && k > 0 {
				complain(fmt.Sprintf("%d began beside %d", sequence, other))
			}
		}
		mu.Unlock()
		defer func() {
			mu.Lock()
			running[sequence]--
			mu.Unlock()
		}()
		return answer(ctx, n)
	}
}

// What another node publishes stands behind our lease; it goes out when ours has
// ended, not when the lease does.
func TestALineGoesOnBetweenNodes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, time.Minute)
		hook := p.webhook(answering(200, time.Second))
		p.line(hook, func(s string) { t.Error(s) })
		for i := range 4 {
			p.at(i%2, hook)
			pass(500 * time.Millisecond)
			p.at(1-i%2, hook)
			pass(2 * time.Second)
			if n := p.queue.count(cybervault.DeliveryDelivered); n != 2*i+2 {
				t.Errorf("%d delivered, want %d", n, 2*i+2)
			}
		}
	})
}

// A node that is cut off while a delivery waits for the rate limit does not begin
// it: it may be another's by then.
func TestALineIsAskedForBeforeAnAttempt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, time.Minute)
		hook := p.webhook(answering(200, time.Millisecond))
		p.hooks.change(hook.ID, func(h *cybervault.Webhook) { h.RateLimit = 0.1 })
		p.line(hook, func(s string) { t.Error(s) })
		for range 4 {
			p.at(0, hook)
		}
		pass(time.Second) // the first is out, the second waits for ten seconds
		p.links[0].set(true)
		p.bury(0)
		p.hooks.change(hook.ID, func(h *cybervault.Webhook) { h.RateLimit = 0 })
		pass(cybervault.LineGrace)
		p.nodes[1].Wake(hook.ID, "")
		pass(5 * time.Second)
		if n := p.queue.count(cybervault.DeliveryDelivered); n != 4 {
			t.Errorf("%d delivered, want 4", n)
		}
		p.links[0].set(false)
		pass(time.Minute)
		if n := len(p.net.got(hook.URL)); n != 4 {
			t.Errorf("%d attempts, want 4", n)
		}
	})
}

// A node that has not heard from its place for a while begins no attempt of a line,
// whatever was recorded last.
func TestALineWaitsUntilItsNodeIsSteady(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var away atomic.Bool
		p := newPairWith(t, func(c *deliver.Config) { c.Steady = func() bool { return !away.Load() } })
		hook := p.webhook(answering(200, 500*time.Millisecond))
		p.line(hook, func(s string) { t.Error(s) })
		for range 5 {
			p.at(0, hook)
		}
		pass(700 * time.Millisecond)
		away.Store(true)
		pass(5 * time.Second)
		if n := len(p.net.got(hook.URL)); n != 2 {
			t.Errorf("%d attempts, want the two that had begun", n)
		}
		away.Store(false)
		pass(5 * time.Second)
		if n := p.queue.count(cybervault.DeliveryDelivered); n != 5 {
			t.Errorf("%d delivered, want 5", n)
		}
	})
}

// Whatever is answered, and whoever is cut off, buried alive or limited: a line is
// in order, and all of it ends.
func TestALineOfTwoNodesIsInOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		answers := rapid.SliceOfN(rapid.SampledFrom([]string{"ok", "ok", "ok", "refuse", "hang", "slow"}), 1, 12).Draw(rt, "answers")
		acts := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) act {
			return act{
				After:   time.Duration(rapid.IntRange(0, 12_000).Draw(rt, "ms")) * time.Millisecond,
				What:    rapid.SampledFrom([]string{"publish", "publish", "publish", "cut", "bury", "bury", "mend", "limit", "wake"}).Draw(rt, "what"),
				Webhook: rapid.IntRange(0, 1).Draw(rt, "node"),
				N:       rapid.IntRange(1, 20).Draw(rt, "n"),
			}
		}), 1, 30).Draw(rt, "acts")
		var failed []string
		synctest.Test(t, func(t *testing.T) { failed = inLine(t, answers, acts) })
		for _, f := range failed {
			rt.Error(f)
		}
	})
}

func inLine(t *testing.T, answers []string, acts []act) (failed []string) {
	p := newPair(t, time.Second, 5*time.Second)
	kinds := map[string]answer{"ok": answering(200, time.Millisecond), "refuse": answering(500, time.Millisecond), "hang": silent, "slow": answering(200, 4*time.Second)}
	hook := p.webhook(func(ctx context.Context, n int) (cybervault.Exchange, error) {
		return kinds[answers[n%len(answers)]](ctx, n)
	})
	var mu sync.Mutex
	p.line(hook, func(s string) {
		mu.Lock()
		defer mu.Unlock()
		failed = append(failed, s)
	})
	for _, a := range acts {
		pass(a.After)
		switch a.What {
		case "publish":
			for range a.N {
				p.at(a.Webhook, hook)
			}
		case "cut", "mend":
			p.links[a.Webhook].set(a.What == "cut")
		case "bury":
			p.bury(a.Webhook)
		case "limit":
			p.hooks.change(hook.ID, func(h *cybervault.Webhook) { h.RateLimit = float64(a.N) / 10 })
		case "wake":
			p.nodes[a.Webhook].Wake(hook.ID, "")
		}
	}
	for _, l := range p.links {
		l.set(false)
	}
	p.hooks.change(hook.ID, func(h *cybervault.Webhook) { h.RateLimit = 0 })
	pass(time.Hour)
	mu.Lock()
	defer mu.Unlock()
	p.queue.mu.Lock()
	defer p.queue.mu.Unlock()
	for _, r := range p.queue.rows {
		if !r.status.Ended() {
			failed = append(failed, fmt.Sprintf("%d is stranded: %s, %d attempts, due %v", r.assignment.Sequence, r.status, r.attempts, r.due.Sub(p.now())))
		}
	}
	return failed
}
