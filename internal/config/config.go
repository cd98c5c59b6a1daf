// Package config is the one place where the server's settings are read: each
// from its flag, else its environment variable, else its line in
// cybervault.yaml, else its default.
//
// It stands beside the flow: only app and cli import it, and they hand each
// stage the few values it needs. It reads once, keeps nothing global, opens no
// network or database, and never shows a secret it holds: String, LogValue and
// JSON leave them out.
package config

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

// Formats of the log on stderr.
const (
	LogText = "text"
	LogJSON = "json"
)

// Limits on settings.
const (
	MaxDrainTimeout         = 10 * time.Minute
	MinDisableAfter         = time.Minute
	MaxDisableAfter         = 90 * 24 * time.Hour
	MinIncidentQuiet        = time.Second
	MaxIncidentQuiet        = 30 * 24 * time.Hour
	MaxAllowDestinations    = 1000
	MinBootstrapAPIKeyBytes = 4 // the same as internal/access has for every key
	MaxBootstrapAPIKeyBytes = 512
)

// Config holds every setting of a server, checked. The zero value is not
// usable; start from Default or Flags.Load.
type Config struct {
	Listen            string          // host:port the API and the dashboard are served on; port 0 takes a free one
	DataDir           string          // directory of the embedded store and the key file
	DatabaseURL       string          `json:"-"` // postgres://…; empty: the embedded store in DataDir
	DiskReserve       int64           // bytes that stay free on the disk of the embedded store, or nothing is published; 0: no reserve
	RetrySchedule     []time.Duration // delays after the first, second … failed attempt, before jitter
	AllowDestinations []netip.Prefix  // otherwise refused ranges that webhooks may lead to
	Dev               bool            // loopback destinations over https and http are allowed
	RecoveryLink      bool            // the printed link opens the dashboard although there is an owner
	DisableAfter      time.Duration   // a webhook that has failed every attempt for so long is disabled; 0: never
	Retention         time.Duration   // events older than that are removed, with their deliveries; 0: never
	IncidentQuiet     time.Duration   // an incident that nothing has had to do with for so long is resolved; 0: never
	RetentionDead     time.Duration   // the same for events with a dead letter, if it is longer; 0: never
	LogLevel          slog.Level
	LogFormat         string         // LogText or LogJSON
	SecretKeyFile     string         // empty: see KeyFile
	BootstrapAPIKey   string         `json:"-"` // admin key of the first workspace; empty: none
	DrainTimeout      time.Duration  // how long a graceful stop waits for running attempts
	Kafka             Kafka          // telemetry from Kafka
	NATS              NATS           // telemetry from NATS JetStream
	Syslog            Syslog         // telemetry from senders of syslog
	Detect            Detect         // the threat engine
	PublicURL         string         // scheme, host and port under which people reach the dashboard; empty: not known
	OIDC              OIDC           // the log-in by OpenID Connect
	Paranoia          int            // CRS paranoia level, 1 to 4
	WebSites          map[string]int // hosts with a level of their own
}

// Default returns the settings of a server that was told nothing.
func Default() Config {
	return Config{
		Listen:        "127.0.0.1:8400",
		DataDir:       "cybervault-data",
		DiskReserve:   256 << 20,
		RetrySchedule: cybervault.DefaultRetrySchedule(),
		DisableAfter:  72 * time.Hour,
		Retention:     30 * day,
		RetentionDead: 90 * day,
		IncidentQuiet: day,
		LogLevel:      slog.LevelInfo,
		LogFormat:     LogText,
		DrainTimeout:  10 * time.Second,
		Paranoia:      1,
		Kafka:         Kafka{Group: "cybervault", Start: "earliest"},
		OIDC:          OIDC{Name: "single sign-on"},
		NATS:          NATS{Durable: "cybervault", Start: "earliest"},
	}
}

