package simulation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/deliver"
	"github.com/cybervault/cybervault/internal/router"
	"github.com/cybervault/cybervault/internal/store"
)

// world is a server, or several nodes that share a store, with all that surrounds
// them. mu is held while the store does something, and while the ledger is told:
// that is one instant.
type world struct {
	t         *testing.T
	ctx       context.Context // of the run
	plan      *plan
	path      string
	workspace cybervault.WorkspaceID
	schedule  []time.Duration
	work      sync.WaitGroup // all that runs on behalf of the simulation

	mu       sync.Mutex
	store    *store.Store
	ledger   *ledger
	trace    *trace
	failure  *failure
	trouble  bool // the database refuses everything
	healed   bool // the receivers answer well
	clock    time.Duration
	furthest time.Duration // that the clock was ever set ahead
	step     time.Time     // when it was last set
	changing chan struct{} // holds whoever restarts a node

	front  *node   // has the router
	nodes  []*node // have dispatchers; in a world of one node, the front
	nodesN int
	calls  int // to the store
	events int // numbers given out
	seen   cybervault.ChangePosition
}

// failure is the first thing that must not have happened.
type failure struct {
	delivery int
	text     string
}

func (f *failure) Error() string { return f.text }

// node is one process, from its start to its end.
type node struct {
	w           *world
	incarnation int
	skew        time.Duration
	link        *link
	ids         *cybervault.IDSource
	router      *router.Router
	dispatcher  *deliver.Dispatcher
	killed      chan struct{}
	once        sync.Once
	reserved    map[place]int // of the dispatcher, by a router elsewhere

	mu      sync.Mutex
	stalled time.Time
}

func (n *node) String() string {
	if n == nil {
		return "nobody"
	}
	return fmt.Sprintf("node %d", n.incarnation)
}

func (n *node) dead() bool {
	select {
	case <-n.killed:
		return true
	default:
		return false
	}
}

func (n *node) stall(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stalled = time.Now().Add(d)
}

// stalledFor is how long the node stands still.
func (n *node) stalledFor() time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	return max(time.Until(n.stalled), 0)
}

// now is the node's clock.
func (n *node) now() time.Time {
	return time.Now().Round(0).Add(n.w.offset() + n.skew)
}

func (w *world) offset() time.Duration {
	clockMu.Lock()
	defer clockMu.Unlock()
	return w.clock
}

// clockMu guards the clocks, which are read while mu is held.
var clockMu sync.Mutex

func (w *world) storeNow() time.Time { return time.Now().Round(0).Add(w.offset()) }

// set sets the clock, of the server and its store, or of all nodes.
func (w *world) set(by time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trace.add(0, "the clock is set by %s", by)
	w.ledger.clockSet(by)
	clockMu.Lock()
	defer clockMu.Unlock()
	w.clock += by
	w.furthest = max(w.furthest, w.clock)
	w.step = time.Now()
}

// lastStep is when the clock was last set.
func (w *world) lastStep() time.Time {
	clockMu.Lock()
	defer clockMu.Unlock()
	return w.step
}

// fail notes what must not have happened. mu is held.
func (w *world) fail(delivery int, format string, args ...any) {
	if w.failure == nil {
		w.failure = &failure{delivery: delivery, text: fmt.Sprintf(format, args...)}
		w.trace.add(delivery, "FAILED: %s", w.failure.text)
		w.trace.ended = true
	}
}

func (w *world) failed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failure != nil
}

