package deliver

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cybervault/cybervault"
)

// Queue is where deliveries wait: the store.
type Queue interface {
	// Claim leases due deliveries of a webhook, the most severe first.
	Claim(ctx context.Context, c cybervault.Claim) ([]*cybervault.Assignment, error)
	// ClaimOrdered leases up to limit deliveries of an ordered webhook in the
	// order of their sequence numbers, and nothing past one that cannot be
	// claimed; next tells when that one can, where time decides it.
	ClaimOrdered(ctx context.Context, webhook cybervault.WebhookID, limit int, lease cybervault.Lease) (claimed []*cybervault.Assignment, next time.Time, err error)
	// Holds reports whether the lease of a delivery is still this node's.
	Holds(ctx context.Context, a *cybervault.Assignment) (bool, error)
	// MarkOrdered puts in line what was committed by a node that did not know yet
	// that the webhook is ordered.
	MarkOrdered(ctx context.Context, webhook cybervault.WebhookID) (int64, error)
	// NextDue tells when the earliest pending delivery of a webhook that is at
	// least so severe can be claimed.
	NextDue(ctx context.Context, webhook cybervault.WebhookID, least cybervault.Severity) (time.Time, error)
	// Record hands in a result; done is called when it is durable or refused.
	Record(r *cybervault.Result, done func(error)) error
	// Release gives leases back.
	Release(ctx context.Context, assignments []*cybervault.Assignment) error
	// Backlogs tells which webhooks have pending deliveries.
	Backlogs(ctx context.Context) ([]cybervault.Backlog, error)
}

// Webhooks tells the settings of webhooks as they are now.
type Webhooks interface {
	// Lookup finds a webhook; ok is false for one that was deleted.
	Lookup(id cybervault.WebhookID) (w *cybervault.Webhook, ok bool)
	// Orphaned is told of a webhook that Lookup does not know although the queue
	// holds deliveries for it: if it was deleted, they are to be cancelled.
	Orphaned(ctx context.Context, id cybervault.WebhookID) error
}

// Request is one POST to make.
type Request struct {
	URL           string
	Header        []cybervault.Header
	MaskedHeaders []string // names whose values are not to be recorded
	Body          []byte
	CACertificate string
	// ClientCertificate is a PEM of a certificate chain and its key, for mutual
	// TLS; empty for none.
	ClientCertificate string
	Proxy             string        // "http://user:password@host:port" to go through; empty for none
	Spent             time.Duration // what of cybervault.AttemptTimeout was used before
}

// Sender makes one POST within cybervault.AttemptTimeout. What goes wrong on
// the wire is in the Exchange; the error is only that of a cancelled ctx.
type Sender interface {
	Do(ctx context.Context, r *Request) (cybervault.Exchange, error)
}

// Observer is told of every result once it is durable. It must not block.
type Observer interface {
	Recorded(r *cybervault.Result)
}

// Bounds of the dispatcher.
const (
	// LeaseDuration is how long a claim lasts. It covers the wait in the window
	// and one attempt; a delivery whose lease has too little left is not tried
	// but left to be claimed again.
	LeaseDuration = 60 * time.Second
	// leaseMargin is what an attempt and its record need of a lease.
	leaseMargin = 2*cybervault.AttemptTimeout + 5*time.Second

	startWindow   = 1024     // claimed deliveries of one webhook in memory, at first
	maxWindow     = 16384    // and while it takes them fast
	minWindow     = 16       // and while it fails
	orderedWindow = 128      // of an ordered webhook, whose deliveries behind a failure are given back
	windowBytes   = 64 << 20 // of the bodies in all windows together
	reserve       = 256      // above the window of each webhook, for severe deliveries
	reserveBytes  = 16 << 20 // and above windowBytes
	maxClaim      = 512      // taken out of the store at once
	starvedClaim  = 8        // taken by a lane with nothing to do, even when windowBytes are used up
	maxClaimPause = 15 * time.Second

	// The least time after a claim that found nothing, though something is due by
	// this node's clock.
	emptyClaimPause = 50 * time.Millisecond

	sweepEvery   = 30 * time.Second
	releaseBatch = 1000

	// startLimit is how many attempts may be under way to a webhook that nothing
	// is known of; each success adds one, up to the webhook's own bound.
	startLimit = 4
	// Attempts under way at once, all webhooks together. Those whose last answer
	// took slowAttempt or longer share slots of their own, so that a thousand
	// receivers that hang do not keep the others waiting.
	quickSlots  = 1024
	slowSlots   = 1024
	slowAttempt = time.Second
)

