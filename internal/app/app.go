// Package app fits the stages together into a server and runs it: New opens and
// wires, Run serves until told to stop, then stops in order.
//
// It is the only package that imports all stages. It stands around the flow and
// takes no part in it: nothing here validates, matches, sends or stores. A test
// or a program can embed a server through it.
package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/netutil"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/access"
	"github.com/cybervault/cybervault/internal/api"
	"github.com/cybervault/cybervault/internal/audit"
	"github.com/cybervault/cybervault/internal/catalog"
	"github.com/cybervault/cybervault/internal/config"
	"github.com/cybervault/cybervault/internal/dashboard"
	"github.com/cybervault/cybervault/internal/deliver"
	"github.com/cybervault/cybervault/internal/detect"
	"github.com/cybervault/cybervault/internal/detect/geo"
	"github.com/cybervault/cybervault/internal/failpoint"
	"github.com/cybervault/cybervault/internal/fleet"
	"github.com/cybervault/cybervault/internal/observe"
	"github.com/cybervault/cybervault/internal/outbound"
	"github.com/cybervault/cybervault/internal/router"
	"github.com/cybervault/cybervault/internal/store"
	"github.com/cybervault/cybervault/internal/telemetry/listen"
)

// Limits on the connections of callers.
const (
	readHeaderTimeout = 10 * time.Second
	readTimeout       = 5 * time.Minute // of a whole request; telemetry uploads are the longest
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 64 << 10
)

// firstWorkspace is the name of the workspace that an empty store is given.
const firstWorkspace = "default"

// DatabaseFile is the name of the SQLite database in the data directory.
const DatabaseFile = "cybervault.db"

// App is a wired server.
type App struct {
	cfg         config.Config
	log         *slog.Logger
	workspace   cybervault.WorkspaceID
	store       *store.Store
	router      *router.Router
	dispatcher  *deliver.Dispatcher
	outbound    *outbound.Client
	resolver    outbound.Resolver // nil: the system's
	access      *access.Access
	signOn      dashboard.SignOn // nil: none
	changes     *observe.Changes // something that pages show may have changed
	commits     *observe.Changes // the change log has grown
	pipeline    *pipeline
	fleet       *fleet.Fleet
	alerts      *alerts
	incidents   *incidents
	engineState *engineState
	controls    *controls
	geo         *geo.DB // nil without a GeoIP database
	streams     []source
	syslog      *listen.Server // nil: nobody sends any
	retention   *retention
	nodes       *follower // nil where no other node can share the store
	audit       *audit.Log
	disk        *diskWatch
	backups     *backups
	load        api.Load
	server      *http.Server
	listener    net.Listener
	token       string
	stopping    atomic.Bool
}

// An Option changes what a server is made of, for a program that embeds one.
type Option func(*App)

// WithResolver has the names of receivers looked up by r instead of the system.
func WithResolver(r outbound.Resolver) Option { return func(a *App) { a.resolver = r } }

