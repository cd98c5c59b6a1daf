package simulation

import (
	"net/http"
	"slices"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/deliver"
)

// What the ledger knows of claims, attempts and ends.

const (
	// leaseMargin is what of a lease must be left when an attempt begins.
	leaseMargin = 15 * time.Second
	// longestHeld is how long after it was given a lease a node may begin an attempt,
	// whatever the clock says.
	longestHeld = deliver.LeaseDuration - leaseMargin
)

// claimed is told of a claim that the store has granted.
func (l *ledger) claimed(n *node, webhook cybervault.WebhookID, lease cybervault.Lease, claimed []*cybervault.Assignment, ordered bool) {
	now := l.w.storeNow()
	for i, a := range claimed {
		e := l.deliveries[a.Delivery]
		if e == nil || e.removed {
			l.w.fail(0, "%s was claimed and is not stored", a.Delivery)
			continue
		}
		if e.status != cybervault.DeliveryPending {
			l.w.fail(e.n, "was claimed although it is %s", e.status)
		}
		if e.token != 0 && e.leaseEnd().Truncate(time.Microsecond).After(now) {
			l.w.fail(e.n, "was claimed by %s while %s has a lease for %s more", n, e.holder, e.leaseEnd().Sub(now))
		}
		if e.due.Truncate(time.Microsecond).After(now) {
			l.w.fail(e.n, "was claimed %s before it is due", e.due.Sub(now))
		}
		if a.Attempt != e.attempts+1 || a.Sequence != e.sequence || a.Webhook != e.hook.id || a.Test != e.test || a.Severity != e.severity {
			l.w.fail(e.n, "was claimed as %+v", a)
		}
		if ordered {
			l.checkLine(e, claimed[:i])
		}
		e.token, e.until, e.due, e.holder, e.lost, e.moved = lease.Token, lease.Until, lease.Until, n, nil, 0
		e.grant(n, lease.Token)
		l.w.trace.add(e.n, "claimed by %s for attempt %d", n, a.Attempt)
	}
}

// checkLine sees to it that an ordered claim passes nothing over that was
// committed since the webhook is ordered.
func (l *ledger) checkLine(e *entry, before []*cybervault.Assignment) {
	since := e.hook.orderedSince()
	for _, other := range e.hook.entries {
		if other.sequence == 0 || other.sequence >= e.sequence || other.ended() || other.test || since.IsZero() || !other.born.After(since) {
			continue
		}
		if !slices.ContainsFunc(before, func(a *cybervault.Assignment) bool { return a.Delivery == other.id }) {
			l.w.fail(e.n, "was claimed out of order: #%d with sequence number %d is %s", other.n, other.sequence, other.status)
		}
	}
}

// orderedSince is when the change was answered that made a webhook ordered; zero
// if it is not, or was not for sure all the time.
func (h *hook) orderedSince() (since time.Time) {
	for _, v := range slices.Backward(h.versions) {
		if !v.hook.Ordered || v.known.IsZero() {
			break
		}
		since = v.answered
	}
	return since
}

// attemptBegins judges whether a node may make this request now.
func (l *ledger) attemptBegins(n *node, e *entry, number int, sequence int64, url string) {
	now := time.Now()
	l.w.trace.add(e.n, "attempt %d by %s begins", number, n)
	if sequence != e.sequence {
		l.w.fail(e.n, "was sent with sequence number %d, and has %d", sequence, e.sequence)
	}
	versions := e.hook.permitted(now, now)
	fits := slices.ContainsFunc(versions, func(v *version) bool {
		w := v.hook
		return w.URL == url && w.DeletedAt.IsZero() && (e.test || w.Status == cybervault.WebhookEnabled && (!w.Verification || !w.VerifiedAt.IsZero()))
	})
	if !fits {
		l.w.fail(e.n, "attempt %d to %s begins although webhook %d is %+v", number, url, e.hook.n, versions[0].hook)
	}
	l.checkLease(n, e, number)
	if since := e.hook.orderedSince(); !since.IsZero() && !e.test && e.born.After(since) {
		for _, other := range e.hook.entries {
			if other.sequence != 0 && other.sequence < e.sequence && !other.ended() && !other.test && other.born.After(since) {
				l.w.fail(e.n, "attempt %d begins before #%d with sequence number %d has ended", number, other.n, other.sequence)
			}
		}
	}
	e.running = append(e.running, running{node: n, number: number, begun: now, until: e.leaseEnd()})
	l.checkAtOnce(n, e.hook)
}

