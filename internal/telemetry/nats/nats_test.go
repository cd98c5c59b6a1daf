package nats_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/telemetry/nats"
	"github.com/cybervault/cybervault/internal/telemetry/stream"
)

const (
	patience   = 30 * time.Second
	streamName = "LOGS"
	durable    = "cybervault"
)

// engine is a threat engine that keeps what it was given, and whose store can be
// in trouble.
type engine struct {
	mu      sync.Mutex
	judged  map[string]int
	kinds   map[string]string // source and format by line
	trouble error
	gate    chan struct{}
	entered chan struct{}
}

func newEngine() *engine {
	return &engine{judged: map[string]int{}, kinds: map[string]string{}, entered: make(chan struct{}, 1000)}
}

func (e *engine) Judge(_ context.Context, pieces []stream.Piece) (stream.Receipt, error) {
	e.mu.Lock()
	gate := e.gate
	e.mu.Unlock()
	e.entered <- struct{}{}
	if gate != nil {
		<-gate
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	var receipt stream.Receipt
	for i, p := range pieces {
		if strings.HasPrefix(string(p.Data), "broken") {
			receipt.Unreadable = append(receipt.Unreadable, stream.Unreadable{Piece: i, Reason: "a sound line was expected", Whole: true})
			continue
		}
		receipt.Records++
		e.judged[string(p.Data)]++
		e.kinds[string(p.Data)] = p.Source + "=" + p.Format
	}
	return receipt, nil
}

func (e *engine) Settle(context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.trouble
}

func (e *engine) setTrouble(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.trouble = err
}

func (e *engine) seen() map[string]int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return maps.Clone(e.judged)
}

// broker is a NATS server in this process with one stream.
type broker struct {
	t       *testing.T
	options server.Options
	server  *server.Server
}

func startBroker(t *testing.T, options server.Options) *broker {
	t.Helper()
	options.Host, options.JetStream, options.StoreDir, options.NoLog, options.NoSigs = "127.0.0.1", true, t.TempDir(), true, true
	if options.Port == 0 {
		options.Port = server.RANDOM_PORT
	}
	b := &broker{t: t, options: options}
	b.start()
	t.Cleanup(func() { b.stop() })
	return b
}

func (b *broker) start() {
	b.t.Helper()
	options := b.options
	s, err := server.NewServer(&options)
	if err != nil {
		b.t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(patience) {
		b.t.Fatal("the NATS server is not ready")
	}
	b.server = s
}

func (b *broker) stop() {
	b.server.Shutdown()
	b.server.WaitForShutdown()
}

func (b *broker) url() string { return b.server.ClientURL() }

// js is a connection of the test's own.
func (b *broker) js(options ...natsgo.Option) jetstream.JetStream {
	b.t.Helper()
	conn, err := natsgo.Connect(b.url(), options...)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		b.t.Fatal(err)
	}
	return js
}

func (b *broker) withStream(options ...natsgo.Option) jetstream.JetStream {
	b.t.Helper()
	js := b.js(options...)
	if _, err := js.CreateStream(b.t.Context(), jetstream.StreamConfig{Name: streamName, Subjects: []string{"logs.>"}}); err != nil {
		b.t.Fatal(err)
	}
	return js
}

func publish(t *testing.T, js jetstream.JetStream, subject string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if _, err := js.Publish(t.Context(), subject, []byte(line)); err != nil {
			t.Fatal(err)
		}
	}
}

// info is the durable consumer as the server has it, nil before it is made.
func info(t *testing.T, js jetstream.JetStream) *jetstream.ConsumerInfo {
	t.Helper()
	c, err := js.Consumer(t.Context(), streamName, durable)
	if err != nil {
		return nil
	}
	return c.CachedInfo()
}

// acknowledged is up to which message of the consumer all are acknowledged.
func acknowledged(t *testing.T, js jetstream.JetStream) uint64 {
	t.Helper()
	if i := info(t, js); i != nil {
		return i.AckFloor.Stream
	}
	return 0
}

func config(url string, e *engine) nats.Config {
	return nats.Config{
		URLs: []string{url}, Stream: streamName, Durable: durable, Engine: e,
		Patience: stream.Patience{First: time.Millisecond, Most: 10 * time.Millisecond},
	}
}

func start(t *testing.T, cfg nats.Config) (*nats.Source, func()) {
	t.Helper()
	s, err := nats.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(patience):
			t.Error("the source did not stop")
		}
	})
	t.Cleanup(stop)
	return s, stop
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline, tick := time.NewTimer(patience), time.NewTicker(5*time.Millisecond)
	defer deadline.Stop()
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline.C:
			t.Fatalf("after %s: %s did not come about", patience, what)
		case <-tick.C:
		}
	}
}

func lines(from, to int) []string {
	var out []string
	for i := from; i < to; i++ {
		out = append(out, fmt.Sprintf("line %d", i))
	}
	return out
}

