// Package kafka reads telemetry from Apache Kafka, and from whatever speaks its
// protocol, as a member of a consumer group.
//
// It stands before the threat engine, beside the API (Kafka -> kafka ->
// telemetry, detect -> router). Offsets are committed when what came of the
// records is on disk, and never before: a record may be read twice, and is not
// lost. It writes nothing to Kafka but its group's offsets, and never decides
// what a record means.
package kafka

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/telemetry/stream"
)

// Where a group begins on a partition that it has no offset of.
const (
	StartEarliest = "earliest"
	StartLatest   = "latest"
)

// The mechanisms of SASL.
const (
	SASLPlain       = "plain"
	SASLScramSHA256 = "scram-sha-256"
	SASLScramSHA512 = "scram-sha-512"
)

// Bounds of what a member holds and how long it may keep others waiting.
const (
	fetchBytes          = stream.MaxBytes  // of one answer of a broker
	fetchPartitionBytes = 1 << 20          // a larger record comes alone
	unpackedBytes       = 128 << 20        // of one batch of a producer's
	sessionTimeout      = 20 * time.Second // after which a node that is gone loses its partitions
	rebalanceTimeout    = time.Minute
	pollWait            = time.Second      // after which offsets that could not be committed are tried again
	metadataAge         = 30 * time.Second // after which new topics and partitions are known
	leaveTimeout        = 3 * time.Second
)

// Config of a Source. Brokers, Topics, Group and Engine are needed.
type Config struct {
	Brokers  []string          // host:port
	Topics   map[string]string // topic to format, as telemetry.Options has it
	Group    string
	Start    string // StartEarliest, the default, or StartLatest
	TLS      stream.TLS
	SASL     string // a mechanism; empty: none
	Username string
	Password string
	Engine   stream.Engine
	Logger   *slog.Logger
	Patience stream.Patience // DefaultPatience if zero
	Unpacked int             // bytes that one batch of a producer's may unpack to; 128 MiB if 0
}

// Source is a member of a consumer group.
type Source struct {
	cfg    Config
	log    *slog.Logger
	meter  *stream.Meter
	hands  stream.Hands
	opts   []kgo.Opt
	client *kgo.Client   // of Run
	ready  chan struct{} // closed once there is a client, which calls back as soon as it is made

	mu     sync.Mutex
	done   offsets                // on disk and not committed yet
	judged map[position]judgement // the newest record of each partition that the engine took in
	gone   map[partition]bool     // lost since the last poll, which a store in trouble makes possible
}

// offsets are the offsets to go on from, by topic and partition.
type offsets map[string]map[int32]kgo.EpochOffset

type partition struct {
	topic  string
	number int32
}

// position tells a partition from one of a topic that was made anew.
type position struct {
	partition

	id [16]byte
}

// judgement is how far a partition was judged. A record at or before it is the
// same record as long as no newer leader wrote it.
type judgement struct {
	offset int64
	epoch  int32
}

// New checks the settings and returns a source that connects when it is run. The
// error names the setting, and what would be right.
func New(cfg Config) (*Source, error) {
	if cfg.Patience == (stream.Patience{}) {
		cfg.Patience = stream.DefaultPatience
	}
	if cfg.Unpacked == 0 {
		cfg.Unpacked = unpackedBytes
	}
	s := &Source{
		cfg: cfg, ready: make(chan struct{}), log: stream.Discard(cfg.Logger), done: offsets{}, judged: map[position]judgement{}, gone: map[partition]bool{},
	}
	s.meter = stream.NewMeter("kafka", cfg.Logger, time.Now)
	s.hands = stream.Hands{Engine: cfg.Engine, Patience: cfg.Patience, Meter: s.meter}
	for topic := range cfg.Topics {
		s.meter.Count(topic, func(*stream.TopicStats) {})
	}
	var err error
	if s.opts, err = s.options(); err != nil {
		return nil, err
	}
	if err := kgo.ValidateOpts(s.opts...); err != nil {
		return nil, cybervault.Invalid("kafka_brokers", "%v: check the settings of Kafka", err)
	}
	return s, nil
}