// checkLease sees to it that whoever makes an attempt has the lease, or had it
// and was not told yet that the delivery has ended. By a clock that was set ahead and
// back again it may be another node's in the store, and still good by the node's clock.
func (l *ledger) checkLease(n *node, e *entry, number int) {
	stepped := e.stepped(n)
	holds := e.token != 0 && e.status == cybervault.DeliveryPending && e.holder == n
	switch {
	case stepped, e.lost == n:
	case !holds:
		l.w.fail(e.n, "attempt %d by %s begins without a lease: it is %s, leased by %s", number, n, e.status, e.holder)
	case number != e.attempts+1:
		l.w.fail(e.n, "attempt %d begins after %d attempts", number, e.attempts)
	case e.until.Sub(n.now()) < leaseMargin:
		l.w.fail(e.n, "attempt %d by %s begins with %s of the lease left", number, n, e.until.Sub(n.now()))
	}
	if age := e.age(n); age > longestHeld && e.lost != n {
		l.w.fail(e.n, "attempt %d by %s begins %s after it was given a lease", number, n, age)
	}
	for _, r := range e.running {
		if !r.ended && r.until.After(l.w.storeNow()) && !stepped {
			l.w.fail(e.n, "attempt %d by %s begins while attempt %d by %s is under way", number, n, r.number, r.node)
		}
	}
}

// checkAtOnce bounds the attempts under way by the webhook's own setting.
func (l *ledger) checkAtOnce(n *node, h *hook) {
	count, first := 0, time.Now()
	for _, e := range h.entries {
		for _, r := range e.running {
			if r.node == n && !r.ended {
				count++
				if r.begun.Before(first) {
					first = r.begun
				}
			}
		}
	}
	most := 0
	for _, v := range h.bound(first, time.Now()) {
		switch {
		case v.hook.Ordered:
			most = max(most, 1)
		case v.hook.Concurrency > 0:
			most = max(most, v.hook.Concurrency)
		default:
			most = max(most, cybervault.DefaultConcurrency)
		}
	}
	if count > most {
		l.w.fail(0, "%d attempts to webhook %d are under way at once, and %d may be", count, h.n, most)
	}
}

func (l *ledger) attemptEnds(n *node, e *entry, began time.Time, x cybervault.Exchange, answered bool) {
	for i := range e.running {
		if r := &e.running[i]; r.node == n && r.begun.Equal(began) && !r.ended {
			r.ended, r.answer = true, x
			l.w.trace.add(e.n, "attempt %d by %s: %d %s, answered=%t", r.number, n, x.Status, x.Failure, answered)
			if !answered { // broken off: there will be no result
				e.running = slices.Delete(e.running, i, i+1)
			}
			break
		}
	}
}

// decided judges what the dispatcher makes of an answer.
func (l *ledger) decided(n *node, e *entry, r *cybervault.Result) {
	i := slices.IndexFunc(e.running, func(x running) bool {
		return x.node == n && x.ended && x.number == r.Attempt.Number && x.answer.Status == r.Attempt.Status
	})
	if i < 0 {
		l.w.fail(e.n, "attempt %d has a result, %d, that nobody answered", r.Attempt.Number, r.Attempt.Status)
		return
	}
	e.handedIn(r.Lease.Token)
	attempt := e.running[i]
	e.running = slices.Delete(e.running, i, i+1)
	delay := r.NextAttemptAt.Sub(n.now())
	for _, v := range e.hook.permitted(attempt.begun, attempt.begun) {
		status, least, most := l.decision(v.hook, e, attempt)
		if r.Status == status && (status != cybervault.DeliveryPending || delay >= least && delay <= most) {
			return
		}
	}
	l.w.fail(e.n, "attempt %d was answered %d %s (Retry-After %s), and it becomes %s, due in %s", attempt.number, attempt.answer.Status,
		attempt.answer.Failure, attempt.answer.RetryAfter, r.Status, delay)
}

// decision is what must become of a delivery after an attempt, and the bounds of
// the time until the next.
func (l *ledger) decision(w *cybervault.Webhook, e *entry, r running) (status cybervault.DeliveryStatus, least, most time.Duration) {
	schedule := l.w.schedule
	if w.RetrySchedule != nil {
		schedule = w.RetrySchedule
	}
	code := r.answer.Status
	success := code == 200 || code == 201
	if w.Accept == cybervault.AcceptAny2xx {
		success = code/100 == 2
	}
	switch {
	case success:
		return cybervault.DeliveryDelivered, 0, 0
	case code == http.StatusGone, e.test, r.number > len(schedule):
		return cybervault.DeliveryDeadLetter, 0, 0
	}
	asked := min(r.answer.RetryAfter, cybervault.MaxRetryAfter)
	step := schedule[r.number-1]
	return cybervault.DeliveryPending, max(step*9/10, asked), max(step*11/10, asked)
}

