package storetest

import (
	"slices"
	"time"

	"github.com/cybervault/cybervault"
)

func retentionCases() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"retention/what goes and what stays": retentionChoice,
		"retention/in small steps":           retentionSteps,
		"retention/a wide event":             retentionWide,
		"retention/numbers are still found":  retentionSequence,
		"retention/no replay of what went":   retentionReplay,
		"retention/whole days":               retentionDays,
	}
}

const day = 24 * time.Hour

// sweep removes all that is older than 30 days, and dead letters older than 90.
func (f *fixture) sweep() (total cybervault.Swept, steps int) {
	f.Helper()
	f.audit()
	return f.sweepOnly()
}

// sweepOnly is sweep without the audit log, which holds it up.
func (f *fixture) sweepOnly() (total cybervault.Swept, steps int) {
	f.Helper()
	expiry := cybervault.Expiry{Before: f.clock.Now().Add(-30 * day), DeadLettersBefore: f.clock.Now().Add(-90 * day)}
	for !total.Done {
		step, err := f.s.Sweep(f.Context(), expiry, total.Position)
		f.must(err)
		if step.Events+step.Deliveries > 200 {
			f.Errorf("one step removed %+v", step)
		}
		if steps++; steps > 10_000 {
			f.Fatalf("the sweep does not end: %+v", step)
		}
		total.Events += step.Events
		total.Deliveries += step.Deliveries
		total.Attempts += step.Attempts
		total.Position, total.Done = step.Position, step.Done
	}
	return total, steps
}

// finish publishes an event with one delivery that ends with a status.
func (f *fixture) finish(w *cybervault.Webhook, status cybervault.DeliveryStatus) *cybervault.Publication {
	f.Helper()
	pub := f.publication(event{}, f.leased(w))
	f.publish(pub)
	if status.Ended() {
		f.must(f.record(f.result(&pub.Deliveries[0], 1, status)))
	}
	return pub
}

func (f *fixture) wantEventsLeft(pubs ...*cybervault.Publication) {
	f.Helper()
	var want, got []cybervault.EventID
	for _, p := range pubs {
		want = append(want, p.Event.ID)
	}
	for _, e := range f.events(cybervault.EventQuery{}) {
		got = append(got, e.ID)
	}
	slices.Reverse(got)
	if !slices.Equal(got, want) {
		f.Errorf("left are %v, want %v", got, want)
	}
}

func retentionChoice(f *fixture) {
	w := f.webhook(unverified)
	delivered := f.finish(w, cybervault.DeliveryDelivered)
	dead := f.finish(w, cybervault.DeliveryDeadLetter)
	pending := f.finish(w, cybervault.DeliveryPending)
	held := f.publication(event{}, born(w, cybervault.DeliveryHeld, ""))
	skipped := f.publication(event{}, born(w, cybervault.DeliverySkipped, cybervault.ReasonFilter))
	nobody := f.publication(event{key: "k"})
	replayed := f.publication(event{}, f.leased(w))
	f.publish(held, skipped, nobody, replayed)
	f.must(f.record(f.result(&replayed.Deliveries[0], 1, cybervault.DeliveryDelivered)))
	// One event whose delivery is dead at one webhook stays as a whole.
	half := f.publication(event{}, f.leased(w), f.leased(w))
	f.publish(half)
	f.must(f.record(f.result(&half.Deliveries[0], 1, cybervault.DeliveryDelivered)))
	f.must(f.record(f.result(&half.Deliveries[1], 1, cybervault.DeliveryDeadLetter)))
	f.clock.Move(20 * day)
	replay := cybervault.NewDelivery{ID: cybervault.NewID[cybervault.DeliveryID](f.ids), Webhook: w.ID, Status: cybervault.DeliveryPending, Lease: f.lease(), ReplayOf: replayed.Deliveries[0].ID}
	f.must(f.s.AddDelivery(f.Context(), replayed.Event, &replay))
	f.must(f.record(f.result(&replay, 1, cybervault.DeliveryDelivered)))
	young := f.finish(w, cybervault.DeliveryDelivered)

	if got, _ := f.sweep(); got.Events != 0 {
		f.Errorf("after 20 days %+v went", got)
	}
	f.clock.Move(11 * day)
	got, _ := f.sweep()
	if got.Events != 3 || got.Deliveries != 2 || got.Attempts != 1 {
		f.Errorf("went: %+v", got)
	}
	f.wantEventsLeft(dead, pending, held, replayed, half, young)
	_, err := f.s.Event(f.Context(), f.ws, delivered.Event.ID)
	f.wantCode(err, cybervault.CodeNotFound)
	if n := len(f.attempts(delivered.Deliveries[0].ID)) + len(f.attempts(dead.Deliveries[0].ID)); n != 1 {
		f.Errorf("%d attempts are left, want the dead letter's", n)
	}
	f.publish(f.publication(event{key: "k"})) // the key is free again

	f.clock.Move(100 * day)
	if got, _ = f.sweep(); got.Events != 5 || got.Attempts != 6 {
		f.Errorf("went after 131 days: %+v", got)
	}
	f.wantEventsLeft(pending, held)
}

