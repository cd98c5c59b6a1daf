package outbound

import (
	"slices"
	"sync"
	"time"
)

// sweepInterval is how often idle connections are looked through for those
// that are too old or that their peer has closed.
const sweepInterval = 10 * time.Second

// idlePool keeps the idle links of one identity: by origin, the last one used
// is taken first, and over all origins in the order in which they became idle,
// so that the oldest gives way.
type idlePool struct {
	now             func() time.Time
	most, mostAHost int

	mu             sync.Mutex
	byOrigin       map[string][]*link // oldest first
	count          int
	oldest, newest *link
	sweeper        *time.Timer // nil while there is nothing to sweep
	closed         bool
}

func newIdlePool(now func() time.Time, most, mostAHost int) *idlePool {
	return &idlePool{now: now, most: most, mostAHost: mostAHost, byOrigin: make(map[string][]*link)}
}

// take returns the link to an origin that was used last, nil if there is none.
// Whether it is still alive is the caller's to see.
func (p *idlePool) take(origin string, now time.Time) *link {
	p.mu.Lock()
	links := p.byOrigin[origin]
	if len(links) == 0 {
		p.mu.Unlock()
		return nil
	}
	l := links[len(links)-1]
	if now.Sub(l.idleSince) <= IdleConnTimeout {
		p.remove(l)
		p.mu.Unlock()
		return l
	}
	// The others have been idle for longer still.
	links = slices.Clone(links)
	for _, l := range links {
		p.remove(l)
	}
	p.mu.Unlock()
	closeLinks(links)
	return nil
}

// put takes back a link that can carry another exchange.
func (p *idlePool) put(l *link, now time.Time) {
	p.mu.Lock()
	links := p.byOrigin[l.origin]
	if p.closed || len(links) >= p.mostAHost {
		p.mu.Unlock()
		l.close()
		return
	}
	l.idleSince = now
	p.byOrigin[l.origin] = append(links, l)
	if l.older = p.newest; l.older != nil {
		l.older.newer = l
	} else {
		p.oldest = l
	}
	p.newest = l
	p.count++
	var over *link
	if p.count > p.most {
		over = p.oldest
		p.remove(over)
	}
	if p.sweeper == nil {
		p.sweeper = time.AfterFunc(sweepInterval, p.sweep)
	}
	p.mu.Unlock()
	if over != nil {
		over.close()
	}
}

// remove takes l out of both orders.
func (p *idlePool) remove(l *link) {
	links := p.byOrigin[l.origin]
	if last := len(links) - 1; links[last] == l { // as almost always
		links[last] = nil
		links = links[:last]
	} else if i := slices.Index(links, l); i >= 0 {
		links = slices.Delete(links, i, i+1)
	}
	p.byOrigin[l.origin] = links // empty ones wait for the sweep: they are soon needed again
	if l.older != nil {
		l.older.newer = l.newer
	} else {
		p.oldest = l.newer
	}
	if l.newer != nil {
		l.newer.older = l.older
	} else {
		p.newest = l.older
	}
	l.older, l.newer = nil, nil
	p.count--
}

// sweep closes what is too old or dead, and goes on while there is more.
func (p *idlePool) sweep() {
	p.mu.Lock()
	now := p.now()
	var gone []*link
	for l := p.oldest; l != nil; {
		next := l.newer
		if idle := now.Sub(l.idleSince); idle > IdleConnTimeout || !l.usable(idle) {
			p.remove(l)
			gone = append(gone, l)
		}
		l = next
	}
	for origin, links := range p.byOrigin {
		if len(links) == 0 {
			delete(p.byOrigin, origin)
		}
	}
	if p.sweeper = nil; p.count > 0 && !p.closed {
		p.sweeper = time.AfterFunc(sweepInterval, p.sweep)
	}
	p.mu.Unlock()
	closeLinks(gone)
}

// close drops what is idle, and all that would become idle later.
func (p *idlePool) close() {
	p.mu.Lock()
	p.closed = true
	var gone []*link
	for p.oldest != nil {
		gone = append(gone, p.oldest)
		p.remove(p.oldest)
	}
	clear(p.byOrigin)
	if p.sweeper != nil {
		p.sweeper.Stop()
		p.sweeper = nil
	}
	p.mu.Unlock()
	closeLinks(gone)
}

func closeLinks(links []*link) {
	for _, l := range links {
		l.close()
	}
}