// recorded is told of what the store made of a result.
func (l *ledger) recorded(n *node, e *entry, r *cybervault.Result, err error) {
	mine := e.token != 0 && e.token == r.Lease.Token && e.status == cybervault.DeliveryPending
	switch {
	case err == nil && !mine:
		l.w.fail(e.n, "a result under a lost lease was recorded: attempt %d by %s, while it is %s, leased by %s", r.Attempt.Number, n, e.status, e.holder)
	case err == nil && r.Attempt.Number != e.attempts+1:
		l.w.fail(e.n, "attempt %d was recorded after %d attempts", r.Attempt.Number, e.attempts)
	case cybervault.ErrorCode(err) == cybervault.CodeConflict:
		if mine {
			l.w.fail(e.n, "the result of attempt %d by %s was refused although it has the lease", r.Attempt.Number, n)
		}
		l.w.trace.add(e.n, "result of attempt %d by %s refused", r.Attempt.Number, n)
		return
	case err != nil:
		l.w.fail(e.n, "a result was refused: %v", err)
	}
	e.attempts, e.due = r.Attempt.Number, r.NextAttemptAt
	if ahead := r.DecidedAt.Sub(l.w.storeNow()); ahead > 0 { // decided before the clock was set back
		e.due = e.due.Add(-ahead)
	}
	e.token, e.holder, e.lost = 0, nil, nil
	e.status = r.Status
	l.w.trace.add(e.n, "attempt %d recorded: %s, due in %s", r.Attempt.Number, r.Status, r.NextAttemptAt.Sub(l.w.storeNow()))
}

// leaseEnd is when the store takes the lease to have ended, at the earliest.
func (e *entry) leaseEnd() time.Time { return e.until.Add(e.moved) }

// clockSet is told that the clock is set. The store moves what waits, or is leased,
// with a clock that is set back, by that much at the most.
func (l *ledger) clockSet(by time.Duration) {
	if by > 0 {
		return
	}
	for _, e := range l.all {
		if e.status == cybervault.DeliveryPending {
			e.due, e.moved = e.due.Add(by), e.moved+by
			for i := range e.running {
				e.running[i].until = e.running[i].until.Add(by)
			}
		}
	}
}

func (l *ledger) released(assignments []*cybervault.Assignment) {
	for _, a := range assignments {
		e := l.deliveries[a.Delivery]
		if e == nil {
			continue
		}
		e.handedIn(a.Lease.Token)
		if e.token == a.Lease.Token && e.status == cybervault.DeliveryPending {
			e.token, e.holder, e.lost, e.due = 0, nil, nil, l.w.storeNow()
			l.w.trace.add(e.n, "lease given back")
		}
	}
}

// freedLeases is told that an embedded store has ended all leases, as it does when
// it is opened.
func (l *ledger) freedLeases() {
	for _, e := range l.all {
		if e.token != 0 && e.status == cybervault.DeliveryPending {
			e.token, e.holder, e.lost, e.due = 0, nil, nil, l.w.storeNow()
		}
	}
}

// end ends a delivery whose lease may be somebody's, who is told later.
func (e *entry) end(status cybervault.DeliveryStatus) {
	e.lost, e.lostToken, e.status, e.token, e.holder = e.holder, e.token, status, 0, nil
}

// grant notes that a node is given the lease that there is now.
func (e *entry) grant(n *node, token int64) {
	e.grants = append(e.grants, grant{n, token, time.Now()})
}

// handedIn says that a node has nothing in memory by a lease any more.
func (e *entry) handedIn(token int64) {
	e.grants = slices.DeleteFunc(e.grants, func(g grant) bool { return g.token == token })
}

// age is how long ago a node was given the youngest lease by which it may have it.
func (e *entry) age(n *node) time.Duration {
	for _, g := range slices.Backward(e.grants) {
		if g.node == n {
			return time.Since(g.at)
		}
	}
	return 0
}

// stepped reports whether the clock was set since a node was given a lease by which
// it may still act: that may have ended in the store, and be another's now.
func (e *entry) stepped(n *node) bool {
	step := n.w.lastStep()
	return slices.ContainsFunc(e.grants, func(g grant) bool {
		return g.node == n && !g.at.After(step) && time.Since(g.at) <= longestHeld
	})
}

