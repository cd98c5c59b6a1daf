package router

import (
	"context"
	"log/slog"
	"time"

	"github.com/cybervault/cybervault"
)

// How a replay of many deliveries goes forward.
const (
	// replayStep is the time between two steps of a replay that is fast enough
	// to make more than one delivery meanwhile.
	replayStep = 250 * time.Millisecond
	// replayPatience is how long a replay waits for its webhook to be enabled
	// again before it looks once more, and how often a node looks for replays
	// that another one began.
	replayPatience = 10 * time.Second
)

// ReplayStore keeps the replays of many deliveries: the store.
type ReplayStore interface {
	// SaveReplay stores a new replay.
	SaveReplay(ctx context.Context, r *cybervault.Replay) error
	// Replay returns one, or CodeNotFound.
	Replay(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.ReplayID) (*cybervault.Replay, error)
	// Replays lists them, newest first.
	Replays(ctx context.Context, ws cybervault.WorkspaceID, before cybervault.ReplayID, limit int) (cybervault.Page[*cybervault.Replay], error)
	// RunningReplays returns those that have not ended, the one due first at the front.
	RunningReplays(ctx context.Context) ([]*cybervault.Replay, error)
	// EndReplay cancels one; CodeConflict when it has ended.
	EndReplay(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.ReplayID) error
	// MatchReplay counts what one would choose, and lists the oldest of it.
	MatchReplay(ctx context.Context, r *cybervault.Replay) (int64, []*cybervault.Delivery, error)
	// StepReplay makes the next new deliveries and notes how far it has come, in
	// one transaction; CodeConflict when that is not this node's to do.
	StepReplay(ctx context.Context, r *cybervault.Replay, limit int, due time.Time, birth func() cybervault.NewDelivery) error
}

// StartReplays goes on with the replays that have not ended, and with those that
// are begun from now on, until Close. It is called once, after SetDispatcher.
func (r *Router) StartReplays() { r.later(r.runReplays) }

// PlanReplay says what a replay would choose now: how many deliveries, and the
// oldest of them.
func (r *Router) PlanReplay(ctx context.Context, ws cybervault.WorkspaceID, webhook cybervault.WebhookID, criteria cybervault.ReplayCriteria) (int64, []*cybervault.Delivery, error) {
	plan, err := r.newReplay(ws, webhook, criteria, cybervault.DefaultReplayRate)
	if err != nil {
		return 0, nil, err
	}
	return r.cfg.Replays.MatchReplay(ctx, plan)
}

// StartReplay begins to make new deliveries of what a webhook has had, rate a
// second at most. It returns when the replay is on disk: from then on it goes on
// by itself, over restarts, until it is done or cancelled.
//
// Errors: CodeNotFound, CodeInvalid, CodeConflict (the webhook is disabled,
// or MaxRunningReplays are running),
// CodeUnavailable (nothing was begun).
func (r *Router) StartReplay(ctx context.Context, ws cybervault.WorkspaceID, webhook cybervault.WebhookID, criteria cybervault.ReplayCriteria, rate int) (*cybervault.Replay, error) {
	replay, err := r.newReplay(ws, webhook, criteria, rate)
	if err != nil {
		return nil, err
	}
	if w, ok := r.registry.lookup(webhook); ok && !w.Live() {
		return nil, cybervault.Errorf(cybervault.CodeConflict, "the webhook %s is disabled: enable it first", w.ID)
	}
	if err := r.admit(); err != nil {
		return nil, err
	}
	running, err := r.cfg.Replays.RunningReplays(ctx)
	if err != nil {
		return nil, err
	}
	if len(running) >= cybervault.MaxRunningReplays {
		return nil, cybervault.Errorf(cybervault.CodeConflict, "%d replays are running already: wait for one to end, or cancel one", len(running))
	}
	if replay.Matched, _, err = r.cfg.Replays.MatchReplay(ctx, replay); err != nil {
		return nil, err
	}
	if replay.Matched == 0 {
		replay.Status, replay.FinishedAt = cybervault.ReplayDone, replay.DueAt
	}
	if err := r.cfg.Replays.SaveReplay(ctx, replay); err != nil {
		return nil, err
	}
	select {
	case r.replayBegun <- struct{}{}:
	default: // the loop will look anyway
	}
	return replay, nil
}

