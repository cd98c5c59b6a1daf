package deliver

import (
	"time"

	"github.com/cybervault/cybervault"
)

// The bounds that tests hold the dispatcher to.
const (
	LeaseMargin = leaseMargin
	StartWindow = startWindow
	MinWindow   = minWindow
	MaxWindow   = maxWindow
	WindowBytes = windowBytes
	MaxClaim    = maxClaim
	SweepEvery  = sweepEvery
	SlowAttempt = slowAttempt
	QuickSlots  = quickSlots
	Reserve     = reserve
	SpareBytes  = reserveBytes
	Patience    = patience
)

// HeldBytes tells how much memory the dispatcher believes to hold.
func (d *Dispatcher) HeldBytes() int64 { return d.bytes.Load() }

// Reserved tells how many places are promised in all windows.
func (d *Dispatcher) Reserved() (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.lanes {
		l.mu.Lock()
		n += l.reserved
		l.mu.Unlock()
	}
	return n
}

// Severe tells how many severe deliveries wait, and how many places of the
// reserves are held or promised.
func (d *Dispatcher) Severe() (waiting, held, promised int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.lanes {
		l.mu.Lock()
		waiting, held, promised = waiting+l.spare.severe, held+l.spare.held, promised+l.spare.promised
		l.mu.Unlock()
	}
	return waiting, held, promised
}

// Lanes tells how many lanes there are.
func (d *Dispatcher) Lanes() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.lanes)
}

// Bounds tells the bounds of a webhook's lane.
func (d *Dispatcher) Bounds(id cybervault.WebhookID) (window, limit int) {
	l := d.lane(id)
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.window, l.limit
}

// Learn lets a webhook's lane learn from an exchange.
func (d *Dispatcher) Learn(id cybervault.WebhookID, x *cybervault.Exchange) {
	d.lane(id).learn(&cybervault.Webhook{}, &cybervault.Assignment{}, x, time.Now())
}

// WakeAt sets the alarm of a webhook's lane.
func (d *Dispatcher) WakeAt(id cybervault.WebhookID, t time.Time) { d.lane(id).wakeAt(t, "") }
