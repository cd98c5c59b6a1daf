// Package observe tells people how the server is doing: the metrics that
// /metrics shows, and a signal for pages that follow what happens.
//
// It stands beside the flow: stages report to it through small interfaces of
// their own. It never decides anything, never blocks a stage, and holds no
// secret, payload or signature.
package observe

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/cybervault/cybervault"
)

// Queue tells what waits, for the gauges.
type Queue interface {
	// Pending counts the deliveries that have not ended.
	Pending(ctx context.Context) (pending, held int64, err error)
	// StaleResults counts results refused because their lease was lost.
	StaleResults() int64
}

// Dispatcher tells what is under way, for the gauges.
type Dispatcher interface {
	// Running is how many attempts are under way.
	Running() int
	// Lag is how many claimed deliveries wait in memory.
	Lag() int
}

// Metrics counts what happens, in a registry of its own. Safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry
	attempts *prometheus.CounterVec
	ended    *prometheus.CounterVec
	duration prometheus.Histogram
	records  *prometheus.CounterVec
	findings *prometheus.CounterVec
	letGo    prometheus.Counter
	removed  *prometheus.CounterVec
}

// NewMetrics returns metrics for a server of the given version.
func NewMetrics(version string) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "cybervault_attempts_total",
			Help: "Attempts recorded, by failure; an empty failure is a success."}, []string{"failure"}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "cybervault_deliveries_ended_total",
			Help: "Deliveries that an attempt ended, by status."}, []string{"status"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "cybervault_attempt_duration_seconds",
			Help: "Time of one attempt, from its start to the end of what was read.", Buckets: prometheus.ExponentialBuckets(0.001, 2.5, 11)}),
		records: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "cybervault_telemetry_records_total",
			Help: "Telemetry handed in, by whether it could be read."}, []string{"outcome"}),
		findings: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "cybervault_findings_total",
			Help: "Events that the threat engine raised, by event type."}, []string{"event"}),
		letGo: prometheus.NewCounter(prometheus.CounterOpts{Name: "cybervault_findings_dropped_total",
			Help: "Findings in a stream's telemetry that could not be published, and were let go."}),
		removed: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "cybervault_removed_total",
			Help: "What was removed because of its age: events, deliveries, attempts."}, []string{"what"}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "cybervault_build_info",
		Help: "1, with the version as a label.", ConstLabels: prometheus.Labels{"version": version}})
	build.Set(1)
	m.registry.MustRegister(build, m.attempts, m.ended, m.duration, m.records, m.findings, m.letGo, m.removed,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Follow adds the gauges of the queue and the dispatcher.
func (m *Metrics) Follow(q Queue, d Dispatcher) {
	gauge := func(name, help string, value func() float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
	}
	gauge("cybervault_attempts_running", "Attempts under way.", func() float64 { return float64(d.Running()) })
	gauge("cybervault_deliveries_in_memory", "Claimed deliveries that wait in memory.", func() float64 { return float64(d.Lag()) })
	m.registry.MustRegister(
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "cybervault_stale_results_total",
			Help: "Results refused because their lease had ended."}, func() float64 { return float64(q.StaleResults()) }),
		&queueCollector{queue: q})
}

// EngineStats is what the threat engine holds and has done.
type EngineStats struct {
	OpenAttacks    int   // held in memory
	WatchedSources int   // addresses and accounts in the windows
	Evicted        int64 // attacks and sources forgotten for want of room
	LateRecords    int64 // too old for their window to count
	Hidden         int64 // detections left out because a rule is off or excepted
	Failed         int64 // records that rules failed on
}

// FollowEngine adds the gauges of the threat engine.
func (m *Metrics) FollowEngine(stats func() EngineStats) {
	gauge := func(name, help string, value func(EngineStats) float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return value(stats()) }))
	}
	counter := func(name, help string, value func(EngineStats) float64) {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return value(stats()) }))
	}
	gauge("cybervault_engine_open_attacks", "Attacks that the threat engine holds in memory.", func(s EngineStats) float64 { return float64(s.OpenAttacks) })
	gauge("cybervault_engine_watched_sources", "Addresses and accounts that the threat engine watches.", func(s EngineStats) float64 { return float64(s.WatchedSources) })
	counter("cybervault_engine_evicted_total", "Attacks and sources forgotten for want of room.", func(s EngineStats) float64 { return float64(s.Evicted) })
	counter("cybervault_engine_late_records_total", "Records that came too late to count.", func(s EngineStats) float64 { return float64(s.LateRecords) })
	counter("cybervault_detections_hidden_total", "Detections left out because people turned a rule off or made an exception.", func(s EngineStats) float64 { return float64(s.Hidden) })
	counter("cybervault_engine_failed_total", "Requests that the rule set failed on, which count as harmless.", func(s EngineStats) float64 { return float64(s.Failed) })
}

// Load is how near the server is to its bounds.
type Load struct {
	DiskFree, DiskReserve int64            // bytes; both 0 where the disk is another machine's
	BodyBytes             int64            // of requests, held now
	QueueBytes            int64            // handed to the store, not yet in a transaction
	Requests              int64            // under way
	Refused               map[string]int64 // publishes answered with 503, by reason
}