// Config fits a Dispatcher together.
type Config struct {
	Queue       Queue
	Webhooks    Webhooks
	Sender      Sender
	Observer    Observer    // nil: nobody
	Health      Health      // nil: no webhook is ever disabled
	HealthStore HealthStore // nil: health does not outlive the dispatcher
	// DisableAfter is for how long every attempt to a webhook must have failed
	// until it is disabled; 0: never.
	DisableAfter time.Duration
	IDs          *cybervault.IDSource
	// BreakerAfter is how many attempts must fail in a row until the webhook's
	// circuit breaker opens; 0: never.
	BreakerAfter int
	// Trusted reports whether the leases can still be relied on; while they cannot,
	// no attempt begins. nil: always.
	Trusted func() bool
	// LeasesFrom is since when leases are good; those from before may be another
	// node's. nil, or zero: all are.
	LeasesFrom func() time.Time
	// Pacer gives out the rate limits among the nodes that share the queue; nil:
	// each has them to itself.
	Pacer Pacer
	// Steady reports whether an attempt for an ordered webhook may begin: one that
	// does is over before another node can have its line. nil: always.
	Steady func() bool
	// Shared says that other nodes may claim out of the same queue.
	Shared bool
	// Peers tells how many nodes do at the moment, this one included; nil: 1.
	Peers         func() int
	RetrySchedule []time.Duration // for webhooks without their own
	UserAgent     string
	Now           func() time.Time
	// Chance, from 0 to 1, is what a retry's time is spread by; nil: at random.
	Chance func(id cybervault.DeliveryID, attempt int) float64
	Logger *slog.Logger
}

// Dispatcher makes the attempts. Safe for concurrent use.
type Dispatcher struct {
	cfg     Config
	ctx     context.Context //nolint:containedctx // the life of the attempts, which outlives every call
	cancel  context.CancelFunc
	workers sync.WaitGroup // all that runs: attempts, claims, sweeps

	quickSlots chan struct{}
	slowSlots  chan struct{}
	bytes      atomic.Int64 // of the bodies in all windows, and of those being claimed
	running    atomic.Int64
	troubled   atomic.Bool // the queue did not answer when last asked

	mu       sync.Mutex
	lanes    map[cybervault.WebhookID]*lane
	kept     map[cybervault.WebhookID]cybervault.WebhookHealth // from before the start, until there is a lane
	stopping bool
	timers   []*time.Timer // of what is done again and again

	sweeps, refreshes rounds

	awaited awaited
	tokens  tokens
}

// New returns a dispatcher that does nothing until Start.
func New(cfg Config) *Dispatcher {
	if cfg.Chance == nil {
		cfg.Chance = func(cybervault.DeliveryID, int) float64 { return rand.Float64() }
	}
	ctx, cancel := context.WithCancel(context.Background())
	d := &Dispatcher{
		cfg: cfg, ctx: ctx, cancel: cancel,
		quickSlots: make(chan struct{}, quickSlots), slowSlots: make(chan struct{}, slowSlots),
		lanes: map[cybervault.WebhookID]*lane{}, kept: map[cybervault.WebhookID]cybervault.WebhookHealth{},
		awaited: awaited{waiting: map[cybervault.DeliveryID]chan *cybervault.Attempt{}},
		tokens:  tokens{sender: cfg.Sender, userAgent: cfg.UserAgent, now: cfg.Now, by: map[cybervault.WebhookID]*token{}},
	}
	d.sweeps.task, d.refreshes.task = d.sweep, d.refresh
	return d
}

// Start takes up what waits in the queue.
func (d *Dispatcher) Start(ctx context.Context) error {
	if err := d.remember(ctx); err != nil {
		return err
	}
	if err := d.Sweep(ctx); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopping {
		return nil
	}
	d.every(sweepEvery, d.Sweep)
	if d.cfg.Shared && d.cfg.HealthStore != nil {
		d.every(refreshEvery, d.Refresh)
	}
	return nil
}

// lane returns the lane of a webhook, or nil once the dispatcher is stopping.
func (d *Dispatcher) lane(id cybervault.WebhookID) *lane {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopping {
		return nil
	}
	l := d.lanes[id]
	if l == nil {
		l = &lane{d: d, webhook: id, window: startWindow, limit: startLimit, health: wellOr(d.kept[id], id)}
		l.pace.metered = d.cfg.Shared && d.cfg.Pacer != nil
		delete(d.kept, id)
		if w, ok := d.cfg.Webhooks.Lookup(id); ok {
			l.look(w)
		}
		d.lanes[id] = l
	}
	return l
}

// NewLease returns a lease for deliveries that are about to be committed and
// were admitted.
func (d *Dispatcher) NewLease() cybervault.Lease {
	// Without its monotonic reading: the store goes by what the clock says.
	return cybervault.Lease{Token: d.cfg.IDs.Next().Key(), Until: d.cfg.Now().Round(0).Add(LeaseDuration), Taken: time.Now()}
}

// lapsed reports whether a lease has too little left for an attempt: by the clock,
// by which the store gives it to somebody else once it is set ahead, or by the time
// that has gone by, since a clock that is set back takes nothing off a lease there.
func lapsed(l cybervault.Lease, now time.Time) bool {
	return now.Add(leaseMargin).After(l.Until) || !l.Taken.IsZero() && time.Since(l.Taken) > LeaseDuration-leaseMargin
}

