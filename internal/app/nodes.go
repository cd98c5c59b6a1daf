package app

import (
	"context"
	"log/slog"
	"time"

	"github.com/cybervault/cybervault"
)

// followPause is how long a node waits before it reads again what others changed,
// where that failed.
const followPause = 500 * time.Millisecond

// settingsLog tells what other nodes changed of the settings: the store.
type settingsLog interface {
	// SettingChanges reads what was changed after a number.
	SettingChanges(ctx context.Context, after int64) (cybervault.SettingChanges, error)
	// Grown is another number than before when a node has committed something.
	Grown(ctx context.Context) (int64, error)
}

// follower makes what other nodes change known to the stages of this one.
type follower struct {
	log      settingsLog
	seen     int64 // the number of the last change of the settings that is known here
	grown    int64 // how far the change log had grown at the last look
	news     chan struct{}
	freed    chan struct{}                   // leases of a lost node were freed
	sweep    func(ctx context.Context) error // looks at all that waits in the queue
	webhooks func(ctx context.Context, keys map[int64]bool) error
	all      func(ctx context.Context) error // webhooks
	types    func(ctx context.Context) error
	forget   func() // API keys
	changed  func() // told when pages and streams may have something new to show
	logger   *slog.Logger
	troubled bool
}

// signal says that there may be something to read. It does not block.
func (f *follower) signal() { tell(f.news) }

// signalFreed says that there may be something to claim. It does not block.
func (f *follower) signalFreed() { tell(f.freed) }

func tell(of chan<- struct{}) {
	select {
	case of <- struct{}{}:
	default:
	}
}

// run follows until ctx ends.
func (f *follower) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.freed:
			if err := f.sweep(ctx); err != nil && ctx.Err() == nil && rest(ctx, followPause) {
				f.signalFreed()
			}
			continue
		case <-f.news:
		}
		err := f.look(ctx)
		switch {
		case err == nil:
			f.troubled = false
		case ctx.Err() != nil:
			return
		case !f.troubled:
			f.troubled = true
			f.logger.Warn("cannot read what other nodes changed; trying again", slog.Any("error", err))
		}
		if err != nil && rest(ctx, followPause) {
			f.signal()
		}
	}
}

// look makes known what was changed since the last look. What fails is looked at
// again, from the same number on.
func (f *follower) look(ctx context.Context) error {
	changes, err := f.log.SettingChanges(ctx, f.seen)
	if err != nil {
		return err
	}
	if changes.All || changes.EventTypes { // before the webhooks that choose them
		if err := f.types(ctx); err != nil {
			return err
		}
	}
	switch {
	case changes.All:
		err = f.all(ctx)
	case len(changes.Webhooks) > 0:
		err = f.webhooks(ctx, changes.Webhooks)
	}
	if err != nil {
		return err
	}
	if changes.All || changes.APIKeys {
		f.forget()
	}
	f.seen = changes.Last
	grown, err := f.log.Grown(ctx)
	if err != nil {
		return err
	}
	if changes.Any() || grown != f.grown {
		f.grown = grown
		f.changed()
	}
	return nil
}
