package store_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/store"
)

// BenchmarkPublishBesideSnapshot publishes and records, first alone and then
// beside snapshots of a database of 500 MiB, one after the other:
//
//	go test ./internal/store -run '^$' -bench PublishBesideSnapshot -benchtime 1x
func BenchmarkPublishBesideSnapshot(b *testing.B) {
	cfg := sqliteConfig(b)
	s := open(b, cfg)
	ids := cybervault.NewIDSource(1, 0, time.Now)
	ws, err := s.Workspace(b.Context(), cybervault.NewID[cybervault.WorkspaceID](ids), "first")
	if err != nil {
		b.Fatal(err)
	}
	hook := &cybervault.Webhook{ID: cybervault.NewID[cybervault.WebhookID](ids), Workspace: ws, URL: "https://receiver.test/in",
		Events: []string{cybervault.EventThreatDetected}, Status: cybervault.WebhookEnabled, Secrets: []cybervault.Secret{cybervault.NewSecret(time.Now())}}
	if err := s.SaveWebhook(b.Context(), hook); err != nil {
		b.Fatal(err)
	}
	now := time.Now()
	data := append(append([]byte(`{"note":"`), bytes.Repeat([]byte("x"), 1500)...), `"}`...)
	if err := s.Seed(b.Context(), store.Seeding{Ended: 230_000, Since: now.Add(-24 * time.Hour), Until: now.Add(-time.Hour), RetryAt: now, RetryEnd: now, Data: data}, nil); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		alone := load(b, s, ids, ws, hook, 10*time.Second, nil)
		var took time.Duration
		var size int64
		var copies int
		beside := load(b, s, ids, ws, hook, 0, func() {
			until := time.Now().Add(10 * time.Second)
			for time.Now().Before(until) {
				path := filepath.Join(b.TempDir(), "copy.db")
				began := time.Now()
				if err := s.Snapshot(b.Context(), path); err != nil {
					b.Error(err)
					return
				}
				took += time.Since(began)
				copies++
				if info, err := os.Stat(path); err == nil {
					size = info.Size()
				}
				_ = os.Remove(path)
			}
		})
		log, _ := os.Stat(cfg.Path + "-wal")
		b.ReportMetric(alone.rate, "events/s-alone")
		b.ReportMetric(beside.rate, "events/s-beside")
		b.ReportMetric(alone.p99, "ms-p99-alone")
		b.ReportMetric(beside.p99, "ms-p99-beside")
		b.ReportMetric(alone.worst, "ms-max-alone")
		b.ReportMetric(beside.worst, "ms-max-beside")
		b.ReportMetric(took.Seconds()/float64(copies), "s/snapshot")
		b.ReportMetric(float64(size>>20), "MiB")
		b.ReportMetric(float64(log.Size()>>20), "MiB-log")
	}
}

type loaded struct{ rate, p99, worst float64 }

// load publishes for a time, or for as long as during takes.
func load(b *testing.B, s *store.Store, ids *cybervault.IDSource, ws cybervault.WorkspaceID, hook *cybervault.Webhook, d time.Duration, during func()) loaded {
	b.Helper()
	var stop atomic.Bool
	var wg sync.WaitGroup
	var mu sync.Mutex
	var all []time.Duration
	began := time.Now()
	for range 64 {
		wg.Go(func() {
			var mine []time.Duration
			for !stop.Load() {
				at := time.Now()
				run := ids.NextRun(2)
				lease := cybervault.Lease{Token: run[1].Key(), Until: at.Add(time.Hour)}
				_, errs := s.Publish(context.Background(), []*cybervault.Publication{{
					Event:      &cybervault.Event{ID: cybervault.EventID{UUID: run[0]}, Workspace: ws, Type: cybervault.EventThreatDetected, Timestamp: at, Body: bytes.Repeat([]byte("x"), 600)},
					Deliveries: []cybervault.NewDelivery{{ID: cybervault.DeliveryID{UUID: run[1]}, Webhook: hook.ID, Status: cybervault.DeliveryPending, Lease: lease}},
				}})
				if errs[0] != nil {
					b.Error(errs[0])
					return
				}
				mine = append(mine, time.Since(at))
			}
			mu.Lock()
			all = append(all, mine...)
			mu.Unlock()
		})
	}
	if during != nil {
		during()
	} else {
		<-time.After(d)
	}
	stop.Store(true)
	wg.Wait()
	slices.Sort(all)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return loaded{rate: float64(len(all)) / time.Since(began).Seconds(), p99: ms(all[len(all)*99/100]), worst: ms(all[len(all)-1])}
}