// New opens the store, wires the stages and begins to listen; Run must follow.
// Everything it opened is closed again when it fails.
func New(ctx context.Context, cfg config.Config, log *slog.Logger, version string, options ...Option) (_ *App, err error) {
	a := &App{cfg: cfg, log: log, changes: &observe.Changes{}, commits: &observe.Changes{}}
	for _, option := range options {
		option(a)
	}
	defer func() {
		if err != nil {
			_ = a.closeAll()
		}
	}()
	now := failpoint.Clock()
	database := ""
	if cfg.DatabaseURL == "" {
		database = filepath.Join(cfg.DataDir, DatabaseFile)
	}
	if database != "" {
		if err := checkRestored(database); err != nil {
			return nil, err
		}
	}
	key, err := loadKey(cfg.KeyFile(), database)
	if err != nil {
		return nil, err
	}
	if a.store, err = store.Open(ctx, store.Config{
		Path: filepath.Join(cfg.DataDir, DatabaseFile), DatabaseURL: cfg.DatabaseURL, Key: key, DiskReserve: cfg.DiskReserve, Changed: a.commits.Signal, Now: now, Logger: log,
	}); err != nil {
		return nil, err
	}
	removeCopies(cfg.DataDir) // the store is locked: they are nobody's
	signer, err := audit.NewSigner(key)
	if err != nil {
		return nil, err
	}
	a.audit = audit.New(a.store, signer, now, log)
	last, err := a.store.LastKey(ctx)
	if err != nil {
		return nil, err
	}
	ids := cybervault.NewIDSource(a.store.Node(), last, a.store.Now)
	a.store.FollowNode(ids.SetNode)
	if a.workspace, err = a.store.Workspace(ctx, cybervault.NewID[cybervault.WorkspaceID](ids), firstWorkspace); err != nil {
		return nil, err
	}
	a.backups = &backups{store: a.store, dir: cfg.DataDir, workspace: a.workspace, version: version, fingerprint: store.KeyFingerprint(key), now: now}
	a.access = access.New(a.store, a.store, a.workspace, now, ids)
	challenges, err := derived(key, "cybervault passkey challenge 1")
	if err != nil {
		return nil, err
	}
	a.access.SetChallengeKey(challenges)
	if a.signOn, err = newSignOn(cfg, key, a.access, log); err != nil {
		return nil, err
	}
	if cfg.BootstrapAPIKey != "" {
		if err := a.access.Bootstrap(ctx, a.workspace, cfg.BootstrapAPIKey); err != nil {
			return nil, err
		}
	}
	if cfg.RecoveryLink {
		a.access.Recover()
	}
	if owned, err := a.access.SetUp(ctx); err != nil {
		return nil, err
	} else if !owned || cfg.RecoveryLink {
		a.token = a.access.NewDashboardToken()
	}
	seen, err := a.store.LastSetting(ctx) // before anything is read that another node may change
	if err != nil {
		return nil, err
	}
	types, err := catalog.Open(ctx, a.store)
	if err != nil {
		return nil, err
	}
	metrics := observe.NewMetrics(version)
	if err := a.openEngine(metrics); err != nil {
		return nil, err
	}
	a.controls.newID = func() cybervault.ExceptionID { return cybervault.NewID[cybervault.ExceptionID](ids) }
	if err := a.controls.follow(ctx); err != nil {
		return nil, err
	}
	if err := a.openStreams(metrics); err != nil {
		return nil, err
	}
	if err := a.openSyslog(metrics); err != nil {
		return nil, err
	}
	a.outbound = outbound.New(outbound.Config{AllowDestinations: cfg.AllowDestinations, Dev: cfg.Dev, Resolver: a.resolver})
	if a.router, err = router.New(ctx, router.Config{
		Log: a.store, Webhooks: a.store, Replays: a.store, Polls: a.store, Catalogue: types, Destinations: destinations{a.outbound}, IDs: ids,
		EngineVersion: detect.EngineVersion(), Shared: a.store.Shared(), Changed: a.changes.Signal, Admit: a.store.Admit, Now: a.store.Now, Logger: log,
	}); err != nil {
		return nil, err
	}
	a.alerts = a.newAlerts(ids, log)
	a.dispatcher = deliver.New(deliver.Config{
		Queue: a.store, Webhooks: a.router, Sender: sender{a.outbound}, Observer: observer{metrics, a.changes}, IDs: ids,
		Health: health{a.router, a.alerts.keeper.Raise, log}, HealthStore: a.store, DisableAfter: cfg.DisableAfter, BreakerAfter: deliver.DefaultBreakerAfter,
		Shared: a.store.Shared(), Peers: a.store.Nodes, Pacer: a.store, Trusted: a.store.Trusted, LeasesFrom: a.store.LeasesFrom, Steady: a.store.Steady, RetrySchedule: cfg.RetrySchedule, UserAgent: "CyberVault-Webhooks/" + version, Now: a.store.Now, Logger: log,
	})
	a.router.SetDispatcher(a.dispatcher)
	if a.store.Shared() {
		a.nodes = &follower{
			log: a.store, seen: seen, news: make(chan struct{}, 1), freed: make(chan struct{}, 1), sweep: a.dispatcher.Sweep, webhooks: a.router.Follow, all: a.router.FollowAll, types: types.Reload,
			forget: a.access.Forget, changed: func() { a.changes.Signal(); a.commits.Signal() }, logger: log,
		}
		a.store.FollowNodes(a.nodes.signal, a.nodes.signalFreed, func(delivery string) {
			if id, err := cybervault.ParseID[cybervault.DeliveryID](delivery); err == nil {
				a.dispatcher.DropAny(id)
			}
		})
	}
	a.pipeline.publisher = a.router
	a.fleet = a.newFleet(ids, a.store.Now, log)
	a.openIncidents(metrics, ids)
	metrics.Follow(a.store, a.dispatcher)
	metrics.FollowLoad(load(a.store, &a.load))
	metrics.FollowAudit(auditLog(a.store))
	a.disk = &diskWatch{look: a.store.CheckDisk, judge: a.alerts.keeper.Judge, now: a.store.Now, workspace: a.workspace, log: log}
	a.retention = &retention{store: a.store, keep: cfg.Retention, keepDead: cfg.RetentionDead, mine: func() bool { return a.store.Has(store.DutyRetention) }, now: a.store.Now, removed: metrics.Removed, log: log}
	return a, a.serve(types, metrics, version)
}

