package deliver

import (
	"context"
	"time"

	"github.com/cybervault/cybervault"
)

// What nodes that share a queue know of a receiver that fails. Each counts what it
// sees itself; when the first attempt fails, when the breaker opens or closes, it
// says so in the store, and reads there what the others have said. Which of them
// makes the probe of an open breaker the store decides.

const (
	// probeLease is how long a probe may take until another node may make one.
	probeLease = 30 * time.Second
	// seekPatience is how long the store may take to say whose the probe is.
	seekPatience = 2 * time.Second
)

// probeAt is when the lane may let a probe through, or ask whether it may.
func (l *lane) probeAt() time.Time { return later(l.health.ProbeAt, l.holdOff) }

// unasked reports whether the store has to be asked for the probe first.
func (l *lane) unasked() bool {
	return l.d.cfg.Shared && l.d.cfg.HealthStore != nil && l.health.Breaker == cybervault.BreakerOpen &&
		!l.waits.first().Test && !l.d.cfg.Now().Before(l.probeAt()) && !l.d.cfg.Now().Before(l.granted)
}

// seek asks for the probe. It is called by a worker without a slot, and no probe
// is let through meanwhile.
func (l *lane) seek(state cybervault.WebhookHealth) {
	now := l.d.cfg.Now()
	ctx, cancel := context.WithTimeout(l.d.ctx, seekPatience)
	ours, err := l.d.cfg.HealthStore.ClaimProbe(ctx, &state, now, now.Add(probeLease))
	cancel()
	if err != nil {
		l.d.noteHealth(l.webhook, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seeking = false
	if ours && l.health.OpenedAt.Equal(state.OpenedAt) {
		l.granted = now.Add(probeLease)
	} else {
		// Another node makes it; what it finds comes with a refresh.
		l.holdOff = now.Add(refreshEvery)
		l.shed()
	}
	l.hire()
	l.refill()
}

// Refresh reads what other nodes have said of the receivers that fail. It runs by
// itself every few seconds where nodes share the queue; whoever hears of a change
// may call it at once. Like Sweep it runs once at a time.
func (d *Dispatcher) Refresh(ctx context.Context) error { return d.run(ctx, &d.refreshes) }

func (d *Dispatcher) refresh(ctx context.Context) error {
	if d.cfg.HealthStore == nil {
		return nil
	}
	began := time.Now()
	kept, err := d.cfg.HealthStore.Health(ctx)
	if err != nil {
		return err
	}
	said := make(map[cybervault.WebhookID]cybervault.WebhookHealth, len(kept))
	for _, h := range kept {
		said[h.Webhook] = h
	}
	d.mu.Lock()
	lanes := make([]*lane, 0, len(d.lanes))
	for _, l := range d.lanes {
		lanes = append(lanes, l)
	}
	d.kept = said // of which those with a lane are not looked at
	d.mu.Unlock()
	for _, l := range lanes {
		h, ok := said[l.webhook]
		if !ok {
			h = cybervault.WebhookHealth{Webhook: l.webhook, Breaker: cybervault.BreakerClosed}
		}
		l.hear(h, began)
	}
	return nil
}

// hear takes up what the store said of the receiver at a time, unless the lane has
// learnt something since that the store could not know.
func (l *lane) hear(said cybervault.WebhookHealth, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.unsaved && !l.saving {
		l.save() // the store did not take it before
	}
	if l.stopped || l.saving || l.unsaved || !l.said.Before(at) || l.health.Breaker == cybervault.BreakerHalfOpen {
		return
	}
	mine := l.health
	if mine.Well() && said.Well() {
		return
	}
	if said.Breaker == cybervault.BreakerHalfOpen {
		said.Breaker = cybervault.BreakerOpen // another's probe, until which this lane waits
	}
	if said.FailingSince.Equal(mine.FailingSince) {
		said.Failures = max(said.Failures, mine.Failures)
	}
	if said.Breaker == cybervault.BreakerOpen && said.OpenedAt.Equal(mine.OpenedAt) && l.d.cfg.Now().Before(l.granted) {
		return // the probe is ours, and the row says so
	}
	l.health = said
	switch {
	case said.Breaker == mine.Breaker && said.ProbeAt.Equal(mine.ProbeAt):
	case said.Breaker == cybervault.BreakerClosed:
		l.recovered()
	default:
		l.overflow.ready, l.urgent.ready = true, true // to be claimed when the probe is due
		l.shed()
		l.refill()
	}
}

// recovered lets what has waited for an open breaker go.
func (l *lane) recovered() {
	l.holdOff, l.granted = time.Time{}, time.Time{}
	l.overflow.ready, l.urgent.ready = true, true
	l.hire()
	l.refill()
}
