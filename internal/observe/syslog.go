package observe

import "github.com/prometheus/client_golang/prometheus"

// SyslogStats are the figures of syslog over one transport.
type SyslogStats struct {
	Received    int64 // messages
	Unreadable  int64 // of which something could not be read
	Dropped     int64 // datagrams for which there was no room
	Lost        int64 // taken in, and not judged when the server stopped
	Cut         int64 // of which only the beginning was kept
	Refused     int64 // datagrams and connections
	Connections int64 // open
}

// FollowSyslog adds the figures of the listeners for syslog, by transport.
func (m *Metrics) FollowSyslog(stats func() map[string]SyslogStats) {
	m.registry.MustRegister(syslogCollector{stats})
}

type syslogCollector struct{ stats func() map[string]SyslogStats }

var (
	syslogLabels          = []string{"transport"}
	syslogReceivedDesc    = prometheus.NewDesc("cybervault_syslog_messages_total", "Messages that senders of syslog sent.", syslogLabels, nil)
	syslogUnreadableDesc  = prometheus.NewDesc("cybervault_syslog_unreadable_total", "Messages of syslog that could not be read.", syslogLabels, nil)
	syslogDroppedDesc     = prometheus.NewDesc("cybervault_syslog_dropped_total", "Messages of syslog that were lost, because there was no room or because the server stopped.", []string{"transport", "reason"}, nil)
	syslogCutDesc         = prometheus.NewDesc("cybervault_syslog_cut_total", "Messages of syslog that were too long, and of which only the beginning was read.", syslogLabels, nil)
	syslogRefusedDesc     = prometheus.NewDesc("cybervault_syslog_refused_total", "Datagrams and connections of senders that are not allowed, and connections beyond the bound.", syslogLabels, nil)
	syslogConnectionsDesc = prometheus.NewDesc("cybervault_syslog_connections", "Senders of syslog that are connected.", syslogLabels, nil)
)

func (syslogCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{syslogReceivedDesc, syslogUnreadableDesc, syslogDroppedDesc, syslogCutDesc, syslogRefusedDesc, syslogConnectionsDesc} {
		ch <- d
	}
}

func (c syslogCollector) Collect(ch chan<- prometheus.Metric) {
	for transport, s := range c.stats() {
		send := func(d *prometheus.Desc, kind prometheus.ValueType, v int64, reason ...string) {
			ch <- prometheus.MustNewConstMetric(d, kind, float64(v), append([]string{transport}, reason...)...)
		}
		send(syslogReceivedDesc, prometheus.CounterValue, s.Received)
		send(syslogUnreadableDesc, prometheus.CounterValue, s.Unreadable)
		send(syslogDroppedDesc, prometheus.CounterValue, s.Dropped, "full")
		send(syslogDroppedDesc, prometheus.CounterValue, s.Lost, "stopped")
		send(syslogCutDesc, prometheus.CounterValue, s.Cut)
		send(syslogRefusedDesc, prometheus.CounterValue, s.Refused)
		send(syslogConnectionsDesc, prometheus.GaugeValue, s.Connections)
	}
}
