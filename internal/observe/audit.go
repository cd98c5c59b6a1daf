package observe

import "github.com/prometheus/client_golang/prometheus"

// Audit is how far the audit log has come.
type Audit struct {
	Entries int64
	Behind  int64 // transactions that it has yet to read
}

// FollowAudit adds the gauges of the audit log. look is false when nobody can
// tell now.
func (m *Metrics) FollowAudit(look func() (Audit, bool)) {
	m.registry.MustRegister(auditCollector{look})
}

type auditCollector struct{ look func() (Audit, bool) }

var (
	auditEntriesDesc = prometheus.NewDesc("cybervault_audit_log_entries", "Entries of the audit log.", nil, nil)
	auditBehindDesc  = prometheus.NewDesc("cybervault_audit_log_behind", "Transactions that the audit log has yet to read, 2000 at most.", nil, nil)
)

func (auditCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- auditEntriesDesc
	ch <- auditBehindDesc
}

func (c auditCollector) Collect(ch chan<- prometheus.Metric) {
	a, ok := c.look()
	if !ok {
		return // a missing gauge says more than a wrong one
	}
	ch <- prometheus.MustNewConstMetric(auditEntriesDesc, prometheus.GaugeValue, float64(a.Entries))
	ch <- prometheus.MustNewConstMetric(auditBehindDesc, prometheus.GaugeValue, float64(a.Behind))
}
