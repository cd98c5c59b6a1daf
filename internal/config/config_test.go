package config_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/spf13/pflag"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/config"
)

var comparePrefixes = cmpopts.EquateComparable(netip.Prefix{})

// load runs the three sources together; file is the content of a file named by
// --config, "" for none.
func load(t *testing.T, args []string, env map[string]string, file string) (config.Config, error) {
	t.Helper()
	fs := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	flags := config.Bind(fs)
	path := filepath.Join(t.TempDir(), "cybervault.yaml")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := fs.Parse(append([]string{"--config", path}, args...)); err != nil {
		t.Fatalf("parse flags: %v", err)
	}
	return flags.Load(func(name string) (string, bool) { v, ok := env[name]; return v, ok })
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	got, err := load(t, nil, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(config.Default(), got, comparePrefixes); diff != "" {
		t.Errorf("a server that was told nothing (-want +got):\n%s", diff)
	}
	if got.Listen != "127.0.0.1:8400" || got.DataDir != "cybervault-data" || got.DrainTimeout != 10*time.Second {
		t.Errorf("defaults are not the documented ones: %v", got)
	}
	if want := filepath.Join("cybervault-data", "secret.key"); got.KeyFile() != want {
		t.Errorf("KeyFile() = %q, want %q", got.KeyFile(), want)
	}
	if w := got.Warnings(); len(w) != 0 {
		t.Errorf("the defaults warn: %v", w)
	}
}

// Every setting is read from each of its places, in the same text form.
func TestEverySettingFromEveryPlace(t *testing.T) {
	t.Parallel()
	want := config.Config{
		Listen: "[::1]:0", DataDir: "/var/lib/cybervault", DatabaseURL: "postgres://cv:pw@db:5432/cv",
		DiskReserve:       2 << 30,
		RetrySchedule:     []time.Duration{time.Second, 5 * time.Minute},
		AllowDestinations: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00:1::/64")},
		Dev:               true, RecoveryLink: true, LogLevel: slog.LevelDebug, LogFormat: config.LogJSON,
		SecretKeyFile: "/run/key", DrainTimeout: 3 * time.Second, DisableAfter: 24 * time.Hour, Retention: 7 * 24 * time.Hour, RetentionDead: 36 * time.Hour, IncidentQuiet: 2 * time.Hour,
		Paranoia: 1, Kafka: config.Default().Kafka, NATS: config.Default().NATS, OIDC: config.Default().OIDC, // streams_test.go and oidc_test.go set them
	}
	cases := map[string]struct {
		args []string
		env  map[string]string
		file string
		key  string // bootstrap key: it has no flag
	}{
		"flags": {args: []string{
			"--listen", "[::1]:0", "--data", "/var/lib/cybervault", "--database-url", "postgres://cv:pw@db:5432/cv",
			"--retry-schedule", "1s,5m", "--allow-destination", "10.1.0.0/16", "--allow-destination=fd00:1::/64",
			"--dev", "--recovery-link", "--log-level", "debug", "--log-format", "json", "--secret-key-file", "/run/key", "--drain-timeout", "3s", "--disable-after", "24h",
			"--retention", "7d", "--retention-dead-letters", "36h", "--incident-quiet", "2h", "--disk-reserve", "2GiB",
		}},
		"environment": {key: "bootstrap-key-of-the-environment", env: map[string]string{
			"CYBERVAULT_LISTEN": "[::1]:0", "CYBERVAULT_DATA": "/var/lib/cybervault", "CYBERVAULT_DATABASE_URL": "postgres://cv:pw@db:5432/cv",
			"CYBERVAULT_RETRY_SCHEDULE": "1s 5m", "CYBERVAULT_ALLOW_DESTINATION": "10.1.0.0/16,fd00:1::/64",
			"CYBERVAULT_DEV": "1", "CYBERVAULT_RECOVERY_LINK": "true", "CYBERVAULT_LOG_LEVEL": "DEBUG", "CYBERVAULT_LOG_FORMAT": "json",
			"CYBERVAULT_SECRET_KEY_FILE": "/run/key", "CYBERVAULT_DRAIN_TIMEOUT": "3s", "CYBERVAULT_DISABLE_AFTER": "24h",
			"CYBERVAULT_RETENTION": "7d", "CYBERVAULT_RETENTION_DEAD_LETTERS": "36h", "CYBERVAULT_INCIDENT_QUIET": "2h", "CYBERVAULT_DISK_RESERVE": "2048 MB",
			"CYBERVAULT_BOOTSTRAP_API_KEY": "bootstrap-key-of-the-environment",
		}},
		"file": {key: "0123456789012345", file: `
# all of them
listen: "[::1]:0"
data: /var/lib/cybervault
database_url: postgres://cv:pw@db:5432/cv
retry_schedule: [1s, 5m]
allow_destination:
  - 10.1.0.0/16   # the office
  - fd00:1::/64
dev: true
recovery_link: true
log_level: debug
log_format: json
secret_key_file: /run/key
bootstrap_api_key: 0123456789012345
drain_timeout: 3s
disable_after: 24h
retention: 7d
retention_dead_letters: 36h
incident_quiet: 2h
disk_reserve: 2g
`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := load(t, tc.args, tc.env, tc.file)
			if err != nil {
				t.Fatal(err)
			}
			want := want
			want.BootstrapAPIKey = tc.key
			if diff := cmp.Diff(want, got, comparePrefixes); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestFlagBeatsEnvironmentBeatsFile(t *testing.T) {
	t.Parallel()
	env := map[string]string{"CYBERVAULT_LISTEN": "127.0.0.1:2", "CYBERVAULT_DATA": "from-environment", "CYBERVAULT_LOG_LEVEL": ""}
	file := "listen: 127.0.0.1:3\ndata: from-file\nlog_level: warn\ndev: true\n"
	got, err := load(t, []string{"--listen", "127.0.0.1:1", "--dev=false"}, env, file)
	if err != nil {
		t.Fatal(err)
	}
	if got.Listen != "127.0.0.1:1" || got.DataDir != "from-environment" || got.LogLevel != slog.LevelWarn || got.Dev {
		t.Errorf("got %v; want the flag's listen and dev, the environment's data, the file's log level (an empty variable counts as not set)", got)
	}
}

func TestWrongSettings(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		args  []string
		env   map[string]string
		file  string
		field string // suffix of the error's field
		says  string
	}{
		"flag":                {args: []string{"--listen", "8400"}, field: "--listen", says: "use host:port"},
		"port":                {args: []string{"--listen", "127.0.0.1:99999"}, field: "--listen", says: "between 0 and 65535"},
		"variable":            {env: map[string]string{"CYBERVAULT_LOG_FORMAT": "xml"}, field: "CYBERVAULT_LOG_FORMAT", says: "use text or json"},
		"file line":           {file: "dev: true\nlog_level: loud\n", field: "cybervault.yaml:2: log_level", says: "use debug, info, warn or error"},
		"near name":           {file: "listen: :1\nretry-shedule: 5s\n", field: "cybervault.yaml:2: retry-shedule", says: `did you mean "retry_schedule"?`},
		"unknown name":        {file: "colour: blue\n", field: "cybervault.yaml:1: colour", says: "known are listen, data"},
		"stands twice":        {file: "dev: true\nlisten: :1\ndev: false\n", field: "cybervault.yaml:3", says: "dev"},
		"no value":            {file: "data:\n", field: "cybervault.yaml:1: data", says: "remove the line"},
		"nested":              {file: "data:\n  path: x\n", field: "cybervault.yaml:1: data", says: "plain value"},
		"list for one":        {file: "data: [a, b]\n", field: "cybervault.yaml:1: data", says: "plain value"},
		"not a mapping":       {file: "- listen\n", field: "cybervault.yaml", says: "one setting a line"},
		"not YAML":            {file: "listen: [1\n", field: "cybervault.yaml:1", says: "not YAML"},
		"schedule":            {args: []string{"--retry-schedule", "5s,soon"}, field: "--retry-schedule", says: `"soon" is not a duration`},
		"schedule too short":  {args: []string{"--retry-schedule", "1us"}, field: "--retry-schedule", says: "between 1ms and 720h"},
		"empty schedule":      {args: []string{"--retry-schedule", ","}, field: "--retry-schedule", says: "names no delay"},
		"address for a range": {args: []string{"--allow-destination", "10.1.2.3"}, field: "--allow-destination", says: "write 10.1.2.3/32"},
		"bits beyond mask":    {args: []string{"--allow-destination", "10.1.2.3/16"}, field: "--allow-destination", says: "write 10.1.0.0/16"},
		"IPv4 in IPv6":        {args: []string{"--allow-destination", "::ffff:10.0.0.0/104"}, field: "--allow-destination", says: "write it as IPv4"},
		"no range":            {args: []string{"--allow-destination", "intranet"}, field: "--allow-destination", says: "CIDR"},
		"other database":      {args: []string{"--database-url", "mysql://u:hidden@h/d"}, field: "--database-url", says: "postgres://"},
		"drain":               {args: []string{"--drain-timeout", "1h"}, field: "--drain-timeout", says: "between 0s and 10m"},
		"disable":             {args: []string{"--disable-after", "1s"}, field: "--disable-after", says: "between 1m and 2160h"},
		"disable, negative":   {args: []string{"--disable-after", "-1h"}, field: "--disable-after", says: "0s (never)"},
		"retention":           {args: []string{"--retention", "59m"}, field: "--retention", says: "between 1h and 3650d"},
		"retention, long":     {args: []string{"--retention", "3651d"}, field: "--retention", says: "between 1h and 3650d"},
		"retention, longest":  {args: []string{"--retention", "99999999999999d"}, field: "--retention", says: "between 1h and 3650d"},
		"retention, words":    {args: []string{"--retention-dead-letters", "a month"}, field: "--retention-dead-letters", says: "such as 30d"},
		"reserve, words":      {args: []string{"--disk-reserve", "plenty"}, field: "--disk-reserve", says: "such as 256MiB"},
		"reserve, negative":   {args: []string{"--disk-reserve", "-1"}, field: "--disk-reserve", says: "such as 256MiB"},
		"reserve, too large":  {args: []string{"--disk-reserve", "9999999TiB"}, field: "--disk-reserve", says: "such as 256MiB"},
		"dev":                 {args: []string{"--dev=maybe"}, field: "--dev", says: "neither true nor false"},
		"key with a space":    {env: map[string]string{"CYBERVAULT_BOOTSTRAP_API_KEY": "hidden key with spaces"}, field: "CYBERVAULT_BOOTSTRAP_API_KEY", says: "without spaces"},
		"key too short":       {env: map[string]string{"CYBERVAULT_BOOTSTRAP_API_KEY": "hid"}, field: "CYBERVAULT_BOOTSTRAP_API_KEY", says: "use 4 to 512"},
		"path":                {args: []string{"--data", " "}, field: "--data", says: "is not a path"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := load(t, tc.args, tc.env, tc.file)
			e, ok := errors.AsType[*cybervault.Error](err)
			if !ok {
				t.Fatalf("error = %v, want a *cybervault.Error", err)
			}
			if e.Code != cybervault.CodeInvalid || !strings.HasSuffix(e.Field, tc.field) && !strings.Contains(e.Field, tc.field+":") || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("error = %q (field %q), want the field %q and %q", err, e.Field, tc.field, tc.says)
			}
			if strings.Contains(err.Error(), "hidden") {
				t.Errorf("the error quotes a secret: %v", err)
			}
		})
	}
}

func TestAllWrongSettingsAreReportedAtOnce(t *testing.T) {
	t.Parallel()
	_, err := load(t, []string{"--listen", "x"}, map[string]string{"CYBERVAULT_DEV": "x"}, "nonsense: 1\nlog_level: x\n")
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"--listen", "CYBERVAULT_DEV", "nonsense", "log_level"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not name %s:\n%v", want, err)
		}
	}
}

