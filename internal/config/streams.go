package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/cybervault/cybervault"
)

// Limits on the settings of streams.
const (
	MaxTopics    = 100
	maxTopicText = 249 // as Kafka has it
)

// FormatAuto says that the format of each line of a topic is recognised.
const FormatAuto = "auto"

// telemetryFormats are the words for a topic's format.
var telemetryFormats = []string{FormatAuto, "access", "cloudtrail", "entra", "falco", "http", "json", "okta", "suricata", "syslog", "windows"}

// A Topic is a topic of Kafka or a subject of NATS, and the format of what is in
// it: empty where each line is recognised.
type Topic struct{ Name, Format string }

// StreamTLS is how a connection to a stream engine is secured.
type StreamTLS struct {
	On       bool   // with the system's certificate authorities, if CAFile names no other
	CAFile   string // PEM
	CertFile string // of the client
	KeyFile  string
}

// Kafka says from where telemetry is read. It is off without brokers and topics.
type Kafka struct {
	Brokers  []string // host:port
	Topics   []Topic
	Group    string
	Start    string // "earliest" or "latest"
	TLS      StreamTLS
	SASL     string // "plain", "scram-sha-256", "scram-sha-512"; empty: none
	Username string
	Password string `json:"-"`
}

// On reports whether Kafka is read.
func (k Kafka) On() bool { return len(k.Brokers) > 0 }

// NATS says from which stream of JetStream telemetry is read. It is off without
// servers and a stream.
type NATS struct {
	URLs      []string `json:"-"` // nats://host:port; they may hold a password
	Stream    string
	Subjects  []Topic // filters; none: the whole stream
	Durable   string
	Start     string // "earliest" or "latest"
	TLS       StreamTLS
	CredsFile string
	NKeyFile  string
	Username  string
	Password  string `json:"-"`
	Token     string `json:"-"`
}

// On reports whether NATS is read.
func (n NATS) On() bool { return len(n.URLs) > 0 }

