package deliver

import (
	"context"
	"math"
	"time"

	"github.com/cybervault/cybervault"
)

// Pacer gives out what a webhook's rate limit allows among the nodes that share a
// queue: the store.
type Pacer interface {
	// TakePace gives out n attempts, one every step, and tells when the first of
	// them may be made.
	TakePace(ctx context.Context, webhook cybervault.WebhookID, step time.Duration, burst, n int) (first time.Time, err error)
}

const (
	// pacePatience is how long the store may take to give out attempts.
	pacePatience = 2 * time.Second
	// paceShare is how far the attempts given out at once reach, and for how long
	// after its time one may still be made.
	paceShare = time.Second
)

// bucket is a token bucket. The zero value limits nothing. One that is metered
// needs besides each token an attempt out of those that the nodes share.
type bucket struct {
	rate   float64 // tokens a second; 0: no limit
	burst  float64
	tokens float64
	at     time.Time // when tokens was right

	metered bool
	given   int       // attempts given out to this node and not made yet
	slot    time.Time // when the next of them may be made
	step    time.Duration
	asked   time.Time // when the last were given out
	size    int       // and how many
}

// limit sets the rate. A new limit starts with a full burst.
func (b *bucket) limit(rate float64, now time.Time) {
	if rate == b.rate {
		return
	}
	b.fill(now)
	fresh := b.rate == 0
	b.rate, b.burst = rate, max(1, math.Ceil(rate/10))
	if b.tokens = min(b.tokens, b.burst); fresh {
		b.tokens = b.burst
	}
	b.given, b.size = 0, 0
}

func (b *bucket) fill(now time.Time) {
	if passed := now.Sub(b.at); passed > 0 { // else the clock was set back
		b.tokens = min(b.burst, b.tokens+passed.Seconds()*b.rate)
	}
	b.at = now
}

// next tells when there is a token, and an attempt to use it for where those are
// given out. It is not known, if none is left of the latter.
func (b *bucket) next(now time.Time) (at time.Time, known bool) {
	b.fill(now)
	at = now
	if b.tokens < 1 {
		wait := time.Duration((1-b.tokens)/b.rate*float64(time.Second)) + 1 // not a moment too early
		at = now.Add(max(wait, paceGrain))
	}
	if !b.metered {
		return at, true
	}
	if late := now.Add(-max(paceShare, b.step)).Sub(b.slot); b.given > 0 && late > 0 { // those are lost
		n := min(int(late/b.step)+1, b.given)
		b.given -= n
		b.slot = b.slot.Add(time.Duration(n) * b.step)
	}
	return later(at, b.slot), b.given > 0
}

// take uses a token up, and put gives it back.
func (b *bucket) take() {
	b.tokens--
	b.given--
	b.slot = b.slot.Add(b.step)
}

func (b *bucket) put() {
	b.tokens = min(b.tokens+1, b.burst)
	b.given++
	b.slot = b.slot.Add(-b.step)
}

// want tells how many attempts to ask for: those that wait, or, while what is
// given out does not last, up to a share.
func (b *bucket) want(waiting int, now time.Time) int {
	share := max(1, int(b.rate*paceShare.Seconds()))
	n := waiting
	if now.Sub(b.asked) < paceShare {
		n = max(n, 2*b.size)
	}
	return min(max(n, 1), share)
}

func (b *bucket) give(n int, first time.Time, step time.Duration, now time.Time) {
	b.given, b.slot, b.step, b.asked, b.size = n, first, step, now, n
}

// share asks for more of what the nodes share. While the store does not answer
// this one makes do with its part.
func (l *lane) share() {
	if l.sharing || l.stopped {
		return
	}
	l.sharing = true
	rate := l.pace.rate
	n := l.pace.want(l.waiting(), l.d.cfg.Now())
	step := time.Duration(float64(time.Second) / rate).Truncate(time.Microsecond)
	burst := int(l.pace.burst)
	l.d.workers.Go(func() {
		ctx, cancel := context.WithTimeout(l.d.ctx, pacePatience)
		first, err := l.d.cfg.Pacer.TakePace(ctx, l.webhook, step, burst, n)
		cancel()
		l.d.noteQueue(err)
		l.mu.Lock()
		l.sharing = false
		now := l.d.cfg.Now()
		switch {
		case rate != l.pace.rate: // it was changed meanwhile
		case err == nil:
			l.pace.give(n, first, step, now)
		default:
			step *= time.Duration(l.d.peers())
			l.pace.give(max(1, n/l.d.peers()), now.Add(step), step, now)
		}
		l.mu.Unlock()
		l.resume()
	})
}

// peers is how many nodes share the queue.
func (d *Dispatcher) peers() int {
	if d.cfg.Peers == nil {
		return 1
	}
	return max(d.cfg.Peers(), 1)
}