// serve makes the HTTP server and begins to listen.
func (a *App) serve(types *catalog.Catalog, metrics *observe.Metrics, version string) error {
	pages, err := dashboard.New(dashboard.Config{
		Webhooks: a.router, Receivers: receivers{a.dispatcher, a.store}, Log: a.store, Replayer: a.router, Previewer: a.router, Catalogue: types, Keys: dashboardKeys{a.access}, Actions: actionLog{a.store, a.workspace}, SignOn: a.signOn, System: system{a, time.Now(), version}, Fleet: a.fleet, Alerts: a.store, PublicURL: a.cfg.PublicURL, Incidents: a.incidents, Rules: a.controls,
		Access: a.access, Changes: a.changes, RetrySchedule: a.cfg.RetrySchedule, Dev: a.cfg.Dev, Version: version, Logger: a.log,
	})
	if err != nil {
		return err
	}
	calls := api.New(api.Config{
		Publisher: a.router, Webhooks: apiWebhooks{a.router}, Log: a.store, Changes: a.store, Commits: a.commits, Poller: poller{a.router, a.dispatcher, observer{metrics, a.changes}}, Replayer: a.router, Previewer: a.router, Replays: a.router, Catalogue: types, Telemetry: a.pipeline, Controls: a.controls, Incidents: a.incidents, Audit: a.audit, Actions: actionLog{a.store, a.workspace}, Alerts: a.store,
		Keys: apiKeys{a.access, a.fleet}, Fleet: a.fleet, Packages: a.fleet, Backups: a.backups, Doctor: a.doctor(), Health: a, Receivers: a.dispatcher, Metrics: metrics.Handler(), Admit: a.store.Admit,
		Refusing: func() string { return a.store.CheckDisk().Problem }, Load: &a.load, Version: version, Logger: a.log,
	})
	a.server = &http.Server{
		Handler: mount(calls, pages), ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
	}
	a.listener, err = net.Listen("tcp", a.cfg.Listen) //nolint:noctx // a bind does not wait
	if err != nil {
		return &cybervault.Error{Code: cybervault.CodeInvalid, Field: "listen", Err: err,
			Message: fmt.Sprintf("cannot listen on %s: choose another address, or stop what uses it", a.cfg.Listen)}
	}
	a.listener = netutil.LimitListener(a.listener, MaxConnections)
	return nil
}

