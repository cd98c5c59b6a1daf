// Package nats reads telemetry from a stream of NATS JetStream, by a durable pull
// consumer.
//
// It stands before the threat engine, beside the API (JetStream -> nats ->
// telemetry, detect -> router). A message is acknowledged when what came of it is
// on disk, and never before: it may come twice, and is not lost. It publishes
// nothing, and never decides what a message means.
package nats

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/telemetry/stream"
)

// Where a consumer that is made anew begins.
const (
	StartEarliest = "earliest"
	StartLatest   = "latest"
)

// Bounds of what is under way.
const (
	ackWait       = 30 * time.Second // after which a message that nobody works on is handed out again
	maxAckPending = 8 * stream.MaxPieces
	askTimeout    = 5 * time.Second // of one question to JetStream
	reconnectWait = 2 * time.Second
)

// Config of a Source. URLs, Stream, Durable and Engine are needed.
type Config struct {
	URLs     []string
	Stream   string
	Subjects map[string]string // filter to format, as telemetry.Options has it; none: the whole stream, each line recognised
	Durable  string
	Start    string // StartEarliest, the default, or StartLatest
	TLS      stream.TLS
	CredsFile, NKeyFile,
	Username, Password, Token string
	Engine   stream.Engine
	Logger   *slog.Logger
	Patience stream.Patience // DefaultPatience if zero
}

// Source reads by a durable consumer, which other nodes may share.
type Source struct {
	cfg     Config
	meter   *stream.Meter
	hands   stream.Hands
	options []nats.Option
	filters []string // of Config.Subjects, sorted
	judged  remembered
}

// New checks the settings and returns a source that connects when it is run. The
// error names the setting, and what would be right.
func New(cfg Config) (*Source, error) {
	if cfg.Patience == (stream.Patience{}) {
		cfg.Patience = stream.DefaultPatience
	}
	s := &Source{cfg: cfg, meter: stream.NewMeter("nats", cfg.Logger, time.Now), judged: remembered{known: map[message]bool{}}}
	s.hands = stream.Hands{Engine: cfg.Engine, Patience: cfg.Patience, Meter: s.meter}
	s.meter.Count(cfg.Stream, func(*stream.TopicStats) {})
	for filter := range cfg.Subjects {
		s.filters = append(s.filters, filter)
	}
	slices.Sort(s.filters)
	switch {
	case len(cfg.URLs) == 0:
		return nil, cybervault.Invalid("nats_url", "is missing: name at least one server, such as nats://nats-1:4222")
	case cfg.Stream == "":
		return nil, cybervault.Invalid("nats_stream", "is missing: name the stream to read")
	case cfg.Start != "" && cfg.Start != StartEarliest && cfg.Start != StartLatest:
		return nil, cybervault.Invalid("nats_start", "%q is no place to start: use %s or %s", cfg.Start, StartEarliest, StartLatest)
	}
	for _, raw := range cfg.URLs {
		if u, err := url.Parse(raw); err != nil || u.Host == "" {
			return nil, cybervault.Invalid("nats_url", "is not the URL of a server: use nats://host:4222") // it may hold a password
		}
	}
	return s, s.connectOptions()
}

