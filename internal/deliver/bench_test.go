package deliver_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/deliver"
)

// instant is a queue that stores nothing and is always done at once.
type instant struct{ recorded sync.WaitGroup }

func (*instant) Claim(context.Context, cybervault.Claim) ([]*cybervault.Assignment, error) {
	return nil, nil
}
func (*instant) ClaimOrdered(context.Context, cybervault.WebhookID, int, cybervault.Lease) ([]*cybervault.Assignment, time.Time, error) {
	return nil, time.Time{}, nil
}
func (*instant) NextDue(context.Context, cybervault.WebhookID, cybervault.Severity) (time.Time, error) {
	return time.Time{}, nil
}
func (*instant) Holds(context.Context, *cybervault.Assignment) (bool, error)      { return true, nil }
func (*instant) MarkOrdered(context.Context, cybervault.WebhookID) (int64, error) { return 0, nil }
func (*instant) Release(context.Context, []*cybervault.Assignment) error          { return nil }
func (*instant) Backlogs(context.Context) ([]cybervault.Backlog, error)           { return nil, nil }
func (*instant) Do(context.Context, *deliver.Request) (cybervault.Exchange, error) {
	return cybervault.Exchange{Status: 200}, nil
}

func (q *instant) Record(_ *cybervault.Result, done func(error)) error {
	done(nil)
	q.recorded.Done()
	return nil
}

// BenchmarkDelivery is what a delivery costs apart from the store and the wire:
// admission, the lane, signing, judging, recording. The body has 600 bytes.
func BenchmarkDelivery(b *testing.B) {
	queue := &instant{}
	ids := cybervault.NewIDSource(1, 0, time.Now)
	id := cybervault.NewID[cybervault.WebhookID](ids)
	hooks := &settings{byID: map[cybervault.WebhookID]*cybervault.Webhook{id: {
		ID: id, URL: "https://receiver.example/in", Status: cybervault.WebhookEnabled, Accept: cybervault.AcceptDefault,
		Secrets: []cybervault.Secret{cybervault.NewSecret(time.Now())},
	}}}
	d := deliver.New(deliver.Config{
		Queue: queue, Webhooks: hooks, Sender: queue, IDs: ids, UserAgent: "CyberVault-Webhooks/bench",
		Now: time.Now, Logger: slog.New(slog.DiscardHandler),
	})
	defer d.Stop(context.Background())
	body := make([]byte, 600)
	const batch = 500
	assignments := make([]*cybervault.Assignment, 0, batch)
	b.ReportAllocs()
	b.ResetTimer()
	for done := 0; done < b.N; {
		assignments = assignments[:0]
		n := min(batch, b.N-done)
		run := ids.NextRun(2 * n)
		lease := d.NewLease()
		for i := range n {
			if !d.Admit(id, len(body), cybervault.SeverityCritical, false) {
				b.Fatal("not admitted")
			}
			assignments = append(assignments, &cybervault.Assignment{
				Event: cybervault.EventID{UUID: run[2*i]}, Delivery: cybervault.DeliveryID{UUID: run[2*i+1]}, Webhook: id,
				EventType: cybervault.EventThreatDetected, Severity: cybervault.SeverityCritical, Sequence: int64(done + i + 1), Attempt: 1, Body: body, Lease: lease,
			})
		}
		queue.recorded.Add(n)
		d.Dispatch(assignments)
		queue.recorded.Wait()
		done += n
	}
}
