package app

import (
	"context"
	"log/slog"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/failpoint"
)

// How the retention goes about its work.
const (
	// sweepEvery is the time between two sweeps.
	sweepEvery = 5 * time.Minute
	// fullSweepEvery is how often a sweep begins at the oldest event, to find
	// what the ones before had to leave: dead letters, pending deliveries.
	fullSweepEvery = 6 * time.Hour
	// After each step a sweep rests sweepRest times as long as the step took,
	// and minRest at least, so that it never has more than a fifth of the
	// database's time.
	sweepRest = 4
	minRest   = 5 * time.Millisecond
	// dutyLook is how often a node whose duty it is not looks whether it has become so.
	dutyLook = 5 * time.Second
)

// changesKept is how long the change log is kept at most. Readers that stay away
// for longer begin anew.
const changesKept = 7 * 24 * time.Hour

// sweeper removes what is old: the store.
type sweeper interface {
	// Rotate makes partitions for the days to come and removes those that are
	// old, where the store has any.
	Rotate(ctx context.Context, expiry cybervault.Expiry) (cybervault.Swept, error)
	// PruneChanges removes a little of the change log, and says if there is more.
	PruneChanges(ctx context.Context, before time.Time) (more bool, err error)
	// PruneSpans forgets a little of where removed events lay, of the first type
	// after one, and says after which to go on, and if there is any.
	PruneSpans(ctx context.Context, after string) (next string, more bool, err error)
	// Sweep removes a little, from a position on.
	Sweep(ctx context.Context, expiry cybervault.Expiry, from cybervault.SweepPosition) (cybervault.Swept, error)
}

// retention removes events, deliveries and attempts that are older than they
// are to be kept.
type retention struct {
	store    sweeper
	keep     time.Duration // 0: for ever
	keepDead time.Duration // of events with a dead letter; 0: for ever
	mine     func() bool   // whether it is this node that removes for all
	now      func() time.Time
	removed  func(events, deliveries, attempts int64)
	log      *slog.Logger
}

// run sweeps until ctx ends.
func (r *retention) run(ctx context.Context) {
	var (
		position cybervault.SweepPosition
		full     time.Time // when the last full sweep began
		looked   time.Time // when a node without the duty looked at the partitions
	)
	for {
		if !r.mine() {
			// What partitions there are, every node has to know.
			if now := r.now(); now.Sub(looked) >= sweepEvery {
				looked = now
				if _, err := r.store.Rotate(ctx, cybervault.Expiry{}); err != nil && ctx.Err() == nil {
					r.log.Warn("the partitions cannot be looked at; trying again", slog.Any("error", err))
				}
			}
			if !rest(ctx, dutyLook) {
				return
			}
			continue
		}
		if now := r.now(); now.Sub(full) >= fullSweepEvery {
			position, full = cybervault.SweepPosition{}, now
		}
		err := r.rotate(ctx)
		if r.keep > 0 && err == nil && ctx.Err() == nil {
			position, err = r.sweep(ctx, position)
		}
		if ctx.Err() == nil && err == nil {
			err = r.prune(ctx)
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			r.log.Warn("what is old is not all removed yet; trying again", slog.Any("error", err))
		}
		if !rest(ctx, sweepEvery) {
			return
		}
	}
}

// expiry is what is old now; nothing where all is to be kept.
func (r *retention) expiry() cybervault.Expiry {
	if r.keep == 0 {
		return cybervault.Expiry{}
	}
	now := r.now()
	expiry := cybervault.Expiry{Before: now.Add(-r.keep), DeadLettersBefore: now.Add(-max(r.keep, r.keepDead))}
	if r.keepDead == 0 {
		expiry.DeadLettersBefore = time.Time{}
	}
	return expiry
}

// rotate removes what is old a partition at a time, before sweep looks for the
// rest a row at a time.
func (r *retention) rotate(ctx context.Context) error {
	swept, err := r.store.Rotate(ctx, r.expiry())
	if swept.Events+swept.Deliveries > 0 {
		r.removed(swept.Events, swept.Deliveries, swept.Attempts)
	}
	return err
}

// sweep removes all that is old from a position on, and returns the one to go
// on from.
func (r *retention) sweep(ctx context.Context, position cybervault.SweepPosition) (cybervault.SweepPosition, error) {
	expiry := r.expiry()
	var events, deliveries int64
	for {
		began := r.now()
		step, err := r.store.Sweep(ctx, expiry, position)
		if err != nil {
			return position, err
		}
		position = step.Position
		failpoint.Hit(failpoint.SweepStep)
		r.removed(step.Events, step.Deliveries, step.Attempts)
		events, deliveries = events+step.Events, deliveries+step.Deliveries
		if step.Done {
			if events+deliveries > 0 {
				r.log.Info("removed what is older than the retention", slog.Int64("events", events), slog.Int64("deliveries", deliveries))
			}
			return position, nil
		}
		if !rest(ctx, max(minRest, sweepRest*r.now().Sub(began))) {
			return position, nil
		}
	}
}

// prune removes what is old of the change log.
func (r *retention) prune(ctx context.Context) error {
	keep := changesKept
	if r.keep > 0 {
		keep = min(keep, r.keep)
	}
	for {
		began := r.now()
		more, err := r.store.PruneChanges(ctx, began.Add(-keep))
		if err != nil {
			return err
		}
		if !more {
			break
		}
		if !rest(ctx, max(minRest, sweepRest*r.now().Sub(began))) {
			return nil
		}
	}
	return r.pruneSpans(ctx)
}

// pruneSpans forgets where events lay that have been removed.
func (r *retention) pruneSpans(ctx context.Context) error {
	for after := ""; ; {
		began := r.now()
		next, more, err := r.store.PruneSpans(ctx, after)
		if err != nil || !more {
			return err
		}
		if after = next; !rest(ctx, max(minRest, sweepRest*r.now().Sub(began))) {
			return nil
		}
	}
}

// rest waits, and reports whether the time passed before ctx ended.
func rest(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
