package deliver

import (
	"log/slog"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/failpoint"
)

// How a lane finds what waits in the store. `overflow` says that there is
// something to claim; it is set by a Wake, by the lane's alarm and by a claim
// that came back full, and cleared before each claim looks, so that nothing that
// comes while it looks is missed. A claim that comes back short asks when the
// next delivery can be claimed, and sets the alarm to that.
//
// `urgent` says the same of severe deliveries. While the window has room, a claim
// takes them first anyway; while it has none, they are claimed into the reserve.

// watch knows whether and when there is something to claim.
type watch struct {
	ready bool // now
	timer *time.Timer
	alarm time.Time // when timer fires; zero when it is not set
}

// wake says that something can be claimed now; severity is empty where it may be
// of any.
func (l *lane) wake(severity cybervault.Severity) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w, ok := l.d.cfg.Webhooks.Lookup(l.webhook); ok {
		l.look(w)
	}
	l.overflow.ready = true
	l.urgent.ready = l.urgent.ready || severity == "" || severity.Severe()
	l.hire()
	l.refill()
}

// wakeAt says that something of a severity can be claimed at t.
func (l *lane) wakeAt(t time.Time, severity cybervault.Severity) {
	l.mu.Lock()
	defer l.mu.Unlock()
	later := t.After(l.d.cfg.Now())
	for _, w := range []*watch{&l.overflow, &l.urgent} {
		switch {
		case w == &l.urgent && !severity.Severe():
		case later:
			l.setAlarm(w, t)
		default:
			w.ready = true
		}
	}
	l.refill()
}

// soonest is the least that a timer of a lane waits. One of 0 is rung by whoever
// sets it, not by the clock; with testing/synctest, on several processors at once,
// the race detector of Go 1.26 breaks down over that (golang.org/issue/78156).
const soonest = time.Nanosecond

func (l *lane) setAlarm(w *watch, t time.Time) {
	if l.stopped {
		return
	}
	now := l.d.cfg.Now()
	if !w.alarm.IsZero() && !t.Before(w.alarm) {
		if w.alarm.After(now) {
			return
		}
		// It should have rung: the clock was set forward, of which its timer knows
		// nothing.
		t = w.alarm
	}
	w.alarm = t
	wait := max(t.Sub(now), soonest)
	if w.timer == nil {
		w.timer = time.AfterFunc(wait, func() { l.ring(w) })
	} else {
		w.timer.Reset(wait)
	}
}

// ring rings an alarm, and with it the other one if that is set to the same time:
// then one claim looks for both, whichever timer comes first.
func (l *lane) ring(w *watch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := w.alarm
	if at.IsZero() {
		return // the other one has rung it
	}
	for _, w := range []*watch{&l.overflow, &l.urgent} {
		if w.alarm.Equal(at) {
			w.alarm, w.ready = time.Time{}, true
		}
	}
	l.refill()
}

func (l *lane) silence() {
	for _, w := range []*watch{&l.overflow, &l.urgent} {
		if w.timer != nil {
			w.timer.Stop()
		}
		w.alarm = time.Time{}
	}
}

// refill starts a claim when the store holds more and the window has room, or
// more that is severe and the reserve has. Whoever makes room calls it again.
func (l *lane) refill() {
	if l.claiming || l.stopped || !l.overflow.ready && !l.urgent.ready {
		return
	}
	if l.busy || l.ordered && l.waiting() > 0 {
		return // our own leases would stop the claim
	}
	bound := l.bound()
	usual := l.overflow.ready && l.regular() <= bound/2
	if !usual && (!l.urgent.ready || l.ordered || l.room() == 0) {
		return
	}
	if until, away := l.away(); away {
		if !until.IsZero() {
			l.setAlarm(&l.overflow, until)
		}
		return
	}
	c := cybervault.Claim{Webhook: l.webhook}
	var held int64
	if usual {
		c.Limit, held = l.d.room(min(bound-l.regular(), maxClaim), l.size, windowBytes, l.waiting() == 0 && l.workers <= 1)
		c.Patient = (l.turns + c.Limit) / patience
	} else {
		c.Limit, held = l.d.room(min(l.room(), maxClaim), l.size, windowBytes+reserveBytes, false)
		c.Least = cybervault.SeverityHigh
	}
	if c.Limit == 0 {
		return // a worker asks again with each attempt
	}
	l.claiming, l.urgent.ready = true, false
	l.overflow.ready = l.overflow.ready && !usual
	l.d.workers.Go(func() { l.claim(c, held) })
}

// room bounds a claim by the memory that is left, and takes that: a claim's
// bodies are counted by what they are expected to need until they are there. A
// lane that has nothing to do is given a few places whatever the others hold.
func (d *Dispatcher) room(want, size int, budget int64, starved bool) (room int, held int64) {
	if size == 0 {
		size = cybervault.MaxEventBytes
	}
	room = min(want, int(max(budget-d.bytes.Load(), 0)/int64(size)))
	if starved {
		room = max(room, min(want, starvedClaim))
	}
	held = int64(room) * int64(size)
	d.bytes.Add(held)
	return room, held
}