// mount tells the paths of the API from those of the dashboard. It is no
// ServeMux, which would redirect an unclean path before the API can answer it
// with a problem.
func mount(calls, pages http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch path := r.URL.Path; {
		case strings.HasPrefix(path, "/v1/"), path == "/v1", path == "/healthz", path == "/readyz", path == "/metrics", path == "/openapi.json":
			calls.ServeHTTP(w, r)
		default:
			pages.ServeHTTP(w, r)
		}
	})
}

// Address is what the server listens on, host:port.
func (a *App) Address() string { return a.listener.Addr().String() }

// DashboardURL is where the dashboard is. While there is no owner, or the server was
// told to let one recover, the link opens it: it holds a token, which is made anew at
// each start.
func (a *App) DashboardURL() string {
	at := cmp.Or(a.cfg.PublicURL, "http://"+a.Address())
	if a.token == "" {
		return at + "/"
	}
	return at + "/login?" + url.Values{"token": {a.token}}.Encode()
}

// Workspace is the first workspace.
func (a *App) Workspace() cybervault.WorkspaceID { return a.workspace }

// Ready reports whether the server can take calls: its store answers and it is
// not stopping.
func (a *App) Ready(ctx context.Context) error {
	if a.stopping.Load() {
		return cybervault.Errorf(cybervault.CodeUnavailable, "the server is stopping")
	}
	return a.store.Ping(ctx)
}

// Run serves until ctx ends, then stops: it accepts no more calls, lets calls
// and attempts under way end within the drain timeout, gives its leases back
// and closes the store.
func (a *App) Run(ctx context.Context) error {
	if err := a.dispatcher.Start(ctx); err != nil {
		_ = a.closeAll()
		return err
	}
	a.router.StartReplays()
	sweeping, stopSweeping := context.WithCancel(ctx)
	swept := make(chan struct{})
	go func() {
		defer close(swept)
		var wg sync.WaitGroup
		wg.Go(func() { a.retention.run(sweeping) })
		wg.Go(func() { a.disk.run(sweeping) })
		wg.Go(func() { a.incidents.run(sweeping) })
		if a.nodes != nil {
			wg.Go(func() { a.nodes.run(sweeping) })
		}
		wg.Go(func() { a.audit.Run(sweeping) })
		wg.Go(func() { a.sweepSessions(sweeping) })
		wg.Go(func() { a.fleet.Run(sweeping) })
		wg.Go(func() { a.alerts.run(sweeping) })
		wg.Go(func() { a.engineState.run(sweeping) })
		wg.Go(func() { a.controls.run(sweeping) })
		wg.Wait()
	}()
	stopStreams := a.runStreams(ctx)
	failed := make(chan error, 1)
	go func() { failed <- a.server.Serve(a.listener) }()
	a.log.Info("listening", slog.String("address", a.Address()), slog.String("store", a.store.Dialect()))
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	a.log.Info("stopping", slog.Duration("drain_timeout", a.cfg.DrainTimeout))
	a.stopping.Store(true)
	failpoint.Hit(failpoint.StopBegin)
	stopSweeping()
	<-swept
	a.changes.Close()
	a.commits.Close()
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.cfg.DrainTimeout)
	defer cancel()
	if shut := a.server.Shutdown(drain); shut != nil {
		a.log.Warn("calls were cut off", slog.Any("error", shut))
		_ = a.server.Close()
	}
	stopStreams(drain)
	a.engineState.save() // nothing comes in any more
	a.dispatcher.Stop(drain)
	failpoint.Hit(failpoint.StopDrained)
	err = errors.Join(err, a.closeAll())
	a.log.Info("stopped")
	return err
}

// closeAll closes what is open, in the order of the flow.
func (a *App) closeAll() error {
	if a.listener != nil {
		_ = a.listener.Close()
	}
	if a.syslog != nil {
		a.syslog.Close()
	}
	if a.router != nil {
		a.router.Close()
	}
	if a.outbound != nil {
		a.outbound.Close()
	}
	if a.geo != nil {
		_ = a.geo.Close()
	}
	if a.store != nil {
		return a.store.Close()
	}
	return nil
}
