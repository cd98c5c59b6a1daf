// Package fleet knows the agents: it lets machines enrol by a token, gives each a key of
// its own, takes their heartbeats, and tells when one is lost and when it is back.
//
// It stands at the beginning of the flow, beside the telemetry: what it finds out goes to
// the router as endpoint.online, endpoint.offline, patch.deployed, patch.failed and system.alert. It never speaks to an
// agent by itself, and keeps of tokens and keys only their SHA-256.
package fleet

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/cybervault/cybervault"
)

// What tokens and keys begin with, so that scanners for secrets know them.
const (
	TokenPrefix = "cve_"
	KeyPrefix   = "cva_"
)

const (
	// KeyLife is how old an agent's key may be before it is offered another one.
	KeyLife = 30 * 24 * time.Hour
	// flushEvery is how often it is written down when agents were last heard of.
	flushEvery = 2 * time.Second
	// maxKeyBytes bounds a token or key as it is presented.
	maxKeyBytes = 100
)

// Store keeps agents. Its errors are *cybervault.Error.
type Store interface {
	Tokens
	Agents
	Packages
	Watched
}

// Tokens is the part of Store about enrolment.
type Tokens interface {
	CreateAgentToken(ctx context.Context, t *cybervault.AgentToken) error
	AgentTokens(ctx context.Context, ws cybervault.WorkspaceID) ([]*cybervault.AgentToken, error)
	DeleteAgentToken(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.AgentTokenID) error
	EnrolAgent(ctx context.Context, token [32]byte, a *cybervault.Agent) error
}

// Agents is the part about agents that are there.
type Agents interface {
	Agents(ctx context.Context, q cybervault.AgentQuery) (cybervault.Page[*cybervault.Agent], error)
	Agent(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.AgentID) (*cybervault.Agent, error)
	AgentByKey(ctx context.Context, hash [32]byte) (*cybervault.Agent, error)
	CountAgents(ctx context.Context, ws cybervault.WorkspaceID) (cybervault.AgentCounts, error)
	SaveHostFacts(ctx context.Context, id cybervault.AgentID, f *cybervault.HostFacts) error
	OfferAgentKey(ctx context.Context, id cybervault.AgentID, next [32]byte) error
	TakeAgentKey(ctx context.Context, id cybervault.AgentID, next [32]byte, at time.Time) error
	DeleteAgent(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.AgentID) error
}

// Packages is the part about what is installed on them.
type Packages interface {
	SavePackageState(ctx context.Context, id cybervault.AgentID, state *cybervault.PackageState) error
}

// Watched is the part about who is heard of.
type Watched interface {
	JudgeAgents(ctx context.Context, now time.Time) (due []*cybervault.Agent, watched map[cybervault.WorkspaceID]int, err error)
	SeeAgents(ctx context.Context, seen map[cybervault.AgentID]time.Time) error
	ClampAgents(ctx context.Context, now time.Time) error
	SetAgentStatus(ctx context.Context, id cybervault.AgentID, from, to cybervault.AgentStatus, at time.Time) (bool, error)
}

// Config is what a Fleet needs.
type Config struct {
	Store Store
	// Publish stores an event. CodeUnavailable: it is offered again.
	Publish func(ctx context.Context, ws cybervault.WorkspaceID, req cybervault.PublishRequest) error
	IDs     *cybervault.IDSource
	Now     func() time.Time // the clock that all nodes share
	Mine    func() bool      // whether it is this node that tells of agents
	Well    func() bool      // whether the server takes what it is sent; while not, nobody is missed
	Log     *slog.Logger
}

// Fleet is the agents of all workspaces. Safe for concurrent use.
type Fleet struct {
	Config

	mu     sync.Mutex
	seen   map[cybervault.AgentID]time.Time // since it was written down last
	behind bool                             // the last time it could not be
}

// New returns a fleet; Run has to be called for anything to be told.
func New(c Config) *Fleet {
	return &Fleet{Config: c, seen: make(map[cybervault.AgentID]time.Time)}
}

func randomKey(prefix string) (plain string, hash [32]byte) {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails: crypto/rand ends the program instead
	plain = prefix + base64.RawURLEncoding.EncodeToString(raw)
	return plain, sha256.Sum256([]byte(plain))
}

