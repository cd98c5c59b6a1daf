package storetest

import (
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault"
)

func cancelCases() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"cancel/one":                     cancelOne,
		"cancel/while an attempt runs":   cancelRunning,
		"cancel/what cannot be":          cancelRefused,
		"cancel/all of a webhook":        cancelAll,
		"cancel/more than one batch":     cancelMany,
		"cancel/against results at once": cancelRace,
	}
}

func cancelOne(f *fixture) {
	w := f.webhook(unverified)
	pub := f.publication(event{}, waiting(w), born(w, cybervault.DeliveryHeld, ""))
	f.publish(pub)
	f.clock.Move(time.Second)
	for i := range pub.Deliveries {
		id := pub.Deliveries[i].ID
		f.must(f.s.CancelDelivery(f.Context(), f.ws, id, cybervault.ReasonCancelled))
		want := &cybervault.Delivery{
			ID: id, Workspace: f.ws, Event: pub.Event.ID, EventType: pub.Event.Type, Severity: cybervault.SeverityInfo, Webhook: w.ID, Sequence: int64(i + 1),
			Status: cybervault.DeliveryCancelled, Reason: cybervault.ReasonCancelled, FinishedAt: f.clock.Now(),
		}
		if diff := cmp.Diff(want, f.delivery(id)); diff != "" {
			f.Errorf("cancelled delivery (-want +got):\n%s", diff)
		}
	}
	f.clock.Move(time.Hour)
	if got := f.claim(w, 10); len(got) != 0 {
		f.Errorf("claimed %d cancelled deliveries", len(got))
	}
	if n, err := f.s.FreeHeld(f.Context(), w.ID); n != 0 || err != nil {
		f.Errorf("freed %d cancelled deliveries, %v", n, err)
	}
}

func cancelRunning(f *fixture) {
	w := f.webhook()
	pub := f.publication(event{}, f.leased(w))
	f.publish(pub)
	f.must(f.s.CancelDelivery(f.Context(), f.ws, pub.Deliveries[0].ID, cybervault.ReasonCancelled))
	f.wantCode(f.record(f.result(&pub.Deliveries[0], 1, cybervault.DeliveryDelivered)), cybervault.CodeConflict)
	if d := f.delivery(pub.Deliveries[0].ID); d.Status != cybervault.DeliveryCancelled || d.Attempts != 0 {
		f.Errorf("delivery: %+v", d)
	}
	if got := f.attempts(pub.Deliveries[0].ID); len(got) != 0 {
		f.Errorf("%d attempts were recorded after the end", len(got))
	}
}

func cancelRefused(f *fixture) {
	w := f.webhook()
	pub := f.publication(event{}, f.leased(w), waiting(w), born(w, cybervault.DeliverySkipped, "filter"))
	f.publish(pub)
	f.must(f.record(f.result(&pub.Deliveries[0], 1, cybervault.DeliveryDelivered)))
	cancel := func(ws cybervault.WorkspaceID, id cybervault.DeliveryID) error {
		return f.s.CancelDelivery(f.Context(), ws, id, cybervault.ReasonCancelled)
	}
	f.wantCode(cancel(f.ws, pub.Deliveries[0].ID), cybervault.CodeConflict)
	f.wantCode(cancel(f.ws, pub.Deliveries[2].ID), cybervault.CodeConflict)
	f.wantCode(cancel(f.strangersWorkspace(), pub.Deliveries[1].ID), cybervault.CodeNotFound)
	f.wantCode(cancel(f.ws, cybervault.NewID[cybervault.DeliveryID](f.ids)), cybervault.CodeNotFound)
	// The same row key, another random rest: nobody guesses an id from a key.
	guessed := cybervault.MakeID[cybervault.DeliveryID](pub.Deliveries[1].ID.Key(), pub.Deliveries[1].ID.Rest()^1)
	f.wantCode(cancel(f.ws, guessed), cybervault.CodeNotFound)
	if got := f.delivery(pub.Deliveries[0].ID); got.Status != cybervault.DeliveryDelivered {
		f.Errorf("a refused cancellation changed the delivery: %+v", got)
	}
	if got := f.claim(w, 10); len(got) != 1 {
		f.Errorf("claimed %d, want the one that nobody cancelled", len(got))
	}
}