// Admit reserves a place in memory for a delivery of size bytes to a webhook
// that is about to be committed: in its window, or, where that is full and the
// delivery is severe, in its reserve. When it says yes, Dispatch or Withdraw must
// follow. A test is always admitted, until the dispatcher stops.
func (d *Dispatcher) Admit(webhook cybervault.WebhookID, size int, severity cybervault.Severity, test bool) bool {
	budget := int64(windowBytes)
	if severity.Severe() {
		budget += reserveBytes
	}
	l := d.lane(webhook)
	if l == nil || !test && d.bytes.Load() >= budget {
		return false
	}
	if !l.admit(severity, test) {
		return false
	}
	d.bytes.Add(int64(size))
	return true
}

// Withdraw gives back a place that Admit reserved for a delivery that was not
// committed.
func (d *Dispatcher) Withdraw(webhook cybervault.WebhookID, size int, severity cybervault.Severity) {
	d.bytes.Add(-int64(size))
	d.known(webhook).withdraw(severity)
}

// known returns the lane of a webhook that has a reserved place in it, and so
// cannot have been dropped.
func (d *Dispatcher) known(webhook cybervault.WebhookID) *lane {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.lanes[webhook]
}

// Dispatch takes deliveries that were admitted and are now on disk. Once the
// dispatcher stops it gives their leases back instead.
func (d *Dispatcher) Dispatch(assignments []*cybervault.Assignment) {
	var left []*cybervault.Assignment
	for _, a := range assignments {
		if !d.known(a.Webhook).take(a) {
			d.bytes.Add(-int64(len(a.Body)))
			left = append(left, a)
		}
	}
	d.release(left)
}

// Wake says that the queue holds deliveries of a webhook that can be claimed
// now: some were committed without a place in the window, freed, or the
// webhook was enabled. The severity is empty where they may be of any.
func (d *Dispatcher) Wake(webhook cybervault.WebhookID, severity cybervault.Severity) {
	if w, ok := d.cfg.Webhooks.Lookup(webhook); ok && w.Polled() {
		return // its receiver comes for them
	}
	if l := d.lane(webhook); l != nil {
		l.wake(severity)
	}
}

// Forget drops what waits for a webhook that was deleted.
func (d *Dispatcher) Forget(webhook cybervault.WebhookID) {
	if l := d.known(webhook); l != nil {
		l.empty()
	}
}

// Drop takes a delivery that was cancelled in the store out of the window, or out
// of what is on its way there, so that no attempt begins any more. One that is
// under way goes on.
func (d *Dispatcher) Drop(webhook cybervault.WebhookID, delivery cybervault.DeliveryID) {
	if l := d.known(webhook); l != nil {
		l.drop(delivery)
		l.passed()
	}
}

// Await returns a channel on which the next recorded attempt of a delivery is
// sent, and a function to call when it is no longer wanted.
func (d *Dispatcher) Await(id cybervault.DeliveryID) (<-chan *cybervault.Attempt, func()) {
	return d.awaited.add(id)
}

// Running tells how many attempts are under way.
func (d *Dispatcher) Running() int { return int(d.running.Load()) }

// Lag tells how many claimed deliveries wait in memory.
func (d *Dispatcher) Lag() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for _, l := range d.lanes {
		n += l.length()
	}
	return n
}

// Stop starts no further attempt, waits for those under way until ctx ends,
// then breaks them off, and gives every lease back. Calling it twice is harmless.
func (d *Dispatcher) Stop(ctx context.Context) {
	d.mu.Lock()
	d.stopping = true
	for _, t := range d.timers {
		t.Stop()
	}
	lanes := make([]*lane, 0, len(d.lanes))
	for _, l := range d.lanes {
		lanes = append(lanes, l)
	}
	d.mu.Unlock()

	var left []*cybervault.Assignment
	for _, l := range lanes {
		left = append(left, l.stop()...)
	}
	ended := make(chan struct{})
	go func() { d.workers.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-ctx.Done():
		d.cancel()
		<-ended
	}
	d.cancel()
	d.release(left)
}

// release gives leases back and reports whether that worked. A lease that cannot
// be given back ends by itself.
func (d *Dispatcher) release(left []*cybervault.Assignment) bool {
	if len(left) == 0 {
		return true // as after every publish: not worth a timer
	}
	ctx, cancel := context.WithTimeout(context.Background(), cybervault.AttemptTimeout)
	defer cancel()
	for batch := range slices.Chunk(left, releaseBatch) {
		if err := d.cfg.Queue.Release(ctx, batch); err != nil {
			d.cfg.Logger.Warn("leases were not given back; they end by themselves", slog.Int("leases", len(left)), slog.Any("error", err))
			return false
		}
	}
	return true
}
