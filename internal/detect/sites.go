package detect

import (
	"net"
	"strings"
	"sync"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/detect/web"
)

// ruleSets are the inspectors of the paranoia levels that sites ask for. Each is
// loaded when the first request for it is seen: some 100 ms of processor time
// and 30 MB.
type ruleSets struct {
	noGate bool

	mu      sync.Mutex
	byLevel map[int]*web.Inspector
}

func (s *ruleSets) get(level int) (*web.Inspector, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if in := s.byLevel[level]; in != nil {
		return in, nil
	}
	in, err := web.New(web.Config{Paranoia: level, NoGate: s.noGate})
	if err != nil {
		return nil, err
	}
	if s.byLevel == nil {
		s.byLevel = map[int]*web.Inspector{}
	}
	s.byLevel[level] = in
	return in, nil
}

// counts sums up what the inspectors of sites have done.
func (s *ruleSets) counts() (inspected, asked int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, in := range s.byLevel {
		n, m := in.Counts()
		inspected, asked = inspected+n, asked+m
	}
	return inspected, asked
}

// rulesFor returns the rule set of the site that a request is for: of its host,
// without a port, or else the usual one.
func (e *Engine) rulesFor(rec *cybervault.Record) (*web.Inspector, error) {
	if len(e.cfg.Sites) > 0 {
		if level, ok := e.cfg.Sites[siteOf(rec)]; ok && level != e.cfg.Paranoia {
			return e.sites.get(level)
		}
	}
	return e.rules()
}

func siteOf(rec *cybervault.Record) string {
	host := rec.Fields[cybervault.FieldWebHost]
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// checkLevel reports a paranoia level that CRS does not have.
func checkLevel(field string, level int) error {
	if level < 1 || level > 4 {
		return cybervault.Invalid(field, "%d is not a CRS paranoia level: use 1 (few false alarms) to 4", level)
	}
	return nil
}