func once(t *testing.T, seen map[string]int, want []string) {
	t.Helper()
	for _, line := range want {
		if seen[line] != 1 {
			t.Errorf("%q was judged %d times, want once", line, seen[line])
		}
	}
	if len(seen) != len(want) {
		t.Errorf("%d different lines were judged, want %d", len(seen), len(want))
	}
}

func TestMessagesAreJudgedAndAcknowledged(t *testing.T) {
	t.Parallel()
	b, e := startBroker(t, server.Options{}), newEngine()
	js := b.withStream()
	publish(t, js, "logs.nginx.a", lines(0, 20)...)
	publish(t, js, "logs.ssh", lines(20, 30)...)
	publish(t, js, "logs.other", "line of nobody")
	cfg := config(b.url(), e)
	cfg.Subjects = map[string]string{"logs.nginx.>": "access", "logs.ssh": "syslog"}
	s, stop := start(t, cfg)
	waitFor(t, "the acknowledgement of all messages", func() bool { return acknowledged(t, js) >= 30 })
	once(t, e.seen(), lines(0, 30))
	if got := e.kinds["line 0"]; got != "logs.nginx.a=access" {
		t.Errorf("a message of logs.nginx.a came as %q", got)
	}
	if got := e.kinds["line 25"]; got != "logs.ssh=syslog" {
		t.Errorf("a message of logs.ssh came as %q", got)
	}
	if st := s.Stats(); !st.Connected || st.Topics[streamName].Records != 30 {
		t.Errorf("figures: %+v", st)
	}
	// Other subjects in the settings change the consumer.
	stop()
	cfg.Subjects = map[string]string{"logs.other": ""}
	start(t, cfg)
	publish(t, js, "logs.other", "another line of nobody")
	waitFor(t, "a message of the new subject", func() bool { return e.seen()["another line of nobody"] == 1 })
}

// Nothing is acknowledged before what came of it is on disk: while the engine is
// at work, and while the store is in trouble.
func TestNothingIsAcknowledgedBeforeItIsOnDisk(t *testing.T) {
	t.Parallel()
	b, e := startBroker(t, server.Options{}), newEngine()
	js := b.withStream()
	gate := make(chan struct{})
	e.gate = gate
	e.setTrouble(errors.New("the disk is full"))
	publish(t, js, "logs.x", lines(0, 5)...)
	s, _ := start(t, config(b.url(), e))
	<-e.entered
	if n := acknowledged(t, js); n != 0 {
		t.Fatalf("%d messages are acknowledged while the engine has them", n)
	}
	waitFor(t, "the lag", func() bool { got := s.Stats().Topics[streamName]; return got.LagKnown && got.Lag == 5 })
	close(gate)
	waitFor(t, "a few tries", func() bool { return s.Stats().Retries > 5 })
	if n := acknowledged(t, js); n != 0 {
		t.Fatalf("%d messages are acknowledged while the store is in trouble", n)
	}
	e.setTrouble(nil)
	waitFor(t, "the acknowledgement after the trouble", func() bool { return acknowledged(t, js) == 5 })
	once(t, e.seen(), lines(0, 5))
}

