package deliver_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/deliver"
)

// memPacer gives attempts out as the store does.
type memPacer struct {
	mu    sync.Mutex
	until map[cybervault.WebhookID]time.Time
	calls int
	away  bool
}

func (p *memPacer) TakePace(_ context.Context, webhook cybervault.WebhookID, step time.Duration, burst, n int) (time.Time, error) {
	<-time.After(2 * time.Millisecond)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls++
	if p.away {
		return time.Time{}, errTrouble
	}
	first := p.until[webhook]
	if floor := time.Now().Add(-time.Duration(burst) * step); first.Before(floor) {
		first = floor
	}
	p.until[webhook] = first.Add(time.Duration(n) * step)
	return first, nil
}

// trio is three nodes on one queue, whose rate limits are given out.
func trio(t *testing.T, pacer *memPacer) (*world, []*deliver.Dispatcher) {
	t.Helper()
	w := newWorld(t, time.Minute)
	w.stop(0)
	var nodes []*deliver.Dispatcher
	for n := range 3 {
		config := w.config
		config.Queue, config.IDs = w.queue, cybervault.NewIDSource(uint8(n+1), 0, w.now)
		config.Shared, config.Pacer, config.Peers = true, pacer, func() int { return 3 }
		d := deliver.New(config)
		if err := d.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			d.Stop(context.Background())
			w.queue.records.Wait()
		})
		nodes = append(nodes, d)
	}
	return w, nodes
}

// most is the most attempts in any span of time.
func most(got []seen, span time.Duration) (n int) {
	begun := make([]time.Time, len(got))
	for i, s := range got {
		begun[i] = s.at
	}
	slices.SortFunc(begun, time.Time.Compare)
	for from, to := 0, 0; to < len(begun); to++ {
		for begun[to].Sub(begun[from]) > span {
			from++
		}
		n = max(n, to-from+1)
	}
	return n
}

// However a backlog is spread over nodes, the receiver gets what its limit allows:
// not more than that and a second's worth in any time, and not less than nine
// tenths of it.
func TestARateLimitHoldsOverNodes(t *testing.T) {
	t.Parallel()
	const rate, backlog = 50, 3000
	for name, at := range map[string]func(i int) int{
		"all nodes": func(i int) int { return i % 3 },
		"one node":  func(int) int { return 0 },
		"uneven":    func(i int) int { return max(i%10-7, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				pacer := &memPacer{until: map[cybervault.WebhookID]time.Time{}}
				w, nodes := trio(t, pacer)
				hook := w.webhook(answering(200, 10*time.Millisecond))
				w.hooks.change(hook.ID, func(h *cybervault.Webhook) { h.RateLimit = rate })
				for i := range backlog {
					w.d = nodes[at(i)]
					w.publish(hook)
				}
				pass(30 * time.Second)
				got := w.net.got(hook.URL)
				if n := len(got); n < 30*rate*9/10 {
					t.Errorf("%d attempts in 30 s, want about %d", n, 30*rate)
				}
				for _, span := range []time.Duration{time.Second, 5 * time.Second, 20 * time.Second} {
					if n := most(got, span); n > int(span.Seconds()*rate)+rate {
						t.Errorf("%d attempts within %v, of %d a second", n, span, rate)
					}
				}
				if pacer.calls > 3*30*2 {
					t.Errorf("the store was asked %d times in 30 s", pacer.calls)
				}
			})
		})
	}
}

// While the store gives nothing out, every node makes do with its part.
func TestARateLimitWithoutTheStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const rate = 60
		pacer := &memPacer{until: map[cybervault.WebhookID]time.Time{}, away: true}
		w, nodes := trio(t, pacer)
		hook := w.webhook(answering(200, time.Millisecond))
		w.hooks.change(hook.ID, func(h *cybervault.Webhook) { h.RateLimit = rate })
		for i := range 2000 {
			w.d = nodes[i%3]
			w.publish(hook)
		}
		pass(15 * time.Second)
		n := len(w.net.got(hook.URL))
		if n < 15*rate*8/10 || n > 15*rate*11/10 {
			t.Errorf("%d attempts in 15 s, want about %d", n, 15*rate)
		}
	})
}

// A webhook with little to do is not kept waiting by what it might have done, nor
// does a slow limit starve anyone.
func TestASlowRateLimitOverNodes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pacer := &memPacer{until: map[cybervault.WebhookID]time.Time{}}
		w, nodes := trio(t, pacer)
		hook := w.webhook(answering(200, time.Millisecond))
		w.hooks.change(hook.ID, func(h *cybervault.Webhook) { h.RateLimit = 0.1 })
		for i := range 30 {
			w.d = nodes[i%3]
			w.publish(hook)
		}
		pass(5 * time.Minute)
		if n := len(w.net.got(hook.URL)); n < 24 || n > 32 {
			t.Errorf("%d attempts in five minutes, want about 30", n)
		}
	})
}