func (s *Source) connectOptions() error {
	cfg := s.cfg
	options := []nats.Option{
		nats.Name("cybervault"), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(reconnectWait), nats.IgnoreAuthErrorAbort(),
		nats.ConnectHandler(func(*nats.Conn) { s.meter.Connected(nil) }),
		nats.ReconnectHandler(func(*nats.Conn) { s.meter.Connected(nil) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				s.meter.Connected(err)
			}
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { s.meter.Connected(err) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { s.meter.Failed("connection", err) }),
	}
	tlsConfig, err := cfg.TLS.Config("nats")
	if err != nil {
		return err
	}
	if tlsConfig != nil {
		options = append(options, nats.Secure(tlsConfig))
	}
	var ways []string
	if cfg.CredsFile != "" {
		if _, err := os.ReadFile(cfg.CredsFile); err != nil {
			return cybervault.Invalid("nats_creds_file", "cannot be read (%v): name the file of credentials that nsc made", err)
		}
		ways, options = append(ways, "nats_creds_file"), append(options, nats.UserCredentials(cfg.CredsFile))
	}
	if cfg.NKeyFile != "" {
		option, err := nats.NkeyOptionFromSeed(cfg.NKeyFile)
		if err != nil {
			return cybervault.Invalid("nats_nkey_file", "holds no seed of an NKey (%v): name the file that `nk -gen user` made", err)
		}
		ways, options = append(ways, "nats_nkey_file"), append(options, option)
	}
	if cfg.Username != "" || cfg.Password != "" {
		ways, options = append(ways, "nats_username"), append(options, nats.UserInfo(cfg.Username, cfg.Password))
	}
	if cfg.Token != "" {
		ways, options = append(ways, "nats_token"), append(options, nats.Token(cfg.Token))
	}
	if len(ways) > 1 {
		return cybervault.Invalid(ways[1], "stands beside %s: keep one way to log in", ways[0])
	}
	s.options = options
	return nil
}

// Stats returns the source's figures.
func (s *Source) Stats() stream.Stats { return s.meter.Stats() }

// Run reads until ctx ends; then it finishes the batch in hand and acknowledges
// it. It may be called once.
func (s *Source) Run(ctx context.Context) {
	var conn *nats.Conn
	for try := 1; conn == nil; try++ {
		var err error
		if conn, err = nats.Connect(strings.Join(s.cfg.URLs, ","), s.options...); err != nil {
			s.meter.Connected(err)
			if !s.cfg.Patience.Rest(ctx, try) {
				return
			}
		}
	}
	defer conn.Close()
	for try := 1; ctx.Err() == nil; try++ {
		consumer, err := s.consumer(ctx, conn)
		if err == nil {
			try = 1
			err = s.read(ctx, conn, consumer)
		}
		if err != nil && ctx.Err() == nil {
			if conn.IsConnected() { // else the connection's handlers have told
				s.meter.Failed("consumer", err)
			}
			s.cfg.Patience.Rest(ctx, try)
		}
	}
}

// read reads until ctx ends or the consumer is of no use any more.
func (s *Source) read(ctx context.Context, conn *nats.Conn, consumer jetstream.Consumer) error {
	lagging, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { s.watchLag(lagging, consumer) })
	defer wg.Wait()
	defer stop()
	for ctx.Err() == nil {
		if err := s.round(ctx, conn, consumer); err != nil {
			return err
		}
	}
	return nil
}

// consumer finds the durable consumer, or makes it. One that an operator made is
// used as it is, but for the subjects, which the settings tell.
func (s *Source) consumer(ctx context.Context, conn *nats.Conn) (jetstream.Consumer, error) {
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	found, err := js.Consumer(ctx, s.cfg.Stream, s.cfg.Durable)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return js.CreateConsumer(ctx, s.cfg.Stream, s.wanted())
	}
	if err != nil {
		return nil, err
	}
	is := found.CachedInfo().Config
	if is.AckPolicy != jetstream.AckExplicitPolicy {
		return nil, cybervault.Invalid("nats_durable", "the consumer %s acknowledges by another policy than explicit: delete it, or name another", s.cfg.Durable)
	}
	if len(s.filters) > 0 && !sameFilters(is, s.filters) {
		is.FilterSubject, is.FilterSubjects = "", s.filters
		return js.UpdateConsumer(ctx, s.cfg.Stream, is)
	}
	return found, nil
}

func (s *Source) wanted() jetstream.ConsumerConfig {
	cfg := jetstream.ConsumerConfig{
		Durable: s.cfg.Durable, Description: "telemetry for CyberVault", FilterSubjects: s.filters,
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait, MaxAckPending: maxAckPending, MaxDeliver: -1,
	}
	if s.cfg.Start == StartLatest {
		cfg.DeliverPolicy = jetstream.DeliverNewPolicy
	}
	return cfg
}

func sameFilters(is jetstream.ConsumerConfig, want []string) bool {
	have := slices.Clone(is.FilterSubjects)
	if is.FilterSubject != "" {
		have = append(have, is.FilterSubject)
	}
	want = slices.Clone(want)
	slices.Sort(have)
	slices.Sort(want)
	return slices.Equal(have, want)
}
