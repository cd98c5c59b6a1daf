package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/cybervault/cybervault/internal/telemetry/kafka"
	"github.com/cybervault/cybervault/internal/telemetry/stream"
)

const (
	patience = 30 * time.Second
	topic    = "auth"
	group    = "cybervault"
)

// engine is a threat engine that keeps what it was given. Its store can be in
// trouble, and it can be made to wait in the middle of a batch.
type engine struct {
	mu      sync.Mutex
	judged  []string
	pieces  []stream.Piece
	settled int
	trouble error         // of the store
	gate    chan struct{} // what each Judge waits for, if not nil
	entered chan struct{} // is sent to when a Judge begins
}

func newEngine() *engine { return &engine{entered: make(chan struct{}, 1000)} }

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
		e.judged = append(e.judged, string(p.Data))
	}
	e.pieces = append(e.pieces, pieces...)
	return receipt, nil
}

func (e *engine) Settle(context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.trouble == nil {
		e.settled++
	}
	return e.trouble
}

func (e *engine) seen() map[string]int {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := map[string]int{}
	for _, s := range e.judged {
		out[s]++
	}
	return out
}

func (e *engine) setTrouble(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.trouble = err
}

func (e *engine) hold() (release func()) {
	gate := make(chan struct{})
	e.mu.Lock()
	defer e.mu.Unlock()
	e.gate = gate
	return sync.OnceFunc(func() {
		e.mu.Lock()
		e.gate = nil
		e.mu.Unlock()
		close(gate)
	})
}

func cluster(t *testing.T, partitions int32, options ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1), kfake.SeedTopics(partitions, topic),
		kfake.BrokerConfigs(map[string]string{"group.initial.rebalance.delay.ms": "0"})}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func produce(t *testing.T, c *kfake.Cluster, key string, values ...string) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, v := range values {
		r := &kgo.Record{Value: []byte(v)}
		if key != "" {
			r.Key = []byte(key)
		}
		if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

func config(c *kfake.Cluster, e *engine) kafka.Config {
	return kafka.Config{
		Brokers: c.ListenAddrs(), Topics: map[string]string{topic: "syslog"}, Group: group, Engine: e,
		Patience: stream.Patience{First: time.Millisecond, Most: 10 * time.Millisecond},
	}
}

// start runs a source and returns how to stop it, which waits for its end.
func start(t *testing.T, cfg kafka.Config) (*kafka.Source, func()) {
	t.Helper()
	s, err := kafka.New(cfg)
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
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline.C:
			t.Fatalf("after %s: %s did not come about", patience, what)
		case <-tick.C:
		}
	}
}

