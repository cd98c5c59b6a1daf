package deliver

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/cybervault/cybervault"
)

// lane is what the dispatcher holds for one webhook. All fields below mu are
// guarded by it.
type lane struct {
	d       *Dispatcher
	webhook cybervault.WebhookID

	mu       sync.Mutex
	queue    []*cybervault.Assignment // claimed, waiting for a worker; from head on
	head     int
	reserved int // places promised to deliveries that are being committed
	window   int // bound on queue and reserved; follows how fast the receiver takes
	limit    int // bound on workers; halved by every failure to reach the receiver
	workers  int
	overflow bool // the store holds deliveries that can be claimed now
	claiming bool
	stopped  bool
	timer    *time.Timer
	alarm    time.Time // when timer fires; zero when it is not set
}

func (l *lane) waiting() int { return len(l.queue) - l.head }

func (l *lane) length() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waiting()
}

func (l *lane) admit(urgent bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	// Older deliveries that overflowed into the store go first.
	if l.stopped || !urgent && (l.overflow || l.waiting()+l.reserved >= l.window) {
		return false
	}
	l.reserved++
	return true
}

func (l *lane) withdraw() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reserved--
}

func (l *lane) take(a *cybervault.Assignment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reserved--
	l.push(a)
}

// push adds an assignment and sees to it that somebody works on it. After a
// stop the lease is simply left to end: Stop has given back what it saw.
func (l *lane) push(a *cybervault.Assignment) {
	if l.stopped {
		l.d.bytes.Add(-int64(len(a.Body)))
		return
	}
	if a.Test && a.Attempt == 1 {
		// A person waits for it.
		l.queue = append(l.queue, nil)
		copy(l.queue[l.head+1:], l.queue[l.head:])
		l.queue[l.head] = a
	} else {
		l.queue = append(l.queue, a)
	}
	l.hire()
}

// hire lets one more worker begin, if there is work for it and room.
func (l *lane) hire() {
	if l.workers < l.limit && l.waiting() > 0 && !l.stopped {
		l.workers++
		l.d.workers.Go(l.work)
	}
}

func (l *lane) pop() *cybervault.Assignment {
	a := l.queue[l.head]
	l.queue[l.head] = nil
	l.head++
	if l.head == len(l.queue) {
		l.queue, l.head = l.queue[:0], 0
	} else if l.head >= 1024 && l.head > len(l.queue)/2 {
		n := copy(l.queue, l.queue[l.head:])
		clear(l.queue[n:])
		l.queue, l.head = l.queue[:n], 0
	}
	return a
}

// work makes attempts until there is nothing to do.
func (l *lane) work() {
	for {
		l.mu.Lock()
		l.refill()
		if l.waiting() == 0 || l.workers > l.limit || l.stopped {
			l.workers--
			l.mu.Unlock()
			return
		}
		a := l.pop()
		l.mu.Unlock()

		l.d.slots <- struct{}{}
		l.d.attempt(l, a)
		<-l.d.slots
		l.d.bytes.Add(-int64(len(a.Body)))
	}
}

// refill starts a claim when the store holds more and the window has room.
func (l *lane) refill() {
	if !l.overflow || l.claiming || l.stopped || l.waiting()+l.reserved > l.window/2 {
		return
	}
	l.claiming = true
	room := l.window - l.waiting() - l.reserved
	l.d.workers.Go(func() { l.claim(room) })
}

// claim takes up to room due deliveries out of the store.
func (l *lane) claim(room int) {
	claimed, next, err := l.fetch(room)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.claiming = false
	if err != nil {
		if !l.stopped {
			l.setAlarm(l.d.cfg.Now().Add(time.Second))
		}
		return
	}
	if l.stopped && len(claimed) > 0 {
		l.d.workers.Go(func() { l.d.release(claimed...) })
		return
	}
	for _, a := range claimed {
		l.d.bytes.Add(int64(len(a.Body)))
		l.push(a)
	}
	if len(claimed) == 0 && !next.IsZero() {
		l.setAlarm(next)
	}
	l.refill()
}