func TestFileIsOptionalUnlessNamed(t *testing.T) {
	t.Chdir(t.TempDir())
	noEnv := func(string) (string, bool) { return "", false }
	flags := func(args ...string) *config.Flags {
		fs := pflag.NewFlagSet("serve", pflag.ContinueOnError)
		f := config.Bind(fs)
		if err := fs.Parse(args); err != nil {
			t.Fatal(err)
		}
		return f
	}
	if _, err := flags().Load(noEnv); err != nil {
		t.Errorf("without a file: %v", err)
	}
	if _, err := flags("--config", "missing.yaml").Load(noEnv); err == nil || !strings.Contains(err.Error(), "--config") {
		t.Errorf("with a named file that does not exist: %v, want an error that names --config", err)
	}
	named := func(name string) (string, bool) { return "missing.yaml", name == "CYBERVAULT_CONFIG" }
	if _, err := flags().Load(named); err == nil || !strings.Contains(err.Error(), "CYBERVAULT_CONFIG") {
		t.Errorf("with a file named by the environment that does not exist: %v", err)
	}
	if err := os.WriteFile(config.DefaultFile, []byte("data: found\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := flags().Load(noEnv); err != nil || c.DataDir != "found" {
		t.Errorf("the file in the current directory was not read: %v, %v", c, err)
	}
}

func TestSecretsAreNeverShown(t *testing.T) {
	t.Parallel()
	c := config.Default()
	c.BootstrapAPIKey = "hidden-key"
	c.DatabaseURL = "postgres://user:hidden-password@db/cv?password=hidden-too&sslmode=require"
	var logged bytes.Buffer
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("start", "config", c)
	asJSON, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{c.String(), fmt.Sprintf("%+v", c), fmt.Sprintf("%#v", c), fmt.Sprintf("%v", &c), logged.String(), string(asJSON)} {
		if strings.Contains(shown, "hidden") {
			t.Errorf("shows a secret: %s", shown)
		}
	}
	if !strings.Contains(c.String(), "postgres://user:xxxxx@db/cv ") || !strings.Contains(c.String(), "bootstrap_api_key=(set)") {
		t.Errorf("does not say that they are set: %s", c)
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	c := config.Default()
	c.Dev, c.Listen, c.BootstrapAPIKey = true, "0.0.0.0:8400", "a-key-that-is-long-enough"
	c.AllowDestinations = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}
	all := strings.Join(c.Warnings(), "\n")
	for _, want := range []string{"development mode", "without TLS", "0.0.0.0/0 opens every address"} {
		if !strings.Contains(all, want) {
			t.Errorf("no warning says %q:\n%s", want, all)
		}
	}
	if strings.Contains(all, "can be guessed") {
		t.Errorf("a key that is long enough is warned of:\n%s", all)
	}
	c.BootstrapAPIKey = "weak-key"
	if all = strings.Join(c.Warnings(), "\n"); !strings.Contains(all, "can be guessed") || strings.Contains(all, "weak-key") {
		t.Errorf("a weak key is not warned of, or shown:\n%s", all)
	}
}

// Every setting has its line in the documentation, with its three names and
// its default, and the documentation names no setting that does not exist.
func TestEverySettingIsDocumented(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(filepath.Join("..", "..", "docs", "configuration.md"))
	if err != nil {
		t.Fatal(err)
	}
	lines := make(map[string]string)
	for line := range strings.Lines(string(raw)) {
		if cells := strings.Split(line, "|"); len(cells) > 4 && strings.Contains(cells[2], "`CYBERVAULT_") {
			lines[strings.Trim(cells[2], " `")] = line
		}
	}
	fs := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	config.Bind(fs)
	check := func(variable string, words ...string) {
		t.Helper()
		line, ok := lines[variable]
		if !ok {
			t.Errorf("docs/configuration.md has no line for %s", variable)
		}
		for _, word := range words {
			if !strings.Contains(line, "`"+word+"`") {
				t.Errorf("docs/configuration.md: the line for %s does not name `%s`:\n%s", variable, word, line)
			}
		}
		delete(lines, variable)
	}
	fs.VisitAll(func(f *pflag.Flag) {
		words := []string{"--" + f.Name}
		key := strings.ReplaceAll(f.Name, "-", "_")
		if f.Name != "config" {
			words = append(words, key)
		}
		if f.DefValue != "" {
			words = append(words, f.DefValue)
		}
		check("CYBERVAULT_"+strings.ToUpper(key), words...)
	})
	check("CYBERVAULT_BOOTSTRAP_API_KEY", "bootstrap_api_key")
	check("CYBERVAULT_KAFKA_PASSWORD", "kafka_password")
	check("CYBERVAULT_NATS_PASSWORD", "nats_password")
	check("CYBERVAULT_NATS_TOKEN", "nats_token")
	check("CYBERVAULT_OIDC_CLIENT_SECRET", "oidc_client_secret")
	for variable := range lines {
		t.Errorf("docs/configuration.md documents %s, which does not exist", variable)
	}
}

func FuzzFile(f *testing.F) {
	f.Add("listen: 127.0.0.1:1\n")
	f.Add("allow_destination:\n  - 10.0.0.0/8\n? x\n: y\n")
	f.Add("&a [*a]: {b: c}\n---\n...\n")
	f.Fuzz(func(t *testing.T, content string) {
		path := filepath.Join(t.TempDir(), "f.yaml")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		fs := pflag.NewFlagSet("serve", pflag.ContinueOnError)
		flags := config.Bind(fs)
		if err := fs.Parse([]string{"--config", path}); err != nil {
			t.Fatal(err)
		}
		c, err := flags.Load(func(string) (string, bool) { return "", false })
		if err == nil && c.Listen == "" {
			t.Errorf("%q gave settings without an address", content)
		}
	})
}

// Whatever is given as a size is read as one that is given back the same way, or
// refused.
func FuzzDiskReserve(f *testing.F) {
	for _, s := range []string{"0", "256MiB", "2 gb", "1t", "100TiB", "9223372036854775807", "9999999TiB", "-1", "MiB", "1mibkib", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := load(t, []string{"--disk-reserve=" + s}, nil, "")
		if err == nil && (c.DiskReserve < 0 || c.DiskReserve > config.MaxDiskReserve) {
			t.Errorf("%q is read as %d", s, c.DiskReserve)
		}
	})
}
