package config

import (
	"log/slog"
	"net"
	"net/netip"

	"github.com/cybervault/cybervault"
)

// Syslog says where senders of syslog are listened to. It is off without an
// address.
type Syslog struct {
	UDP, TCP, TLS string // host:port each; empty: not listened on
	CertFile      string // of the server, PEM
	KeyFile       string
	ClientCAFile  string         // senders over TLS must show a certificate of these; empty: they need none
	Allow         []netip.Prefix // senders; none: everybody
}

// On reports whether anything is listened on.
func (s Syslog) On() bool { return s.UDP != "" || s.TCP != "" || s.TLS != "" }

// syslogOptions lists the settings of the listeners for syslog.
func syslogOptions() []option {
	return []option{
		{
			name: "syslog-udp", hint: "host:port", usage: "address to take syslog in on over UDP, such as 0.0.0.0:514",
			set: func(c *Config, s string) error { return setAddress(&c.Syslog.UDP, s, "514") },
		},
		{
			name: "syslog-tcp", hint: "host:port", usage: "address to take syslog in on over TCP",
			set: func(c *Config, s string) error { return setAddress(&c.Syslog.TCP, s, "601") },
		},
		{
			name: "syslog-tls", hint: "host:port", usage: "address to take syslog in on over TLS",
			set: func(c *Config, s string) error { return setAddress(&c.Syslog.TLS, s, "6514") },
		},
		{
			name: "syslog-tls-cert-file", hint: "file", usage: "certificate of the listener for syslog over TLS, PEM",
			set: func(c *Config, s string) error { return setText(&c.Syslog.CertFile, s) },
		},
		{
			name: "syslog-tls-key-file", hint: "file", usage: "key of that certificate, PEM",
			set: func(c *Config, s string) error { return setText(&c.Syslog.KeyFile, s) },
		},
		{
			name: "syslog-tls-client-ca-file", hint: "file", usage: "certificate authorities, PEM: senders over TLS must show a certificate of theirs",
			set: func(c *Config, s string) error { return setText(&c.Syslog.ClientCAFile, s) },
		},
		{
			name: "syslog-allow", hint: "CIDR", usage: "addresses that syslog is taken from; without one, from everybody; repeatable", list: true,
			set: func(c *Config, s string) (err error) { c.Syslog.Allow, err = parseRanges(s); return err },
		},
	}
}

// checkSyslog finds what single settings cannot show.
func (c Config) checkSyslog() []error {
	s := c.Syslog
	wrong := func(field, message string) []error {
		return []error{cybervault.Invalid(field, "%s", message)}
	}
	switch {
	case s.TLS != "" && s.CertFile == "":
		return wrong("syslog-tls-cert-file", "is missing: --syslog-tls needs a certificate")
	case s.TLS != "" && s.KeyFile == "":
		return wrong("syslog-tls-key-file", "is missing: --syslog-tls needs the key of its certificate")
	case s.TLS == "" && (s.CertFile != "" || s.KeyFile != "" || s.ClientCAFile != ""):
		return wrong("syslog-tls", "is missing: files for it were named; say where to listen, such as --syslog-tls 0.0.0.0:6514")
	case !s.On() && len(s.Allow) > 0:
		return wrong("syslog-allow", "stands without a listener: add --syslog-udp, --syslog-tcp or --syslog-tls")
	}
	return nil
}

// syslogWarnings lists what is allowed and dangerous: who may send lines may
// make others look like attackers.
func (c Config) syslogWarnings() []string {
	open := func(address string) bool {
		host, _, err := net.SplitHostPort(address)
		return address != "" && err == nil && !loopback(host)
	}
	s := c.Syslog
	if len(s.Allow) == 0 && (open(s.UDP) || open(s.TCP) || open(s.TLS) && s.ClientCAFile == "") {
		return []string{"syslog is taken from whoever can reach the port, who may then forge events: name the senders with --syslog-allow, or take it over TLS with --syslog-tls-client-ca-file only"}
	}
	return nil
}

func (c Config) syslogAttrs() []slog.Attr {
	s := c.Syslog
	return []slog.Attr{
		slog.String("syslog_udp", s.UDP),
		slog.String("syslog_tcp", s.TCP),
		slog.String("syslog_tls", s.TLS),
		slog.String("syslog_tls_cert_file", s.CertFile),
		slog.String("syslog_tls_key_file", s.KeyFile),
		slog.String("syslog_tls_client_ca_file", s.ClientCAFile),
		slog.String("syslog_allow", rangesText(s.Allow)),
	}
}