// claim takes due deliveries out of the store.
func (l *lane) claim(c cybervault.Claim, held int64) {
	found, err := l.fetch(c)
	if len(found.claimed) > 0 {
		failpoint.Hit(failpoint.ClaimDone)
	}
	var size int64
	for _, a := range found.claimed {
		size += int64(len(a.Body))
	}
	l.d.bytes.Add(size - held)

	l.mu.Lock()
	defer l.mu.Unlock()
	l.claiming = false
	if l.stopped {
		l.d.bytes.Add(-size)
		if len(found.claimed) > 0 {
			l.d.workers.Go(func() { l.d.release(found.claimed) })
		}
		return
	}
	if !found.asked.IsZero() {
		l.trusted = found.asked
	}
	for _, a := range l.refused(found.claimed) {
		l.push(a, c.Least != "")
	}
	l.arrived()
	l.shed()
	if n := len(found.claimed); n > 0 {
		// The largest of late, so that one small batch among large ones does not
		// let the next claim take too much.
		l.size = max(int(size)/n, l.size*3/4, 1)
	}
	l.settle(c, found, err)
	l.refill()
}

// settle sets the watches by what a claim has found.
func (l *lane) settle(c cybervault.Claim, found finding, err error) {
	usual, full := c.Least == "", len(found.claimed) == c.Limit
	if err != nil {
		l.failures++
		again := l.d.cfg.Now().Add(min(time.Second<<min(l.failures-1, 10), maxClaimPause))
		l.setAlarm(&l.urgent, again)
		if usual {
			l.setAlarm(&l.overflow, again)
		}
		return
	}
	l.failures = 0
	if usual {
		l.turns = (l.turns + len(found.claimed)) % patience
		// There may be more; or it was our own lease that stopped it.
		l.overflow.ready = l.overflow.ready || full || l.busy
	} else {
		l.urgent.ready = l.urgent.ready || full
	}
	l.lookAt(&l.overflow, found.next, len(found.claimed) == 0)
	l.lookAt(&l.urgent, found.severe, len(found.claimed) == 0)
}

// lookAt sets a watch to when the store says that something is due next; zero
// leaves it. What has become due since the claim is claimed at once. Where a claim
// found nothing although that time is past, this node's clock is ahead of the
// store's: then it asks again in a moment, not as fast as it can until the clocks
// agree.
func (l *lane) lookAt(w *watch, next time.Time, empty bool) {
	if next.IsZero() {
		return
	}
	if now := l.d.cfg.Now(); !next.After(now) {
		if !empty {
			w.ready = true
			return
		}
		next = now.Add(emptyClaimPause)
	}
	l.setAlarm(w, next)
}

// finding is what a claim has found, and when to look again.
type finding struct {
	claimed      []*cybervault.Assignment
	next, severe time.Time // zero where nothing is to come, or it was not asked
	asked        time.Time // of a line: when the store was asked
}

// fetch claims, and asks when to look again for what the claim cannot have taken
// for want of time rather than of places. What was claimed is returned even when
// it fails after that.
func (l *lane) fetch(c cybervault.Claim) (found finding, err error) {
	w, ok := l.d.cfg.Webhooks.Lookup(l.webhook)
	if !ok || !takes(w) {
		return found, nil // woken again when it is enabled or verified
	}
	c.Lease = l.d.NewLease()
	queue := l.d.cfg.Queue
	if w.Ordered {
		found, err = l.fetchLine(c)
		l.d.noteQueue(err)
		return found, err
	}
	found.claimed, err = queue.Claim(l.d.ctx, c)
	full, usual := len(found.claimed) == c.Limit, c.Least == ""
	switch {
	case err != nil:
	case usual && !full:
		found.next, err = queue.NextDue(l.d.ctx, l.webhook, "")
	case usual || !full: // the window may be full by then
		found.severe, err = queue.NextDue(l.d.ctx, l.webhook, cybervault.SeverityHigh)
	}
	l.d.noteQueue(err)
	return found, err
}

// takes reports whether a webhook is sent deliveries at the moment. Tests are sent
// to any but a polled one, which is sent nothing.
func takes(w *cybervault.Webhook) bool { return w.Live() && !w.Held() && !w.Polled() }

// noteQueue logs when the queue stops answering and when it does again, once
// for all lanes.
func (d *Dispatcher) noteQueue(err error) {
	switch {
	case err == nil:
		if d.troubled.Load() && d.troubled.CompareAndSwap(true, false) {
			d.cfg.Logger.Info("the queue can be read again")
		}
	case d.ctx.Err() == nil && d.troubled.CompareAndSwap(false, true):
		d.cfg.Logger.Error("cannot read the queue; trying again", slog.Any("error", err))
	}
}
