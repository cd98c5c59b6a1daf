package storetest

import (
	"strconv"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault"
)

func queueCases() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"queue/claim finds what is not leased":    claimUnleased,
		"queue/claim bounds and order":            claimOrder,
		"queue/the most severe first":             claimSevere,
		"queue/places for those who wait longest": claimPatient,
		"queue/a replay is as severe":             replaySevere,
		"queue/claims never overlap":              claimConcurrent,
		"queue/a lease that ended is claimable":   claimExpired,
		"queue/a stale result is refused":         staleResult,
		"queue/a result without a lease":          resultWithoutLease,
		"queue/a retry waits for its time":        retryWaits,
		"queue/in order":                          claimInOrder,
		"queue/made ordered":                      madeOrdered,
		"queue/a replay of an ordered webhook":    replayInOrder,
		"queue/whose a lease is":                  holds,
		"queue/release":                           release,
		"queue/backlogs":                          backlogs,
		"queue/pending counts":                    pendingCounts,
		"queue/held until freed":                  heldUntilFreed,
		"queue/held after verification is free":   heldTooLate,
		"queue/freed is due whatever the clock":   freedIsDue,
		"queue/replays":                           replays,
		"queue/ids ahead of the clock are due":    idsAhead,
		"queue/results of many at once":           resultsConcurrent,
		"queue/last key":                          lastKey,
		"queue/a closed store says unavailable":   closedStore,
		"queue/stats count commits and refusals":  stats,
	}
}