// handOver is told of the node that has in memory what was leased at its birth. It may
// have ended while the answer of the commit was under way; until that end is answered
// the node cannot know.
func (e *entry) handOver(token int64, n *node) {
	if n != nil {
		for i := range e.grants {
			if e.grants[i].token == token {
				e.grants[i].node = n
			}
		}
	}
	switch {
	case e.token == token:
		e.holder = n
	case e.lost != nil && e.lostToken == token:
		e.lost = n
	}
}

func (l *ledger) cancelled(id cybervault.DeliveryID, err error) {
	e := l.deliveries[id]
	switch {
	case e == nil || e.removed:
		return
	case err == nil && e.ended():
		l.w.fail(e.n, "was cancelled although it was %s", e.status)
	case err != nil && !e.ended():
		l.w.fail(e.n, "was not cancelled, with %v, although it is %s", err, e.status)
	case err == nil:
		e.end(cybervault.DeliveryCancelled)
		l.w.trace.add(e.n, "cancelled")
	}
}

// toldOf says that the end of a delivery has been answered: from here on nobody
// may begin an attempt.
func (l *ledger) toldOf(id cybervault.DeliveryID) {
	if e := l.deliveries[id]; e != nil && e.ended() {
		e.lost = nil
	}
}

func (l *ledger) cancelledAll(id cybervault.WebhookID, n int64) {
	for _, e := range l.hooks[id].entries {
		if !e.ended() {
			e.end(cybervault.DeliveryCancelled)
			l.w.trace.add(e.n, "cancelled with its webhook")
			n--
		}
	}
	if n != 0 {
		l.w.fail(0, "deliveries of webhook %d were cancelled that were not there, or not all: %d", l.hooks[id].n, n)
	}
}

func (l *ledger) freed(id cybervault.WebhookID, n int64) {
	for _, e := range l.hooks[id].entries {
		if e.status == cybervault.DeliveryHeld {
			e.status = cybervault.DeliveryPending
			if now := l.w.storeNow(); e.due.After(now) {
				e.due = now
			}
			l.w.trace.add(e.n, "freed")
			n--
		}
	}
	if n != 0 {
		l.w.fail(0, "held deliveries of webhook %d were freed that were not there, or not all: %d", l.hooks[id].n, n)
	}
}

// handedOut judges what a poll hands out: the front of the line, and nothing
// passed over.
func (l *ledger) handedOut(id cybervault.WebhookID, line []*cybervault.Assignment) {
	last := int64(0)
	in := map[cybervault.DeliveryID]bool{}
	for _, a := range line {
		in[a.Delivery] = true
		e := l.deliveries[a.Delivery]
		if e == nil || e.status != cybervault.DeliveryPending || a.Sequence != e.sequence || a.Sequence <= last || a.Attempt != e.attempts+1 {
			l.w.fail(0, "webhook %d was handed %+v, which is %+v", l.hooks[id].n, a, e)
			return
		}
		if e.token != 0 && e.leaseEnd().Truncate(time.Microsecond).After(l.w.storeNow()) {
			l.w.fail(e.n, "was handed out by a poll while %s has a lease", e.holder)
		}
		last = a.Sequence
	}
	for _, e := range l.hooks[id].entries {
		if !e.ended() && e.sequence < last && !in[e.id] {
			l.w.fail(e.n, "was passed over by a poll that handed out up to sequence number %d", last)
		}
	}
}

func (l *ledger) acknowledged(id cybervault.WebhookID, cursor cybervault.DeliveryID, ended []*cybervault.Result) {
	for _, r := range ended {
		e := l.deliveries[r.Attempt.Delivery]
		if e.status != cybervault.DeliveryPending || r.Attempt.Number != e.attempts+1 || !e.handed {
			l.w.fail(e.n, "was acknowledged as attempt %d; it is %s after %d attempts, handed out: %t", r.Attempt.Number, e.status, e.attempts, e.handed)
		}
		e.end(cybervault.DeliveryDelivered)
		e.attempts = r.Attempt.Number
		l.w.trace.add(e.n, "acknowledged by a poll")
	}
	for _, e := range l.hooks[id].entries {
		if e.status == cybervault.DeliveryPending && e.sequence <= l.deliveries[cursor].sequence {
			l.w.fail(e.n, "is pending although a poll has acknowledged up to sequence number %d", l.deliveries[cursor].sequence)
		}
	}
}
