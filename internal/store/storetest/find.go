package storetest

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault"
)

// What is left of a webhook is found after the retention has removed its newest.
func deliveriesLeftBehind(f *fixture) {
	w := f.webhook()
	dead := f.finish(w, cybervault.DeliveryDeadLetter)
	f.clock.Move(20 * 24 * time.Hour)
	f.finish(w, cybervault.DeliveryDelivered)
	f.clock.Move(40 * 24 * time.Hour)
	f.sweep()
	for _, since := range []time.Time{{}, start.Add(-time.Hour)} {
		f.wantDeliveries(cybervault.DeliveryQuery{Webhook: w.ID, Since: since}, []cybervault.DeliveryID{dead.Deliveries[0].ID}, 0)
	}
}

// deliveriesHoweverFound holds the ways a page is looked up against the plain
// one: whatever is asked for is what the whole log has of it, page by page.
func deliveriesHoweverFound(f *fixture) {
	random := rand.New(rand.NewPCG(1, 2)) // the same log every time
	busy, quiet, lately, never, stuck := f.webhook(), f.webhook(), f.webhook(), f.webhook(), f.webhook()
	statuses := []cybervault.DeliveryStatus{
		cybervault.DeliveryDelivered, cybervault.DeliveryDelivered, cybervault.DeliveryDelivered, cybervault.DeliveryDelivered, cybervault.DeliveryDeadLetter,
		cybervault.DeliverySkipped, cybervault.DeliverySkipped, cybervault.DeliveryPending, cybervault.DeliveryHeld, cybervault.DeliveryCancelled,
	}
	// One delivered, and then more that wait than are looked at.
	first := f.publication(event{}, f.leased(stuck))
	f.publish(first)
	f.must(f.record(f.result(&first.Deliveries[0], 1, cybervault.DeliveryDelivered)))
	backlog := make([]*cybervault.Publication, 1040)
	for i := range backlog {
		backlog[i] = f.publication(event{}, waiting(stuck))
	}
	f.publish(backlog...)
	// Publications are made in one order and committed in another.
	for round := range 16 {
		var pubs []*cybervault.Publication
		var ends []*cybervault.Result
		var cancels []*cybervault.NewDelivery
		add := func(w *cybervault.Webhook) {
			kind := []string{cybervault.EventThreatDetected, cybervault.EventSystemAlert}[random.IntN(2)]
			status := statuses[random.IntN(len(statuses))]
			birth := f.leased(w)
			switch status {
			case cybervault.DeliverySkipped:
				birth = born(w, status, cybervault.ReasonFilter)
			case cybervault.DeliveryHeld, cybervault.DeliveryPending, cybervault.DeliveryCancelled:
				birth = waiting(w)
			case cybervault.DeliveryDelivered, cybervault.DeliveryDeadLetter:
			}
			pub := f.publication(event{kind: kind}, birth)
			pubs = append(pubs, pub)
			d := &pub.Deliveries[0]
			switch {
			case status == cybervault.DeliveryCancelled:
				cancels = append(cancels, d)
			case d.Lease.Token != 0:
				ends = append(ends, f.result(d, 1, status))
			}
		}
		for range 45 {
			add(busy)
		}
		for range 2 {
			add(quiet)
		}
		if round > 10 {
			add(lately)
		}
		random.Shuffle(len(pubs), func(i, j int) { pubs[i], pubs[j] = pubs[j], pubs[i] })
		f.publish(pubs...)
		for _, r := range ends {
			f.must(f.record(r))
		}
		for _, d := range cancels {
			f.must(f.s.CancelDelivery(f.Context(), f.ws, d.ID, cybervault.ReasonCancelled))
		}
		f.clock.Move(time.Duration(random.IntN(40)) * time.Minute)
	}
	all := f.deliveries(cybervault.DeliveryQuery{Limit: cybervault.MaxPageSize})
	if len(all) != 16*47+5+1041 {
		f.Fatalf("%d deliveries", len(all))
	}
	moment := func() time.Time {
		if random.IntN(3) > 0 {
			return time.Time{}
		}
		return all[random.IntN(len(all))].CreatedAt()
	}
	for range 100 {
		q := cybervault.DeliveryQuery{Limit: []int{20, 50, 200}[random.IntN(3)], Since: moment(), Until: moment()}
		if i := random.IntN(6); i < 5 {
			q.Webhook = []*cybervault.Webhook{busy, quiet, lately, never, stuck}[i].ID
		}
		if random.IntN(4) == 0 {
			q.EventType = cybervault.EventSystemAlert
		}
		for _, status := range cybervault.DeliveryStatuses() {
			if random.IntN(5) == 0 {
				q.Statuses = append(q.Statuses, status)
			}
		}
		var want []cybervault.DeliveryID
		for _, d := range all {
			if (q.Webhook.IsZero() || d.Webhook == q.Webhook) && (q.EventType == "" || d.EventType == q.EventType) &&
				(len(q.Statuses) == 0 || slices.Contains(q.Statuses, d.Status)) &&
				!d.CreatedAt().Before(q.Since) && (q.Until.IsZero() || d.CreatedAt().Before(q.Until)) {
				want = append(want, d.ID)
			}
		}
		var got []cybervault.DeliveryID
		for _, d := range f.deliveries(q) {
			got = append(got, d.ID)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			f.Fatalf("%+v: %d found, want %d (-want +got):\n%s", q, len(got), len(want), diff)
		}
	}
}