func (r *Router) newReplay(ws cybervault.WorkspaceID, webhook cybervault.WebhookID, criteria cybervault.ReplayCriteria, rate int) (*cybervault.Replay, error) {
	if w, ok := r.registry.lookup(webhook); !ok || w.Workspace != ws {
		return nil, cybervault.Errorf(cybervault.CodeNotFound, "there is no webhook %s in this workspace", webhook)
	}
	now := r.cfg.Now().UTC().Truncate(time.Microsecond)
	if criteria.Until.IsZero() || criteria.Until.After(now) {
		criteria.Until = now // what comes later is delivered anyway
	}
	replay := &cybervault.Replay{
		ID: cybervault.NewID[cybervault.ReplayID](r.cfg.IDs), Workspace: ws, Webhook: webhook, Criteria: criteria, Rate: rate,
		Status: cybervault.ReplayRunning, DueAt: now,
	}
	return replay, replay.Check()
}

// Replay returns one replay of many deliveries, or CodeNotFound.
func (r *Router) Replay(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.ReplayID) (*cybervault.Replay, error) {
	return r.cfg.Replays.Replay(ctx, ws, id)
}

// Replays lists the replays of many deliveries, newest first.
func (r *Router) Replays(ctx context.Context, ws cybervault.WorkspaceID, before cybervault.ReplayID, limit int) (cybervault.Page[*cybervault.Replay], error) {
	return r.cfg.Replays.Replays(ctx, ws, before, limit)
}

// CancelReplay ends a running replay. The deliveries that it has made stay.
func (r *Router) CancelReplay(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.ReplayID) (*cybervault.Replay, error) {
	if err := r.cfg.Replays.EndReplay(ctx, ws, id); err != nil {
		return nil, err
	}
	return r.cfg.Replays.Replay(ctx, ws, id)
}

// runReplays takes the steps that are due, of all running replays in turn.
func (r *Router) runReplays() {
	for {
		wait := replayPatience
		running, err := r.cfg.Replays.RunningReplays(r.ctx)
		if err != nil && r.ctx.Err() == nil {
			r.cfg.Logger.Warn("replays do not go on yet; trying again", slog.Any("error", err))
		}
		for _, replay := range running {
			if r.ctx.Err() != nil {
				return
			}
			if early := replay.DueAt.Sub(r.cfg.Now()); early > 0 {
				wait = min(wait, early)
				continue
			}
			if err := r.stepReplay(r.ctx, replay); err != nil && cybervault.ErrorCode(err) != cybervault.CodeConflict && r.ctx.Err() == nil {
				r.cfg.Logger.Warn("a replay does not go on yet; trying again", slog.String("replay", replay.ID.String()), slog.Any("error", err))
				wait = min(wait, time.Second)
				continue
			}
			wait = min(wait, max(replay.DueAt.Sub(r.cfg.Now()), time.Millisecond))
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-r.replayBegun:
			timer.Stop()
		case <-r.ctx.Done():
			timer.Stop()
			return
		}
	}
}

// pace says how many deliveries a step may make, and how long it lasts.
func pace(rate int) (limit int, pause time.Duration) {
	if limit = rate * int(replayStep) / int(time.Second); limit > 1 {
		return limit, time.Duration(limit) * time.Second / time.Duration(rate)
	}
	return 1, time.Second / time.Duration(rate)
}

// stepReplay makes the next new deliveries of a replay. While its webhook is
// disabled, or the disk too full, it waits; a deleted webhook ends it.
func (r *Router) stepReplay(ctx context.Context, replay *cybervault.Replay) error {
	snap := r.registry.enter()
	defer r.registry.leave(snap)
	w, ok := snap.byID[replay.Webhook]
	if !ok {
		return r.cfg.Replays.EndReplay(ctx, replay.Workspace, replay.ID)
	}
	if !w.Live() || r.admit() != nil {
		replay.DueAt = r.cfg.Now().Add(replayPatience)
		return nil
	}
	status := cybervault.DeliveryPending
	if w.Held() {
		status = cybervault.DeliveryHeld
	}
	limit, pause := pace(replay.Rate)
	before := replay.Created
	err := r.cfg.Replays.StepReplay(ctx, replay, limit, r.cfg.Now().Add(pause), func() cybervault.NewDelivery {
		return cybervault.NewDelivery{ID: cybervault.NewID[cybervault.DeliveryID](r.cfg.IDs), Status: status}
	})
	if err == nil && replay.Created > before {
		r.dispatcher.Wake(replay.Webhook, "")
		r.changed()
	}
	return err
}