// committed is the sum of the group's offsets: how many records are behind it.
func committed(c *kfake.Cluster) int64 {
	info := c.GroupInfo(group)
	if info == nil {
		return 0
	}
	var sum int64
	for _, parts := range info.Commits {
		for _, at := range parts {
			sum += at.Offset
		}
	}
	return sum
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

func TestRecordsAreJudgedAndCommitted(t *testing.T) {
	t.Parallel()
	c, e := cluster(t, 3), newEngine()
	want := lines(0, 50)
	for i, line := range want {
		produce(t, c, fmt.Sprintf("192.0.2.%d", i), line)
	}
	s, _ := start(t, config(c, e))
	waitFor(t, "the commit of all records", func() bool { return committed(c) == 50 })
	once(t, e.seen(), want)
	if p := e.pieces[0]; p.Source != topic || p.Format != "syslog" {
		t.Errorf("a piece came with source %q and format %q, want %q and syslog", p.Source, p.Format, topic)
	}
	stats := s.Stats()
	if got := stats.Topics[topic]; got.Records != 50 || got.Unkeyed != 0 || got.Unreadable != 0 || !stats.Connected {
		t.Errorf("figures: %+v", stats)
	}
}

// Nothing is committed before what came of it is on disk: while the engine is at
// work, and while the store is in trouble, the group's offset stays.
func TestNothingIsCommittedBeforeItIsOnDisk(t *testing.T) {
	t.Parallel()
	c, e := cluster(t, 1), newEngine()
	release := e.hold()
	defer release()
	e.setTrouble(errors.New("the disk is full"))
	produce(t, c, "k", lines(0, 5)...)
	s, _ := start(t, config(c, e))
	<-e.entered
	if n := committed(c); n != 0 {
		t.Fatalf("%d records are committed while the engine has them", n)
	}
	release()
	waitFor(t, "a few tries", func() bool { return s.Stats().Retries > 5 })
	if n := committed(c); n != 0 {
		t.Fatalf("%d records are committed while the store is in trouble", n)
	}
	if s.Stats().LastError.IsZero() {
		t.Error("the trouble is not among the figures")
	}
	produce(t, c, "k", lines(5, 8)...)
	e.setTrouble(nil)
	waitFor(t, "the commit after the trouble", func() bool { return committed(c) == 8 })
	once(t, e.seen(), lines(0, 8))
}

// A process that ends between the engine and the commit leaves the records to
// the next.
func TestWhatWasNotCommittedComesAgain(t *testing.T) {
	t.Parallel()
	c, first := cluster(t, 1), newEngine()
	first.setTrouble(errors.New("the store is gone"))
	produce(t, c, "k", lines(0, 5)...)
	s, stop := start(t, config(c, first))
	waitFor(t, "the trouble", func() bool { return s.Stats().Retries > 0 })
	stop()
	if n := committed(c); n != 0 {
		t.Fatalf("a source that was stopped in trouble committed %d records", n)
	}
	second := newEngine()
	start(t, config(c, second))
	waitFor(t, "the commit by the next", func() bool { return committed(c) == 5 })
	once(t, second.seen(), lines(0, 5))
}

// A stop ends the batch in hand, commits it, and leaves the group.
func TestStopFinishesTheBatchInHand(t *testing.T) {
	t.Parallel()
	c, e := cluster(t, 1), newEngine()
	release := e.hold()
	defer release()
	produce(t, c, "k", lines(0, 3)...)
	_, stop := start(t, config(c, e))
	<-e.entered
	stopped := make(chan struct{})
	go func() { defer close(stopped); stop() }()
	release()
	<-stopped
	if n := committed(c); n != int64(len(e.seen())) || n == 0 {
		t.Errorf("%d records are committed, %d were judged", n, len(e.seen()))
	}
	if info := c.GroupInfo(group); len(info.Members) != 0 {
		t.Errorf("the group has %d members after the last left", len(info.Members))
	}
}

// Two nodes share the partitions. One leaves in the middle of a batch: it
// finishes and commits that, and nothing is judged twice or not at all.
func TestAMemberLeavesInTheMiddleOfABatch(t *testing.T) {
	t.Parallel()
	c := cluster(t, 4)
	engines := []*engine{newEngine(), newEngine()}
	_, stopFirst := start(t, config(c, engines[0]))
	start(t, config(c, engines[1]))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := c.WaitGroupInfo(ctx, group, func(g *kfake.GroupInfo) bool {
		return g != nil && len(g.Members) == 2 && shared(g)
	}); err != nil {
		t.Fatalf("two members with two partitions each: %v", err)
	}
	release := engines[0].hold()
	defer release()
	want := lines(0, 200)
	for i, line := range want[:100] {
		produce(t, c, fmt.Sprint(i), line)
	}
	<-engines[0].entered
	stopped := make(chan struct{})
	go func() { defer close(stopped); stopFirst() }()
	for i, line := range want[100:] {
		produce(t, c, fmt.Sprint(i), line)
	}
	release()
	<-stopped
	waitFor(t, "the commit of all records", func() bool { return committed(c) == 200 })
	seen := engines[1].seen()
	for line, n := range engines[0].seen() {
		seen[line] += n
	}
	once(t, seen, want)
	if len(engines[0].seen()) == 0 {
		t.Error("the member that left judged nothing")
	}
}

// shared reports whether both members have partitions.
func shared(g *kfake.GroupInfo) bool {
	for _, m := range g.Members {
		if len(m.Assignment[topic]) != 2 {
			return false
		}
	}
	return g.State == "Stable"
}

func TestUnreadableRecordsAreCountedAndPassed(t *testing.T) {
	t.Parallel()
	c, e := cluster(t, 1), newEngine()
	produce(t, c, "", "broken 1", "line 0", "broken 2", "line 1")
	s, _ := start(t, config(c, e))
	waitFor(t, "the commit of all records", func() bool { return committed(c) == 4 })
	once(t, e.seen(), lines(0, 2))
	if got := s.Stats().Topics[topic]; got.Unreadable != 2 || got.Unkeyed != 4 || got.Records != 4 {
		t.Errorf("figures: %+v, want 2 unreadable and 4 without a key, of 4", got)
	}
}

// A group that begins at the end keeps to that place: what is written before its
// first commit is read after a crash.
func TestLatestKeepsToWhereItBegan(t *testing.T) {
	t.Parallel()
	c, first := cluster(t, 1), newEngine()
	produce(t, c, "k", lines(0, 5)...)
	cfg := config(c, first)
	cfg.Start = kafka.StartLatest
	_, stop := start(t, cfg)
	waitFor(t, "the commit of the place to start", func() bool { return committed(c) == 5 })
	stop()
	produce(t, c, "k", lines(5, 7)...)
	second := newEngine()
	cfg.Engine = second
	start(t, cfg)
	waitFor(t, "the commit of what came since", func() bool { return committed(c) == 7 })
	once(t, second.seen(), lines(5, 7))
	if len(first.seen()) != 0 {
		t.Errorf("what was there before was judged: %v", first.seen())
	}
}

// A broker that is away is no reason not to start; once it is there, it is read.
func TestABrokerThatIsAwayAtTheStart(t *testing.T) {
	t.Parallel()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := free.Addr().(*net.TCPAddr).Port
	free.Close()
	e := newEngine()
	s, _ := start(t, kafka.Config{
		Brokers: []string{fmt.Sprintf("127.0.0.1:%d", port)}, Topics: map[string]string{topic: ""}, Group: group, Engine: e,
	})
	waitFor(t, "the failed connection", func() bool { st := s.Stats(); return !st.Connected && !st.LastError.IsZero() })
	c := cluster(t, 1, kfake.Ports(port))
	produce(t, c, "k", "line 0")
	waitFor(t, "the commit", func() bool { return committed(c) == 1 })
	if !s.Stats().Connected {
		t.Error("the source does not know that it is connected")
	}
}
