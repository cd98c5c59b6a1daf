// Package access says who may do what: it makes, checks and revokes the API
// keys of programs; it knows people, by password, second factor or OpenID Connect,
// their sessions, and what they are in which workspace; and it opens an
// installation that has no owner yet to whoever holds the link that the server
// printed.
//
// It stands at the edge of the flow, before the API and the dashboard, which ask it
// for each request. It never keeps, logs or returns a key, token or cookie in clear
// except once, to whoever it is made for: what is stored is a SHA-256. That is
// enough because each holds 256 random bits. A password is kept as Argon2id.
package access

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cybervault/cybervault"
)

// Store keeps API keys. Its errors are *cybervault.Error.
type Store interface {
	// CreateAPIKey stores a new key. A hash that is already stored is an error
	// of CodeConflict.
	CreateAPIKey(ctx context.Context, key *cybervault.APIKey) error
	// APIKeys lists the keys of a workspace, revoked ones included, newest first.
	APIKeys(ctx context.Context, ws cybervault.WorkspaceID) ([]*cybervault.APIKey, error)
	// RevokeAPIKey ends a key; CodeNotFound if the workspace has none of that id.
	RevokeAPIKey(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.APIKeyID, at time.Time) error
	// APIKeyByHash finds a key by its SHA-256; CodeNotFound if there is none.
	APIKeyByHash(ctx context.Context, hash [32]byte) (*cybervault.APIKey, error)
	// UseAPIKey notes when a key was used last.
	UseAPIKey(ctx context.Context, id cybervault.APIKeyID, at time.Time) error
}

// Access checks API keys, people and their sessions. Safe for concurrent use.
type Access struct {
	store  Store
	people People
	now    func() time.Time
	ids    *cybervault.IDSource

	keys      keyCache
	dashboard dashboard
	owned     atomic.Bool // the installation has an owner
	hasher    *hasher
	throttle  throttle

	challengeKey []byte // marks the challenges of passkeys
}

// New returns an Access on the given store. now is the clock; ids mints ids. ws is
// the workspace that whoever holds the printed link sees.
func New(store Store, people People, ws cybervault.WorkspaceID, now func() time.Time, ids *cybervault.IDSource) *Access {
	return &Access{
		store:     store,
		people:    people,
		now:       now,
		ids:       ids,
		keys:      keyCache{entries: make(map[[32]byte]cachedKey)},
		dashboard: dashboard{workspace: ws, sessions: make(map[[32]byte]session), allowance: maxLoginBurst},
		hasher:    newHasher(),
		throttle:  throttle{buckets: make(map[string]bucket)},

		challengeKey: newChallengeKey(),
	}
}

// How long and how many looked-up keys are remembered, so that a publisher of
// thousands of events a second costs one query a second.
const (
	keyCacheTTL  = time.Second
	keyCacheSize = 1024
)

// keyCache remembers keys that were found valid. Keys that were not found are
// never remembered: a flood of made-up keys must not push real ones out, and a
// new key must work at once.
type keyCache struct {
	mu         sync.Mutex
	entries    map[[32]byte]cachedKey
	generation uint64 // counts revocations
}

type cachedKey struct {
	key   *cybervault.APIKey
	until time.Time
}

// get returns the remembered key, or nil, and the generation to hand to put.
func (c *keyCache) get(hash [32]byte, now time.Time) (*cybervault.APIKey, uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.entries[hash]; ok && now.Before(e.until) && !expired(e.key, now) {
		return e.key, c.generation
	}
	return nil, c.generation
}

// put remembers a key, unless a key was revoked since get: the look-up may have
// read what stood before the revocation.
func (c *keyCache) put(hash [32]byte, key *cybervault.APIKey, generation uint64, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if generation != c.generation {
		return
	}
	if len(c.entries) >= keyCacheSize {
		for h, e := range c.entries {
			if !now.Before(e.until) {
				delete(c.entries, h)
			}
		}
	}
	for h := range c.entries {
		if len(c.entries) < keyCacheSize {
			break
		}
		delete(c.entries, h) // any one: it is read again within a second
	}
	c.entries[hash] = cachedKey{key: key, until: now.Add(keyCacheTTL)}
}

// forget drops the key of that id.
func (c *keyCache) forget(id cybervault.APIKeyID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.generation++
	for h, e := range c.entries {
		if e.key.ID == id {
			delete(c.entries, h)
		}
	}
}

// forgetAll drops every key.
func (c *keyCache) forgetAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.generation++
	clear(c.entries)
}