func (l *lane) fetch(room int) (claimed []*cybervault.Assignment, next time.Time, err error) {
	w, ok := l.d.cfg.Webhooks.Lookup(l.webhook)
	l.mu.Lock()
	l.overflow = false // before the query: a Wake that comes during it must not be lost
	l.mu.Unlock()
	if !ok || !w.Live() {
		return nil, time.Time{}, nil // woken again when it is enabled
	}
	if claimed, err = l.d.cfg.Queue.Claim(l.d.ctx, l.webhook, room, l.d.NewLease()); err != nil {
		l.d.cfg.Logger.Warn("cannot claim deliveries; trying again", slog.String("webhook", l.webhook.String()), slog.Any("error", err))
		return nil, time.Time{}, err
	}
	if len(claimed) > 0 {
		// There may be more; an empty claim tells when to look again.
		l.mu.Lock()
		l.overflow = true
		l.mu.Unlock()
		return claimed, time.Time{}, nil
	}
	next, err = l.d.cfg.Queue.NextDue(l.d.ctx, l.webhook)
	return nil, next, err
}

// wake says that something can be claimed now.
func (l *lane) wake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.overflow = true
	l.refill()
}

// wakeAt says that something can be claimed at t.
func (l *lane) wakeAt(t time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !t.After(l.d.cfg.Now()) {
		l.overflow = true
		l.refill()
		return
	}
	l.setAlarm(t)
}

func (l *lane) setAlarm(t time.Time) {
	if l.stopped || !l.alarm.IsZero() && !t.Before(l.alarm) {
		return
	}
	l.alarm = t
	wait := max(t.Sub(l.d.cfg.Now()), 0)
	if l.timer == nil {
		l.timer = time.AfterFunc(wait, l.ring)
	} else {
		l.timer.Reset(wait)
	}
}

func (l *lane) ring() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.alarm = time.Time{}
	l.overflow = true
	l.refill()
}

// learn moves the lane's bounds by how an attempt went: a receiver that takes
// gets more room, one that cannot be reached is asked less often at once.
func (l *lane) learn(failure cybervault.Failure) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch failure {
	case "":
		l.window = min(l.window+1, maxWindow)
		l.limit = min(l.limit+1, cybervault.DefaultConcurrency)
	case cybervault.FailureStatus, cybervault.FailureRedirect:
		l.limit = min(l.limit+1, cybervault.DefaultConcurrency)
	default:
		l.window = max(l.window/2, minWindow)
		l.limit = max(l.limit/2, 1)
	}
	l.hire()
}

// recorded is called when a result is durable, or was refused.
func (l *lane) recorded(r *cybervault.Result, err error) {
	switch {
	case err == nil && r.Status == cybervault.DeliveryPending:
		l.wakeAt(r.NextAttemptAt)
	case err != nil && cybervault.ErrorCode(err) == cybervault.CodeConflict:
		l.d.cfg.Logger.Info("a result came after its lease had ended and was not recorded",
			slog.String("delivery", r.Attempt.Delivery.String()), slog.Int("attempt", r.Attempt.Number))
	case err != nil:
		l.d.cfg.Logger.Error("a result was not recorded; the delivery is tried again when its lease ends",
			slog.String("delivery", r.Attempt.Delivery.String()), slog.Any("error", errors.Unwrap(err)))
		l.wakeAt(r.Lease.Until)
	}
}

// abandon leaves a delivery to be claimed again at t.
func (l *lane) abandon(t time.Time) { l.wakeAt(t) }

// empty forgets what waits: its deliveries have ended in the store.
func (l *lane) empty() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.waiting() > 0 {
		l.d.bytes.Add(-int64(len(l.pop().Body)))
	}
	l.overflow = false
}

// stop lets no worker begin another attempt and returns what waited.
func (l *lane) stop() []*cybervault.Assignment {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
	if l.timer != nil {
		l.timer.Stop()
	}
	left := make([]*cybervault.Assignment, 0, l.waiting())
	for l.waiting() > 0 {
		a := l.pop()
		l.d.bytes.Add(-int64(len(a.Body)))
		left = append(left, a)
	}
	return left
}
