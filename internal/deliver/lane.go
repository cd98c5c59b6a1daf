package deliver

import (
	"log/slog"
	"sync"
	"time"

	"github.com/cybervault/cybervault"
)

// lane is what the dispatcher holds for one webhook. All fields below mu are
// guarded by it. The dispatcher's mu may be held when mu is taken, never the
// other way round.
type lane struct {
	d       *Dispatcher
	webhook cybervault.WebhookID

	mu       sync.Mutex
	waits    ranks // claimed, waiting for a worker
	reserved int   // places promised to deliveries that are being committed
	window   int   // bound on both, but for the reserve; follows how fast the receiver takes
	spare    spare // of the above, what stands in the reserve for severe deliveries
	limit    int   // bound on workers; halved when the receiver cannot be reached or asks for less
	most     int   // bound on limit: the webhook's own, as of the last look
	slow     bool  // the last attempt took slowAttempt or longer
	workers  int
	stopped  bool

	ordered   bool      // the webhook is, as of the last look
	busy      bool      // of an ordered one: an attempt is under way, or its result on its way to the store
	trusted   time.Time // when the store last said that what stands in line is ours; see line.go
	pace      bucket
	sharing   bool        // more is asked for of what the nodes share of the rate limit
	gate      *time.Timer // set while the gate is shut; see gate.go
	health    cybervault.WebhookHealth
	forgiven  bool      // the store has not been told that the receiver was well in between
	said      time.Time // when the lane last changed what the store keeps of it
	seeking   bool      // the store is asked for the probe
	granted   time.Time // until when the probe is this node's, of those that share the queue
	holdOff   time.Time // until when it is not asked for
	disabling bool      // the webhook is about to be disabled: nothing is attempted
	saving    bool      // health is being stored
	unsaved   bool      // health is not stored as it is now

	dropped  map[cybervault.DeliveryID]bool // have ended while they may have been on their way here; see dropped.go
	overflow watch                          // the store holds deliveries that can be claimed
	urgent   watch                          // severe ones
	claiming bool
	failures int // claims that failed, in a row
	turns    int // places given in claims since the last for the patient
	size     int // of a body, by the last claims; 0 as long as none is known
}

func (l *lane) waiting() int { return l.waits.count }

func (l *lane) length() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waiting()
}

func (l *lane) admit(severity cybervault.Severity, test bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped || !test && l.ordered {
		return false
	}
	if _, away := l.away(); away && !test {
		return false
	}
	switch {
	case test:
	case !l.overflow.ready && l.regular() < l.bound():
	case severity.Severe() && !l.urgent.ready && l.room() > 0:
		l.spare.promised++
	default: // older deliveries that overflowed into the store go first
		return false
	}
	l.reserved++
	return true
}

func (l *lane) withdraw(severity cybervault.Severity) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reserved--
	if severity.Severe() {
		l.spare.keep()
	}
	l.arrived()
	l.refill() // the place may be the one a claim was waiting for
}

// take fills a reserved place. It reports false after a stop: then nobody works
// on the delivery any more.
func (l *lane) take(a *cybervault.Assignment) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reserved--
	kept := severe(a) && l.spare.keep()
	if l.stopped {
		return false
	}
	if l.dropped[a.Delivery] {
		l.arrived()
		l.refill()
		return false
	}
	l.arrived()
	l.push(a, kept)
	l.shed() // the breaker may have opened during the commit
	return true
}

// push adds an assignment, in the reserve if it is to stand there, and sees to it
// that somebody works on it.
func (l *lane) push(a *cybervault.Assignment, reserved bool) {
	l.waits.push(a)
	l.spare.enter(a, reserved)
	l.hire()
}

