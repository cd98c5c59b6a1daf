package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

// envPrefix starts the name of every environment variable.
const envPrefix = "CYBERVAULT_"

// An option is one setting with its three names. set reads its text form, which
// is the same in all three places, and says what would be right when it cannot.
type option struct {
	name   string // of the flag; the variable's and the file key's are made from it
	hint   string // the kind of value, for the help text; empty for a switch
	usage  string
	list   bool // may be given more than once; a list in the file
	noFlag bool // flags show in the process list: not for a secret
	set    func(c *Config, text string) error
}

func (o option) env() string { return envPrefix + strings.ToUpper(o.key()) }
func (o option) key() string { return strings.ReplaceAll(o.name, "-", "_") }

// options lists every setting in the order of the documentation.
func options() []option {
	return append([]option{
		{
			name: "listen", hint: "host:port", usage: "address to serve the API and the dashboard on; port 0 takes a free one",
			set: setListen,
		},
		{
			name: "data", hint: "directory", usage: "where the embedded store and the key file live",
			set: func(c *Config, s string) error { return setText(&c.DataDir, s) },
		},
		{
			name: "database-url", hint: "url", usage: "PostgreSQL to use instead of the embedded store: postgres://user@host:5432/database",
			set: setDatabaseURL,
		},
		{
			name: "disk-reserve", hint: "size", usage: "what must stay free on the disk of the embedded store: below it publishing is refused; 0: no reserve",
			set: setDiskReserve,
		},
		{
			name: "retry-schedule", hint: "delays", usage: "delays after the first, second … failed attempt", list: true,
			set: setRetrySchedule,
		},
		{
			name: "disable-after", hint: "duration", usage: "a webhook that has failed every attempt for so long is disabled; 0s: never",
			set: setDisableAfter,
		},
		{
			name: "retention", hint: "age", usage: "events older than that are removed, with their deliveries and attempts; 0s: never",
			set: setRetention(func(c *Config) *time.Duration { return &c.Retention }),
		},
		{
			name: "retention-dead-letters", hint: "age", usage: "the same for events with a dead letter, where it is longer; 0s: never",
			set: setRetention(func(c *Config) *time.Duration { return &c.RetentionDead }),
		},
		{
			name: "incident-quiet", hint: "duration", usage: "an incident that nothing has had to do with for so long is resolved; 0s: never",
			set: setIncidentQuiet,
		},
		{
			name: "allow-destination", hint: "CIDR", usage: "address range that webhooks may lead to although it is refused by default; repeatable", list: true,
			set: setAllowDestinations,
		},
		{
			name: "dev", usage: "development mode: allow webhooks to lead to this machine, over http too",
			set: setDev,
		},
		{
			name: "recovery-link", usage: "print a link that opens the dashboard although there is an owner, to let somebody in again",
			set: setRecoveryLink,
		},
		{
			name: "log-level", hint: "level", usage: "least level that is logged: debug, info, warn or error",
			set: setLogLevel,
		},
		{
			name: "log-format", hint: "format", usage: "form of the log on stderr: text or json",
			set: setLogFormat,
		},
		{
			name: "secret-key-file", hint: "file", usage: "key that seals secrets at rest (default secret.key in the data directory); made if it does not exist",
			set: func(c *Config, s string) error { return setText(&c.SecretKeyFile, s) },
		},
		{
			name: "bootstrap-api-key", hint: "key", usage: "admin API key of the first workspace", noFlag: true,
			set: setBootstrapAPIKey,
		},
		{
			name: "drain-timeout", hint: "duration", usage: "how long a graceful stop waits for running attempts",
			set: setDrainTimeout,
		},
	}, slices.Concat(paranoiaOptions(), streamOptions(), syslogOptions(), detectOptions(), oidcOptions())...)
}

// defaultText is the default of an option as it would be written.
func (o option) defaultText() string {
	for _, a := range Default().attrs() {
		if a.Key == o.key() && o.name != "secret-key-file" {
			return a.Value.String()
		}
	}
	return ""
}

func setText(field *string, s string) error {
	if strings.TrimSpace(s) == "" || strings.ContainsRune(s, 0) {
		return fmt.Errorf("%q is not a path", s)
	}
	*field = s
	return nil
}

func setListen(c *Config, s string) error { return setAddress(&c.Listen, s, "8400") }

// setAddress reads where to listen; port is the one to show in an example.
func setAddress(field *string, s, port string) error {
	host, given, err := net.SplitHostPort(s)
	if err != nil {
		return fmt.Errorf("%q is not an address to listen on: use host:port, such as 127.0.0.1:%s or [::1]:%s", s, port, port)
	}
	if n, err := strconv.Atoi(given); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("%q has no port between 0 and 65535: use host:port, such as 127.0.0.1:%s", s, port)
	}
	*field = net.JoinHostPort(host, given)
	return nil
}

