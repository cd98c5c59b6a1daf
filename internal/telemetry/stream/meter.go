package stream

import (
	"log/slog"
	"maps"
	"sync"
	"time"
)

// sayEvery is the least time between two lines of the log about the same thing.
const sayEvery = 10 * time.Second

// Stats are the figures of one source.
type Stats struct {
	Stream    string // "kafka" or "nats"
	Connected bool
	LastError time.Time // zero: none yet
	Retries   int64     // tries of a batch that the engine or the store did not take
	Topics    map[string]TopicStats
}

// TopicStats are the figures of a topic, or of a subject's filter.
type TopicStats struct {
	Records    int64 // read off the stream
	Unreadable int64 // of which nothing could be read
	Unkeyed    int64 // without a key, so that partitions do not follow entities
	Repeated   int64 // that had been judged by this process before
	Lag        int64 // written and not yet acknowledged
	LagKnown   bool
}

// Meter counts what a source does, and logs now and then. Safe for concurrent use.
type Meter struct {
	log    *slog.Logger
	now    func() time.Time
	stream string

	mu        sync.Mutex
	connected bool
	trouble   bool // said, and not over
	lastError time.Time
	retries   int64
	topics    map[string]TopicStats
	said      map[string]time.Time // by what about
}

// NewMeter returns the meter of a source.
func NewMeter(stream string, log *slog.Logger, now func() time.Time) *Meter {
	return &Meter{stream: stream, log: Discard(log), now: now, topics: map[string]TopicStats{}, said: map[string]time.Time{}}
}

// Stats returns the figures as they stand.
func (m *Meter) Stats() Stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	return Stats{Stream: m.stream, Connected: m.connected, LastError: m.lastError, Retries: m.retries, Topics: maps.Clone(m.topics)}
}

// Count changes a topic's figures.
func (m *Meter) Count(topic string, change func(*TopicStats)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.topics[topic]
	change(&t)
	m.topics[topic] = t
}

// Retried notes that a batch was not taken.
func (m *Meter) Retried(err error) {
	m.mu.Lock()
	m.retries++
	m.lastError = m.now()
	first := !m.trouble
	m.trouble = true
	m.mu.Unlock()
	if first {
		m.log.Warn("a batch of telemetry waits for the store: nothing is acknowledged meanwhile", slog.String("stream", m.stream), slog.Any("error", err))
	}
}

// Well notes that a batch was taken.
func (m *Meter) Well() {
	m.mu.Lock()
	over := m.trouble
	m.trouble = false
	m.mu.Unlock()
	if over {
		m.log.Info("telemetry is taken again", slog.String("stream", m.stream))
	}
}

// Connected notes whether the stream engine can be reached; err says why not.
// Each change is logged once.
func (m *Meter) Connected(err error) {
	m.mu.Lock()
	was, first := m.connected, m.said["connection"].IsZero()
	m.connected = err == nil
	if err != nil {
		m.lastError = m.now()
	}
	changed := first || was != m.connected
	if changed {
		m.said["connection"] = m.now()
	}
	m.mu.Unlock()
	switch {
	case changed && err != nil:
		m.log.Warn("the stream engine cannot be reached: it is tried again for ever", slog.String("stream", m.stream), slog.Any("error", err))
	case changed:
		m.log.Info("connected to the stream engine", slog.String("stream", m.stream))
	}
}

// Failed notes an error that the source goes on after, and logs it now and then.
func (m *Meter) Failed(what string, err error, attrs ...any) {
	m.mu.Lock()
	m.lastError = m.now()
	m.mu.Unlock()
	if m.Say(what) {
		m.log.Warn("trouble with the stream engine", append([]any{slog.String("stream", m.stream), slog.String("at", what), slog.Any("error", err)}, attrs...)...)
	}
}

// Say reports whether it is time for another line of the log about something.
func (m *Meter) Say(what string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	if last, ok := m.said[what]; ok && now.Sub(last) < sayEvery {
		return false
	}
	m.said[what] = now
	return true
}