// While the store is in trouble the server hears, again and again, that the
// messages are worked on, so that it does not hand them out to others.
func TestTroubleThatOutlastsTheServersPatience(t *testing.T) {
	t.Parallel()
	b, e := startBroker(t, server.Options{}), newEngine()
	js := b.withStream()
	if _, err := js.CreateConsumer(t.Context(), streamName, jetstream.ConsumerConfig{Durable: durable, AckPolicy: jetstream.AckExplicitPolicy, AckWait: 600 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	var working atomic.Int64
	if _, err := js.Conn().Subscribe("$JS.ACK.>", func(m *natsgo.Msg) {
		if string(m.Data) == "+WPI" {
			working.Add(1)
		}
	}); err != nil {
		t.Fatal(err)
	}
	e.setTrouble(errors.New("the disk is full"))
	publish(t, js, "logs.x", lines(0, 5)...)
	start(t, config(b.url(), e))
	waitFor(t, "word of the work on each message, five times", func() bool { return working.Load() >= 25 })
	e.setTrouble(nil)
	waitFor(t, "the acknowledgement", func() bool { return acknowledged(t, js) == 5 })
	once(t, e.seen(), lines(0, 5))
}

// What a stop puts down in trouble comes to the next.
func TestWhatWasNotAcknowledgedComesAgain(t *testing.T) {
	t.Parallel()
	b, first := startBroker(t, server.Options{}), newEngine()
	js := b.withStream()
	first.setTrouble(errors.New("the store is gone"))
	publish(t, js, "logs.x", lines(0, 5)...)
	s, stop := start(t, config(b.url(), first))
	waitFor(t, "the trouble", func() bool { return s.Stats().Retries > 0 })
	stop()
	second := newEngine()
	start(t, config(b.url(), second))
	waitFor(t, "the acknowledgement by the next", func() bool { return acknowledged(t, js) == 5 })
	once(t, second.seen(), lines(0, 5))
}

// Two nodes share the consumer: each message goes to one of them.
func TestNodesShareAConsumer(t *testing.T) {
	t.Parallel()
	b := startBroker(t, server.Options{})
	js := b.withStream()
	engines := []*engine{newEngine(), newEngine()}
	_, stopFirst := start(t, config(b.url(), engines[0]))
	start(t, config(b.url(), engines[1]))
	publish(t, js, "logs.x", lines(0, 100)...)
	stopFirst()
	publish(t, js, "logs.x", lines(100, 150)...)
	waitFor(t, "the acknowledgement of all", func() bool { return acknowledged(t, js) == 150 })
	seen := engines[0].seen()
	for line, n := range engines[1].seen() {
		seen[line] += n
	}
	once(t, seen, lines(0, 150))
}

// A message of no use to anybody is ended, not handed out for ever.
func TestUnreadableMessagesAreEnded(t *testing.T) {
	t.Parallel()
	b, e := startBroker(t, server.Options{}), newEngine()
	js := b.withStream()
	publish(t, js, "logs.x", "broken 1", "line 0", "broken 2")
	s, _ := start(t, config(b.url(), e))
	waitFor(t, "the end of all messages", func() bool { return acknowledged(t, js) == 3 })
	once(t, e.seen(), lines(0, 1))
	if i := info(t, js); i.NumRedelivered != 0 || i.NumAckPending != 0 {
		t.Errorf("%d messages came again, %d are pending", i.NumRedelivered, i.NumAckPending)
	}
	if got := s.Stats().Topics[streamName]; got.Unreadable != 2 {
		t.Errorf("figures: %+v, want 2 unreadable", got)
	}
}

// A server that is away at the start, and later for a while, is waited for.
func TestAServerThatIsAway(t *testing.T) {
	t.Parallel()
	b := startBroker(t, server.Options{})
	b.options.Port = b.server.Addr().(*net.TCPAddr).Port
	b.withStream()
	b.stop()
	e := newEngine()
	s, _ := start(t, config(fmt.Sprintf("nats://127.0.0.1:%d", b.options.Port), e))
	waitFor(t, "the failed connection", func() bool { st := s.Stats(); return !st.Connected && !st.LastError.IsZero() })
	for round := range 2 {
		b.start()
		publish(t, b.js(), "logs.x", fmt.Sprintf("line %d", round))
		waitFor(t, "the message", func() bool { return e.seen()[fmt.Sprintf("line %d", round)] == 1 })
		if round == 0 {
			b.stop()
			waitFor(t, "the loss of the connection", func() bool { return !s.Stats().Connected })
		}
	}
}

func TestWaysToLogIn(t *testing.T) {
	t.Parallel()
	user, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	seed, _ := user.Seed()
	public, _ := user.PublicKey()
	seedFile := filepath.Join(t.TempDir(), "user.nk")
	if err := os.WriteFile(seedFile, seed, 0o600); err != nil {
		t.Fatal(err)
	}
	nkey, err := natsgo.NkeyOptionFromSeed(seedFile)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		server server.Options
		own    natsgo.Option
		set    func(*nats.Config)
	}{
		"password": {server.Options{Username: "cv", Password: "word"}, natsgo.UserInfo("cv", "word"), func(c *nats.Config) { c.Username, c.Password = "cv", "word" }},
		"token":    {server.Options{Authorization: "secret"}, natsgo.Token("secret"), func(c *nats.Config) { c.Token = "secret" }},
		"nkey":     {server.Options{Nkeys: []*server.NkeyUser{{Nkey: public}}}, nkey, func(c *nats.Config) { c.NKeyFile = seedFile }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, e := startBroker(t, tc.server), newEngine()
			js := b.withStream(tc.own)
			publish(t, js, "logs.x", "line 0")
			cfg := config(b.url(), e)
			tc.set(&cfg)
			start(t, cfg)
			waitFor(t, "the acknowledgement", func() bool { return acknowledged(t, js) == 1 })
		})
	}
}

func TestWrongSettings(t *testing.T) {
	t.Parallel()
	good := nats.Config{URLs: []string{"nats://127.0.0.1:4222"}, Stream: streamName, Durable: durable}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for field, set := range map[string]func(*nats.Config){
		"nats_url":             func(c *nats.Config) { c.URLs = []string{"hidden@@:"} },
		"nats_stream":          func(c *nats.Config) { c.Stream = "" },
		"nats_start":           func(c *nats.Config) { c.Start = "now" },
		"nats_creds_file":      func(c *nats.Config) { c.CredsFile = "/does/not/exist" },
		"nats_nkey_file":       func(c *nats.Config) { c.NKeyFile = empty },
		"nats_ca_file":         func(c *nats.Config) { c.TLS.CAFile = empty },
		"nats_client_key_file": func(c *nats.Config) { c.TLS.CertFile = empty },
		"nats_token":           func(c *nats.Config) { c.Username, c.Token = "cv", "hidden" },
	} {
		cfg := good
		set(&cfg)
		_, err := nats.New(cfg)
		e, ok := errors.AsType[*cybervault.Error](err)
		if !ok || e.Code != cybervault.CodeInvalid || e.Field != field || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: error = %v", field, err)
		}
	}
}
