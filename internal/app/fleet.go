package app

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/access"
	"github.com/cybervault/cybervault/internal/fleet"
	"github.com/cybervault/cybervault/internal/store"
)

// newFleet fits the agents to the store and to the router.
func (a *App) newFleet(ids *cybervault.IDSource, now func() time.Time, log *slog.Logger) *fleet.Fleet {
	w := &wellness{app: a}
	return fleet.New(fleet.Config{
		Store: a.store, IDs: ids, Now: now, Log: log, Well: w.well,
		Mine:    func() bool { return a.store.Has(store.DutyFleet) },
		Publish: a.alerts.publishing(a.publishOne),
	})
}

// wellness is whether the server takes what it is sent: nobody is missed whom it turned
// away, or did not ask the database about.
type wellness struct {
	app *App

	mu      sync.Mutex
	refused int64 // requests that were turned away, as of the last look
}

func (w *wellness) well() bool {
	refused := w.app.load.Stats().RefusedRequests
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.refused
	w.refused = refused
	return refused == before && !w.app.store.Stats().Refusing && w.app.store.Trusted()
}

// apiKeys are the API keys, and those of agents.
type apiKeys struct {
	*access.Access

	fleet *fleet.Fleet
}

// Authenticate finds the key that a request presented.
func (k apiKeys) Authenticate(ctx context.Context, bearer string) (*cybervault.APIKey, error) {
	if fleet.IsAgentKey(bearer) {
		return k.fleet.Authenticate(ctx, bearer)
	}
	return k.Access.Authenticate(ctx, bearer)
}
