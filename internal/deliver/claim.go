package deliver

import (
	"log/slog"
	"time"

	"github.com/cybervault/cybervault"
)

// How a lane finds what waits in the store. `overflow` says that there is
// something to claim; it is set by a Wake, by the lane's alarm and by a claim
// that came back full, and cleared before each claim looks, so that nothing that
// comes while it looks is missed. A claim that comes back short asks when the
// next delivery can be claimed, and sets the alarm to that.

// wake says that something can be claimed now.
func (l *lane) wake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w, ok := l.d.cfg.Webhooks.Lookup(l.webhook); ok {
		l.look(w)
	}
	l.overflow = true
	l.hire()
	l.refill()
}

// wakeAt says that something can be claimed at t.
func (l *lane) wakeAt(t time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.After(l.d.cfg.Now()) {
		l.setAlarm(t)
		return
	}
	l.overflow = true
	l.refill()
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

func (l *lane) silence() {
	if l.timer != nil {
		l.timer.Stop()
	}
	l.alarm = time.Time{}
}

// refill starts a claim when the store holds more and the window has room.
// Whoever makes room calls it again.
func (l *lane) refill() {
	bound := l.bound()
	if !l.overflow || l.claiming || l.stopped || l.waiting()+l.reserved > bound/2 {
		return
	}
	if l.busy || l.ordered && l.waiting() > 0 {
		return // our own leases would stop the claim
	}
	if until, away := l.away(); away {
		if !until.IsZero() {
			l.setAlarm(until)
		}
		return
	}
	room, held := l.d.room(min(bound-l.waiting()-l.reserved, maxClaim), l.size, l.waiting() == 0 && l.workers <= 1)
	if room == 0 {
		return // a worker asks again with each attempt
	}
	l.claiming, l.overflow = true, false
	l.d.workers.Go(func() { l.claim(room, held) })
}

// room bounds a claim by the memory that is left, and takes that: a claim's
// bodies are counted by what they are expected to need until they are there. A
// lane that has nothing to do is given a few places whatever the others hold.
func (d *Dispatcher) room(want, size int, starved bool) (room int, held int64) {
	if size == 0 {
		size = cybervault.MaxEventBytes
	}
	room = min(want, int(max(windowBytes-d.bytes.Load(), 0)/int64(size)))
	if starved {
		room = max(room, min(want, starvedClaim))
	}
	held = int64(room) * int64(size)
	d.bytes.Add(held)
	return room, held
}

// claim takes up to room due deliveries out of the store.
func (l *lane) claim(room int, held int64) {
	claimed, next, err := l.fetch(room)
	var size int64
	for _, a := range claimed {
		size += int64(len(a.Body))
	}
	l.d.bytes.Add(size - held)

	l.mu.Lock()
	defer l.mu.Unlock()
	l.claiming = false
	if l.stopped {
		l.d.bytes.Add(-size)
		if len(claimed) > 0 {
			l.d.workers.Go(func() { l.d.release(claimed) })
		}
		return
	}
	for _, a := range claimed {
		l.push(a)
	}
	l.shed()
	if n := len(claimed); n > 0 {
		// The largest of late, so that one small batch among large ones does not
		// let the next claim take too much.
		l.size = max(int(size)/n, l.size*3/4, 1)
	}
	switch {
	case err != nil:
		l.failures++
		l.setAlarm(l.d.cfg.Now().Add(min(time.Second<<min(l.failures-1, 10), maxClaimPause)))
	case len(claimed) == room:
		l.failures, l.overflow = 0, true // there may be more
	default:
		l.failures, l.overflow = 0, l.overflow || l.busy // then it was our own lease that stopped it
		if !next.IsZero() {
			l.setAlarm(next)
		}
	}
	l.refill()
}

// fetch claims, and tells when to look again where that found all there is.
// What was claimed is returned even when it fails after that.
func (l *lane) fetch(room int) (claimed []*cybervault.Assignment, next time.Time, err error) {
	w, ok := l.d.cfg.Webhooks.Lookup(l.webhook)
	if !ok || !takes(w) {
		return nil, time.Time{}, nil // woken again when it is enabled or verified
	}
	if w.Ordered {
		claimed, next, err = l.d.cfg.Queue.ClaimOrdered(l.d.ctx, l.webhook, room, l.d.NewLease())
		l.d.noteQueue(err)
		return claimed, next, err
	}
	claimed, err = l.d.cfg.Queue.Claim(l.d.ctx, l.webhook, room, l.d.NewLease())
	if err == nil && len(claimed) < room {
		next, err = l.d.cfg.Queue.NextDue(l.d.ctx, l.webhook)
	}
	l.d.noteQueue(err)
	return claimed, next, err
}

// takes reports whether a webhook takes deliveries at the moment. Tests are sent
// to any.
func takes(w *cybervault.Webhook) bool { return w.Live() && !w.Held() }

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
