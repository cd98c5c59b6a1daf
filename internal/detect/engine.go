// Package detect is the threat engine: it reads records and concludes, with a
// reason and a confidence, what is worth an event.
//
// It stands between telemetry and the router (telemetry -> detect -> router).
// Its children look for one kind of thing each: detect/web for attacks in HTTP
// requests, detect/login for what is suspicious in logins, detect/sigma for whatever
// Sigma rules describe. This package feeds them,
// folds what they find into attacks, weighs the evidence, and writes the data
// of the events. It publishes nothing and stores nothing; it never reads the
// wall clock where a record has a time of its own, so that the same telemetry
// gives the same findings.
package detect

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/detect/login"
	"github.com/cybervault/cybervault/internal/detect/sigma"
	"github.com/cybervault/cybervault/internal/detect/web"
)

// Config of an Engine. The zero value is right for most.
type Config struct {
	Now           func() time.Time // stands in for the time of a record that has none; time.Now if nil
	Paranoia      int              // CRS paranoia level, 1 to 4; 1 if 0
	Sites         map[string]int   // paranoia levels of hosts that have their own; names in lower case
	MinConfidence float64          // attacks below it are not told of; 0.5 if 0
	Workers       int              // goroutines that inspect requests during a batch; GOMAXPROCS if 0
	NoGate        bool             // ask the rule set about every request, to measure what the gate saves
	Rules         *sigma.Engine    // Sigma rules; SetRules replaces them
	// Locate says where an address is, for a record that does not; nil if there is
	// no database. It is called under the engine's lock and must be quick.
	Locate func(address string, known login.Place) login.Place
}

// Engine holds the state of detection for all workspaces, which never mix.
// Safe for concurrent use; batches that run at the same time are each folded
// whole records at a time, in the order they are added.
type Engine struct {
	cfg Config

	// The rule set is loaded when the first request needs it: some 100 ms of
	// processor time and 30 MB that a host of sshd logs does without.
	loadOnce  sync.Once
	inspector *web.Inspector
	sites     ruleSets // of the hosts with a level of their own
	loadErr   error
	loaded    atomic.Bool
	failed    atomic.Int64

	mu      sync.Mutex
	scans   *web.Scans
	logins  *login.Tracker
	attacks *attacks
	records int64
	hidden  int64

	controls map[cybervault.WorkspaceID]*controls

	sigmaMu    sync.RWMutex      // held by batches while they judge, so that rules and correlations fit
	sigma      *sigma.Engine     // nil: no rules
	correlator *sigma.Correlator // its windows are guarded by mu
}

