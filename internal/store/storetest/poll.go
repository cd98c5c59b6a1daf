package storetest

import (
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/store"
)

func pollCases() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"poll/handed out again until acknowledged": pollLine,
		"poll/what an acknowledgement leaves":      pollAcknowledged,
		"poll/nothing is passed over":              pollStops,
		"poll/acknowledged twice, and wrongly":     pollRefused,
		"poll/of a webhook with a URL":             pollOfAURL,
		"poll/bounded by size":                     pollSize,
		"poll/replays and what came before":        pollJoined,
	}
}

func polled(w *cybervault.Webhook) { w.URL = cybervault.PollURL }

func (f *fixture) pollLine(w *cybervault.Webhook, limit int) []*cybervault.Assignment {
	f.Helper()
	line, err := f.s.Line(f.Context(), w.ID, w.Polled(), limit)
	f.must(err)
	return line
}

// wantLine wants the deliveries with these sequence numbers.
func (f *fixture) wantLine(w *cybervault.Webhook, limit int, sequences ...int64) {
	f.Helper()
	var got []int64
	for _, a := range f.pollLine(w, limit) {
		got = append(got, a.Sequence)
	}
	if diff := cmp.Diff(sequences, got); diff != "" {
		f.Errorf("handed out (-want +got):\n%s", diff)
	}
}

func (f *fixture) acknowledge(w *cybervault.Webhook, last cybervault.DeliveryID) ([]*cybervault.Result, error) {
	return f.s.Acknowledge(f.Context(), w.ID, w.Polled(), last, func() *cybervault.Attempt {
		return &cybervault.Attempt{ID: cybervault.NewID[cybervault.AttemptID](f.ids), StartedAt: f.clock.Now(),
			Exchange: cybervault.Exchange{URL: cybervault.PollURL, Status: 200, Protocol: cybervault.ProtocolPoll}}
	})
}

func pollLine(f *fixture) {
	w, other := f.webhook(polled), f.webhook(polled)
	pub := f.publication(event{data: `{"n":1}`}, inLine(w, cybervault.DeliveryPending), inLine(other, cybervault.DeliveryPending))
	f.publish(pub)
	f.publish(f.publication(event{test: true}, inLine(w, cybervault.DeliveryPending)), f.publication(event{}, inLine(w, cybervault.DeliveryPending)))
	line := f.pollLine(w, 10)
	want := &cybervault.Assignment{
		Delivery: pub.Deliveries[0].ID, Webhook: w.ID, Event: pub.Event.ID, EventType: pub.Event.Type, Sequence: 1, Attempt: 1, Ordered: true, Body: pub.Event.Body,
	}
	if diff := cmp.Diff(want, line[0]); diff != "" || len(line) != 3 || !line[1].Test {
		f.Errorf("%d handed out (-want +got):\n%s", len(line), diff)
	}
	f.wantLine(w, 2, 1, 2)
	f.wantLine(w, 2, 1, 2)
	f.s = f.reopen()
	f.wantLine(w, 10, 1, 2, 3)
	if _, err := f.acknowledge(w, line[1].Delivery); err != nil {
		f.Fatal(err)
	}
	f.wantLine(w, 10, 3)
	f.wantLine(other, 10, 1)
}

// reopen closes the store and opens it again.
func (f *fixture) reopen() *store.Store {
	f.Helper()
	f.must(f.s.Close())
	return f.open()
}

func pollAcknowledged(f *fixture) {
	w := f.webhook(polled)
	pub := f.publication(event{}, inLine(w, cybervault.DeliveryPending), inLine(w, cybervault.DeliveryPending), inLine(w, cybervault.DeliveryPending))
	f.publish(pub)
	start := f.lastChangeAfter(4)
	f.must(f.s.CancelDelivery(f.Context(), f.ws, pub.Deliveries[0].ID, cybervault.ReasonCancelled))
	f.clock.Move(time.Minute)
	results, err := f.acknowledge(w, pub.Deliveries[1].ID)
	f.must(err)
	if len(results) != 1 || results[0].Attempt.Delivery != pub.Deliveries[1].ID || results[0].Attempt.Number != 1 || results[0].Status != cybervault.DeliveryDelivered {
		f.Errorf("acknowledged %+v", results)
	}
	want := &cybervault.Delivery{ID: pub.Deliveries[1].ID, Workspace: f.ws, Event: pub.Event.ID, EventType: pub.Event.Type, Severity: cybervault.SeverityInfo, Webhook: w.ID, Sequence: 2,
		Status: cybervault.DeliveryDelivered, Attempts: 1, FinishedAt: f.clock.Now(), LastStatus: 200}
	if diff := cmp.Diff(want, f.delivery(want.ID)); diff != "" {
		f.Errorf("the delivery (-want +got):\n%s", diff)
	}
	attempts := f.attempts(want.ID)
	if len(attempts) != 1 || attempts[0].Protocol != cybervault.ProtocolPoll || !attempts[0].Succeeded() || attempts[0].Status != 200 {
		f.Errorf("its attempts: %+v", attempts)
	}
	if got := f.delivery(pub.Deliveries[0].ID); got.Status != cybervault.DeliveryCancelled || len(f.attempts(got.ID)) != 0 {
		f.Errorf("a cancelled delivery was acknowledged: %+v", got)
	}
	f.wantWords(f.follow(cybervault.ChangeQuery{After: start}, 3), "delivery 0.0 cancelled, attempt 0.1 1, delivery 0.1 delivered", pub)
	f.wantLine(w, 10, 3)
}

