package storetest

import (
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault"
)

func ordered(w *cybervault.Webhook) { w.Ordered = true }

// inLine is a delivery to an ordered webhook, in a status.
func inLine(w *cybervault.Webhook, status cybervault.DeliveryStatus) cybervault.NewDelivery {
	return cybervault.NewDelivery{Webhook: w.ID, Status: status, Ordered: true}
}

// claimOrdered claims in order, and checks the sequence numbers and when to look again.
func (f *fixture) claimOrdered(w *cybervault.Webhook, limit int, next time.Time, want ...int64) []*cybervault.Assignment {
	f.Helper()
	claimed, again, err := f.s.ClaimOrdered(f.Context(), w.ID, limit, f.lease())
	f.must(err)
	var got []int64
	for _, a := range claimed {
		got = append(got, a.Sequence)
		if !a.Ordered || len(a.Body) == 0 || !f.delivery(a.Delivery).Running {
			f.Errorf("claimed %+v", a)
		}
	}
	if !slices.Equal(got, want) || !again.Equal(next) {
		f.Errorf("claimed %v, next %v; want %v, %v", got, again, want, next)
	}
	return claimed
}

func claimInOrder(f *fixture) {
	w, other := f.webhook(ordered), f.webhook(ordered)
	var pubs []*cybervault.Publication
	for range 6 {
		pubs = append(pubs, f.publication(event{}, inLine(w, cybervault.DeliveryPending), inLine(other, cybervault.DeliveryPending)))
	}
	f.publish(pubs...)
	f.claimOrdered(w, 0, time.Time{})
	first := f.claimOrdered(w, 3, time.Time{}, 1, 2, 3)
	until := first[0].Lease.Until
	f.claimOrdered(w, 10, until) // another node has the first
	f.claimOrdered(other, 1, time.Time{}, 1)

	// The first fails: nothing passes it, whatever is due.
	f.must(f.record(f.result(asBirth(first[0]), 1, cybervault.DeliveryPending)))
	f.must(f.s.Release(f.Context(), first[1:]))
	retry := f.clock.Now().Add(time.Minute)
	f.claimOrdered(w, 10, retry)
	f.clock.Move(time.Minute)
	again := f.claimOrdered(w, 2, time.Time{}, 1, 2)
	if again[0].Attempt != 2 || again[1].Attempt != 1 {
		f.Errorf("attempts %d and %d, want 2 and 1", again[0].Attempt, again[1].Attempt)
	}
	// It ends, and so does a later one: the line moves up, gaps and all.
	f.must(f.record(f.result(asBirth(again[0]), 2, cybervault.DeliveryDeadLetter)))
	f.must(f.record(f.result(asBirth(again[1]), 1, cybervault.DeliveryDelivered)))
	f.must(f.s.CancelDelivery(f.Context(), f.ws, pubs[3].Deliveries[0].ID, cybervault.ReasonCancelled))
	f.claimOrdered(w, 10, time.Time{}, 3, 5, 6)
	f.clock.Move(31 * time.Second) // the node that had them is lost
	f.claimOrdered(w, 10, time.Time{}, 3, 5, 6)
}

func madeOrdered(f *fixture) {
	w, other := f.webhook(unverified), f.webhook()
	const many = 1100 // more than one batch
	var pubs []*cybervault.Publication
	for range many {
		pubs = append(pubs, f.publication(event{}, waiting(w), waiting(other)))
	}
	f.publish(pubs...)
	leased := f.claim(w, 2)
	held := f.publication(event{}, born(w, cybervault.DeliveryHeld, ""))
	f.publish(held)
	f.claimOrdered(w, 10, time.Time{}) // none is marked

	changed := *w
	changed.Ordered = true
	f.must(f.s.SaveWebhook(f.Context(), &changed))
	n, err := f.s.MarkOrdered(f.Context(), w.ID)
	f.must(err)
	again, err := f.s.MarkOrdered(f.Context(), w.ID)
	f.must(err)
	if n != many+1 || again != 0 {
		f.Errorf("marked %d, then %d; want %d, then none", n, again, many+1)
	}
	f.claimOrdered(w, 10, leased[0].Lease.Until)
	f.must(f.s.Release(f.Context(), leased))
	if got := f.claim(other, many); len(got) != many {
		f.Errorf("%d of another webhook can be claimed, want %d", len(got), many)
	}
	claimed, next, err := f.s.ClaimOrdered(f.Context(), w.ID, 2*many, f.lease())
	f.must(err)
	if len(claimed) != many || !next.IsZero() {
		f.Errorf("claimed %d, next %v; want %d, up to the one that is held", len(claimed), next, many)
	}
	if diff := cmp.Diff(pubs[0].Event.Body, claimed[0].Body); diff != "" {
		f.Errorf("body:\n%s", diff)
	}
}

func replayInOrder(f *fixture) {
	w := f.webhook(ordered)
	pub := f.publication(event{}, inLine(w, cybervault.DeliveryPending))
	f.publish(pub)
	replay := cybervault.NewDelivery{ID: cybervault.NewID[cybervault.DeliveryID](f.ids), Webhook: w.ID, Status: cybervault.DeliveryPending, ReplayOf: pub.Deliveries[0].ID}
	f.must(f.s.AddDelivery(f.Context(), pub.Event, &replay))
	f.claimOrdered(w, 10, time.Time{}, 1, 2)
}

// On SQLite nobody else can have a lease, so nobody is asked.
func holds(f *fixture) {
	w := f.webhook(ordered)
	f.publish(f.publication(event{}, inLine(w, cybervault.DeliveryPending)))
	first := f.claimOrdered(w, 1, time.Time{}, 1)[0]
	want := func(a *cybervault.Assignment, want bool) {
		f.Helper()
		got, err := f.s.Holds(f.Context(), a)
		f.must(err)
		if got != (want || !f.s.Shared()) {
			f.Errorf("holds the lease: %t, want %t", got, want)
		}
	}
	want(first, true)
	f.must(f.s.Release(f.Context(), []*cybervault.Assignment{first}))
	want(first, false)
	second := f.claimOrdered(w, 1, time.Time{}, 1)[0]
	want(first, false)
	want(second, true)
	f.must(f.record(f.result(asBirth(second), 1, cybervault.DeliveryDelivered)))
	want(second, false)
}
