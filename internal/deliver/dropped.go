package deliver

import "github.com/cybervault/cybervault"

// A delivery can end in the store (cancelled, or acknowledged by a poll) while it
// is on its way into the window: its lease is on disk already, by a claim or by
// its birth, and the answer has not come yet. Whoever ended it has been told that
// no attempt begins any more. So the lane remembers it for as long as anything is
// on its way.

// drop takes a delivery that has ended out of the window, or sees to it that it
// does not enter any more.
func (l *lane) drop(id cybervault.DeliveryID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.remove(func(a *cybervault.Assignment) bool { return a.Delivery == id })
	if l.claiming || l.reserved > 0 {
		if l.dropped == nil {
			l.dropped = map[cybervault.DeliveryID]bool{}
		}
		l.dropped[id] = true
	}
}

// refused takes those that have been dropped out of what has arrived.
func (l *lane) refused(arrived []*cybervault.Assignment) []*cybervault.Assignment {
	if len(l.dropped) == 0 {
		return arrived
	}
	kept := arrived[:0]
	for _, a := range arrived {
		if l.dropped[a.Delivery] {
			l.d.bytes.Add(-int64(len(a.Body)))
			continue
		}
		kept = append(kept, a)
	}
	return kept
}

// arrived forgets what was dropped once nothing is on its way any more.
func (l *lane) arrived() {
	if !l.claiming && l.reserved == 0 {
		l.dropped = nil
	}
}