// New returns an engine that has seen nothing. The error has code CodeInvalid
// and names the setting that is wrong.
func New(cfg Config) (*Engine, error) {
	if cfg.Paranoia == 0 {
		cfg.Paranoia = 1
	}
	if err := checkLevel("paranoia", cfg.Paranoia); err != nil {
		return nil, err
	}
	for host, level := range cfg.Sites {
		if err := checkLevel("web_sites: "+host, level); err != nil {
			return nil, err
		}
	}
	if cfg.MinConfidence == 0 {
		cfg.MinConfidence = 0.5
	}
	if cfg.MinConfidence < 0 || cfg.MinConfidence > 1 {
		return nil, cybervault.Invalid("min_confidence", "%v is not a probability: use 0 to 1", cfg.MinConfidence)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Workers <= 0 {
		cfg.Workers = runtime.GOMAXPROCS(0)
	}
	e := &Engine{cfg: cfg, sites: ruleSets{noGate: cfg.NoGate}, scans: web.NewScans(), logins: login.NewTracker(), attacks: newAttacks(cfg.MinConfidence), controls: map[cybervault.WorkspaceID]*controls{}}
	e.SetRules(cfg.Rules)
	return e, nil
}

// Stats is what an engine holds and has done.
type Stats struct {
	Records        int64 // taken in
	Inspected      int64 // HTTP requests inspected
	RuleSetAsked   int64 // how often the rule set had to be asked for that
	OpenAttacks    int   // held in memory
	EvictedAttacks int64 // let go for want of room, after they were told of
	WatchedSources int   // addresses and accounts in the windows of logins and scans
	EvictedSources int64 // forgotten for want of room
	LateRecords    int64 // too old for their window to count
	Hidden         int64 // detections left out because a rule is off or excepted
	Failed         int64 // records that rules failed on, which count as harmless
}

// Stats returns the engine's counters as they stand.
func (e *Engine) Stats() Stats {
	s := Stats{Failed: e.failed.Load()}
	if e.loaded.Load() {
		s.Inspected, s.RuleSetAsked = e.inspector.Counts()
	}
	inspected, asked := e.sites.counts()
	s.Inspected, s.RuleSetAsked = s.Inspected+inspected, s.RuleSetAsked+asked
	e.mu.Lock()
	defer e.mu.Unlock()
	watched, evicted, late := e.logins.Size()
	scanning, forgotten := e.scans.Size()
	s.Records, s.LateRecords, s.Hidden = e.records, late, e.hidden
	s.WatchedSources, s.EvictedSources = watched+scanning, evicted+forgotten
	s.OpenAttacks, s.EvictedAttacks = len(e.attacks.byKey), e.attacks.evicted
	return s
}

// rules loads the rule set, once.
func (e *Engine) rules() (*web.Inspector, error) {
	e.loadOnce.Do(func() {
		e.inspector, e.loadErr = web.New(web.Config{Paranoia: e.cfg.Paranoia, NoGate: e.cfg.NoGate})
		e.loaded.Store(e.loadErr == nil)
	})
	return e.inspector, e.loadErr
}

// Warm loads the rule set now, so that the first batch does not wait for it.
func (e *Engine) Warm() error {
	_, err := e.rules()
	return err
}

// Inspect returns the rules of the rule set that one web record matches, by
// rule number, without taking the record in.
func (e *Engine) Inspect(rec *cybervault.Record) ([]web.Match, error) {
	rules, err := e.rulesFor(rec)
	if err != nil {
		return nil, err
	}
	return rules.Inspect(request(rec)), nil
}

// Batch is telemetry handed in together: the body of one request, or files.
// It is for one goroutine.
type Batch struct {
	e        *Engine
	ws       cybervault.WorkspaceID
	wait     []*cybervault.Record
	waiting  int // bytes of what waits
	matches  [][]web.Match
	hits     [][]sigma.Hit
	touched  map[*attack]bool
	findings []cybervault.Finding
}

// chunk is how many records are inspected in parallel before they are folded, and
// chunkBytes how much of them: a record may be a megabyte, and many batches may be
// under way.
const (
	chunk      = 512
	chunkBytes = 1 << 20
)

// Begin starts a batch for a workspace. End must be called for its findings.
func (e *Engine) Begin(ws cybervault.WorkspaceID) *Batch {
	return &Batch{e: e, ws: ws, touched: map[*attack]bool{}}
}

// Add takes in a record, which must not be changed from then on. Records are
// judged in the order they are added. The error is the context's, or says that
// the rule set could not be loaded.
func (b *Batch) Add(ctx context.Context, rec *cybervault.Record) error {
	b.wait = append(b.wait, rec)
	b.waiting += len(rec.Raw)
	if len(b.wait) < chunk && b.waiting < chunkBytes {
		return nil
	}
	return b.judge(ctx)
}

// End judges what is left and returns the events that the batch led to, in the
// order of their times: one for each attack that was first concluded, and one
// for each known attack that grew materially (ten times the records, another
// vector or pattern, a higher severity). The batch must not be used again.
//
// On an error the findings so far are returned beside it.
func (b *Batch) End(ctx context.Context) ([]cybervault.Finding, error) {
	err := b.judge(ctx)
	b.e.mu.Lock()
	for a := range b.touched {
		if f, ok := b.e.attacks.tell(a); ok {
			b.findings = append(b.findings, f)
		}
	}
	b.e.mu.Unlock()
	sortFindings(b.findings)
	return b.findings, err
}

// judge inspects the waiting records on all workers, then folds them in order.
func (b *Batch) judge(ctx context.Context) error {
	if len(b.wait) == 0 {
		return nil
	}
	b.matches = append(b.matches[:0], make([][]web.Match, len(b.wait))...)
	b.hits = append(b.hits[:0], make([][]sigma.Hit, len(b.wait))...)
	b.e.sigmaMu.RLock()
	defer b.e.sigmaMu.RUnlock()
	if err := b.inspect(ctx); err != nil {
		return err
	}
	b.e.mu.Lock()
	defer b.e.mu.Unlock()
	for i, rec := range b.wait {
		b.e.records++
		at := rec.Time
		if at.IsZero() {
			at = b.e.cfg.Now().UTC()
		}
		switch {
		case rec.Category == "webserver":
			b.web(rec, at, b.matches[i])
			b.signIn(rec, at, readSignIn(rec))
		case rec.Service == "sshd":
			b.login(rec, at)
		default:
			b.signIn(rec, at, readSignIn(rec))
		}
		b.sigma(rec, at, b.hits[i], len(b.matches[i]) > 0)
	}
	clear(b.wait) // or the last chunk lives as long as the batch
	b.wait, b.waiting = b.wait[:0], 0
	return nil
}

// inspect fills in what the rules say of the waiting records.
func (b *Batch) inspect(ctx context.Context) error {
	requests := map[int]*web.Inspector{}
	for i, rec := range b.wait {
		if rec.Category == "webserver" {
			in, err := b.e.rulesFor(rec)
			if err != nil {
				return err
			}
			requests[i] = in
		}
	}
	rules := b.e.sigma
	if len(requests) == 0 && rules == nil {
		return ctx.Err()
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(b.e.cfg.Workers, len(b.wait)) {
		wg.Go(func() {
			for {
				n := int(next.Add(1)) - 1
				if n >= len(b.wait) || ctx.Err() != nil {
					return
				}
				if b.wait[n].Category == "webserver" {
					b.matches[n] = b.e.inspect(requests[n], b.wait[n])
				}
				if rules != nil {
					b.hits[n] = b.e.match(rules, b.wait[n])
				}
			}
		})
	}
	wg.Wait()
	return ctx.Err()
}

// inspect asks the rule set about one request. A fault of its must not end the
// process: telemetry that is read off a stream would come again at each start.
func (e *Engine) inspect(rules *web.Inspector, rec *cybervault.Record) (matches []web.Match) {
	defer func() {
		if recover() != nil {
			e.failed.Add(1)
			matches = nil
		}
	}()
	return rules.Inspect(request(rec))
}

// match asks the Sigma rules about one record, with the same care.
func (e *Engine) match(rules *sigma.Engine, rec *cybervault.Record) (hits []sigma.Hit) {
	defer func() {
		if recover() != nil {
			e.failed.Add(1)
			hits = nil
		}
	}()
	return rules.Match(rec)
}

// request rebuilds a request from its record. A log line has two headers; the
// others a client would have sent are neither known nor needed, since the rules
// that look for them are not loaded.
func request(rec *cybervault.Record) *web.Request {
	f := rec.Fields
	r := &web.Request{Method: f[cybervault.FieldWebMethod], Target: f[cybervault.FieldWebURI], Version: f[cybervault.FieldWebVersion], Body: f[cybervault.FieldWebBody]}
	if r.Method == "" {
		r.Method = "GET" // no HTTP request; what there is of it stands in the target
	}
	hostGiven := false
	for line := range strings.SplitSeq(f[cybervault.FieldWebHeaders], "\n") {
		if name, value, ok := strings.Cut(line, ": "); ok {
			r.Headers = append(r.Headers, [2]string{name, value})
			hostGiven = hostGiven || strings.EqualFold(name, "host")
		}
	}
	if !hostGiven {
		host := f[cybervault.FieldWebHost]
		if host == "" {
			host = "localhost"
		}
		r.Headers = append([][2]string{{"Host", host}}, r.Headers...)
	}
	if f[cybervault.FieldWebHeaders] == "" {
		for _, h := range [][2]string{{"User-Agent", f[cybervault.FieldWebUserAgent]}, {"Referer", f[cybervault.FieldWebReferer]}} {
			if h[1] != "" {
				r.Headers = append(r.Headers, h)
			}
		}
	}
	return r
}

// web folds a request's matches, and asks whether it is part of a scan.
func (b *Batch) web(rec *cybervault.Record, at time.Time, matches []web.Match) {
	f := rec.Fields
	status, _ := strconv.Atoi(f[cybervault.FieldWebStatus])
	source := f[cybervault.FieldClientIP]
	k := attackKey{ws: b.ws, kind: cybervault.EventThreatDetected, source: source, target: target(cmp.Or(f[cybervault.FieldWebHost], rec.Host), rec)}
	v := b.veil(rec)
	matches = v.visible(matches)
	name, rank, technique := web.Verdict(matches)
	for i := range matches {
		m := &matches[i]
		b.fold(k, at, signal{
			engine: "web", rule: m.ID(), title: m.Title, inspected: true, score: m.Score, learned: m.Learned(), level: m.Level, name: name,
			rank: rank, technique: technique, techniques: m.Techniques, first: at, add: boolInt(i == 0), same: i > 0,
			status: status, explanation: explainMatch(m, status), path: f[cybervault.FieldWebStem], record: rec.Raw,
		})
	}
	if source == "" {
		return
	}
	path := f[cybervault.FieldWebStem]
	broken := path == "" && f[cybervault.FieldWebMethod] == ""
	if path == "" {
		path = f[cybervault.FieldWebURI]
	}
	scan := b.e.scans.Add(web.Probe{Key: b.ws.String() + "\x00" + source + "\x00" + k.target, Path: path, Status: status, Broken: broken, Told: len(matches) > 0, Time: at})
	if scan == nil || v.hides(scan.Rule, scan.Vector) {
		return
	}
	b.fold(k, at, signal{
		engine: "web", rule: scan.Rule, title: scanTitles[scan.Rule], level: cybervault.SeverityMedium, name: scan.Vector,
		rank: scan.Rank, technique: scan.Techniques[0], techniques: scan.Techniques, first: scan.First, add: scan.Untold, ruleAdd: scan.Count,
		status: status, explanation: scan.Explanation, path: f[cybervault.FieldWebStem], record: rec.Raw, behaviour: scan.Paths,
	})
}

var scanTitles = map[string]string{
	web.RuleSensitive: "Search for sensitive files and consoles",
	web.RuleForced:    "Search for pages that are not there",
}

func explainMatch(m *web.Match, status int) string {
	s := fmt.Sprintf("CRS rule %d (%s) matched %q in %s", m.RuleID, m.Title, m.Data, m.Where)
	if m.Learned() {
		s = fmt.Sprintf("the learned score of %s is %.3f, mostly for %s, in %q", m.Where, m.Score, m.Why, m.Data)
	}
	if m.Encoding != "" {
		s += ", hidden in " + m.Encoding
	}
	if status != 0 {
		s += fmt.Sprintf("; the server answered %d", status)
	}
	return s
}

// login folds what a line of sshd says of a login.
func (b *Batch) login(rec *cybervault.Record, at time.Time) {
	f := rec.Fields
	source := f[cybervault.FieldSourceIP]
	if source == "" {
		source = f[cybervault.FieldSourceName]
	}
	asset := target(rec.Host, rec)
	a := login.Attempt{
		Scope: b.ws.String() + "\x00" + asset, Address: source, User: f[cybervault.FieldUser],
		Unknown: f[cybervault.FieldUnknownUser] != "", Exists: f[cybervault.FieldUnknownUser] == "" && f[cybervault.FieldUser] != "", Class: f[cybervault.FieldEvent], Time: at,
	}
	if pid := f[cybervault.FieldPID]; pid != "" {
		a.Conn = pid
	}
	a.Times, _ = strconv.Atoi(f[cybervault.FieldAttempts])
	var found []login.Conclusion
	switch f[cybervault.FieldOutcome] {
	case cybervault.OutcomeSuccess:
		if n, _ := strconv.Atoi(f[cybervault.FieldConfirms]); n > 0 {
			wrong := a
			wrong.User, wrong.Times, wrong.Class = "", n, cybervault.SSHDPAMModule
			found = b.e.logins.Add(wrong)
		}
		a.Outcome = login.Success
		method := f[cybervault.FieldMethod]
		a.Secret = method == "password" || strings.HasPrefix(method, "keyboard-interactive")
	case cybervault.OutcomeFailure, cybervault.OutcomeUnconfirmed:
		switch f[cybervault.FieldEvent] {
		case cybervault.SSHDProtocol:
			a.Outcome = login.Probe
		case cybervault.SSHDSilent:
			return // a monitor's port check looks the same
		case cybervault.SSHDDisconnected:
			if f[cybervault.FieldUser] == "" {
				return // the end of a connection that nobody tried to log in on
			}
		}
	default:
		return
	}
	for _, c := range append(found, b.e.logins.Add(a)...) {
		b.conclude(rec, at, asset, c)
	}
}

// conclude folds a login pattern.
func (b *Batch) conclude(rec *cybervault.Record, at time.Time, asset string, c login.Conclusion) {
	p := patterns[c.Pattern]
	if v := b.veil(rec); v.hides(c.Pattern, p.name) {
		return
	}
	k := attackKey{ws: b.ws, kind: p.event, source: c.Address, target: asset}
	if c.Pattern == login.DistributedGuessing {
		k.user, k.crowd = c.User+c.Network, true
	}
	switch c.Pattern {
	case login.NewCountry, login.ImpossibleTravel, login.MFAFatigue, login.MFABypass, login.MFARemoved:
		k.user = c.User // they are about one person, whoever else has that address
	}
	level := p.level
	if c.Sure {
		level = p.sure
	}
	behaviour := 0
	if c.Pattern == login.ServiceProbe {
		behaviour = c.Total
	}
	b.fold(k, at, signal{
		engine: "login", behaviour: behaviour, rule: c.Pattern, title: p.title, level: level, name: p.name, rank: p.rank, technique: p.techniques[0], techniques: p.techniques,
		first: c.First, add: c.Count, ruleAdd: c.Count, quiet: p.quiet, user: c.User, users: c.Users, sources: c.Sources, unknown: c.Unknown,
		explanation: explainLogin(c, at), record: rec.Raw,
	})
}

// target is the asset attacked: the host that the record names, or else the
// source that the operator named.
func target(host string, rec *cybervault.Record) string {
	if host != "" {
		return host
	}
	return rec.Source
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
