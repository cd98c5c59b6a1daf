package observe

import "github.com/prometheus/client_golang/prometheus"

// StreamStats are the figures of one source of telemetry that reads a stream engine.
type StreamStats struct {
	Stream    string  // "kafka" or "nats"
	Connected bool    // to the stream engine
	LastError float64 // Unix seconds; 0: none yet
	Retries   int64   // tries of a batch that were not taken
	Topics    map[string]TopicStats
}

// TopicStats are those of one of its topics.
type TopicStats struct {
	Records    int64 // read off the stream
	Unreadable int64 // of which nothing could be read
	Unkeyed    int64 // without a key
	Repeated   int64 // handed out again, and known to have been judged
	Lag        int64 // written and not yet acknowledged
	LagKnown   bool
}

// FollowStreams adds the figures of the streams.
func (m *Metrics) FollowStreams(stats func() []StreamStats) {
	m.registry.MustRegister(streamCollector{stats})
}

type streamCollector struct{ stats func() []StreamStats }

var (
	streamLabels         = []string{"stream"}
	topicLabels          = []string{"stream", "topic"}
	streamConnectedDesc  = prometheus.NewDesc("cybervault_stream_connected", "1 while the stream engine can be reached.", streamLabels, nil)
	streamLastErrorDesc  = prometheus.NewDesc("cybervault_stream_last_error_timestamp_seconds", "When the stream last had an error; 0: never.", streamLabels, nil)
	streamRetriesDesc    = prometheus.NewDesc("cybervault_stream_retries_total", "Tries of a batch that the engine or the store did not take.", streamLabels, nil)
	streamRecordsDesc    = prometheus.NewDesc("cybervault_stream_records_total", "Records read off a stream.", topicLabels, nil)
	streamUnreadableDesc = prometheus.NewDesc("cybervault_stream_unreadable_total", "Records of a stream of which nothing could be read.", topicLabels, nil)
	streamUnkeyedDesc    = prometheus.NewDesc("cybervault_stream_unkeyed_total", "Records of a stream without a key.", topicLabels, nil)
	streamRepeatedDesc   = prometheus.NewDesc("cybervault_stream_repeated_total", "Records of a stream that came again and were not counted twice.", topicLabels, nil)
	streamLagDesc        = prometheus.NewDesc("cybervault_stream_lag", "Records written to a stream and not yet acknowledged.", topicLabels, nil)
)

func (streamCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{streamConnectedDesc, streamLastErrorDesc, streamRetriesDesc, streamRecordsDesc, streamUnreadableDesc, streamUnkeyedDesc, streamRepeatedDesc, streamLagDesc} {
		ch <- d
	}
}

func (c streamCollector) Collect(ch chan<- prometheus.Metric) {
	for _, s := range c.stats() {
		send := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, topic ...string) {
			ch <- prometheus.MustNewConstMetric(d, kind, v, append([]string{s.Stream}, topic...)...)
		}
		connected := 0.0
		if s.Connected {
			connected = 1
		}
		send(streamConnectedDesc, prometheus.GaugeValue, connected)
		send(streamLastErrorDesc, prometheus.GaugeValue, s.LastError)
		send(streamRetriesDesc, prometheus.CounterValue, float64(s.Retries))
		for topic, t := range s.Topics {
			send(streamRecordsDesc, prometheus.CounterValue, float64(t.Records), topic)
			send(streamUnreadableDesc, prometheus.CounterValue, float64(t.Unreadable), topic)
			send(streamUnkeyedDesc, prometheus.CounterValue, float64(t.Unkeyed), topic)
			send(streamRepeatedDesc, prometheus.CounterValue, float64(t.Repeated), topic)
			if t.LagKnown {
				send(streamLagDesc, prometheus.GaugeValue, float64(t.Lag), topic)
			}
		}
	}
}
