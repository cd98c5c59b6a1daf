package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/cybervault/cybervault/internal/detect/sample"
	"github.com/cybervault/cybervault/test/testenv"
)

// sampleLines returns the access log that ships with the product, a line each.
func sampleLines(t *testing.T) [][]byte {
	t.Helper()
	raw, err := io.ReadAll(sample.AccessLog())
	if err != nil {
		t.Fatal(err)
	}
	var lines [][]byte
	for line := range bytes.Lines(raw) {
		lines = append(lines, bytes.TrimSpace(line))
	}
	return lines
}

// kafkaWith returns a cluster of one broker whose topic "nginx" has lines, keyed by
// the client's address.
func kafkaWith(t *testing.T, lines [][]byte) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "nginx"), kfake.BrokerConfigs(map[string]string{"group.initial.rebalance.delay.ms": "0"}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.DefaultProduceTopic("nginx"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	records := make([]*kgo.Record, len(lines))
	for i, line := range lines {
		address, _, _ := bytes.Cut(line, []byte(" "))
		records[i] = &kgo.Record{Key: address, Value: line}
	}
	if err := client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	return c
}

func committed(c *kfake.Cluster) (sum int64) {
	if info := c.GroupInfo("cybervault"); info != nil {
		for _, at := range info.Commits["nginx"] {
			sum += at.Offset
		}
	}
	return sum
}

// until waits for done, asking again and again.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline, tick := time.NewTimer(patience), time.NewTicker(10*time.Millisecond)
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

type storedEvent struct {
	Data struct {
		SourceIP    string `json:"source_ip"`
		TargetAsset string `json:"target_asset"`
		Vector      string `json:"vector"`
		Count       int    `json:"count"`
		FirstSeen   string `json:"first_seen"`
	} `json:"data"`
}

// threats counts the events about threats by what they say.
func threats(t *testing.T, server *testenv.Server) map[string]int {
	t.Helper()
	out := map[string]int{}
	for _, e := range call[list[storedEvent]](t, server, http.StatusOK, http.MethodGet, "/v1/events?event=threat.detected&limit=100", "").Data {
		out[fmt.Sprintf("%+v", e.Data)]++
	}
	return out
}

// threatsByPost are the threats that lines lead to by way of POST /v1/telemetry.
func threatsByPost(t *testing.T, source string, lines [][]byte) map[string]int {
	t.Helper()
	server := testenv.StartServer(t, testenv.ServerOptions{})
	call[struct{}](t, server, http.StatusOK, http.MethodPost, "/v1/telemetry?source="+source, string(bytes.Join(lines, []byte("\n"))))
	found := threats(t, server)
	if len(found) == 0 {
		t.Fatal("the sample leads to no threat by POST")
	}
	return found
}

// The sample log by way of Kafka leads to the threats that it leads to by way of
// POST /v1/telemetry.
func TestTelemetryFromKafka(t *testing.T) {
	t.Parallel()
	lines := sampleLines(t)
	want := threatsByPost(t, "nginx", lines)
	c := kafkaWith(t, lines)
	server := testenv.StartServer(t, testenv.ServerOptions{Args: []string{
		"--kafka-brokers", strings.Join(c.ListenAddrs(), ","), "--kafka-topic", "nginx=access",
	}})
	until(t, "the commit of all records", func() bool { return committed(c) == int64(len(lines)) })
	got := threats(t, server)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("threats by POST and by Kafka (-want +got):\n%s", diff)
	}
	if n := metric(t, server, `cybervault_stream_records_total{stream="kafka",topic="nginx"}`); n != float64(len(lines)) {
		t.Errorf("the metrics show %v records read, want %d", n, len(lines))
	}
	server.Stop()
	if info := c.GroupInfo("cybervault"); len(info.Members) != 0 {
		t.Error("the server did not leave the group when it was stopped")
	}
}

// A server that is killed when its events are on disk and its offsets are not
// committed reads the records again, and each threat is one event all the same.
func TestKafkaOverAKill(t *testing.T) {
	t.Parallel()
	lines := sampleLines(t)
	c := kafkaWith(t, lines)
	var taken atomic.Bool
	c.ControlKey(int16(kmsg.OffsetCommit), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if taken.Load() {
			return nil, nil, false
		}
		return nil, errors.New("no commit is taken"), true
	})
	server := testenv.StartServer(t, testenv.ServerOptions{Args: []string{"--kafka-brokers", strings.Join(c.ListenAddrs(), ","), "--kafka-topic", "nginx"}})
	want := threatsByPost(t, "nginx", lines)
	until(t, "all threats on disk", func() bool { return cmp.Equal(want, threats(t, server)) })
	server.Kill()
	if n := committed(c); n != 0 {
		t.Fatalf("%d records are committed, though no commit was taken", n)
	}
	taken.Store(true)
	leaveForDead(t, c)
	server.Restart()
	until(t, "the commit of all records", func() bool { return committed(c) == int64(len(lines)) })
	if diff := cmp.Diff(want, threats(t, server)); diff != "" {
		t.Errorf("events of each threat before the kill and after (-want +got):\n%s", diff)
	}
}

// leaveForDead takes the members of the group out, as the broker does when it has
// not heard of them for a while.
func leaveForDead(t *testing.T, c *kfake.Cluster) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group = "cybervault"
	for _, m := range c.GroupInfo("cybervault").Members {
		member := kmsg.NewLeaveGroupRequestMember()
		member.MemberID = m.MemberID
		req.Members = append(req.Members, member)
	}
	if _, err := req.RequestWith(t.Context(), client); err != nil {
		t.Fatal(err)
	}
}

// serveFails starts a server that must refuse to start, and returns what it said.
func serveFails(t *testing.T, args ...string) string {
	t.Helper()
	binary := testenv.Binary(t) // which may have to be built
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...)
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	if _, ended := errors.AsType[*exec.ExitError](err); !ended || ctx.Err() != nil {
		t.Fatalf("serve %q ended with %v, want an error of its own\n%s", args, err, out)
	}
	return string(out)
}

func TestWrongKafkaSettingsAreAStartError(t *testing.T) {
	t.Parallel()
	out := serveFails(t, "--kafka-brokers", "127.0.0.1:9", "--kafka-topic", "nginx=xml")
	if !strings.Contains(out, "--kafka-topic") || !strings.Contains(out, "access") {
		t.Errorf("a wrong format: %s", out)
	}
	out = serveFails(t, "--kafka-brokers", "127.0.0.1:9", "--kafka-topic", "nginx", "--kafka-ca-file", "/does/not/exist")
	if !strings.Contains(out, "kafka_ca_file") {
		t.Errorf("a file that does not exist: %s", out)
	}
}