// NewToken makes a token by which machines enrol, and returns it in clear, this once. Of
// t the name, the labels, the pace, the uses and the end are read; zero is the default.
func (f *Fleet) NewToken(ctx context.Context, t *cybervault.AgentToken) (plain string, err error) {
	now := f.Now().UTC().Truncate(time.Microsecond)
	if t.Interval == 0 {
		t.Interval = cybervault.DefaultHeartbeat
	}
	if t.Missed == 0 {
		t.Missed = cybervault.DefaultMissed
	}
	if t.Uses == 0 {
		t.Uses = 1
	}
	if t.ExpiresAt.IsZero() {
		t.ExpiresAt = now.Add(cybervault.DefaultTokenLife)
	}
	t.Name = strings.TrimSpace(t.Name)
	switch {
	case len(t.Name) > cybervault.MaxAgentTextBytes:
		return "", cybervault.Invalid("name", "is %d bytes long, more than %d", len(t.Name), cybervault.MaxAgentTextBytes)
	case t.Uses < 1 || t.Uses > cybervault.MaxTokenUses:
		return "", cybervault.Invalid("uses", "is %d: give a number from 1 to %d", t.Uses, cybervault.MaxTokenUses)
	case !t.ExpiresAt.After(now):
		return "", cybervault.Invalid("expires_in", "has passed already: give a time to come")
	case t.ExpiresAt.After(now.Add(cybervault.MaxTokenLife)):
		return "", cybervault.Invalid("expires_in", "is more than a year: machines that enrol later can be given another token")
	}
	if err := cybervault.CheckPace(t.Interval, t.Missed); err != nil {
		return "", err
	}
	if err := cybervault.CheckLabels(t.Labels); err != nil {
		return "", err
	}
	t.ID, t.CreatedAt, t.By = cybervault.NewID[cybervault.AgentTokenID](f.IDs), now, cybervault.ActorOf(ctx).Name
	t.ExpiresAt = t.ExpiresAt.UTC().Truncate(time.Microsecond)
	plain, t.Hash = randomKey(TokenPrefix)
	return plain, f.Store.CreateAgentToken(ctx, t)
}

// Tokens lists the tokens of a workspace that may still be used, newest first.
func (f *Fleet) Tokens(ctx context.Context, ws cybervault.WorkspaceID) ([]*cybervault.AgentToken, error) {
	return f.Store.AgentTokens(ctx, ws)
}

// DeleteToken ends a token; agents that came by it stay.
func (f *Fleet) DeleteToken(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.AgentTokenID) error {
	return f.Store.DeleteAgentToken(ctx, ws, id)
}

// Enrol takes a machine in that presents a token, and returns its agent and the agent's
// key, which is kept nowhere here.
func (f *Fleet) Enrol(ctx context.Context, token string, facts cybervault.HostFacts) (*cybervault.Agent, string, error) {
	if err := facts.Check(); err != nil {
		return nil, "", err
	}
	if !strings.HasPrefix(token, TokenPrefix) || len(token) > maxKeyBytes {
		return nil, "", cybervault.Errorf(cybervault.CodeUnauthorized, "an enrolment token is needed, which begins with %s: make one with 'cybervault agents token'", TokenPrefix)
	}
	now := f.Now().UTC().Truncate(time.Microsecond)
	key, hash := randomKey(KeyPrefix)
	a := &cybervault.Agent{
		HostFacts: facts, ID: cybervault.NewID[cybervault.AgentID](f.IDs), Hash: hash, KeyedAt: now, Status: cybervault.AgentEnrolled, EnrolledAt: now, ChangedAt: now,
	}
	if err := f.Store.EnrolAgent(cybervault.WithActor(ctx, cybervault.Actor{Kind: cybervault.ActorAgent, ID: a.ID.String(), Name: facts.Hostname, Address: cybervault.ActorOf(ctx).Address}), sha256.Sum256([]byte(token)), a); err != nil {
		return nil, "", err
	}
	return a, key, nil
}

// IsAgentKey reports whether a key is of an agent by its looks.
func IsAgentKey(bearer string) bool { return strings.HasPrefix(bearer, KeyPrefix) }

