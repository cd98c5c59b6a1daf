package router

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/cybervault/cybervault"
)

// Log is where events and deliveries are committed and read: the store.
type Log interface {
	// Publish commits each event with its deliveries.
	Publish(ctx context.Context, pubs []*cybervault.Publication) ([]cybervault.Published, []error)
	// AddDelivery commits one more delivery of a stored event.
	AddDelivery(ctx context.Context, event *cybervault.Event, d *cybervault.NewDelivery) error
	// Original returns an event and how many deliveries were made with it, or CodeNotFound.
	Original(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.EventID) (*cybervault.Event, int, error)
	// Event returns one event, or CodeNotFound.
	Event(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.EventID) (*cybervault.Event, error)
	// Events returns one page of a workspace's events, newest first.
	Events(ctx context.Context, q cybervault.EventQuery) (cybervault.Page[*cybervault.Event], error)
	// Delivery returns one delivery, or CodeNotFound.
	Delivery(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.DeliveryID) (*cybervault.Delivery, error)
	// CancelDelivery ends one delivery, or CodeConflict when it has ended.
	CancelDelivery(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.DeliveryID, reason string) error
}

// WebhookStore keeps the webhooks: the store.
type WebhookStore interface {
	// Webhooks returns all that are not deleted, oldest first.
	Webhooks(ctx context.Context) ([]*cybervault.Webhook, error)
	// WebhooksByKey returns those with these row keys, deleted ones included.
	WebhooksByKey(ctx context.Context, keys []int64) ([]*cybervault.Webhook, error)
	// SaveWebhook inserts or replaces one and counts its revision up; CodeConflict
	// when it is not any more what the change was made from.
	SaveWebhook(ctx context.Context, w *cybervault.Webhook) error
	// CancelDeliveries ends all living deliveries of a webhook.
	CancelDeliveries(ctx context.Context, webhook cybervault.WebhookID, reason string) (int64, error)
	// FreeHeld makes the held deliveries of a webhook pending.
	FreeHeld(ctx context.Context, webhook cybervault.WebhookID) (int64, error)
	// MarkOrdered marks the living deliveries of a webhook that was made ordered.
	MarkOrdered(ctx context.Context, webhook cybervault.WebhookID) (int64, error)
	// Pending counts the living deliveries of all webhooks.
	Pending(ctx context.Context) (pending, held int64, err error)
}

// Catalogue knows the event types.
type Catalogue interface {
	// Lookup finds an event type of a workspace.
	Lookup(ws cybervault.WorkspaceID, name string) (cybervault.EventType, bool)
	// Validate checks an event's data against its type's schema.
	Validate(ws cybervault.WorkspaceID, name string, data []byte) error
}

// Dispatcher makes the attempts.
type Dispatcher interface {
	// NewLease returns a lease for deliveries about to be committed.
	NewLease() cybervault.Lease
	// Admit reserves a place in a webhook's window; Dispatch or Withdraw follows.
	Admit(webhook cybervault.WebhookID, size int, severity cybervault.Severity, urgent bool) bool
	// Withdraw gives a reserved place back.
	Withdraw(webhook cybervault.WebhookID, size int, severity cybervault.Severity)
	// Dispatch takes admitted deliveries that are now on disk.
	Dispatch(assignments []*cybervault.Assignment)
	// Wake says that a webhook's deliveries can be claimed from the store; the
	// severity is empty where they may be of any.
	Wake(webhook cybervault.WebhookID, severity cybervault.Severity)
	// Forget drops what is in memory for a deleted webhook.
	Forget(webhook cybervault.WebhookID)
	// Drop drops what is in memory for a cancelled delivery.
	Drop(webhook cybervault.WebhookID, delivery cybervault.DeliveryID)
	// Await returns a channel for the next recorded attempt of a delivery.
	Await(id cybervault.DeliveryID) (<-chan *cybervault.Attempt, func())
}

// Destinations says which URLs may be sent to.
type Destinations interface {
	// CheckURL refuses a URL that deliveries may not go to.
	CheckURL(ctx context.Context, url string) error
	// CheckProxiedURL is CheckURL for a URL whose name a proxy looks up.
	CheckProxiedURL(url string) error
	// CheckProxy refuses a proxy that deliveries may not go through.
	CheckProxy(ctx context.Context, proxy string) error
	// CheckCACertificate refuses what is not a PEM of certificates.
	CheckCACertificate(pem string) error
	// CheckClientCertificate refuses what is not a PEM of a certificate chain and its key.
	CheckClientCertificate(pem string) error
}

// Config fits a Router together.
type Config struct {
	Log           Log
	Webhooks      WebhookStore
	Replays       ReplayStore
	Polls         PollStore
	Catalogue     Catalogue
	Destinations  Destinations
	IDs           *cybervault.IDSource
	EngineVersion string                  // stands in every envelope's metadata
	Shared        bool                    // other nodes change webhooks too
	Changed       func()                  // told after every commit of an event; nil: nobody
	Admit         func(bytes int64) error // says whether anything may be replayed now; nil: always
	Now           func() time.Time
	Logger        *slog.Logger
}

// Router publishes events and owns the webhooks. Safe for concurrent use.
type Router struct {
	cfg         Config
	dispatcher  Dispatcher
	registry    registry
	filters     *filters
	joining     joining
	replayBegun chan struct{} // wakes the loop that takes the replays' steps
	changes     chan struct{} // full while one webhook's change is stored and made known

	mu         sync.Mutex // guards the start of background work against Close
	background sync.WaitGroup
	ctx        context.Context //nolint:containedctx // the life of the background work
	cancel     context.CancelFunc
}

// New returns a router that knows the webhooks of the store. SetDispatcher must
// be called before it publishes.
func New(ctx context.Context, cfg Config) (*Router, error) {
	webhooks, err := cfg.Webhooks.Webhooks(ctx)
	if err != nil {
		return nil, err
	}
	language, err := newFilters()
	if err != nil {
		return nil, err
	}
	r := &Router{cfg: cfg, filters: language, replayBegun: make(chan struct{}, 1), changes: make(chan struct{}, 1)}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.registry.load(webhooks)
	if err := r.markForgotten(ctx, webhooks); err != nil {
		return nil, err
	}
	return r, r.freeForgotten(ctx, webhooks)
}

// SetDispatcher names the dispatcher, which in turn needs the router for the
// webhooks' settings.
func (r *Router) SetDispatcher(d Dispatcher) { r.dispatcher = d }

// Close ends what runs in the background.
func (r *Router) Close() {
	r.mu.Lock()
	r.cancel()
	r.mu.Unlock()
	r.background.Wait()
}

// later runs fn in the background, unless the router is closed.
func (r *Router) later(fn func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx.Err() == nil {
		r.background.Go(fn)
	}
}

// Lookup returns the settings of a webhook as they are now; ok is false for one
// that does not exist (any more).
func (r *Router) Lookup(id cybervault.WebhookID) (*cybervault.Webhook, bool) {
	return r.registry.lookup(id)
}

// admit says whether a new delivery of an old event may be made now. Its event is
// stored already: what it costs is its row and its attempts.
func (r *Router) admit() error {
	if r.cfg.Admit == nil {
		return nil
	}
	return r.cfg.Admit(replayBytes)
}

// replayBytes is what a replay is taken to cost.
const replayBytes = 1 << 10

func (r *Router) changed() {
	if r.cfg.Changed != nil {
		r.cfg.Changed()
	}
}
