package web

import "time"

// KeptProbes is what is remembered of one address, written down.
type KeptProbes struct {
	Key      string
	Paths    []KeptPath
	Requests []time.Time
	Hot      [2]time.Time
}

// KeptPath is a path that an address asked for in vain.
type KeptPath struct {
	Path   string
	Weight int
	Told   bool
	At     time.Time
}

// Keep returns what the detector remembers, the address longest unseen first.
func (s *Scans) Keep() []KeptProbes {
	out := make([]KeptProbes, 0, len(s.bySource))
	for el := s.recent.Back(); el != nil; el = el.Prev() {
		p := el.Value.(*probing)
		k := KeptProbes{Key: p.key, Requests: p.requests, Hot: p.hot}
		for _, q := range p.paths {
			k.Paths = append(k.Paths, KeptPath{q.path, q.weight, q.told, q.at})
		}
		out = append(out, k)
	}
	return out
}

// RestoreScans returns a detector that remembers what was kept.
func RestoreScans(all []KeptProbes) *Scans {
	s := NewScans()
	for _, k := range all[max(0, len(all)-maxProbeSources):] {
		p := &probing{key: k.Key, requests: k.Requests, hot: k.Hot}
		for _, q := range k.Paths {
			p.paths = append(p.paths, probedPath{q.Path, q.Weight, q.Told, q.At})
		}
		s.bySource[k.Key] = s.recent.PushFront(p)
	}
	return s
}