// streamOptions lists the settings of Kafka and NATS.
func streamOptions() []option {
	return []option{
		{
			name: "kafka-brokers", hint: "host:port", usage: "Kafka brokers to read telemetry from; repeatable", list: true,
			set: func(c *Config, s string) (err error) { c.Kafka.Brokers, err = parseBrokers(s); return err },
		},
		{
			name: "kafka-topic", hint: "topic", usage: "Kafka topic with telemetry, with its format if it is known: nginx=access; repeatable", list: true,
			set: func(c *Config, s string) (err error) { c.Kafka.Topics, err = parseTopics(s, kafkaTopic); return err },
		},
		{
			name: "kafka-group", hint: "name", usage: "consumer group that all nodes join",
			set: func(c *Config, s string) error { return setName(&c.Kafka.Group, s) },
		},
		{
			name: "kafka-start", hint: "place", usage: "where the group begins on a partition that is new to it: earliest or latest",
			set: func(c *Config, s string) error { return setOneOf(&c.Kafka.Start, s, "earliest", "latest") },
		},
		{
			name: "kafka-tls", usage: "connect to Kafka over TLS",
			set: func(c *Config, s string) error { return setSwitch(&c.Kafka.TLS.On, s) },
		},
		{
			name: "kafka-ca-file", hint: "file", usage: "certificate authorities of the Kafka brokers, PEM",
			set: func(c *Config, s string) error { return setText(&c.Kafka.TLS.CAFile, s) },
		},
		{
			name: "kafka-client-cert-file", hint: "file", usage: "client certificate for Kafka, PEM",
			set: func(c *Config, s string) error { return setText(&c.Kafka.TLS.CertFile, s) },
		},
		{
			name: "kafka-client-key-file", hint: "file", usage: "key of the client certificate for Kafka, PEM",
			set: func(c *Config, s string) error { return setText(&c.Kafka.TLS.KeyFile, s) },
		},
		{
			name: "kafka-sasl", hint: "mechanism", usage: "how to log in to Kafka: plain, scram-sha-256 or scram-sha-512",
			set: func(c *Config, s string) error {
				return setOneOf(&c.Kafka.SASL, strings.ToLower(s), "plain", "scram-sha-256", "scram-sha-512")
			},
		},
		{
			name: "kafka-username", hint: "name", usage: "user name for Kafka",
			set: func(c *Config, s string) error { return setName(&c.Kafka.Username, s) },
		},
		{
			name: "kafka-password", hint: "password", usage: "password for Kafka", noFlag: true,
			set: func(c *Config, s string) error { c.Kafka.Password = s; return nil },
		},
		{
			name: "kafka-password-file", hint: "file", usage: "file that holds the password for Kafka",
			set: func(c *Config, s string) error { return readSecret(&c.Kafka.Password, s) },
		},
		{
			name: "nats-url", hint: "url", usage: "NATS servers to read telemetry from, nats://host:4222; repeatable", list: true,
			set: func(c *Config, s string) (err error) { c.NATS.URLs, err = parseNATSURLs(s); return err },
		},
		{
			name: "nats-stream", hint: "name", usage: "stream of JetStream with telemetry",
			set: func(c *Config, s string) error { return setNATSName(&c.NATS.Stream, s) },
		},
		{
			name: "nats-subject", hint: "subject", usage: "subjects of the stream to read, with their format if it is known: logs.nginx.>=access; repeatable", list: true,
			set: func(c *Config, s string) (err error) { c.NATS.Subjects, err = parseSubjects(s); return err },
		},
		{
			name: "nats-durable", hint: "name", usage: "durable consumer that all nodes share",
			set: func(c *Config, s string) error { return setNATSName(&c.NATS.Durable, s) },
		},
		{
			name: "nats-start", hint: "place", usage: "where the consumer begins when it is made: earliest or latest",
			set: func(c *Config, s string) error { return setOneOf(&c.NATS.Start, s, "earliest", "latest") },
		},
		{
			name: "nats-tls", usage: "connect to NATS over TLS",
			set: func(c *Config, s string) error { return setSwitch(&c.NATS.TLS.On, s) },
		},
		{
			name: "nats-ca-file", hint: "file", usage: "certificate authorities of the NATS servers, PEM",
			set: func(c *Config, s string) error { return setText(&c.NATS.TLS.CAFile, s) },
		},
		{
			name: "nats-client-cert-file", hint: "file", usage: "client certificate for NATS, PEM",
			set: func(c *Config, s string) error { return setText(&c.NATS.TLS.CertFile, s) },
		},
		{
			name: "nats-client-key-file", hint: "file", usage: "key of the client certificate for NATS, PEM",
			set: func(c *Config, s string) error { return setText(&c.NATS.TLS.KeyFile, s) },
		},
		{
			name: "nats-creds-file", hint: "file", usage: "credentials for NATS, as nsc makes them",
			set: func(c *Config, s string) error { return setText(&c.NATS.CredsFile, s) },
		},
		{
			name: "nats-nkey-file", hint: "file", usage: "seed of an NKey for NATS",
			set: func(c *Config, s string) error { return setText(&c.NATS.NKeyFile, s) },
		},
		{
			name: "nats-username", hint: "name", usage: "user name for NATS",
			set: func(c *Config, s string) error { return setName(&c.NATS.Username, s) },
		},
		{
			name: "nats-password", hint: "password", usage: "password for NATS", noFlag: true,
			set: func(c *Config, s string) error { c.NATS.Password = s; return nil },
		},
		{
			name: "nats-password-file", hint: "file", usage: "file that holds the password for NATS",
			set: func(c *Config, s string) error { return readSecret(&c.NATS.Password, s) },
		},
		{
			name: "nats-token", hint: "token", usage: "token for NATS", noFlag: true,
			set: func(c *Config, s string) error { c.NATS.Token = s; return nil },
		},
	}
}

// checkStreams finds what single settings cannot show.
func (c Config) checkStreams() []error {
	var errs []error
	wrong := func(field, format string, args ...any) {
		errs = append(errs, cybervault.Invalid(field, format, args...))
	}
	switch k := c.Kafka; {
	case len(k.Brokers) > 0 && len(k.Topics) == 0:
		wrong("kafka-topic", "is missing: name the topics to read, such as --kafka-topic nginx=access")
	case len(k.Brokers) == 0 && len(k.Topics) > 0:
		wrong("kafka-brokers", "is missing: say where the topics are, such as --kafka-brokers kafka-1:9092")
	case k.SASL == "" && (k.Username != "" || k.Password != ""):
		wrong("kafka-sasl", "is missing: a user name or password was given; use plain, scram-sha-256 or scram-sha-512")
	case k.SASL != "" && k.Username == "":
		wrong("kafka-username", "is missing: --kafka-sasl %s needs one", k.SASL)
	case k.SASL != "" && k.Password == "":
		wrong("kafka-password", "is missing: --kafka-sasl %s needs one; give it in %sKAFKA_PASSWORD, in the file of settings, or with --kafka-password-file", k.SASL, envPrefix)
	}
	switch n := c.NATS; {
	case len(n.URLs) > 0 && n.Stream == "":
		wrong("nats-stream", "is missing: name the stream to read")
	case len(n.URLs) == 0 && n.Stream != "":
		wrong("nats-url", "is missing: say where the stream is, such as --nats-url nats://nats-1:4222")
	case n.Username != "" && n.Password == "":
		wrong("nats-password", "is missing: --nats-username needs one; give it in %sNATS_PASSWORD, in the file of settings, or with --nats-password-file", envPrefix)
	}
	return errs
}