func retentionSteps(f *fixture) {
	w := f.webhook()
	const n = 450
	pubs := make([]*cybervault.Publication, n)
	for i := range pubs {
		pubs[i] = f.publication(event{}, born(w, cybervault.DeliverySkipped, cybervault.ReasonFilter))
	}
	f.publish(pubs...)
	f.clock.Move(31 * day)
	got, steps := f.sweep()
	if got.Events != n || got.Deliveries != n || steps < 5 {
		f.Errorf("%+v in %d steps", got, steps)
	}
	f.wantEventsLeft()
}

func retentionWide(f *fixture) {
	w := f.webhook()
	births := make([]cybervault.NewDelivery, 700)
	for i := range births {
		births[i] = born(w, cybervault.DeliverySkipped, cybervault.ReasonFilter)
	}
	births[650] = f.leased(w)
	pub := f.publication(event{}, births...)
	after := f.publication(event{}, born(w, cybervault.DeliverySkipped, cybervault.ReasonFilter))
	f.publish(pub, after)
	f.clock.Move(31 * day)
	if got, _ := f.sweep(); got.Events != 1 || got.Deliveries != 1 {
		f.Errorf("went beside a living delivery: %+v", got)
	}
	f.must(f.record(f.result(&births[650], 1, cybervault.DeliveryDelivered)))
	if got, _ := f.sweep(); got.Events != 1 || got.Deliveries != 700 || got.Attempts != 1 {
		f.Errorf("went: %+v", got)
	}
	f.wantEventsLeft()
}

func retentionSequence(f *fixture) {
	w := f.webhook()
	stays := []int64{5, 70, 130, 199}
	for n := range int64(200) {
		status := cybervault.DeliveryDelivered
		if slices.Contains(stays, n+1) {
			status = cybervault.DeliveryDeadLetter
		}
		f.finish(w, status)
	}
	f.clock.Move(31 * day)
	f.sweep()
	for range 3 {
		f.finish(w, cybervault.DeliveryDelivered)
	}
	page, err := f.s.Sequence(f.Context(), f.ws, w.ID, 1, 0)
	f.must(err)
	var got []int64
	for _, d := range page.Rows {
		got = append(got, d.Sequence)
	}
	if want := slices.Concat(stays, []int64{201, 202, 203}); !slices.Equal(got, want) {
		f.Errorf("numbers %v, want %v", got, want)
	}
}

func retentionReplay(f *fixture) {
	w := f.webhook()
	pub := f.finish(w, cybervault.DeliveryDelivered)
	f.clock.Move(31 * day)
	f.sweep()
	replay := cybervault.NewDelivery{ID: cybervault.NewID[cybervault.DeliveryID](f.ids), Webhook: w.ID, Status: cybervault.DeliveryPending, ReplayOf: pub.Deliveries[0].ID}
	f.wantCode(f.s.AddDelivery(f.Context(), pub.Event, &replay), cybervault.CodeNotFound)
}

