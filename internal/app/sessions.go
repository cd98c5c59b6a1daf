package app

import (
	"context"
	"log/slog"
	"time"
)

// sessionSweep is how often sessions that have ended are removed.
const sessionSweep = 10 * time.Minute

// sweepSessions removes what has ended, on whatever node.
func (a *App) sweepSessions(ctx context.Context) {
	for rest(ctx, sessionSweep) {
		if err := a.access.Sweep(ctx); err != nil && ctx.Err() == nil {
			a.log.Debug("sessions that have ended cannot be removed; trying again", slog.Any("error", err))
		}
	}
}