// streamWarnings lists what is allowed and dangerous.
func (c Config) streamWarnings() []string {
	var warnings []string
	if c.Kafka.SASL == "plain" && !c.Kafka.TLS.used() {
		warnings = append(warnings, "the password for Kafka is sent in the clear: add --kafka-tls or --kafka-ca-file")
	}
	if n := c.NATS; (n.Password != "" || n.Token != "") && !n.TLS.used() && slices.ContainsFunc(n.URLs, func(u string) bool { return strings.HasPrefix(u, "nats:") || strings.HasPrefix(u, "ws:") }) {
		warnings = append(warnings, "the password or token for NATS is sent in the clear unless the server insists on TLS: add --nats-tls or --nats-ca-file")
	}
	return warnings
}

func (t StreamTLS) used() bool { return t != StreamTLS{} }

func (c Config) streamAttrs() []slog.Attr {
	k, n := c.Kafka, c.NATS
	servers := make([]string, len(n.URLs))
	for i, u := range n.URLs {
		servers[i] = redactURL(u)
	}
	return []slog.Attr{
		slog.String("kafka_brokers", strings.Join(k.Brokers, ",")),
		slog.String("kafka_topic", topicsText(k.Topics)),
		slog.String("kafka_group", k.Group),
		slog.String("kafka_start", k.Start),
		slog.Bool("kafka_tls", k.TLS.On),
		slog.String("kafka_ca_file", k.TLS.CAFile),
		slog.String("kafka_client_cert_file", k.TLS.CertFile),
		slog.String("kafka_client_key_file", k.TLS.KeyFile),
		slog.String("kafka_sasl", k.SASL),
		slog.String("kafka_username", k.Username),
		slog.String("kafka_password", redact(k.Password)),
		slog.String("nats_url", strings.Join(servers, ",")),
		slog.String("nats_stream", n.Stream),
		slog.String("nats_subject", topicsText(n.Subjects)),
		slog.String("nats_durable", n.Durable),
		slog.String("nats_start", n.Start),
		slog.Bool("nats_tls", n.TLS.On),
		slog.String("nats_ca_file", n.TLS.CAFile),
		slog.String("nats_client_cert_file", n.TLS.CertFile),
		slog.String("nats_client_key_file", n.TLS.KeyFile),
		slog.String("nats_creds_file", n.CredsFile),
		slog.String("nats_nkey_file", n.NKeyFile),
		slog.String("nats_username", n.Username),
		slog.String("nats_password", redact(n.Password)),
		slog.String("nats_token", redact(n.Token)),
	}
}

func topicsText(topics []Topic) string {
	words := make([]string, len(topics))
	for i, t := range topics {
		words[i] = t.Name
		if t.Format != "" {
			words[i] += "=" + t.Format
		}
	}
	return strings.Join(words, ",")
}

func words(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
}

func parseBrokers(s string) ([]string, error) {
	brokers := words(s)
	for _, broker := range brokers {
		host, port, err := net.SplitHostPort(broker)
		n, err2 := strconv.Atoi(port)
		if err != nil || err2 != nil || host == "" || n < 1 || n > 65535 {
			return nil, fmt.Errorf("%q is not a broker: use host:port, such as kafka-1:9092", broker)
		}
	}
	return brokers, nil
}