func pollStops(f *fixture) {
	w := f.webhook(polled)
	strict := f.webhook(unverified, polled)
	pub := f.publication(event{}, inLine(strict, cybervault.DeliveryPending), inLine(strict, cybervault.DeliveryHeld), inLine(strict, cybervault.DeliveryPending))
	f.publish(pub)
	f.wantLine(strict, 10, 1)
	if _, err := f.s.FreeHeld(f.Context(), strict.ID); err != nil {
		f.Fatal(err)
	}
	f.wantLine(strict, 10, 1, 2, 3)

	// An attempt from before it was polled may be under way still.
	running := inLine(w, cybervault.DeliveryPending)
	running.Lease = f.lease()
	f.publish(f.publication(event{}, inLine(w, cybervault.DeliveryPending), running, inLine(w, cybervault.DeliveryPending)))
	f.wantLine(w, 10, 1)
	f.clock.Move(time.Hour)
	f.wantLine(w, 10, 1, 2, 3)
}

// A webhook with a URL is polled from the queue: in the order of the sequence,
// whatever the severity, and nothing past what is held or under an attempt.
func pollOfAURL(f *fixture) {
	w, other := f.webhook(), f.webhook()
	low, high := waiting(w), waiting(w)
	high.Severity = cybervault.SeverityCritical
	running := f.leased(w)
	pub := f.publication(event{}, low, high, waiting(other), running, waiting(w))
	f.publish(pub)
	f.wantLine(w, 10, 1, 2)
	f.wantLine(w, 1, 1)
	results, err := f.acknowledge(w, pub.Deliveries[0].ID)
	f.must(err)
	if len(results) != 1 || results[0].Attempt.Delivery != pub.Deliveries[0].ID {
		f.Errorf("acknowledged %+v", results)
	}
	f.must(f.record(f.result(&pub.Deliveries[3], 1, cybervault.DeliveryPending)))
	f.wantLine(w, 10, 2, 3, 4)
	if results, err = f.acknowledge(w, pub.Deliveries[4].ID); err != nil || len(results) != 3 {
		f.Errorf("acknowledged %d, %v", len(results), err)
	}
	f.wantLine(w, 10)
	f.wantLine(other, 10, 1)
	if got := f.delivery(pub.Deliveries[3].ID); got.Status != cybervault.DeliveryDelivered || got.Attempts != 2 {
		f.Errorf("tried once, then fetched: %+v", got)
	}
}

func pollRefused(f *fixture) {
	w, other := f.webhook(polled), f.webhook(polled)
	pub := f.publication(event{}, inLine(w, cybervault.DeliveryPending), inLine(other, cybervault.DeliveryPending), born(w, cybervault.DeliverySkipped, cybervault.ReasonFilter))
	f.publish(pub)
	for _, id := range []cybervault.DeliveryID{
		pub.Deliveries[1].ID, pub.Deliveries[2].ID, cybervault.NewID[cybervault.DeliveryID](f.ids),
		cybervault.MakeID[cybervault.DeliveryID](pub.Deliveries[0].ID.Key(), pub.Deliveries[0].ID.Rest()^1),
	} {
		_, err := f.acknowledge(w, id)
		f.wantCode(err, cybervault.CodeGone)
	}
	f.wantLine(w, 10, 1)
	for i := range 2 {
		results, err := f.acknowledge(w, pub.Deliveries[0].ID)
		f.must(err)
		if len(results) != 1-i {
			f.Errorf("the %d. time it acknowledged %d", i+1, len(results))
		}
	}
	if n := len(f.attempts(pub.Deliveries[0].ID)); n != 1 {
		f.Errorf("acknowledged twice, it has %d attempts", n)
	}
	f.wantLine(other, 10, 1)
}

func pollSize(f *fixture) {
	w := f.webhook(polled)
	large := `"` + strings.Repeat("x", 900<<10) + `"`
	for range 8 {
		f.publish(f.publication(event{data: large}, inLine(w, cybervault.DeliveryPending)))
	}
	f.wantLine(w, 100, 1, 2, 3, 4)
}

func pollJoined(f *fixture) {
	w := f.webhook()
	pub := f.publication(event{}, waiting(w), waiting(w))
	f.publish(pub)
	w.URL = cybervault.PollURL
	f.must(f.s.SaveWebhook(f.Context(), w))
	if n, err := f.s.MarkOrdered(f.Context(), w.ID); n != 2 || err != nil {
		f.Fatalf("put in line: %d, %v", n, err)
	}
	replay := cybervault.NewDelivery{ID: cybervault.NewID[cybervault.DeliveryID](f.ids), Webhook: w.ID, Status: cybervault.DeliveryPending, ReplayOf: pub.Deliveries[0].ID}
	f.must(f.s.AddDelivery(f.Context(), pub.Event, &replay))
	f.wantLine(w, 10, 1, 2, 3)
}
