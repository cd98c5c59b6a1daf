package store_test

import (
	"bytes"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/store"
)

// The shape of a busy server: 8 publishers with batches of 100 events of 600
// bytes, each with one delivery claimed at birth.
const (
	benchPublishers = 8
	benchBatch      = 100
	benchEventBytes = 600
)

type bench struct {
	s    *store.Store
	ids  *cybervault.IDSource
	ws   cybervault.WorkspaceID
	w    *cybervault.Webhook
	body []byte
}

func newBench(b testing.TB) *bench {
	b.Helper()
	return newBenchOn(b, store.Config{Path: filepath.Join(b.TempDir(), "cybervault.db"), Key: make([]byte, store.KeySize)})
}

func newBenchOn(b testing.TB, cfg store.Config) *bench {
	b.Helper()
	s, err := store.Open(b.Context(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	ids := cybervault.NewIDSource(1, 0, time.Now)
	ws, err := s.Workspace(b.Context(), cybervault.NewID[cybervault.WorkspaceID](ids), "bench")
	if err != nil {
		b.Fatal(err)
	}
	w := &cybervault.Webhook{ID: cybervault.NewID[cybervault.WebhookID](ids), Workspace: ws, URL: "https://receiver.test/in"}
	if err := s.SaveWebhook(b.Context(), w); err != nil {
		b.Fatal(err)
	}
	return &bench{s: s, ids: ids, ws: ws, w: w, body: bytes.Repeat([]byte("x"), benchEventBytes)}
}

func (x *bench) publications(n int) []*cybervault.Publication {
	pubs := make([]*cybervault.Publication, n)
	now := time.Now()
	for i := range pubs {
		run := x.ids.NextRun(2)
		pubs[i] = &cybervault.Publication{
			Event: &cybervault.Event{ID: cybervault.EventID{UUID: run[0]}, Workspace: x.ws, Type: cybervault.EventThreatDetected, Timestamp: now, Body: x.body},
			Deliveries: []cybervault.NewDelivery{{
				ID: cybervault.DeliveryID{UUID: run[1]}, Webhook: x.w.ID, Status: cybervault.DeliveryPending,
				Lease: cybervault.Lease{Token: 42, Until: now.Add(time.Minute)},
			}},
		}
	}
	return pubs
}

func (x *bench) result(d *cybervault.NewDelivery) *cybervault.Result {
	return &cybervault.Result{
		Webhook: d.Webhook, Lease: d.Lease, Status: cybervault.DeliveryDelivered,
		Attempt: &cybervault.Attempt{
			ID: cybervault.NewID[cybervault.AttemptID](x.ids), Delivery: d.ID, Number: 1, StartedAt: time.Now(),
			Exchange: cybervault.Exchange{
				URL: "https://receiver.test/in", Status: 200, Elapsed: time.Millisecond, RemoteAddr: "192.0.2.1:443", Protocol: "HTTP/1.1",
				Request: []cybervault.Header{
					{Name: "Content-Type", Value: "application/json"}, {Name: "User-Agent", Value: "CyberVault-Webhooks/0.1.0"},
					{Name: "X-CyberVault-Signature", Value: "0d2ca7d2c3b2f5d3a0d2ca7d2c3b2f5d3a0d2ca7d2c3b2f5d3a0d2ca7d2c3b2f"},
					{Name: "X-CyberVault-Event", Value: "threat.detected"}, {Name: "X-CyberVault-Delivery", Value: d.ID.String()},
					{Name: "X-CyberVault-Attempt", Value: "1"}, {Name: "X-CyberVault-Sequence", Value: "12345"},
					{Name: "Webhook-Id", Value: "wh_019ca945-0a00-7003-807b-f693e42729a5"}, {Name: "Webhook-Timestamp", Value: "1767225600"},
					{Name: "Webhook-Signature", Value: "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="},
				},
				Answer: []cybervault.Header{{Name: "Content-Length", Value: "2"}, {Name: "Date", Value: "Thu, 01 Jan 2026 00:00:00 GMT"}},
				Body:   []byte("ok"),
			},
		},
	}
}

// publish publishes n events from all publishers at once and hands each batch
// to then, if that is given.
func (x *bench) publish(b testing.TB, n int, then func([]*cybervault.Publication)) {
	b.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range benchPublishers {
		wg.Go(func() {
			for {
				from := next.Add(benchBatch) - benchBatch
				if from >= int64(n) {
					return
				}
				pubs := x.publications(int(min(benchBatch, int64(n)-from)))
				_, errs := x.s.Publish(b.Context(), pubs)
				for _, err := range errs {
					if err != nil {
						b.Error(err)
						return
					}
				}
				if then != nil {
					then(pubs)
				}
			}
		})
	}
	wg.Wait()
}

func (x *bench) report(b *testing.B, before store.Stats) {
	b.Helper()
	after := x.s.Stats()
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N), "µs/op")
	b.ReportMetric(float64(after.Operations-before.Operations)/float64(max(after.Commits-before.Commits, 1)), "ops/commit")
}

// BenchmarkPublish is an event and its delivery on disk.
func BenchmarkPublish(b *testing.B) {
	x := newBench(b)
	before := x.s.Stats()
	b.ReportAllocs()
	b.ResetTimer()
	x.publish(b, b.N, nil)
	x.report(b, before)
}

// BenchmarkRecord is an attempt and the end of its delivery on disk.
func BenchmarkRecord(b *testing.B) {
	x := newBench(b)
	var mu sync.Mutex
	var results []*cybervault.Result
	x.publish(b, b.N, func(pubs []*cybervault.Publication) {
		mu.Lock()
		defer mu.Unlock()
		for _, p := range pubs {
			results = append(results, x.result(&p.Deliveries[0]))
		}
	})
	before := x.s.Stats()
	b.ReportAllocs()
	b.ResetTimer()
	x.record(b, results)
	x.report(b, before)
}

func (x *bench) record(b testing.TB, results []*cybervault.Result) {
	b.Helper()
	var wg sync.WaitGroup
	wg.Add(len(results))
	for _, r := range results {
		if err := x.s.Record(r, func(err error) {
			if err != nil {
				b.Error(err)
			}
			wg.Done()
		}); err != nil {
			b.Fatal(err)
		}
	}
	wg.Wait()
}

// BenchmarkWhole is the whole life of a delivery, publishing and recording at
// the same time.
func BenchmarkWhole(b *testing.B) {
	x := newBench(b)
	before := x.s.Stats()
	b.ReportAllocs()
	b.ResetTimer()
	x.publish(b, b.N, func(pubs []*cybervault.Publication) {
		results := make([]*cybervault.Result, len(pubs))
		for i, p := range pubs {
			results[i] = x.result(&p.Deliveries[0])
		}
		x.record(b, results)
	})
	x.report(b, before)
}

// BenchmarkPublishOne is what a lone publisher waits for.
func BenchmarkPublishOne(b *testing.B) {
	x := newBench(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, errs := x.s.Publish(b.Context(), x.publications(1)); errs[0] != nil {
			b.Fatal(errs[0])
		}
	}
}