// FollowLoad adds the gauges of what is bounded, and the counts of what was
// refused for that.
func (m *Metrics) FollowLoad(load func() Load) { m.registry.MustRegister(loadCollector{load}) }

type loadCollector struct{ load func() Load }

var (
	diskFreeDesc    = prometheus.NewDesc("cybervault_disk_free_bytes", "Bytes that the disk of the embedded store has left.", nil, nil)
	diskReserveDesc = prometheus.NewDesc("cybervault_disk_reserve_bytes", "Bytes that must stay free there, or nothing is published.", nil, nil)
	bodiesDesc      = prometheus.NewDesc("cybervault_request_body_bytes", "Bytes of request bodies in memory.", nil, nil)
	queueBytesDesc  = prometheus.NewDesc("cybervault_store_queue_bytes", "Bytes that wait for a commit.", nil, nil)
	requestsDesc    = prometheus.NewDesc("cybervault_requests_running", "Requests to the API under way.", nil, nil)
	refusedDesc     = prometheus.NewDesc("cybervault_publish_refused_total", "Publishes answered with 503, by what there was too little of.", []string{"reason"}, nil)
)

func (loadCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{diskFreeDesc, diskReserveDesc, bodiesDesc, queueBytesDesc, requestsDesc, refusedDesc} {
		ch <- d
	}
}

func (c loadCollector) Collect(ch chan<- prometheus.Metric) {
	l := c.load()
	gauge := func(d *prometheus.Desc, n int64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n))
	}
	if l.DiskFree > 0 || l.DiskReserve > 0 {
		gauge(diskFreeDesc, l.DiskFree)
		gauge(diskReserveDesc, l.DiskReserve)
	}
	gauge(bodiesDesc, l.BodyBytes)
	gauge(queueBytesDesc, l.QueueBytes)
	gauge(requestsDesc, l.Requests)
	for reason, n := range l.Refused {
		ch <- prometheus.MustNewConstMetric(refusedDesc, prometheus.CounterValue, float64(n), reason)
	}
}

// Handler serves the metrics in the Prometheus text format.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry})
}

// Recorded counts a result.
func (m *Metrics) Recorded(r *cybervault.Result) {
	m.attempts.WithLabelValues(string(r.Attempt.Failure)).Inc()
	m.duration.Observe(r.Attempt.Elapsed.Seconds())
	if r.Status.Ended() {
		m.ended.WithLabelValues(string(r.Status)).Inc()
	}
}

// Ingested counts telemetry.
func (m *Metrics) Ingested(records, unreadable int) {
	m.records.WithLabelValues("read").Add(float64(records))
	m.records.WithLabelValues("unreadable").Add(float64(unreadable))
}

// Removed counts what was removed because of its age.
func (m *Metrics) Removed(events, deliveries, attempts int64) {
	m.removed.WithLabelValues("events").Add(float64(events))
	m.removed.WithLabelValues("deliveries").Add(float64(deliveries))
	m.removed.WithLabelValues("attempts").Add(float64(attempts))
}

// LetGo counts findings that could not be published.
func (m *Metrics) LetGo(n int) { m.letGo.Add(float64(n)) }

// Found counts an event that the threat engine raised.
func (m *Metrics) Found(eventType string) { m.findings.WithLabelValues(eventType).Inc() }

// queueCollector reads the queue when it is asked for, within a second.
type queueCollector struct{ queue Queue }

var queueDesc = prometheus.NewDesc("cybervault_deliveries_waiting", "Deliveries that have not ended, by status.", []string{"status"}, nil)

func (*queueCollector) Describe(ch chan<- *prometheus.Desc) { ch <- queueDesc }

func (c *queueCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	pending, held, err := c.queue.Pending(ctx)
	if err != nil {
		return // a missing gauge says more than a wrong one
	}
	ch <- prometheus.MustNewConstMetric(queueDesc, prometheus.GaugeValue, float64(pending), string(cybervault.DeliveryPending))
	ch <- prometheus.MustNewConstMetric(queueDesc, prometheus.GaugeValue, float64(held), string(cybervault.DeliveryHeld))
}

// Changes is a signal that something was committed, for pages that follow it.
// Signals that nobody has taken yet are one. Safe for concurrent use.
type Changes struct {
	mu       sync.Mutex
	watchers map[chan struct{}]bool
	closed   bool
}

// Close closes every watcher's channel, so that those who follow end.
func (c *Changes) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for ch := range c.watchers {
		close(ch)
	}
	c.watchers, c.closed = nil, true
}

// Watch returns a channel that is sent to after changes and closed by Close,
// and a function that ends the watch.
func (c *Changes) Watch() (changed <-chan struct{}, stop func()) {
	ch := make(chan struct{}, 1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		close(ch)
		return ch, func() {}
	}
	if c.watchers == nil {
		c.watchers = map[chan struct{}]bool{}
	}
	c.watchers[ch] = true
	return ch, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.watchers, ch)
	}
}

// Signal tells every watcher. It never blocks.
func (c *Changes) Signal() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for ch := range c.watchers {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}
