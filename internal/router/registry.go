package router

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cybervault/cybervault"
)

// registry holds every webhook in memory, indexed by what it chose. Readers take
// a snapshot, which never changes; a change makes the next one.
type registry struct {
	current atomic.Pointer[snapshot]
	mu      sync.Mutex // serialises changes, and the entry of publishers into a snapshot
}

type snapshot struct {
	byID    map[cybervault.WebhookID]*cybervault.Webhook
	filters map[cybervault.WebhookID]*ownFilter // of the webhooks that have one
	matches sync.Map                            // matchKey -> []*cybervault.Webhook, filled as types are asked for

	// publishers counts the publishes that chose their webhooks by this
	// snapshot and have not committed yet. drained is closed once neither this
	// nor any older snapshot can gain or has any. All are guarded by registry.mu.
	publishers int
	drained    chan struct{}
	newer      *snapshot // nil while it is the current one
	behind     bool      // an older one has publishers left
}

type matchKey struct {
	workspace cybervault.WorkspaceID
	eventType string
}

func newSnapshot(byID map[cybervault.WebhookID]*cybervault.Webhook, filters map[cybervault.WebhookID]*ownFilter) *snapshot {
	return &snapshot{byID: byID, filters: filters, drained: make(chan struct{})}
}

func (g *registry) load(webhooks []*cybervault.Webhook) {
	byID := make(map[cybervault.WebhookID]*cybervault.Webhook, len(webhooks))
	filters := make(map[cybervault.WebhookID]*ownFilter)
	for _, w := range webhooks {
		byID[w.ID] = w
		keepFilter(filters, nil, w)
	}
	g.current.Store(newSnapshot(byID, filters))
}

// keepFilter puts a webhook's filter: the one before, which may be compiled
// already, where the change was of something else.
func keepFilter(filters map[cybervault.WebhookID]*ownFilter, before *ownFilter, w *cybervault.Webhook) {
	switch {
	case w.Filter == "":
	case before != nil && before.webhook.Filter == w.Filter:
		filters[w.ID] = before
	default:
		filters[w.ID] = &ownFilter{webhook: w}
	}
}

func (g *registry) lookup(id cybervault.WebhookID) (*cybervault.Webhook, bool) {
	w, ok := g.current.Load().byID[id]
	return w, ok
}

func (g *registry) count(ws cybervault.WorkspaceID) (n int) {
	for _, w := range g.current.Load().byID {
		if w.Workspace == ws {
			n++
		}
	}
	return n
}

// enter takes the snapshot for a publish; leave must follow its commit.
func (g *registry) enter() *snapshot {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.current.Load()
	s.publishers++
	return s
}

func (g *registry) leave(s *snapshot) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s.publishers--
	s.settle()
}

// settle closes drained where it is due, and goes on with what waited for that.
func (s *snapshot) settle() {
	for s.newer != nil && s.publishers == 0 && !s.behind {
		close(s.drained)
		s = s.newer
		s.behind = false
	}
}

// replace puts a webhook (or, when gone, takes it away) and returns a channel
// that is closed once no publish that has not seen the change is still under
// way: only then does the store hold every delivery made by the old settings.
func (g *registry) replace(w *cybervault.Webhook, gone bool) (settled <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	old := g.current.Load()
	byID, filters := maps.Clone(old.byID), maps.Clone(old.filters)
	delete(filters, w.ID)
	if gone {
		delete(byID, w.ID)
	} else {
		byID[w.ID] = w
		keepFilter(filters, old.filters[w.ID], w)
	}
	next := newSnapshot(byID, filters)
	next.behind = true
	old.newer = next
	g.current.Store(next)
	old.settle()
	return old.drained
}

// match returns the webhooks of a workspace that chose an event type, oldest
// first, the disabled ones included.
func (s *snapshot) match(ws cybervault.WorkspaceID, eventType string) []*cybervault.Webhook {
	key := matchKey{ws, eventType}
	if found, ok := s.matches.Load(key); ok {
		return found.([]*cybervault.Webhook) //nolint:forcetypeassert // only filled here
	}
	var found []*cybervault.Webhook
	for _, w := range s.byID {
		if w.Workspace == ws && w.Subscribes(eventType) {
			found = append(found, w)
		}
	}
	slices.SortFunc(found, oldestFirst)
	s.matches.Store(key, found)
	return found
}

func oldestFirst(a, b *cybervault.Webhook) int { return cmp.Compare(a.ID.Key(), b.ID.Key()) }
