package sigma

import (
	"encoding/gob"
	"fmt"
	"io"
)

// correlatorVersion is of the form that Save writes. A state of another form is
// not read: windows that begin anew are better than windows read wrongly.
const correlatorVersion = 1

type correlatorState struct {
	Version int
	Stats   CorrelatorStats
	Shelves []shelfState
}

type shelfState struct {
	Key, Print string
	Groups     []groupState // the stalest first
}

type groupState struct {
	Key   string
	Group group
}

// Save writes down what the correlator remembers.
func (c *Correlator) Save(w io.Writer) error {
	s := correlatorState{Version: correlatorVersion, Stats: c.stats}
	for i, p := range c.plan.all {
		sh := shelfState{Key: p.key, Print: p.print}
		for e := c.shelves[i].back; e != nil; e = e.prev {
			sh.Groups = append(sh.Groups, groupState{e.key, e.group})
		}
		s.Shelves = append(s.Shelves, sh)
	}
	return gob.NewEncoder(w).Encode(s)
}

// LoadCorrelator returns a correlator that remembers what was saved of the
// correlations that have not changed since.
func (e *Engine) LoadCorrelator(r io.Reader) (*Correlator, error) {
	var s correlatorState
	if err := gob.NewDecoder(r).Decode(&s); err != nil {
		return nil, fmt.Errorf("the windows of correlations cannot be read: %w", err)
	}
	if s.Version != correlatorVersion {
		return nil, fmt.Errorf("the windows of correlations are of form %d, not %d", s.Version, correlatorVersion)
	}
	c := e.NewCorrelator()
	c.stats = s.Stats
	for i, p := range c.plan.all {
		for _, sh := range s.Shelves {
			if sh.Key != p.key || sh.Print != p.print {
				continue
			}
			for _, g := range sh.Groups {
				if !g.Group.sound(len(p.c.Rules)) {
					return nil, fmt.Errorf("the windows of the correlation %q are damaged", p.info.Title)
				}
				en := c.shelves[i].get(g.Key)
				en.group = g.Group
				c.charge(i, en)
			}
		}
	}
	return c, nil
}

// sound reports whether a group that was read can be worked with.
func (g *group) sound(rules int) bool {
	for i := range g.Entries {
		e := &g.Entries[i]
		if e.Rule < 0 || int(e.Rule) >= rules || i > 0 && e.At < g.Entries[i-1].At || e.Last < e.At || e.Set != nil && len(e.Set.Registers) != 0 && len(e.Set.Registers) != 4096 {
			return false
		}
	}
	return len(g.Entries) == 0 || g.Newest >= g.Entries[len(g.Entries)-1].At
}
