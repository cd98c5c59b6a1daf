package deliver

import "github.com/cybervault/cybervault"

// A node that was cut off for too long, or came back under another number, may find
// that others have what it holds in its windows. It attempts none of that: it gives
// the leases back, which does nothing where they are not its own any more, and
// claims anew.

// void reports whether an assignment's lease is from before the leases are good.
func (d *Dispatcher) void(a *cybervault.Assignment) bool {
	if d.cfg.LeasesFrom == nil {
		return false
	}
	from := d.cfg.LeasesFrom()
	return !from.IsZero() && a.Lease.Until.Add(-LeaseDuration).Before(from)
}

// giveUpVoid gives back all that is void, a among it.
func (l *lane) giveUpVoid(a *cybervault.Assignment) {
	left := l.removed(l.d.void)
	l.giveBack(append(left, a))
	l.wake("")
}

// DropAny is Drop where the webhook is not known: another node has ended the
// delivery.
func (d *Dispatcher) DropAny(id cybervault.DeliveryID) {
	d.mu.Lock()
	lanes := make([]*lane, 0, len(d.lanes))
	for _, l := range d.lanes {
		lanes = append(lanes, l)
	}
	d.mu.Unlock()
	for _, l := range lanes {
		l.drop(id)
		l.passed()
	}
}
