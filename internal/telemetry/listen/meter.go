package listen

import (
	"maps"
	"sync"
)

// TransportStats are the figures of one transport.
type TransportStats struct {
	Received    int64 // messages
	Unreadable  int64 // of which nothing, or not all, could be read
	Dropped     int64 // datagrams for which there was no room
	Lost        int64 // taken in, and not judged when the server stopped
	Cut         int64 // messages of which only the beginning was kept
	Refused     int64 // datagrams and connections of senders that are not allowed, and connections beyond the bound
	Connections int64 // open
}

// meter counts. Safe for concurrent use.
type meter struct {
	mu   sync.Mutex
	byIt map[string]TransportStats // by transport
}

func (m *meter) transport(name string) { m.count(name, func(*TransportStats) {}) }

func (m *meter) count(transport string, change func(*TransportStats)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.byIt == nil {
		m.byIt = map[string]TransportStats{}
	}
	t := m.byIt[transport]
	change(&t)
	m.byIt[transport] = t
}

// Stats returns the figures by transport.
func (s *Server) Stats() map[string]TransportStats {
	s.meter.mu.Lock()
	defer s.meter.mu.Unlock()
	return maps.Clone(s.meter.byIt)
}