// hire lets one more worker begin, if there is work for it and room.
func (l *lane) hire() {
	if l.workers >= l.limit || l.waiting() == 0 || l.stopped || l.disabling {
		return
	}
	if l.workers == 0 { // otherwise each attempt has a look
		if w, ok := l.d.cfg.Webhooks.Lookup(l.webhook); ok {
			l.look(w)
		}
	}
	if at, shut := l.opens(); shut {
		l.resumeAt(at)
		return
	}
	if l.workers < l.most {
		l.workers++
		l.d.workers.Go(l.work)
	}
}

// work makes attempts until there is nothing to do. The slot is taken before
// the delivery, so that what waits for one still stands in the window, where a
// stop, a cancellation or an urgent delivery finds it.
func (l *lane) work() {
	for {
		slots, paid, seek := l.turn()
		if seek != nil {
			l.seek(*seek)
			continue
		}
		if slots == nil {
			return
		}
		slots <- struct{}{}
		made := false
		a, doubted := l.next(&paid)
		if a != nil {
			if made = l.d.attempt(l, a); !made && a.Ordered {
				l.ended()
			}
			l.d.bytes.Add(-int64(len(a.Body)))
		}
		if !made {
			l.refund(paid)
		}
		<-slots
		if doubted != nil {
			l.ask(doubted)
		}
	}
}

// turn tells a worker which slots to take its next one from, and what the
// attempt was let through for; nil ends the worker. Where the store is to be asked
// for a probe, it is handed how the receiver was instead.
func (l *lane) turn() (slots chan struct{}, paid permit, seek *cybervault.WebhookHealth) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refill()
	if l.waiting() == 0 || l.workers > min(l.limit, l.most) || l.stopped || l.disabling {
		l.workers--
		return nil, permit{}, nil
	}
	if !l.seeking && l.unasked() {
		l.seeking = true
		state := l.health
		return nil, permit{}, &state
	}
	paid, ok := l.pass()
	if !ok {
		l.workers--
		return nil, permit{}, nil
	}
	if l.slow {
		return l.d.slowSlots, paid, nil
	}
	return l.d.quickSlots, paid, nil
}

// next takes out what to attempt. A worker that was let through for a test which
// another one took, or that meanwhile has nothing to do, gets nil; so does one for
// whose delivery the store is to be asked first.
func (l *lane) next(paid *permit) (a, doubted *cybervault.Assignment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting() == 0 || l.stopped || l.disabling {
		return nil, nil
	}
	if l.waits.first().Test {
		l.giveUp(*paid)
		*paid = permit{}
	} else if l.pace.rate > 0 && !paid.token || l.health.Breaker != cybervault.BreakerClosed && !paid.probe {
		return nil, nil // the gate was shut meanwhile: at its next turn it asks again
	}
	if a := l.waits.first(); a.Ordered && l.doubtful() {
		l.busy = true
		return nil, a
	}
	a = l.waits.pop()
	l.spare.leave(a)
	l.busy = l.busy || a.Ordered
	return a, nil
}

// remove takes out of memory what drop chooses.
func (l *lane) remove(drop func(*cybervault.Assignment) bool) []*cybervault.Assignment {
	out := l.waits.remove(drop)
	for _, a := range out {
		l.d.bytes.Add(-int64(len(a.Body)))
		l.spare.leave(a)
	}
	return out
}

func (l *lane) removed(drop func(*cybervault.Assignment) bool) []*cybervault.Assignment {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.remove(drop)
}

// putBack gives back the lease of a delivery that its webhook does not take at
// the moment, and of all that waits behind it.
func (l *lane) putBack(a *cybervault.Assignment) {
	left := l.removed(func(a *cybervault.Assignment) bool { return !a.Test })
	l.giveBack(append(left, a))
	// The webhook may have been enabled, and the lane woken, while the leases
	// were still in the claim's way.
	if w, ok := l.d.cfg.Webhooks.Lookup(l.webhook); ok && takes(w) {
		l.wake("")
	}
}