// rotate removes what the database removes a day at a time, and then the rest.
func (f *fixture) rotate() cybervault.Swept {
	f.Helper()
	whole, err := f.s.Rotate(f.Context(), cybervault.Expiry{Before: f.clock.Now().Add(-30 * day), DeadLettersBefore: f.clock.Now().Add(-90 * day)})
	f.must(err)
	rest, _ := f.sweep()
	return cybervault.Swept{Events: whole.Events + rest.Events, Deliveries: whole.Deliveries + rest.Deliveries, Attempts: whole.Attempts + rest.Attempts}
}

// Whichever way old days go, the same stays.
func retentionDays(f *fixture) {
	w := f.webhook()
	var dead, pending, replayed *cybervault.Publication
	for n := range 150 { // numbers 1 to 150
		switch n {
		case 4:
			dead = f.finish(w, cybervault.DeliveryDeadLetter)
		case 70:
			pending = f.finish(w, cybervault.DeliveryPending)
		case 90:
			replayed = f.finish(w, cybervault.DeliveryDelivered)
		default:
			f.finish(w, cybervault.DeliveryDelivered)
		}
	}
	f.publish(f.publication(event{key: "gone"}))
	f.clock.Move(26 * time.Hour)
	kept := f.publication(event{key: "kept"}, waiting(w))
	f.publish(kept) // number 151
	replay := cybervault.NewDelivery{ID: cybervault.NewID[cybervault.DeliveryID](f.ids), Webhook: w.ID, Status: cybervault.DeliveryPending, Lease: f.lease(), ReplayOf: replayed.Deliveries[0].ID}
	f.must(f.s.AddDelivery(f.Context(), replayed.Event, &replay)) // number 152
	f.must(f.record(f.result(&replay, 1, cybervault.DeliveryDelivered)))

	f.clock.Move(30*day - time.Hour)
	got := f.rotate()
	if got.Events != 148 || got.Deliveries != 147 || got.Attempts != 147 {
		f.Errorf("went: %+v", got)
	}
	f.wantEventsLeft(dead, pending, replayed, kept)
	page, err := f.s.Sequence(f.Context(), f.ws, w.ID, 1, 0)
	f.must(err)
	var numbers []int64
	for _, d := range page.Rows {
		numbers = append(numbers, d.Sequence)
	}
	if !slices.Equal(numbers, []int64{5, 71, 91, 151, 152}) {
		f.Errorf("numbers %v are left", numbers)
	}
	if n := len(f.attempts(dead.Deliveries[0].ID)) + len(f.attempts(replay.ID)); n != 2 {
		f.Errorf("%d attempts are left of the two that stay", n)
	}
	f.publish(f.publication(event{key: "gone"}))
	out, errs := f.s.Publish(f.Context(), []*cybervault.Publication{f.publication(event{key: "kept"})})
	f.must(errs[0])
	if out[0].Existing == nil || out[0].Existing.ID != kept.Event.ID {
		f.Errorf("the key of an event that stays is free: %+v", out[0])
	}
	again := cybervault.NewDelivery{ID: cybervault.NewID[cybervault.DeliveryID](f.ids), Webhook: w.ID, Status: cybervault.DeliveryPending, Lease: f.lease(), ReplayOf: dead.Deliveries[0].ID}
	f.must(f.s.AddDelivery(f.Context(), dead.Event, &again))
	claimed := f.claim(w, 10)
	if len(claimed) != 2 || claimed[0].Delivery != pending.Deliveries[0].ID {
		f.Fatalf("claimed %d, want the pending one first, and the one published later", len(claimed))
	}
	f.must(f.record(f.result(asBirth(claimed[0]), 2, cybervault.DeliveryDelivered)))
	f.must(f.record(f.result(asBirth(claimed[1]), 1, cybervault.DeliveryDelivered)))
	f.must(f.record(f.result(&again, 1, cybervault.DeliveryDelivered)))

	f.clock.Move(95 * day)
	if got = f.rotate(); got.Events != 5 || got.Attempts != 6 {
		f.Errorf("went in the end: %+v", got)
	}
	f.wantEventsLeft()
}
