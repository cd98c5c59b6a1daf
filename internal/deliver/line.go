package deliver

import (
	"context"
	"time"

	"github.com/cybervault/cybervault"
)

// An ordered webhook's deliveries are claimed in a row and attempted one after
// the other, each once the one before it has ended on disk. What was just claimed
// or recorded is ours; but a delivery that waits, for the rate limit or a slot, may
// be taken from a node that is cut off from the database and is believed to be
// dead. Where nodes share the queue, the store is therefore asked again before an
// attempt, unless it has said something within cybervault.LineTrust; a node that has
// not heard from its place among the others begins none; and the store lets nobody
// else have what it took away before an attempt begun until then is over.

const (
	// askPatience is how long the store may take to say whose a lease is.
	askPatience = 2 * time.Second
	// askPause lies between two questions that were not answered.
	askPause = time.Second
)

// doubtful reports whether the store must be asked before the next of the line is
// attempted.
func (l *lane) doubtful() bool {
	return l.d.cfg.Shared && (time.Since(l.trusted) > cybervault.LineTrust || !l.d.steady())
}

func (d *Dispatcher) steady() bool { return d.cfg.Steady == nil || d.cfg.Steady() }

// trust notes that the leases in the window were ours at t.
func (l *lane) trust(t time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trusted = t
}

// ask has the store say whether the lease of the first in line is ours, as are
// then those behind it. If it is not, the line is given up. It is called by a
// worker without a slot, and nothing of the line is attempted meanwhile.
func (l *lane) ask(a *cybervault.Assignment) {
	asked := time.Now()
	ctx, cancel := context.WithTimeout(l.d.ctx, askPatience)
	held, err := l.d.cfg.Queue.Holds(ctx, a)
	cancel()
	l.d.noteQueue(err)
	switch {
	case err != nil, held && !l.d.steady():
		select {
		case <-time.After(askPause):
		case <-l.d.ctx.Done():
		}
	case held:
		l.trust(asked)
	default:
		l.holdBack()
	}
	l.ended()
}

// holdBack gives back what was claimed behind a delivery that has not ended.
func (l *lane) holdBack() {
	left := l.removed(func(a *cybervault.Assignment) bool { return a.Ordered })
	if len(left) == 0 {
		return
	}
	l.d.workers.Go(func() {
		l.giveBack(left)
		l.wake("") // to learn when to look again
	})
}

// passed looks again at the line of an ordered webhook, which a delivery that did
// not stand in it may have stopped: a test, or one from before the order.
func (l *lane) passed() {
	l.mu.Lock()
	again := l.ordered
	l.mu.Unlock()
	if again {
		l.wake("")
	}
}

// ended lets the next delivery of an ordered webhook go: what came before it is
// durable. What another node has published meanwhile stood behind our lease, so it
// could not claim it.
func (l *lane) ended() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy = false
	if l.d.cfg.Shared && l.waiting() == 0 {
		l.overflow.ready = true
	}
	l.hire()
	l.refill()
}

// fetchLine claims the next of a line. If nothing stands in it although something
// is due, a node that did not know yet of the order has committed that.
func (l *lane) fetchLine(c cybervault.Claim) (found finding, err error) {
	queue := l.d.cfg.Queue
	for again := l.d.cfg.Shared; ; again = false {
		found.asked = time.Now()
		found.claimed, found.next, err = queue.ClaimOrdered(l.d.ctx, l.webhook, c.Limit, c.Lease)
		if err != nil || !again || len(found.claimed) > 0 || !found.next.IsZero() {
			return found, err
		}
		due, err := queue.NextDue(l.d.ctx, l.webhook, "")
		if err != nil || due.IsZero() || due.After(l.d.cfg.Now()) {
			found.next = due
			return found, err
		}
		if n, err := queue.MarkOrdered(l.d.ctx, l.webhook); err != nil || n == 0 {
			return found, err
		}
	}
}