func newWorld(t *testing.T, p *plan, path string) *world {
	t.Helper()
	w := &world{t: t, ctx: context.Background(), plan: p, path: path, trace: &trace{began: time.Now(), last: time.Now(), keep: 20000}}
	w.ledger = newLedger(w)
	w.changing = make(chan struct{}, 1)
	r := p.seed.rand(ofWorld)
	w.schedule = [][]time.Duration{
		{time.Second, 10 * time.Second, time.Minute}, {5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute},
		cybervault.DefaultRetrySchedule(), {100 * time.Millisecond, 100 * time.Millisecond}, {},
	}[r.IntN(5)]
	w.open()
	ids := cybervault.NewIDSource(255, 0, w.storeNow)
	var err error
	if w.workspace, err = w.store.Workspace(w.ctx, cybervault.NewID[cybervault.WorkspaceID](ids), "simulated"); err != nil {
		t.Fatal(err)
	}
	if w.seen, err = w.store.LastChange(w.ctx); err != nil {
		t.Fatal(err)
	}
	w.startFront()
	for range p.nodes {
		if p.nodes > 1 {
			w.startNode()
		}
	}
	return w
}

// open opens the store, as a process that starts does.
func (w *world) open() {
	s, err := store.Open(w.ctx, store.Config{
		Path: w.path, Key: make([]byte, store.KeySize), Now: w.storeNow,
		DiskFree: func(string) (int64, error) { return 1 << 40, nil },
	})
	if err != nil {
		w.t.Fatal(fmt.Errorf("open %s: %w", filepath.Base(w.path), err))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.store = s
	w.ledger.freedLeases()
	w.ledger.restarted()
}

func (w *world) newNode() *node {
	w.nodesN++
	n := &node{w: w, incarnation: w.nodesN, killed: make(chan struct{}), reserved: map[place]int{}}
	r := w.plan.seed.rand(ofWorld, uint64(n.incarnation))
	if w.plan.nodes > 1 {
		n.skew = time.Duration(r.Int64N(int64(4*time.Second))) - 2*time.Second
	}
	n.link = &link{w: w, node: n, s: w.store, calls: map[uint64]uint64{}}
	last, err := w.store.LastKey(w.ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	number := w.store.Node() // as internal/app does
	if w.plan.nodes > 1 {
		number = uint8(n.incarnation)
	}
	n.ids = cybervault.NewIDSource(number, last, n.now)
	return n
}

// startFront starts the node with the router; in a world of one node it has the
// dispatcher too.
func (w *world) startFront() {
	n := w.newNode()
	w.retry(n, func() (err error) {
		n.router, err = router.New(w.ctx, router.Config{
			Log: n.link, Webhooks: n.link, Replays: n.link, Polls: n.link, Catalogue: catalogue{}, Destinations: anywhere{}, IDs: n.ids,
			EngineVersion: "simulated", Now: n.now, Logger: slog.New(slog.DiscardHandler),
		})
		return err
	})
	w.mu.Lock()
	w.front = n
	w.mu.Unlock()
	if w.plan.nodes > 1 {
		n.router.SetDispatcher(fan{w, n})
	} else {
		w.startDispatcher(n)
		n.router.SetDispatcher(n.dispatcher)
		w.mu.Lock()
		w.nodes = []*node{n}
		w.mu.Unlock()
		w.retry(n, func() error { return n.dispatcher.Start(w.ctx) })
	}
	if w.plan.replays {
		n.router.StartReplays()
	}
}

// startNode starts one of several nodes.
func (w *world) startNode() {
	n := w.newNode()
	w.startDispatcher(n)
	w.mu.Lock()
	w.nodes = append(w.nodes, n)
	w.mu.Unlock()
	w.retry(n, func() error { return n.dispatcher.Start(w.ctx) })
}

func (w *world) startDispatcher(n *node) {
	n.dispatcher = deliver.New(deliver.Config{
		Queue: n.link, Webhooks: w.router(), Sender: &network{w, n}, Health: health{w, n}, HealthStore: n.link,
		DisableAfter: w.plan.disable, BreakerAfter: w.plan.breaker, IDs: n.ids, RetrySchedule: w.schedule, UserAgent: "CyberVault-Webhooks/simulated",
		Shared: w.plan.nodes > 1, Peers: func() int { return w.plan.nodes }, Now: n.now, Logger: slog.New(slog.DiscardHandler),
		Chance: func(id cybervault.DeliveryID, attempt int) float64 {
			w.mu.Lock()
			defer w.mu.Unlock()
			return float64(w.plan.seed.of(ofJitter, uint64(w.ledger.deliveries[id].n), uint64(attempt))>>11) / (1 << 53)
		},
	})
}

// router is the one that is there now.
func (w *world) router() *router.Router {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.front.router
}

// retry does what a start needs until it works, unless the node is killed.
func (w *world) retry(n *node, do func() error) {
	for do() != nil && !n.dead() {
		<-time.After(time.Second)
	}
}

// kill ends a node as kill -9 does: whatever it has under way is lost, but for the
// requests, which have arrived.
func (w *world) kill(n *node) {
	w.mu.Lock()
	n.once.Do(func() { close(n.killed) })
	w.trace.add(0, "%s is killed", n)
	w.mu.Unlock()
	w.clear(n, 0)
}

// clear takes down what is left of a node in memory.
func (w *world) clear(n *node, patience time.Duration) {
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	if n.dispatcher != nil {
		n.dispatcher.Stop(ctx)
	}
	if n.router != nil {
		n.router.Close()
	}
}

// restart ends a node and starts another one in its place.
func (w *world) restart(i int, gracefully bool) {
	select {
	case w.changing <- struct{}{}:
	default:
		return // one at a time
	}
	defer func() { <-w.changing }()
	old := w.nodes[i]
	if gracefully {
		w.mu.Lock()
		w.trace.add(0, "%s stops", old)
		w.mu.Unlock()
		w.clear(old, 10*time.Second)
		w.mu.Lock()
		old.once.Do(func() { close(old.killed) })
		w.mu.Unlock()
	} else {
		w.kill(old)
	}
	if w.plan.nodes > 1 {
		n := w.newNode()
		w.startDispatcher(n)
		w.mu.Lock()
		w.nodes[i] = n
		w.mu.Unlock()
		w.retry(n, func() error { return n.dispatcher.Start(w.ctx) })
		return
	}
	if err := w.store.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.open()
	w.startFront()
}

// health disables webhooks as internal/app does, and publishes the alert.
type health struct {
	w *world
	n *node
}

func (h health) Disable(ctx context.Context, id cybervault.WebhookID, reason string) error {
	r := h.w.router()
	hook, err := r.Disable(ctx, id, reason)
	if err != nil || hook == nil {
		return err
	}
	key := fmt.Sprintf("alr_%s_%d", hook.ID, hook.UpdatedAt.UnixMicro())
	data := fmt.Appendf(nil, `{"n":%d,"severity":"high","subject":%q}`, hook.UpdatedAt.UnixMicro(), hook.ID)
	for range 5 {
		if _, err = r.Publish(ctx, h.w.workspace, cybervault.PublishRequest{Type: cybervault.EventSystemAlert, Data: data, IdempotencyKey: key}); err == nil {
			return nil
		}
		<-time.After(time.Second)
	}
	return nil
}

// catalogue knows a few event types, and takes any data.
type catalogue struct{}

func (catalogue) Lookup(_ cybervault.WorkspaceID, name string) (cybervault.EventType, bool) {
	s, ok := typeSeverity[name]
	return cybervault.EventType{Name: name, Severity: s, Example: []byte(`{"n":0}`)}, ok
}

func (catalogue) Validate(_ cybervault.WorkspaceID, name string, _ []byte) error {
	if _, ok := typeSeverity[name]; !ok {
		return errors.New("unknown")
	}
	return nil
}

// anywhere lets requests go anywhere.
type anywhere struct{}

func (anywhere) CheckURL(context.Context, string) error   { return nil }
func (anywhere) CheckProxiedURL(string) error             { return nil }
func (anywhere) CheckProxy(context.Context, string) error { return nil }
func (anywhere) CheckCACertificate(string) error          { return nil }
func (anywhere) CheckClientCertificate(string) error      { return nil }