func (s *Source) options() ([]kgo.Opt, error) {
	cfg := s.cfg
	if len(cfg.Brokers) == 0 {
		return nil, cybervault.Invalid("kafka_brokers", "is missing: name at least one broker as host:port")
	}
	for _, broker := range cfg.Brokers {
		if err := checkBroker(broker); err != nil {
			return nil, err
		}
	}
	topics := make([]string, 0, len(cfg.Topics))
	for topic := range cfg.Topics {
		topics = append(topics, topic)
	}
	if len(topics) == 0 {
		return nil, cybervault.Invalid("kafka_topic", "is missing: name at least one topic")
	}
	options := []kgo.Opt{
		kgo.SeedBrokers(cfg.Brokers...), kgo.ClientID("cybervault"),
		kgo.ConsumerGroup(cfg.Group), kgo.ConsumeTopics(topics...), kgo.Balancers(kgo.CooperativeStickyBalancer()),
		// Records are committed by hand, and no partition changes hands while a
		// batch of it is on its way to the disk.
		kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsRevoked(s.revoked), kgo.OnPartitionsLost(s.lost),
		kgo.SessionTimeout(sessionTimeout), kgo.RebalanceTimeout(rebalanceTimeout),
		kgo.FetchMaxBytes(fetchBytes), kgo.FetchMaxPartitionBytes(fetchPartitionBytes), kgo.MaxDecompressBatchBytes(cfg.Unpacked),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxWait(pollWait),
		kgo.MetadataMaxAge(metadataAge),
		kgo.DisableClientMetrics(), // brokers need no telemetry of ours
		kgo.WithHooks(hooks{s.meter}),
	}
	switch cfg.Start {
	case StartEarliest, "":
		options = append(options, kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()))
	case StartLatest:
		options = append(options, kgo.ConsumeStartOffset(kgo.NewOffset().AtEnd()), kgo.AdjustFetchOffsetsFn(s.anchor))
	default:
		return nil, cybervault.Invalid("kafka_start", "%q is no place to start: use %s or %s", cfg.Start, StartEarliest, StartLatest)
	}
	tlsConfig, err := cfg.TLS.Config("kafka")
	if err != nil {
		return nil, err
	}
	if tlsConfig != nil {
		options = append(options, kgo.DialTLSConfig(tlsConfig))
	}
	mechanism, err := cfg.mechanism()
	if err != nil {
		return nil, err
	}
	if mechanism != nil {
		options = append(options, kgo.SASL(mechanism))
	}
	return options, nil
}

func checkBroker(broker string) error {
	host, port, err := net.SplitHostPort(broker)
	n, err2 := strconv.Atoi(port)
	if err != nil || err2 != nil || host == "" || n < 1 || n > 65535 {
		return cybervault.Invalid("kafka_brokers", "%q is not a broker: use host:port, such as kafka-1:9092", broker)
	}
	return nil
}

func (cfg *Config) mechanism() (sasl.Mechanism, error) {
	if cfg.SASL != "" && (cfg.Username == "" || cfg.Password == "") {
		return nil, cybervault.Invalid("kafka_password", "SASL %s needs a user name and a password: give kafka_username and kafka_password", cfg.SASL)
	}
	switch cfg.SASL {
	case "":
		if cfg.Username != "" || cfg.Password != "" {
			return nil, cybervault.Invalid("kafka_sasl", "is missing: a user name or password was given; use %s, %s or %s", SASLPlain, SASLScramSHA256, SASLScramSHA512)
		}
		return nil, nil //nolint:nilnil // without SASL there is no mechanism of it
	case SASLPlain:
		return plain.Auth{User: cfg.Username, Pass: cfg.Password}.AsMechanism(), nil
	case SASLScramSHA256:
		return scram.Auth{User: cfg.Username, Pass: cfg.Password}.AsSha256Mechanism(), nil
	case SASLScramSHA512:
		return scram.Auth{User: cfg.Username, Pass: cfg.Password}.AsSha512Mechanism(), nil
	}
	return nil, cybervault.Invalid("kafka_sasl", "%q is not a mechanism: use %s, %s or %s", cfg.SASL, SASLPlain, SASLScramSHA256, SASLScramSHA512)
}

// Stats returns the source's figures.
func (s *Source) Stats() stream.Stats { return s.meter.Stats() }

// Run joins the group and reads until ctx ends; then it finishes the batch in
// hand, commits it and leaves the group. It may be called once.
func (s *Source) Run(ctx context.Context) {
	var err error
	if s.client, err = kgo.NewClient(s.opts...); err != nil {
		s.meter.Failed("start", err) // New has checked the settings: this does not come about
		return
	}
	close(s.ready)
	lagging, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { s.watchLag(lagging) })
	for ctx.Err() == nil {
		s.round(ctx)
	}
	stop()
	wg.Wait()
	s.close(ctx)
}

// close leaves the group, so that the others need not wait for its session to end.
func (s *Source) close(ctx context.Context) {
	leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	s.client.AllowRebalance()
	if err := s.client.LeaveGroupContext(leaving); err != nil {
		s.log.Debug("the consumer group was not left in order", slog.Any("error", err))
	}
	// Closing waits for a join that is under way, which may be a minute: that is
	// not worth a stop's time.
	closed := make(chan struct{})
	go func() { defer close(closed); s.client.CloseAllowingRebalance() }()
	select {
	case <-closed:
	case <-leaving.Done():
	}
}

// hooks hear how connections fare.
type hooks struct{ meter *stream.Meter }

// OnBrokerConnect implements kgo.HookBrokerConnect.
func (h hooks) OnBrokerConnect(meta kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	if err != nil {
		err = fmt.Errorf("%s: %w", net.JoinHostPort(meta.Host, strconv.Itoa(int(meta.Port))), err)
	}
	h.meter.Connected(err)
}

// OnGroupManageError implements kgo.HookGroupManageError.
func (h hooks) OnGroupManageError(err error) { h.meter.Failed("group", err) }