func claimUnleased(f *fixture) {
	w, other := f.webhook(unverified), f.webhook()
	pub := f.publication(event{kind: cybervault.EventPatchFailed, data: `{"a":1}`, test: true},
		waiting(w), f.leased(w), waiting(other), born(w, cybervault.DeliveryHeld, ""), born(w, cybervault.DeliverySkipped, "filter"))
	f.publish(pub)
	lease := f.lease()
	got, err := f.s.Claim(f.Context(), cybervault.Claim{Webhook: w.ID, Limit: 10, Lease: lease})
	f.must(err)
	want := []*cybervault.Assignment{{
		Delivery: pub.Deliveries[0].ID, Webhook: w.ID, Event: pub.Event.ID, EventType: pub.Event.Type, Severity: cybervault.SeverityInfo,
		Sequence: 1, Attempt: 1, Test: true, Body: pub.Event.Body, Lease: lease,
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		f.Errorf("claimed (-want +got):\n%s", diff)
	}
	if !f.delivery(pub.Deliveries[0].ID).Running {
		f.Error("a claimed delivery does not say that it is running")
	}
	if again := f.claim(w, 10); len(again) != 0 {
		f.Errorf("claimed %d twice", len(again))
	}
}

func claimOrder(f *fixture) {
	w := f.webhook()
	var want []cybervault.DeliveryID
	for i := range 6 {
		pub := f.publication(event{}, waiting(w))
		f.publish(pub)
		want = append(want, pub.Deliveries[0].ID)
		if i%2 == 0 {
			f.clock.Move(time.Second)
		}
	}
	if got := f.claim(w, 0); len(got) != 0 {
		f.Errorf("claimed %d of 0", len(got))
	}
	if got := f.claim(w, -1); len(got) != 0 {
		f.Errorf("claimed %d of -1", len(got))
	}
	var got []cybervault.DeliveryID
	for range 3 {
		batch := f.claim(w, 2)
		if len(batch) != 2 {
			f.Fatalf("claimed %d, want 2", len(batch))
		}
		got = append(got, batch[0].Delivery, batch[1].Delivery)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		f.Errorf("order of claims (-want +got):\n%s", diff)
	}
}

func claimConcurrent(f *fixture) {
	const all, claimers = 200, 4
	w := f.webhook()
	for range all / 20 {
		var pubs []*cybervault.Publication
		for range 20 {
			pubs = append(pubs, f.publication(event{}, waiting(w)))
		}
		f.publish(pubs...)
	}
	var mu sync.Mutex
	claimed := map[cybervault.DeliveryID]int{}
	var wg sync.WaitGroup
	for range claimers {
		wg.Go(func() {
			for mine := 1; mine > 0; {
				batch, err := f.s.Claim(f.Context(), cybervault.Claim{Webhook: w.ID, Limit: 7, Lease: f.lease()})
				if err != nil {
					f.Errorf("claim: %v", err)
					return
				}
				mine = len(batch)
				mu.Lock()
				for _, a := range batch {
					claimed[a.Delivery]++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	// One who finds all that is left in another's hands may leave early.
	for _, a := range f.claim(w, all) {
		claimed[a.Delivery]++
	}
	if len(claimed) != all {
		f.Errorf("claimed %d deliveries, want %d", len(claimed), all)
	}
	for id, n := range claimed {
		if n != 1 {
			f.Errorf("%s was claimed %d times", id, n)
		}
	}
}

func claimExpired(f *fixture) {
	w := f.webhook()
	pub := f.publication(event{}, f.leased(w))
	f.publish(pub)
	f.clock.Move(30*time.Second - time.Microsecond)
	if got := f.claim(w, 1); len(got) != 0 {
		f.Fatal("claimed a delivery whose lease has not ended")
	}
	f.clock.Move(time.Microsecond)
	got := f.claim(w, 1)
	if len(got) != 1 || got[0].Attempt != 1 {
		f.Fatalf("claimed %v, want the one whose lease ended, for attempt 1", got)
	}
	f.wantCode(f.record(f.result(&pub.Deliveries[0], 1, cybervault.DeliveryDelivered)), cybervault.CodeConflict)
	f.must(f.record(f.result(asBirth(got[0]), 1, cybervault.DeliveryDelivered)))
	if d := f.delivery(pub.Deliveries[0].ID); d.Status != cybervault.DeliveryDelivered || d.Attempts != 1 {
		f.Errorf("delivery: %+v", d)
	}
}

func staleResult(f *fixture) {
	w := f.webhook()
	pub := f.publication(event{}, f.leased(w))
	f.publish(pub)
	before := f.delivery(pub.Deliveries[0].ID)
	wrong := f.result(&pub.Deliveries[0], 1, cybervault.DeliveryDelivered)
	wrong.Lease.Token += 1000
	f.wantCode(f.record(wrong), cybervault.CodeConflict)
	if got := f.attempts(pub.Deliveries[0].ID); len(got) != 0 {
		f.Errorf("a stale result left %d attempts", len(got))
	}
	if diff := cmp.Diff(before, f.delivery(pub.Deliveries[0].ID)); diff != "" {
		f.Errorf("a stale result changed the delivery:\n%s", diff)
	}
	if got := f.s.StaleResults(); got != 1 {
		f.Errorf("stale results counted = %d, want 1", got)
	}
	right := f.result(&pub.Deliveries[0], 1, cybervault.DeliveryDelivered)
	f.must(f.record(right))
	f.wantCode(f.record(right), cybervault.CodeConflict) // the lease went with the first
	if got := f.attempts(pub.Deliveries[0].ID); len(got) != 1 {
		f.Errorf("%d attempts, want 1", len(got))
	}
}

func resultWithoutLease(f *fixture) {
	w := f.webhook()
	pub := f.publication(event{}, waiting(w))
	f.publish(pub)
	f.wantCode(f.record(f.result(&pub.Deliveries[0], 1, cybervault.DeliveryDelivered)), cybervault.CodeConflict)
}

func retryWaits(f *fixture) {
	w := f.webhook()
	pub := f.publication(event{}, f.leased(w))
	f.publish(pub)
	id := pub.Deliveries[0].ID
	first := f.result(&pub.Deliveries[0], 1, cybervault.DeliveryPending)
	f.must(f.record(first))
	want := &cybervault.Delivery{
		ID: id, Workspace: f.ws, Event: pub.Event.ID, EventType: pub.Event.Type, Severity: cybervault.SeverityInfo, Webhook: w.ID, Sequence: 1,
		Status: cybervault.DeliveryPending, Attempts: 1, NextAttemptAt: first.NextAttemptAt, LastStatus: 500, LastFailure: cybervault.FailureStatus,
	}
	if diff := cmp.Diff(want, f.delivery(id)); diff != "" {
		f.Errorf("delivery after a failure (-want +got):\n%s", diff)
	}
	f.clock.Move(time.Minute - time.Microsecond)
	if got := f.claim(w, 1); len(got) != 0 {
		f.Fatal("claimed a retry before its time")
	}
	f.clock.Move(time.Microsecond)
	got := f.claim(w, 1)
	if len(got) != 1 || got[0].Attempt != 2 || got[0].Sequence != 1 {
		f.Fatalf("claimed %+v, want attempt 2 of sequence 1", got)
	}
	f.must(f.record(f.result(asBirth(got[0]), 2, cybervault.DeliveryDeadLetter)))
	want.Status, want.Attempts, want.NextAttemptAt = cybervault.DeliveryDeadLetter, 2, time.Time{}
	want.FinishedAt = f.clock.Now().Add(20 * time.Millisecond)
	if diff := cmp.Diff(want, f.delivery(id)); diff != "" {
		f.Errorf("delivery after its last failure (-want +got):\n%s", diff)
	}
	f.clock.Move(24 * time.Hour)
	if got := f.claim(w, 1); len(got) != 0 {
		f.Error("claimed a dead letter")
	}
}

func release(f *fixture) {
	w := f.webhook()
	pub := f.publication(event{}, waiting(w), waiting(w), waiting(w))
	f.publish(pub)
	claimed := f.claim(w, 3)
	f.must(f.record(f.result(asBirth(claimed[2]), 1, cybervault.DeliveryDelivered)))
	f.must(f.s.Release(f.Context(), claimed)) // the third is passed over
	f.must(f.s.Release(f.Context(), nil))
	again := f.claim(w, 3)
	if len(again) != 2 || again[0].Attempt != 1 {
		f.Fatalf("claimed %d after the release, want 2 for attempt 1", len(again))
	}
	f.wantCode(f.record(f.result(asBirth(claimed[0]), 1, cybervault.DeliveryDelivered)), cybervault.CodeConflict)
	f.must(f.s.Release(f.Context(), claimed)) // another's leases by now
	f.must(f.record(f.result(asBirth(again[0]), 1, cybervault.DeliveryDelivered)))
}

func backlogs(f *fixture) {
	early, late, leased, held, done, idle := f.webhook(), f.webhook(), f.webhook(), f.webhook(unverified), f.webhook(), f.webhook()
	at := f.clock.Now()
	f.publish(f.publication(event{}, waiting(early), born(held, cybervault.DeliveryHeld, "")))
	f.clock.Move(time.Second)
	finished := f.publication(event{}, f.leased(done))
	lease := f.leased(leased)
	f.publish(f.publication(event{}, waiting(early), waiting(late), born(idle, cybervault.DeliverySkipped, "filter"), lease), finished)
	f.must(f.record(f.result(&finished.Deliveries[0], 1, cybervault.DeliveryDelivered)))
	both := f.webhook()
	severe := f.leased(both)
	severe.Severity = cybervault.SeverityHigh
	f.publish(f.publication(event{}, severe, of(both, cybervault.SeverityMedium)))
	got, err := f.s.Backlogs(f.Context())
	f.must(err)
	want := []cybervault.Backlog{
		{Webhook: early.ID, DueAt: at},
		{Webhook: late.ID, DueAt: at.Add(time.Second)},
		{Webhook: leased.ID, DueAt: lease.Lease.Until},
		{Webhook: both.ID, DueAt: at.Add(time.Second), SevereAt: severe.Lease.Until},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		f.Errorf("backlogs (-want +got):\n%s", diff)
	}
}

func pendingCounts(f *fixture) {
	check := func(pending, held int64) {
		f.Helper()
		p, h, err := f.s.Pending(f.Context())
		f.must(err)
		if p != pending || h != held {
			f.Errorf("pending %d, held %d; want %d, %d", p, h, pending, held)
		}
	}
	check(0, 0)
	w := f.webhook(unverified)
	pub := f.publication(event{}, waiting(w), f.leased(w), born(w, cybervault.DeliveryHeld, ""), born(w, cybervault.DeliverySkipped, "filter"))
	f.publish(pub)
	check(2, 1)
	other := f.webhook()
	f.publish(f.publication(event{}, waiting(other)))
	for id, want := range map[cybervault.WebhookID]int64{w.ID: 3, other.ID: 1, cybervault.NewID[cybervault.WebhookID](f.ids): 0} {
		if n, err := f.s.Waiting(f.Context(), id); n != want || err != nil {
			f.Errorf("%d of the webhook wait, want %d (%v)", n, want, err)
		}
	}
	f.must(f.record(f.result(&pub.Deliveries[1], 1, cybervault.DeliveryDelivered)))
	check(2, 1)
	if n, err := f.s.Waiting(f.Context(), w.ID); n != 2 || err != nil {
		f.Errorf("%d wait, want 2 (%v)", n, err)
	}
}

func unverified(w *cybervault.Webhook) { w.Verification = true }

func heldUntilFreed(f *fixture) {
	w, other := f.webhook(unverified), f.webhook(unverified)
	var want []cybervault.DeliveryID
	for range 3 {
		pub := f.publication(event{}, born(w, cybervault.DeliveryHeld, ""), born(other, cybervault.DeliveryHeld, ""))
		f.publish(pub)
		want = append(want, pub.Deliveries[0].ID)
		f.clock.Move(time.Second)
	}
	if got := f.claim(w, 10); len(got) != 0 {
		f.Fatalf("claimed %d held deliveries", len(got))
	}
	n, err := f.s.FreeHeld(f.Context(), w.ID)
	f.must(err)
	if n != 3 {
		f.Errorf("freed %d, want 3", n)
	}
	var got []cybervault.DeliveryID
	for _, a := range f.claim(w, 10) {
		got = append(got, a.Delivery)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		f.Errorf("claimed after freeing, oldest first (-want +got):\n%s", diff)
	}
	if n, err := f.s.FreeHeld(f.Context(), w.ID); n != 0 || err != nil {
		f.Errorf("freed %d more, %v", n, err)
	}
	if got := f.claim(other, 10); len(got) != 0 {
		f.Errorf("freed %d of another webhook", len(got))
	}
}

// What is freed after the clock was set back does not wait for it to catch up.
func freedIsDue(f *fixture) {
	w := f.webhook(unverified)
	f.publish(f.publication(event{}, born(w, cybervault.DeliveryHeld, "")))
	f.clock.Move(-time.Hour)
	if n, err := f.s.FreeHeld(f.Context(), w.ID); n != 1 || err != nil {
		f.Fatalf("freed %d, %v", n, err)
	}
	if got := f.claim(w, 10); len(got) != 1 {
		f.Errorf("claimed %d of what was freed", len(got))
	}
}

// A publisher that saw the webhook unverified may commit after FreeHeld ran.
func heldTooLate(f *fixture) {
	w := f.webhook(unverified)
	slow := f.publication(event{}, born(w, cybervault.DeliveryHeld, ""))
	verified := *w
	verified.VerifiedAt = f.clock.Now()
	f.must(f.s.SaveWebhook(f.Context(), &verified))
	_, err := f.s.FreeHeld(f.Context(), w.ID)
	f.must(err)
	f.publish(slow)
	if got := f.claim(w, 1); len(got) != 1 {
		f.Error("a delivery stays held for a webhook that is verified")
	}
	if got := slow.Deliveries[0].Status; got != cybervault.DeliveryPending {
		f.Errorf("the publisher is told %q", got)
	}
}

func replays(f *fixture) {
	w, other := f.webhook(), f.webhook()
	pub := f.publication(event{}, f.leased(w))
	f.publish(pub, f.publication(event{}, waiting(w)))
	f.must(f.record(f.result(&pub.Deliveries[0], 1, cybervault.DeliveryDelivered)))
	replay := f.leased(w)
	replay.ID, replay.ReplayOf = cybervault.NewID[cybervault.DeliveryID](f.ids), pub.Deliveries[0].ID
	f.must(f.s.AddDelivery(f.Context(), pub.Event, &replay))
	first := waiting(other) // it never had this event before
	first.ID = cybervault.NewID[cybervault.DeliveryID](f.ids)
	f.must(f.s.AddDelivery(f.Context(), pub.Event, &first))

	if replay.Sequence != 3 || first.Sequence != 1 {
		f.Errorf("sequence numbers %d and %d, want 3 and 1", replay.Sequence, first.Sequence)
	}
	if got := f.delivery(replay.ID); got.ReplayOf != pub.Deliveries[0].ID || got.Attempts != 0 || !got.Running {
		f.Errorf("replay: %+v", got)
	}
	if got := f.delivery(first.ID); !got.ReplayOf.IsZero() {
		f.Errorf("replays %s, want none", got.ReplayOf)
	}
	var got []cybervault.DeliveryID
	for _, d := range f.deliveries(cybervault.DeliveryQuery{Event: pub.Event.ID}) {
		got = append(got, d.ID)
	}
	if diff := cmp.Diff([]cybervault.DeliveryID{first.ID, replay.ID, pub.Deliveries[0].ID}, got); diff != "" {
		f.Errorf("deliveries of the event (-want +got):\n%s", diff)
	}
	f.must(f.record(f.result(&replay, 1, cybervault.DeliveryDelivered)))
	if claimed := f.claim(other, 1); len(claimed) != 1 || claimed[0].Event != pub.Event.ID {
		f.Errorf("claimed %v", claimed)
	}
}

// After the clock was set back, ids run ahead of it.
func idsAhead(f *fixture) {
	f.ids = cybervault.NewIDSource(1, cybervault.KeyAt(start.Add(time.Hour)), f.clock.Now)
	w := f.webhook()
	pub := f.publication(event{}, waiting(w))
	f.publish(pub)
	if got := f.claim(w, 1); len(got) != 1 {
		f.Error("a delivery whose id is ahead of the clock is not due")
	}
}

func resultsConcurrent(f *fixture) {
	const n = 100
	w := f.webhook()
	var births []cybervault.NewDelivery
	for range n {
		births = append(births, f.leased(w))
	}
	pub := f.publication(event{}, births...)
	f.publish(pub)
	var wg sync.WaitGroup
	for i := range n {
		for range 2 { // each twice: one of the two is stale
			wg.Add(1)
			f.must(f.s.Record(f.result(&pub.Deliveries[i], 1, cybervault.DeliveryDelivered), func(error) { wg.Done() }))
		}
	}
	wg.Wait()
	if got := f.s.StaleResults(); got != n {
		f.Errorf("%d stale results, want %d", got, n)
	}
	for _, d := range f.deliveries(cybervault.DeliveryQuery{Limit: cybervault.MaxPageSize}) {
		if d.Status != cybervault.DeliveryDelivered || d.Attempts != 1 || d.Running {
			f.Fatalf("delivery: %+v", d)
		}
	}
}

func lastKey(f *fixture) {
	w := f.webhook()
	for range 3 {
		pub := f.publication(event{}, waiting(w), waiting(w))
		f.publish(pub)
		got, err := f.s.LastKey(f.Context())
		f.must(err)
		if want := pub.Deliveries[1].ID.Key(); got != want {
			f.Errorf("last key = %d, want %d", got, want)
		}
	}
	id := cybervault.NewID[cybervault.APIKeyID](f.ids)
	f.must(f.s.CreateAPIKey(f.Context(), &cybervault.APIKey{ID: id, Workspace: f.ws}))
	if got, err := f.s.LastKey(f.Context()); err != nil || got != id.Key() {
		f.Errorf("last key = %d, %v; want %d", got, err, id.Key())
	}
}

func closedStore(f *fixture) {
	w := f.webhook()
	pub := f.publication(event{}, f.leased(w))
	f.publish(pub)
	f.must(f.s.Ping(f.Context()))
	f.must(f.s.Close())
	f.must(f.s.Close()) // twice is fine
	ctx := f.Context()
	_, errs := f.s.Publish(ctx, []*cybervault.Publication{f.publication(event{})})
	f.wantCode(errs[0], cybervault.CodeUnavailable)
	f.wantCode(f.s.Record(f.result(&pub.Deliveries[0], 1, cybervault.DeliveryDelivered), func(error) { f.Error("done was called") }), cybervault.CodeUnavailable)
	f.wantCode(f.s.Ping(ctx), cybervault.CodeUnavailable)
	f.wantCode(f.s.SaveWebhook(ctx, w), cybervault.CodeUnavailable)
	for name, call := range map[string]func() error{
		"Claim": func() error {
			_, err := f.s.Claim(ctx, cybervault.Claim{Webhook: w.ID, Limit: 1, Lease: f.lease()})
			return err
		},
		"Backlogs":             func() error { _, err := f.s.Backlogs(ctx); return err },
		"Pending":              func() error { _, _, err := f.s.Pending(ctx); return err },
		"Waiting":              func() error { _, err := f.s.Waiting(ctx, w.ID); return err },
		"Events":               func() error { _, err := f.s.Events(ctx, cybervault.EventQuery{Workspace: f.ws}); return err },
		"Event":                func() error { _, err := f.s.Event(ctx, f.ws, pub.Event.ID); return err },
		"Deliveries":           func() error { _, err := f.s.Deliveries(ctx, cybervault.DeliveryQuery{Workspace: f.ws}); return err },
		"Delivery":             func() error { _, err := f.s.Delivery(ctx, f.ws, pub.Deliveries[0].ID); return err },
		"Attempts":             func() error { _, err := f.s.Attempts(ctx, f.ws, pub.Deliveries[0].ID); return err },
		"Webhooks":             func() error { _, err := f.s.Webhooks(ctx); return err },
		"APIKeys":              func() error { _, err := f.s.APIKeys(ctx, f.ws); return err },
		"ExpiringAPIKeys":      func() error { _, err := f.s.ExpiringAPIKeys(ctx, start, start); return err },
		"LiveAlerts":           func() error { _, err := f.s.LiveAlerts(ctx); return err },
		"Alerts":               func() error { _, err := f.s.Alerts(ctx, cybervault.AlertQuery{Workspace: f.ws, Limit: 1}); return err },
		"DeadLettersByWebhook": func() error { _, err := f.s.DeadLettersByWebhook(ctx, start); return err },
		"FireAlert":            func() error { _, err := f.s.FireAlert(ctx, &cybervault.Alert{ID: "a", Workspace: f.ws}); return err },
		"SavePackageState":     func() error { return f.s.SavePackageState(ctx, cybervault.AgentID{}, &cybervault.PackageState{}) },
		"APIKeyByHash":         func() error { _, err := f.s.APIKeyByHash(ctx, [32]byte{}); return err },
		"Overview":             func() error { _, err := f.s.Overview(ctx, f.ws, f.clock.Now(), 1); return err },
		"LastKey":              func() error { _, err := f.s.LastKey(ctx); return err },
	} {
		if got := cybervault.ErrorCode(call()); got != cybervault.CodeUnavailable {
			f.Errorf("%s on a closed store: code %q", name, got)
		}
	}
	f.s = f.open() // what was committed is there
	if got := f.delivery(pub.Deliveries[0].ID); got.Status != cybervault.DeliveryPending {
		f.Errorf("delivery after opening again: %+v", got)
	}
}

func stats(f *fixture) {
	before := f.s.Stats()
	const n = 50
	var pubs []*cybervault.Publication
	for i := range n {
		pubs = append(pubs, f.publication(event{key: strconv.Itoa(i)}))
	}
	f.publish(pubs...)
	after := f.s.Stats()
	if got := after.Operations - before.Operations; got != n {
		f.Errorf("operations counted = %d, want %d", got, n)
	}
	if got := after.Commits - before.Commits; got != 1 {
		f.Errorf("a batch took %d commits, want 1", got)
	}
	if after.Refusing {
		f.Error("the store says that it refuses to write")
	}
}
