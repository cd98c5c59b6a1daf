package deliver

import (
	"time"

	"github.com/cybervault/cybervault"
)

// What keeps a lane from attempting what it holds: its webhook's rate limit, the
// circuit breaker of a receiver that fails, and a queue that has been silent for so
// long that another node may have the leases. While the gate is shut no worker
// runs and no slot is held; deliveries wait in the window for as long as their
// leases allow, the others in the store. Tests pass it: a person is looking.

// Bounds of the gate.
const (
	// DefaultBreakerAfter is how many attempts must fail in a row, over breakerSpan
	// or longer, until the breaker opens.
	DefaultBreakerAfter = 10
	breakerSpan         = 30 * time.Second
	firstProbe          = 30 * time.Second // after the breaker opened; doubled each time the probe fails
	lastProbe           = 10 * time.Minute
	// paceAhead is how long a claimed delivery may have to wait for the rate
	// limit: a lease less what an attempt needs of it, with something to spare.
	paceAhead = 20 * time.Second
	// trustPause is how often a node that has lost sight of the queue looks whether
	// its leases are its own again.
	trustPause = 500 * time.Millisecond
	// paceGrain keeps a high rate from setting a timer for every attempt.
	paceGrain = time.Millisecond
)

// permit is what an attempt took to pass the gate.
type permit struct{ token, probe bool }

// look takes up the settings that the gate goes by.
func (l *lane) look(w *cybervault.Webhook) {
	l.most, l.ordered = w.AttemptsAtOnce(), w.Ordered
	if w.RateLimit != l.pace.rate {
		l.pace.limit(w.RateLimit, l.d.cfg.Now())
	}
	if h := &l.health; h.Breaker == cybervault.BreakerOpen && w.UpdatedAt.After(h.OpenedAt) {
		h.ProbeAt = h.OpenedAt // somebody may have put it right: see at once
	}
}

// opens tells whether the gate is shut for what waits first, and when it opens;
// zero if something else than time opens it.
func (l *lane) opens() (at time.Time, shut bool) {
	if l.d.cfg.Trusted != nil && !l.d.cfg.Trusted() {
		return l.d.cfg.Now().Add(trustPause), true
	}
	if l.health.Breaker == cybervault.BreakerClosed && l.pace.rate == 0 && !l.busy || l.waits.first().Test {
		return at, false
	}
	if l.busy || l.seeking {
		return at, true
	}
	now := l.d.cfg.Now()
	switch l.health.Breaker {
	case cybervault.BreakerHalfOpen:
		return at, true
	case cybervault.BreakerOpen:
		if at = l.probeAt(); at.After(now) {
			return at, true
		}
	case cybervault.BreakerClosed:
	}
	if l.pace.rate == 0 {
		return at, false
	}
	at, known := l.pace.next(now)
	if !known {
		l.share()
		return time.Time{}, true
	}
	return at, at.After(now)
}

// pass takes what the first attempt in the window costs, provided the gate is
// open; otherwise it sees to it that somebody comes back.
func (l *lane) pass() (p permit, ok bool) {
	at, shut := l.opens()
	if shut {
		l.resumeAt(at)
		return p, false
	}
	if l.waits.first().Test {
		return p, true
	}
	if l.pace.rate > 0 {
		l.pace.take()
		p.token = true
	}
	if l.health.Breaker == cybervault.BreakerOpen {
		l.health.Breaker = cybervault.BreakerHalfOpen
		p.probe = true
	}
	return p, true
}

// refund gives back what was taken for an attempt that was not made.
func (l *lane) refund(p permit) {
	if p == (permit{}) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.giveUp(p)
	l.refill()
}

func (l *lane) giveUp(p permit) {
	if p.token {
		l.pace.put()
	}
	if p.probe && l.health.Breaker == cybervault.BreakerHalfOpen {
		l.health.Breaker = cybervault.BreakerOpen
	}
}

func (l *lane) resumeAt(t time.Time) {
	if l.stopped || t.IsZero() {
		return
	}
	wait := max(t.Sub(l.d.cfg.Now()), soonest)
	if l.gate == nil {
		l.gate = time.AfterFunc(wait, l.resume)
	} else {
		l.gate.Reset(wait)
	}
}

// resume goes on with what waited at the gate.
func (l *lane) resume() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for before := -1; before != l.workers; {
		if before = l.workers; before > 0 && l.pace.tokens < float64(before) {
			break // those there are have what there is
		}
		l.hire()
	}
	l.refill()
}

// bound is how many deliveries the window may hold, but for the reserve.
func (l *lane) bound() int {
	if l.health.Breaker != cybervault.BreakerClosed {
		return 1 // the probe
	}
	n := l.window
	if l.ordered {
		n = min(n, orderedWindow)
	}
	// What one node holds, the others cannot take up when they have nothing to do.
	return l.paced(max(n/l.d.peers(), min(n, minWindow)))
}

// paced bounds a number of places by what the rate limit lets through in time.
func (l *lane) paced(n int) int {
	if l.pace.rate > 0 {
		n = min(n, max(1, int(l.pace.rate*paceAhead.Seconds())))
	}
	return n
}

// away tells whether, and until when, claimed deliveries could do nothing but
// wait, too long for their leases.
func (l *lane) away() (until time.Time, yes bool) {
	if l.health.Breaker == cybervault.BreakerClosed && l.pace.rate == 0 {
		return until, false
	}
	now := l.d.cfg.Now()
	switch l.health.Breaker {
	case cybervault.BreakerHalfOpen:
		return until, true
	case cybervault.BreakerOpen:
		if at := l.probeAt(); at.After(now) {
			return at, true
		}
	case cybervault.BreakerClosed:
	}
	if l.pace.rate == 0 {
		return until, false
	}
	until, known := l.pace.next(now)
	return until, known && until.Sub(now) > paceAhead
}

// trip moves the breaker by a failed attempt.
func (l *lane) trip() {
	h := &l.health
	now := l.d.cfg.Now().Truncate(time.Microsecond) // as the store keeps it
	switch h.Breaker {
	case cybervault.BreakerClosed:
		if l.d.cfg.BreakerAfter <= 0 || h.Failures < l.d.cfg.BreakerAfter || now.Sub(h.FailingSince) < breakerSpan {
			return
		}
		h.ProbeAt = now.Add(firstProbe)
	case cybervault.BreakerHalfOpen:
		h.ProbeAt = now.Add(min(2*max(h.ProbeAt.Sub(h.OpenedAt), firstProbe/2), lastProbe))
	case cybervault.BreakerOpen:
		return // it was under way when the breaker opened
	}
	h.Breaker, h.OpenedAt, l.granted = cybervault.BreakerOpen, now, time.Time{}
	l.save()
	l.overflow.ready, l.urgent.ready = true, true
	l.shed()
	l.refill()
}

// shed gives back the leases of what an open breaker would only keep waiting.
func (l *lane) shed() {
	if _, away := l.away(); !away || l.health.Breaker == cybervault.BreakerClosed {
		return
	}
	if left := l.remove(func(a *cybervault.Assignment) bool { return !a.Test }); len(left) > 0 {
		l.overflow.ready, l.urgent.ready = true, true
		l.d.workers.Go(func() { l.giveBack(left) })
	}
}
