package store_test

import (
	"testing"

	"github.com/cybervault/cybervault"
)

// benchWebhooks is how many webhooks share the numbers in the benchmarks below.
const benchWebhooks = 100

// many publishes n events of one delivery each, to one webhook after the other.
func (x *bench) many(b *testing.B, n int) (webhooks []*cybervault.Webhook) {
	b.Helper()
	for range benchWebhooks {
		w := &cybervault.Webhook{ID: cybervault.NewID[cybervault.WebhookID](x.ids), Workspace: x.ws, URL: "https://receiver.test/in"}
		if err := x.s.SaveWebhook(b.Context(), w); err != nil {
			b.Fatal(err)
		}
		webhooks = append(webhooks, w)
	}
	const group = 1000
	b.ResetTimer()
	for from := 0; from < n; from += group {
		pubs := x.publications(min(group, n-from))
		for i, p := range pubs {
			p.Deliveries[0].Webhook = webhooks[(from+i)%benchWebhooks].ID
		}
		_, errs := x.s.Publish(b.Context(), pubs)
		for _, err := range errs {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	return webhooks
}

// BenchmarkPublishMany is an event and its delivery on disk where neighbours go
// to different webhooks.
func BenchmarkPublishMany(b *testing.B) { newBench(b).many(b, b.N) }

// BenchmarkSequence is a full page of sequence numbers, of a webhook that has
// one in a hundred of 200,000 deliveries.
func BenchmarkSequence(b *testing.B) {
	x := newBench(b)
	w := x.many(b, 200_000)[7]
	for b.Loop() {
		page, err := x.s.Sequence(b.Context(), x.ws, w.ID, 500, 0)
		if err != nil || len(page.Rows) != cybervault.MaxSequencePage {
			b.Fatalf("%d numbers, %v", len(page.Rows), err)
		}
	}
}
