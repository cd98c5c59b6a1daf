package app

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/cybervault/cybervault/internal/config"
	"github.com/cybervault/cybervault/internal/detect/sample"
)

// benchRecords is how many lines each round hands in.
const benchRecords = 50_000

// benchLog is the sample access log over and over, each round from other
// addresses, as lines and keyed by the client.
func benchLog(b *testing.B) (lines, keys [][]byte) {
	b.Helper()
	raw, err := io.ReadAll(sample.AccessLog())
	if err != nil {
		b.Fatal(err)
	}
	var originals [][]byte
	for line := range bytes.Lines(raw) {
		originals = append(originals, bytes.TrimSpace(line))
	}
	for i := range benchRecords {
		_, rest, _ := bytes.Cut(originals[i%len(originals)], []byte(" "))
		round := i / len(originals)
		address := fmt.Appendf(nil, "198.18.%d.%d", round>>8, round&255)
		lines, keys = append(lines, append(append(bytes.Clone(address), ' '), rest...)), append(keys, address)
	}
	return lines, keys
}

// benchServer is a server on SQLite in a directory of its own, with its rules
// loaded, that does not run yet.
func benchServer(b *testing.B, set func(*config.Config)) *App {
	b.Helper()
	cfg := config.Default()
	cfg.Listen, cfg.DataDir, cfg.BootstrapAPIKey = "127.0.0.1:0", b.TempDir(), "a-key-of-the-benchmark"
	if set != nil {
		set(&cfg)
	}
	a, err := New(b.Context(), cfg, slog.New(slog.DiscardHandler), "bench")
	if err != nil {
		b.Fatal(err)
	}
	if err := a.pipeline.engine.Warm(); err != nil {
		b.Fatal(err)
	}
	return a
}

func runServer(b *testing.B, a *App) (stop func()) {
	b.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
	}
}

// processorTime is what this process has used, the fake broker included.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// rates reports records a second, and what one costs on a machine that has other
// work besides.
func rates(b *testing.B, records int, used time.Duration) {
	b.Helper()
	n := float64(records * b.N)
	b.ReportMetric(n/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(float64(used.Nanoseconds())/1000/n, "cpu-µs/record")
}

// The same lines by way of POST /v1/telemetry, in uploads as large as a batch of a
// stream, and by way of Kafka, from joining the group to the last commit.
func BenchmarkTelemetry(b *testing.B) {
	lines, keys := benchLog(b)
	b.Run("post", func(b *testing.B) {
		var used time.Duration
		for range b.N {
			b.StopTimer()
			a := benchServer(b, nil)
			began := processorTime(b)
			b.StartTimer()
			stop := runServer(b, a)
			for at := 0; at < len(lines); at += 2000 {
				body := bytes.Join(lines[at:min(at+2000, len(lines))], []byte("\n"))
				req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, "http://"+a.Address()+"/v1/telemetry?source=nginx", bytes.NewReader(body))
				if err != nil {
					b.Fatal(err)
				}
				req.Header.Set("Authorization", "Bearer a-key-of-the-benchmark")
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					b.Fatal(err)
				}
				resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					b.Fatal(resp.Status)
				}
			}
			b.StopTimer()
			used += processorTime(b) - began
			stop()
			b.StartTimer()
		}
		rates(b, len(lines), used)
	})
	b.Run("kafka", func(b *testing.B) {
		var used time.Duration
		for range b.N {
			b.StopTimer()
			c := benchTopic(b, lines, keys)
			a := benchServer(b, func(cfg *config.Config) {
				cfg.Kafka.Brokers, cfg.Kafka.Topics = c.ListenAddrs(), []config.Topic{{Name: "nginx"}}
			})
			began := processorTime(b)
			b.StartTimer()
			stop := runServer(b, a)
			_, err := c.WaitGroupInfo(b.Context(), "cybervault", func(g *kfake.GroupInfo) bool {
				var sum int64
				if g != nil {
					for _, at := range g.Commits["nginx"] {
						sum += at.Offset
					}
				}
				return sum == int64(len(lines))
			})
			b.StopTimer()
			used += processorTime(b) - began
			if err != nil {
				b.Fatal(err)
			}
			stop()
			c.Close()
			b.StartTimer()
		}
		rates(b, len(lines), used)
	})
}

// benchTopic is a cluster whose topic of three partitions holds the lines.
func benchTopic(b *testing.B, lines, keys [][]byte) *kfake.Cluster {
	b.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "nginx"), kfake.BrokerConfigs(map[string]string{"group.initial.rebalance.delay.ms": "0"}))
	if err != nil {
		b.Fatal(err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.DefaultProduceTopic("nginx"))
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	records := make([]*kgo.Record, len(lines))
	for i, line := range lines {
		records[i] = &kgo.Record{Key: keys[i], Value: line, Timestamp: time.Unix(1, 0)}
	}
	if err := client.ProduceSync(b.Context(), records...).FirstErr(); err != nil {
		b.Fatal(err)
	}
	return c
}