// parseTopics reads names with a format each, "nginx=access", or without.
func parseTopics(s string, check func(name string) error) ([]Topic, error) {
	var topics []Topic
	for _, word := range words(s) {
		name, format, told := strings.Cut(word, "=")
		if err := check(name); err != nil {
			return nil, err
		}
		if told && !slices.Contains(telemetryFormats, format) {
			return nil, fmt.Errorf("%q names no format: use %s, such as %s=access", word, strings.Join(telemetryFormats, ", "), name)
		}
		if format == FormatAuto {
			format = ""
		}
		if slices.ContainsFunc(topics, func(t Topic) bool { return t.Name == name }) {
			return nil, fmt.Errorf("%q stands twice: keep one", name)
		}
		topics = append(topics, Topic{Name: name, Format: format})
	}
	if len(topics) > MaxTopics {
		return nil, fmt.Errorf("has %d names, more than %d", len(topics), MaxTopics)
	}
	return topics, nil
}

func kafkaTopic(name string) error {
	if name == "" || name == "." || name == ".." || len(name) > maxTopicText || strings.ContainsFunc(name, func(r rune) bool {
		return (r < '0' || r > '9') && (r|0x20 < 'a' || r|0x20 > 'z') && !strings.ContainsRune("._-", r)
	}) {
		return fmt.Errorf("%q is not a topic: use up to %d letters, digits, dots, dashes and underscores", name, maxTopicText)
	}
	return nil
}

func parseNATSURLs(s string) ([]string, error) {
	servers := words(s)
	for _, server := range servers {
		// What is wrong is not quoted back: it may hold a password.
		u, err := url.Parse(server)
		if err != nil || u.Host == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) {
			return nil, errors.New("is not the URL of a server: use nats://host:4222, or tls, ws or wss in place of nats")
		}
	}
	return servers, nil
}

// parseSubjects reads filters. JetStream takes none that overlap in one consumer.
func parseSubjects(s string) ([]Topic, error) {
	subjects, err := parseTopics(s, natsSubject)
	for i, a := range subjects {
		for _, b := range subjects[:i] {
			if overlap(a.Name, b.Name) {
				return nil, fmt.Errorf("%q and %q have subjects in common: write them so that each subject passes one", b.Name, a.Name)
			}
		}
	}
	return subjects, err
}

func overlap(a, b string) bool {
	for {
		headA, restA, moreA := strings.Cut(a, ".")
		headB, restB, moreB := strings.Cut(b, ".")
		switch {
		case headA == ">" || headB == ">":
			return true
		case headA != headB && headA != "*" && headB != "*", moreA != moreB:
			return false
		case !moreA:
			return true
		}
		a, b = restA, restB
	}
}

// natsSubject checks a filter: tokens between dots, * for one, > for the rest.
func natsSubject(filter string) error {
	tokens := strings.Split(filter, ".")
	for i, token := range tokens {
		if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r == 0x7f }) ||
			strings.Contains(token, ">") && (token != ">" || i < len(tokens)-1) || strings.Contains(token, "*") && token != "*" {
			return fmt.Errorf("%q is not a subject: use tokens between dots, * for any one of them, > at the end for any further ones, such as logs.nginx.>", filter)
		}
	}
	return nil
}

func setNATSName(field *string, s string) error {
	if s == "" || len(s) > maxTopicText || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(`.*>/\\`, r) }) {
		return fmt.Errorf("%q is not a name: use no spaces, dots, slashes, * or >", s)
	}
	*field = s
	return nil
}

func setName(field *string, s string) error {
	if s == "" || len(s) > maxTopicText || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fmt.Errorf("%q is not a name: use up to %d characters", s, maxTopicText)
	}
	*field = s
	return nil
}

func setOneOf(field *string, s string, allowed ...string) error {
	if !slices.Contains(allowed, s) {
		last := len(allowed) - 1
		return fmt.Errorf("%q is unknown: use %s or %s", s, strings.Join(allowed[:last], ", "), allowed[last])
	}
	*field = s
	return nil
}

func setSwitch(field *bool, s string) error {
	on, err := strconv.ParseBool(s)
	if err != nil {
		return fmt.Errorf("%q is neither true nor false", s)
	}
	*field = on
	return nil
}

// readSecret reads a secret that is mounted as a file; a line's end after it is
// the editor's.
func readSecret(field *string, path string) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("cannot be read (%w): name a file that holds nothing but the secret", err)
	}
	text := strings.TrimRight(string(raw), "\r\n")
	if text == "" {
		return errors.New("the file is empty: it should hold nothing but the secret")
	}
	*field = text
	return nil
}