func setDatabaseURL(c *Config, s string) error {
	if s == "" { // a flag that turns what the environment says off
		c.DatabaseURL = ""
		return nil
	}
	// What is wrong is not quoted back: the text may hold a password.
	u, err := url.Parse(s)
	if err != nil {
		return errors.New("cannot be read as a URL: use postgres://user@host:5432/database, with %-encoding for special characters")
	}
	if u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return errors.New("does not start with postgres:// : use postgres://user@host:5432/database, or leave it out for the embedded store")
	}
	c.DatabaseURL = s
	return nil
}

func setRetrySchedule(c *Config, s string) error {
	schedule, err := cybervault.ParseRetrySchedule(s)
	if err != nil {
		return bare(err)
	}
	if len(schedule) == 0 {
		return errors.New("names no delay: use durations such as 5s,30s,2m")
	}
	c.RetrySchedule = schedule
	return nil
}

func setDisableAfter(c *Config, s string) error {
	d, err := time.ParseDuration(s)
	if err != nil || d != 0 && (d < MinDisableAfter || d > MaxDisableAfter) {
		return fmt.Errorf("%q is neither 0s (never) nor a duration between %s and %s: use a number and a unit, such as 72h",
			s, cybervault.FormatDuration(MinDisableAfter), cybervault.FormatDuration(MaxDisableAfter))
	}
	c.DisableAfter = d
	return nil
}

func setIncidentQuiet(c *Config, s string) error {
	d, err := parseDays(s)
	if err != nil || d != 0 && (d < MinIncidentQuiet || d > MaxIncidentQuiet) {
		return fmt.Errorf("%q is neither 0s (never) nor a duration between %s and %s: use a number and a unit, such as 24h",
			s, cybervault.FormatDuration(MinIncidentQuiet), cybervault.FormatDuration(MaxIncidentQuiet))
	}
	c.IncidentQuiet = d
	return nil
}

func setAllowDestinations(c *Config, s string) (err error) {
	c.AllowDestinations, err = parseRanges(s)
	return err
}

func parseRanges(s string) ([]netip.Prefix, error) {
	words := strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
	if len(words) > MaxAllowDestinations {
		return nil, fmt.Errorf("has %d ranges, more than %d: join neighbours into wider ones", len(words), MaxAllowDestinations)
	}
	ranges := make([]netip.Prefix, 0, len(words))
	for _, word := range words {
		p, err := parseRange(word)
		if err != nil {
			return nil, err
		}
		ranges = append(ranges, p)
	}
	return ranges, nil
}

func parseRange(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
			return p, fmt.Errorf("%q is an address, not a range: write %s/%d for this one alone", s, addr, addr.BitLen())
		}
		return p, fmt.Errorf("%q is not a range of addresses: use CIDR form, such as 10.1.0.0/16 or fd00:1::/64", s)
	}
	if p.Addr().Is4In6() {
		return p, fmt.Errorf("%q is an IPv4 range in IPv6 form: write it as IPv4, such as 10.1.0.0/16", s)
	}
	if p != p.Masked() {
		return p, fmt.Errorf("%q has bits set beyond its mask: write %s for the range, or %s/%d for the one address", s, p.Masked(), p.Addr(), p.Addr().BitLen())
	}
	return p, nil
}

func setDev(c *Config, s string) error {
	return setSwitch(&c.Dev, s)
}

func setRecoveryLink(c *Config, s string) error {
	return setSwitch(&c.RecoveryLink, s)
}

func setLogLevel(c *Config, s string) error {
	switch strings.ToLower(s) {
	case "debug":
		c.LogLevel = slog.LevelDebug
	case "info":
		c.LogLevel = slog.LevelInfo
	case "warn":
		c.LogLevel = slog.LevelWarn
	case "error":
		c.LogLevel = slog.LevelError
	default:
		return fmt.Errorf("%q is not a level: use debug, info, warn or error", s)
	}
	return nil
}

func setLogFormat(c *Config, s string) error {
	if s != LogText && s != LogJSON {
		return fmt.Errorf("%q is not a log format: use text or json", s)
	}
	c.LogFormat = s
	return nil
}

func setBootstrapAPIKey(c *Config, s string) error {
	// Never quoted back. Only what can stand in an Authorization header.
	if len(s) < MinBootstrapAPIKeyBytes || len(s) > MaxBootstrapAPIKeyBytes || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fmt.Errorf("is not usable as an API key: use %d to %d visible ASCII characters without spaces, for example from `openssl rand -hex 32`", MinBootstrapAPIKeyBytes, MaxBootstrapAPIKeyBytes)
	}
	c.BootstrapAPIKey = s
	return nil
}

func setDrainTimeout(c *Config, s string) error {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d > MaxDrainTimeout {
		return fmt.Errorf("%q is not a duration between 0s and %s: use a number and a unit, such as 10s", s, cybervault.FormatDuration(MaxDrainTimeout))
	}
	c.DrainTimeout = d
	return nil
}
