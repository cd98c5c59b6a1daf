package storetest

import (
	"time"

	"github.com/cybervault/cybervault"
)

func spanCases() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"spans/of a type":            spansOfAType,
		"spans/of replays":           spansOfReplays,
		"spans/of removed events":    spansOfRemovedEvents,
		"spans/after a failed group": spansAfterARefusal,
	}
}

// Events and deliveries of a type are found however far apart they lie, in pages,
// and a type that has none has none.
func spansOfAType(f *fixture) {
	w := f.webhook()
	var want []cybervault.EventID
	for i := range 30 {
		kind := cybervault.EventSystemAlert
		if i%7 == 0 {
			kind = cybervault.EventPatchFailed
		}
		pub := f.publication(event{kind: kind}, waiting(w))
		f.publish(pub)
		if i%7 == 0 {
			want = append([]cybervault.EventID{pub.Event.ID}, want...)
		}
		f.clock.Move(time.Duration(i*i) * 10 * time.Millisecond)
	}
	var events, deliveries []cybervault.EventID
	for _, e := range f.events(cybervault.EventQuery{Type: cybervault.EventPatchFailed, Limit: 2}) {
		events = append(events, e.ID)
	}
	for _, d := range f.deliveries(cybervault.DeliveryQuery{EventType: cybervault.EventPatchFailed, Limit: 2}) {
		deliveries = append(deliveries, d.Event)
	}
	f.wantSame("events", want, events)
	f.wantSame("deliveries", want, deliveries)
	if n := len(f.events(cybervault.EventQuery{Type: cybervault.EventPatchDeployed})); n != 0 {
		f.Errorf("%d events of a type that has none", n)
	}
}

// A replay lies apart from its event, whoever made it.
func spansOfReplays(f *fixture) {
	w := f.webhook()
	pub := f.finish(w, cybervault.DeliveryDelivered)
	f.clock.Move(time.Hour)
	again := waiting(w)
	again.ID = cybervault.NewID[cybervault.DeliveryID](f.ids)
	again.ReplayOf = pub.Deliveries[0].ID
	f.must(f.s.AddDelivery(f.Context(), pub.Event, &again))
	f.clock.Move(time.Hour)
	r := f.newReplay(w)
	f.must(f.step(r, 10))
	if n := len(f.deliveries(cybervault.DeliveryQuery{EventType: pub.Event.Type})); n != 3 {
		f.Errorf("%d deliveries of the type, want the first and two replays", n)
	}
}

// Where removed events lay is forgotten, and no other place.
func spansOfRemovedEvents(f *fixture) {
	w := f.webhook()
	for range 3 {
		f.finish(w, cybervault.DeliveryDelivered)
		f.clock.Move(time.Minute)
	}
	f.clock.Move(100 * 24 * time.Hour)
	left := f.finish(w, cybervault.DeliveryDelivered)
	f.sweep()
	steps := 0
	for after, more := "", true; more; steps++ {
		var err error
		after, more, err = f.s.PruneSpans(f.Context(), after)
		f.must(err)
	}
	if steps != 2 {
		f.Errorf("%d steps for one type", steps)
	}
	found := f.events(cybervault.EventQuery{Type: left.Event.Type})
	if len(found) != 1 || found[0].ID != left.Event.ID {
		f.Errorf("found %d events", len(found))
	}
}

// What a transaction that was rolled back had noted is noted again.
func spansAfterARefusal(f *fixture) {
	pub := f.publication(event{kind: cybervault.EventPatchFailed})
	clash := f.publication(event{kind: cybervault.EventPatchFailed})
	f.publish(pub)
	clash.Event.ID = pub.Event.ID // taken: its group is taken apart
	other := f.publication(event{kind: cybervault.EventPatchDeployed})
	_, errs := f.s.Publish(f.Context(), []*cybervault.Publication{clash, other})
	f.wantCode(errs[0], cybervault.CodeInternal)
	f.must(errs[1])
	if n := len(f.events(cybervault.EventQuery{Type: cybervault.EventPatchDeployed})); n != 1 {
		f.Errorf("%d events found of a group that was taken apart", n)
	}
}

func (f *fixture) wantSame(what string, want, got []cybervault.EventID) {
	f.Helper()
	if len(want) != len(got) {
		f.Fatalf("%s: %d found, want %d", what, len(got), len(want))
	}
	for i := range want {
		if want[i] != got[i] {
			f.Fatalf("%s: the one at %d is %s, want %s", what, i, got[i], want[i])
		}
	}
}