// KeyFile returns the path of the key that seals secrets at rest:
// SecretKeyFile, or secret.key in DataDir where that is not set.
func (c Config) KeyFile() string {
	if c.SecretKeyFile != "" {
		return c.SecretKeyFile
	}
	return filepath.Join(c.DataDir, "secret.key")
}

// Warnings lists, in words for a person, the settings that are allowed and
// dangerous. A server logs them at start.
func (c Config) Warnings() []string {
	var warnings []string
	if c.Dev {
		warnings = append(warnings, "development mode: webhooks may lead to this machine, over http too; never run it where others can add webhooks")
	}
	if c.RecoveryLink {
		warnings = append(warnings, "the printed link opens the dashboard as an owner: start without recovery-link once somebody is let in again")
	}
	for _, p := range c.AllowDestinations {
		if p.Bits() == 0 {
			warnings = append(warnings, fmt.Sprintf("allow-destination %s opens every address, cloud metadata included", p))
		}
	}
	if n := len(c.BootstrapAPIKey); n > 0 && n < 20 {
		warnings = append(warnings, fmt.Sprintf("the bootstrap API key has only %d characters and can be guessed: use what `openssl rand -hex 32` makes", n))
	}
	if host, _, err := net.SplitHostPort(c.Listen); err == nil && !loopback(host) {
		warnings = append(warnings, fmt.Sprintf("listening on %s, without TLS: put a proxy that ends TLS in front of it", c.Listen))
	}
	return append(append(warnings, c.streamWarnings()...), c.syslogWarnings()...)
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// String shows the settings on one line, without secrets.
func (c Config) String() string {
	var b strings.Builder
	for i, a := range c.attrs() {
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%s=%s", a.Key, a.Value)
	}
	return b.String()
}

// GoString keeps secrets out of %#v.
func (c Config) GoString() string { return "config.Config{" + c.String() + "}" }

// LogValue implements slog.LogValuer, without secrets.
func (c Config) LogValue() slog.Value { return slog.GroupValue(c.attrs()...) }

func (c Config) attrs() []slog.Attr {
	return append([]slog.Attr{
		slog.String("listen", c.Listen),
		slog.String("data", c.DataDir),
		slog.String("database_url", redactURL(c.DatabaseURL)),
		slog.String("disk_reserve", formatSize(c.DiskReserve)),
		slog.String("retry_schedule", cybervault.FormatRetrySchedule(c.RetrySchedule)),
		slog.String("disable_after", cybervault.FormatDuration(c.DisableAfter)),
		slog.String("retention", formatDays(c.Retention)),
		slog.String("retention_dead_letters", formatDays(c.RetentionDead)),
		slog.String("incident_quiet", cybervault.FormatDuration(c.IncidentQuiet)),
		slog.String("allow_destination", rangesText(c.AllowDestinations)),
		slog.Bool("dev", c.Dev),
		slog.Bool("recovery_link", c.RecoveryLink),
		slog.String("log_level", strings.ToLower(c.LogLevel.String())),
		slog.String("log_format", c.LogFormat),
		slog.String("secret_key_file", c.KeyFile()),
		slog.String("bootstrap_api_key", redact(c.BootstrapAPIKey)),
		slog.String("drain_timeout", cybervault.FormatDuration(c.DrainTimeout)),
	}, slices.Concat(c.paranoiaAttrs(), c.streamAttrs(), c.syslogAttrs(), c.oidcAttrs())...)
}

func rangesText(ranges []netip.Prefix) string {
	words := make([]string, len(ranges))
	for i, p := range ranges {
		words[i] = p.String()
	}
	return strings.Join(words, ",")
}

func redact(s string) string {
	if s == "" {
		return ""
	}
	return "(set)"
}

// redactURL keeps what tells one database from another. The query goes as a
// whole, for it may hold a password or the path of a key.
func redactURL(raw string) string {
	if raw == "" {
		return ""
	}
	u, err := url.Parse(raw)
	if err != nil {
		return "(set)"
	}
	u.RawQuery = ""
	return u.Redacted()
}
