package e2e

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cybervault/cybervault/test/testenv"
)

// natsWith starts a NATS server in this process, whose stream LOGS holds lines
// under the subject logs.nginx.
func natsWith(t *testing.T, lines [][]byte) (url string, js jetstream.JetStream) {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(patience) {
		t.Fatal("the NATS server is not ready")
	}
	conn, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	if js, err = jetstream.New(conn); err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "LOGS", Subjects: []string{"logs.>"}}); err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		if _, err := js.Publish(t.Context(), "logs.nginx", line); err != nil {
			t.Fatal(err)
		}
	}
	return s.ClientURL(), js
}

// The sample log by way of JetStream leads to the threats that it leads to by way
// of POST /v1/telemetry. The same lines once more, to a server that was killed and
// knows nothing of them, make no second event.
func TestTelemetryFromNATS(t *testing.T) {
	t.Parallel()
	lines := sampleLines(t)
	want := threatsByPost(t, "logs.nginx", lines)
	url, js := natsWith(t, lines)
	server := testenv.StartServer(t, testenv.ServerOptions{Args: []string{"--nats-url", url, "--nats-stream", "LOGS", "--nats-subject", "logs.nginx=access"}})
	pending := func() int {
		consumer, err := js.Consumer(t.Context(), "LOGS", "cybervault")
		if err != nil {
			return -1
		}
		info := consumer.CachedInfo()
		return int(info.NumPending) + info.NumAckPending
	}
	until(t, "the acknowledgement of all messages", func() bool { return pending() == 0 })
	if diff := cmp.Diff(want, threats(t, server)); diff != "" {
		t.Errorf("threats by POST and by NATS (-want +got):\n%s", diff)
	}
	if n := metric(t, server, `cybervault_stream_records_total{stream="nats",topic="LOGS"}`); n != float64(len(lines)) {
		t.Errorf("the metrics show %v messages read, want %d", n, len(lines))
	}
	server.Kill()
	for _, line := range lines {
		if _, err := js.Publish(t.Context(), "logs.nginx", line); err != nil {
			t.Fatal(err)
		}
	}
	server.Restart()
	until(t, "the acknowledgement after the kill", func() bool { return pending() == 0 })
	if diff := cmp.Diff(want, threats(t, server)); diff != "" {
		t.Errorf("the same lines once more, to a server that was killed, changed what is known (-want +got):\n%s", diff)
	}
}