func cancelAll(f *fixture) {
	w, other := f.webhook(unverified), f.webhook()
	pub := f.publication(event{}, f.leased(w), waiting(w), born(w, cybervault.DeliveryHeld, ""), f.leased(w),
		born(w, cybervault.DeliverySkipped, "filter"), waiting(other))
	f.publish(pub)
	f.must(f.record(f.result(&pub.Deliveries[3], 1, cybervault.DeliveryDelivered)))
	n, err := f.s.CancelDeliveries(f.Context(), w.ID, cybervault.ReasonWebhookDeleted)
	f.must(err)
	if n != 3 {
		f.Errorf("cancelled %d, want 3", n)
	}
	want := []cybervault.DeliveryStatus{
		cybervault.DeliveryCancelled, cybervault.DeliveryCancelled, cybervault.DeliveryCancelled,
		cybervault.DeliveryDelivered, cybervault.DeliverySkipped, cybervault.DeliveryPending,
	}
	for i, status := range want {
		got := f.delivery(pub.Deliveries[i].ID)
		if got.Status != status || status == cybervault.DeliveryCancelled && got.Reason != cybervault.ReasonWebhookDeleted {
			f.Errorf("delivery %d: %+v, want %s", i, got, status)
		}
	}
	f.wantCode(f.record(f.result(&pub.Deliveries[0], 1, cybervault.DeliveryDelivered)), cybervault.CodeConflict)
}

func cancelMany(f *fixture) {
	const n = 2300
	w := f.webhook(unverified)
	for left := n; left > 0; {
		births := make([]cybervault.NewDelivery, min(left, 500))
		for i := range births {
			births[i] = born(w, cybervault.DeliveryHeld, "")
		}
		f.publish(f.publication(event{}, births...))
		left -= len(births)
	}
	if got, err := f.s.FreeHeld(f.Context(), w.ID); got != n || err != nil {
		f.Fatalf("freed %d, %v; want %d", got, err, n)
	}
	if got, err := f.s.CancelDeliveries(f.Context(), w.ID, cybervault.ReasonWebhookDeleted); got != n || err != nil {
		f.Fatalf("cancelled %d, %v; want %d", got, err, n)
	}
	if pending, held, err := f.s.Pending(f.Context()); pending != 0 || held != 0 || err != nil {
		f.Errorf("pending %d, held %d, %v", pending, held, err)
	}
}

// Each delivery ends once, whichever of its two ends comes first.
func cancelRace(f *fixture) {
	const n = 300
	w := f.webhook()
	births := make([]cybervault.NewDelivery, n)
	for i := range births {
		births[i] = f.leased(w)
	}
	pub := f.publication(event{}, births...)
	f.publish(pub)
	type answer struct {
		i   int
		err error
	}
	answers := make(chan answer, n)
	cancelled := make(chan int64, 1)
	go func() {
		got, err := f.s.CancelDeliveries(f.Context(), w.ID, cybervault.ReasonWebhookDeleted)
		if err != nil {
			f.Errorf("cancel: %v", err)
		}
		cancelled <- got
	}()
	for i := range n {
		f.must(f.s.Record(f.result(&pub.Deliveries[i], 1, cybervault.DeliveryDelivered), func(err error) { answers <- answer{i, err} }))
	}
	delivered := 0
	for range n {
		a := <-answers
		d := f.delivery(pub.Deliveries[a.i].ID)
		switch {
		case a.err == nil:
			delivered++
			if d.Status != cybervault.DeliveryDelivered {
				f.Errorf("a result was recorded, and the delivery is %s", d.Status)
			}
		case d.Status != cybervault.DeliveryCancelled:
			f.Errorf("a result was refused (%v), and the delivery is %s", a.err, d.Status)
		}
	}
	if got := int(<-cancelled) + delivered; got != n {
		f.Errorf("%d deliveries ended, of %d", got, n)
	}
}