// expire gives back leases that have too little left for an attempt, and has
// them claimed anew. A window that could not be worked off in time was too large.
func (l *lane) expire(a *cybervault.Assignment, now time.Time) {
	l.mu.Lock()
	left := l.remove(func(a *cybervault.Assignment) bool { return a.Ordered || lapsed(a.Lease, now) })
	l.window = max(l.window/2, minWindow)
	l.mu.Unlock()
	if l.giveBack(append(left, a)) {
		l.wake("")
	}
}

// giveBack gives leases back. Where that fails it sees to it that they are
// claimed when they have ended, and reports false.
func (l *lane) giveBack(left []*cybervault.Assignment) bool {
	if l.d.release(left) {
		return true
	}
	for _, a := range left {
		l.wakeAt(a.Lease.Until, a.Severity)
	}
	return false
}

// learn moves the lane's bounds by how an attempt went: a receiver that takes
// gets more room, one that cannot be reached or asks for less is asked less
// often at once. w is the webhook as it was attempted, which may have been changed
// since.
func (l *lane) learn(w *cybervault.Webhook, a *cybervault.Assignment, x *cybervault.Exchange, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if current, ok := l.d.cfg.Webhooks.Lookup(l.webhook); ok {
		l.look(current)
	}
	most := l.most
	if !a.Test {
		l.note(w, x, now)
	}
	l.slow = x.Elapsed >= slowAttempt
	switch {
	case x.Failure == "":
		l.window = min(l.window+1, maxWindow)
		l.limit = min(l.limit+1, most)
	case x.Status == statusTooManyRequests || x.Status == statusUnavailable:
		l.limit = max(l.limit/2, 1)
	case x.Failure == cybervault.FailureStatus || x.Failure == cybervault.FailureRedirect:
		l.limit = min(l.limit+1, most)
	default:
		l.window = max(l.window/2, minWindow)
		l.limit = max(l.limit/2, 1)
	}
	l.hire()
}

const (
	statusTooManyRequests = 429
	statusUnavailable     = 503
)

// recorded is called when a result that was handed in at a time is durable, or
// was refused.
func (l *lane) recorded(r *cybervault.Result, a *cybervault.Assignment, handedIn time.Time, err error) {
	if a.Ordered {
		if err != nil || r.Status == cybervault.DeliveryPending {
			l.holdBack()
		} else {
			l.trust(handedIn)
		}
		l.ended()
	} else {
		l.passed()
	}
	switch {
	case err == nil && r.Status == cybervault.DeliveryPending:
		l.wakeAt(r.NextAttemptAt, a.Severity)
	case err != nil && cybervault.ErrorCode(err) == cybervault.CodeConflict:
		l.d.cfg.Logger.Info("a result came after its delivery was cancelled or its lease was taken over, and was not recorded",
			slog.String("delivery", r.Attempt.Delivery.String()), slog.Int("attempt", r.Attempt.Number))
	case err != nil:
		l.d.cfg.Logger.Error("a result was not recorded; the delivery is tried again when its lease ends",
			slog.String("delivery", r.Attempt.Delivery.String()), slog.Any("error", err))
		l.wakeAt(r.Lease.Until, a.Severity)
	}
}

// empty forgets what waits: its deliveries have ended in the store.
func (l *lane) empty() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.remove(func(*cybervault.Assignment) bool { return true })
	l.overflow.ready, l.urgent.ready = false, false
	l.silence()
	if !l.health.Well() && !l.stopped {
		l.recover()
	}
}

// stop lets no worker begin another attempt and returns what waited.
func (l *lane) stop() []*cybervault.Assignment {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
	l.silence()
	if l.gate != nil {
		l.gate.Stop()
	}
	return l.remove(func(*cybervault.Assignment) bool { return true })
}

// stopIfIdle stops the lane if nothing depends on it, and says so.
func (l *lane) stopIfIdle() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting()+l.reserved+l.workers > 0 || l.claiming || l.saving || l.disabling {
		return false
	}
	l.stopped = true
	l.silence()
	if l.gate != nil {
		l.gate.Stop()
	}
	return true
}
