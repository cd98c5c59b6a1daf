package api

import (
	"sync"

	"github.com/cybervault/cybervault"
)

// places bounds how many calls that last are under way at once.
type places struct {
	what          string // in words, for the refusal
	perWorkspace  int
	all           int
	mu            sync.Mutex
	taken         int
	takenByTenant map[cybervault.WorkspaceID]int
}

// take takes a place, which leave gives back. CodeUnavailable when there is none.
func (p *places) take(ws cybervault.WorkspaceID) (leave func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken >= p.all || p.takenByTenant[ws] >= p.perWorkspace {
		return nil, cybervault.Errorf(cybervault.CodeUnavailable, "too many %s are open, %d of this workspace: close one, or try again later", p.what, p.takenByTenant[ws])
	}
	if p.takenByTenant == nil {
		p.takenByTenant = map[cybervault.WorkspaceID]int{}
	}
	p.taken++
	p.takenByTenant[ws]++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.taken--
		if p.takenByTenant[ws]--; p.takenByTenant[ws] == 0 {
			delete(p.takenByTenant, ws)
		}
	}, nil
}
