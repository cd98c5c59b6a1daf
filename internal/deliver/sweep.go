package deliver

import (
	"context"
	"errors"
	"time"

	"github.com/cybervault/cybervault"
)

// refreshEvery is how often the health of webhooks is read that other nodes may
// have changed.
const refreshEvery = 3 * time.Second

// rounds makes a task that anyone may ask for run one at a time: whoever asks
// while it runs shares the next run with all others who do. Its dispatcher's mu
// guards it.
type rounds struct {
	task    func(context.Context) error
	running bool
	next    *round
}

type round struct {
	ended chan struct{}
	err   error
}

// run has the task run from now on, and waits for that until ctx ends.
func (d *Dispatcher) run(ctx context.Context, r *rounds) error {
	d.mu.Lock()
	if d.stopping {
		d.mu.Unlock()
		return nil
	}
	mine := r.next
	if mine == nil {
		mine = &round{ended: make(chan struct{})}
		r.next = mine
	}
	if !r.running {
		r.running = true
		d.workers.Go(func() { d.runAll(r) })
	}
	d.mu.Unlock()
	select {
	case <-mine.ended:
		return mine.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// runAll runs the task until nobody asks for it any more.
func (d *Dispatcher) runAll(r *rounds) {
	for {
		d.mu.Lock()
		this := r.next
		r.next = nil
		if this == nil {
			r.running = false
			d.mu.Unlock()
			return
		}
		d.mu.Unlock()
		this.err = r.task(d.ctx)
		close(this.ended)
	}
}

// Sweep looks at all that waits in the queue: what another node has left behind is
// claimed as soon as it is due, even by a lane that expected it later. However many
// ask for it, it runs once at a time, and once more for those who asked meanwhile.
func (d *Dispatcher) Sweep(ctx context.Context) error { return d.run(ctx, &d.sweeps) }

// every runs a task again and again until the dispatcher stops. The dispatcher's
// mu must be held.
func (d *Dispatcher) every(interval time.Duration, task func(context.Context) error) {
	var timer *time.Timer
	timer = time.AfterFunc(interval, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.stopping {
			return
		}
		d.workers.Go(func() {
			d.noteQueue(task(d.ctx))
			d.mu.Lock()
			defer d.mu.Unlock()
			if !d.stopping {
				timer.Reset(interval)
			}
		})
	})
	d.timers = append(d.timers, timer)
}

// sweep sets every lane's clock by what the queue holds. It is the safety net
// under the lanes' own bookkeeping, and finds the leases of lost nodes and the
// deliveries that a webhook left behind.
func (d *Dispatcher) sweep(ctx context.Context) error {
	backlogs, err := d.cfg.Queue.Backlogs(ctx)
	if err != nil {
		return err
	}
	for _, b := range backlogs {
		w, ok := d.cfg.Webhooks.Lookup(b.Webhook)
		if !ok {
			err = errors.Join(err, d.cfg.Webhooks.Orphaned(ctx, b.Webhook))
			continue
		}
		if w.Polled() {
			continue
		}
		if l := d.lane(b.Webhook); l != nil {
			l.wakeAt(b.DueAt, cybervault.SeverityInfo)
			if !b.SevereAt.IsZero() {
				l.wakeAt(b.SevereAt, cybervault.SeverityHigh)
			}
		}
	}
	d.clean()
	return err
}

// clean drops the lanes of webhooks that do not exist any more, and the tokens of
// those that need none.
func (d *Dispatcher) clean() {
	d.tokens.retain(func(id cybervault.WebhookID) bool {
		w, ok := d.cfg.Webhooks.Lookup(id)
		return ok && w.Authentication.Type == cybervault.AuthenticationOAuth2
	})
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, l := range d.lanes {
		if _, ok := d.cfg.Webhooks.Lookup(id); !ok && l.stopIfIdle() {
			delete(d.lanes, id)
		}
	}
}