// Authenticate finds the agent whose key was presented, as an API key that may send
// heartbeats and telemetry. CodeUnauthorized where there is none.
func (f *Fleet) Authenticate(ctx context.Context, bearer string) (*cybervault.APIKey, error) {
	hash := sha256.Sum256([]byte(bearer))
	a, err := f.Store.AgentByKey(ctx, hash)
	if cybervault.ErrorCode(err) == cybervault.CodeNotFound || len(bearer) > maxKeyBytes {
		return nil, cybervault.Errorf(cybervault.CodeUnauthorized, "the agent's key is unknown, or the agent was removed: enrol it anew")
	}
	if err != nil {
		return nil, err
	}
	if a.Next == hash {
		// It has the new key, so nobody needs the old one any more.
		if err := f.Store.TakeAgentKey(ctx, a.ID, hash, f.Now()); err != nil && cybervault.ErrorCode(err) != cybervault.CodeUnavailable {
			return nil, err
		}
		a.Hash, a.Next, a.KeyedAt = hash, [32]byte{}, f.Now()
	}
	return &cybervault.APIKey{
		Workspace: a.Workspace, Name: "agent " + a.Hostname, Hash: hash, Scopes: []cybervault.Scope{cybervault.ScopeAgent, cybervault.ScopeTelemetryWrite}, CreatedAt: a.KeyedAt, Agent: a,
	}, nil
}

// Beat takes a heartbeat of an agent, with what it says of its machine. key is another
// key that the agent is to use from now on; empty: the one it has stays.
func (f *Fleet) Beat(ctx context.Context, a *cybervault.Agent, facts cybervault.HostFacts) (key string, err error) {
	if err := facts.Check(); err != nil {
		return "", err
	}
	now := f.Now()
	f.mu.Lock()
	f.seen[a.ID] = now
	f.mu.Unlock()
	if !facts.Same(&a.HostFacts) {
		if err := f.Store.SaveHostFacts(ctx, a.ID, &facts); err != nil {
			return "", err
		}
	}
	if now.Sub(a.KeyedAt) < KeyLife {
		return "", nil
	}
	// The one before, if it never arrived, is void.
	key, next := randomKey(KeyPrefix)
	return key, f.Store.OfferAgentKey(ctx, a.ID, next)
}

// Agents lists agents, newest first.
func (f *Fleet) Agents(ctx context.Context, q cybervault.AgentQuery) (cybervault.Page[*cybervault.Agent], error) {
	return f.Store.Agents(ctx, q)
}

// Agent returns one, or CodeNotFound.
func (f *Fleet) Agent(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.AgentID) (*cybervault.Agent, error) {
	return f.Store.Agent(ctx, ws, id)
}

// Counts counts the agents of a workspace by status.
func (f *Fleet) Counts(ctx context.Context, ws cybervault.WorkspaceID) (cybervault.AgentCounts, error) {
	return f.Store.CountAgents(ctx, ws)
}

// Remove forgets an agent and its key. Nothing is told of it.
func (f *Fleet) Remove(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.AgentID) error {
	return f.Store.DeleteAgent(ctx, ws, id)
}

// Run writes down who was heard of, and tells of who comes and goes, until ctx ends.
func (f *Fleet) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() {
		for rest(ctx, flushEvery) {
			f.flush(ctx)
		}
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushEvery)
		defer cancel()
		f.flush(last)
	})
	wg.Go(func() {
		w := newWatch(f)
		began := time.Now()
		for rest(ctx, tickEvery) {
			w.tick(ctx, f.Now(), time.Since(began))
		}
	})
	wg.Wait()
}

// flush writes down who was heard of since it was called last. What cannot be written
// is kept for the next time.
func (f *Fleet) flush(ctx context.Context) {
	f.mu.Lock()
	seen := f.seen
	f.seen = make(map[cybervault.AgentID]time.Time, len(seen))
	f.mu.Unlock()
	if len(seen) == 0 {
		return
	}
	err := f.Store.SeeAgents(ctx, seen)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.behind = err != nil
	if err == nil {
		return
	}
	for id, at := range seen {
		if f.seen[id].Before(at) {
			f.seen[id] = at
		}
	}
	if ctx.Err() == nil {
		f.Log.Warn("heartbeats cannot be written down; trying again", slog.Any("error", err))
	}
}

// heard is when an agent was heard of here since that was written down last; zero if it
// was not.
func (f *Fleet) heard(id cybervault.AgentID) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen[id]
}

// isBehind reports whether it could not be written down who was heard of.
func (f *Fleet) isBehind() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.behind
}

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
