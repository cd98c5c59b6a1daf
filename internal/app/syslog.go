package app

import (
	"github.com/cybervault/cybervault/internal/observe"
	"github.com/cybervault/cybervault/internal/telemetry/listen"
)

// openSyslog binds the addresses that the settings name. Messages are taken in
// once the streams run.
func (a *App) openSyslog(metrics *observe.Metrics) (err error) {
	s := a.cfg.Syslog
	if !s.On() {
		return nil
	}
	if a.syslog, err = listen.New(listen.Config{
		UDP: s.UDP, TCP: s.TCP, TLS: s.TLS, CertFile: s.CertFile, KeyFile: s.KeyFile, ClientCAFile: s.ClientCAFile, Allow: s.Allow,
		Engine: a.feed(), Logger: a.log,
	}); err != nil {
		return err
	}
	metrics.FollowSyslog(func() map[string]observe.SyslogStats {
		all := map[string]observe.SyslogStats{}
		for transport, stats := range a.syslog.Stats() {
			all[transport] = observe.SyslogStats(stats)
		}
		return all
	})
	return nil
}
