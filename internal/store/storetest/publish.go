package storetest

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault"
)

func publishCases() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"publish/event and deliveries":         publishTogether,
		"publish/bytes are kept as they are":   publishBytes,
		"publish/nothing":                      publishNothing,
		"publish/duplicate in a later call":    duplicateLater,
		"publish/duplicate in one batch":       duplicateInBatch,
		"publish/duplicate from many at once":  duplicateConcurrent,
		"publish/keys belong to a workspace":   duplicateElsewhere,
		"publish/batch keeps its places":       batchPlaces,
		"publish/broken publications":          brokenPublications,
		"publish/sequences are gapless":        gaplessSequences,
		"publish/sequences in order of commit": sequencesInOrder,
		"publish/skipped have no sequence":     skippedSequence,
		"publish/context that has ended":       publishEnded,
	}
}

func publishTogether(f *fixture) {
	one, two := f.webhook(), f.webhook(unverified)
	pub := f.publication(event{kind: cybervault.EventIncidentCreated, key: "k1", data: `{"a":1}`, test: true},
		f.leased(one), waiting(two), born(two, cybervault.DeliveryHeld, ""), born(one, cybervault.DeliverySkipped, "filter"))
	for i := range pub.Deliveries {
		pub.Deliveries[i].Severity = cybervault.Severities()[1+i]
	}
	f.clock.Move(time.Second)
	f.publish(pub)

	got, err := f.s.Event(f.Context(), f.ws, pub.Event.ID)
	f.must(err)
	if diff := cmp.Diff(pub.Event, got); diff != "" {
		f.Errorf("event (-published +read):\n%s", diff)
	}
	want := []*cybervault.Delivery{
		{Webhook: one.ID, Status: cybervault.DeliverySkipped, Reason: "filter", FinishedAt: f.clock.Now()},
		{Webhook: two.ID, Status: cybervault.DeliveryHeld, Sequence: 2},
		{Webhook: two.ID, Status: cybervault.DeliveryPending, Sequence: 1, NextAttemptAt: f.clock.Now()},
		{Webhook: one.ID, Status: cybervault.DeliveryPending, Sequence: 1, Running: true},
	}
	for i, d := range want {
		d.Severity = cybervault.Severities()[4-i]
		d.ID, d.Workspace, d.Event, d.EventType, d.Test = pub.Deliveries[3-i].ID, f.ws, pub.Event.ID, pub.Event.Type, true
	}
	if diff := cmp.Diff(want, f.deliveries(cybervault.DeliveryQuery{})); diff != "" {
		f.Errorf("deliveries (-want +got):\n%s", diff)
	}
	for _, d := range want {
		if diff := cmp.Diff(d, f.delivery(d.ID)); diff != "" {
			f.Errorf("delivery (-want +got):\n%s", diff)
		}
	}
	if pub.Deliveries[0].Sequence != 1 || pub.Deliveries[2].Sequence != 2 || pub.Deliveries[3].Sequence != 0 {
		f.Errorf("sequence numbers handed back: %+v", pub.Deliveries)
	}
}

func publishBytes(f *fixture) {
	var pubs []*cybervault.Publication
	for i, body := range [][]byte{
		[]byte(`{"a":"ä 🙂 \u0000 <b>"}`), {0xff, 0xfe, 0x00, 'x'}, []byte("{}"),
		bytes.Repeat([]byte("x"), cybervault.MaxEventBytes),
	} {
		pub := f.publication(event{key: fmt.Sprint("ключ ", i)})
		pub.Event.Body = body
		pubs = append(pubs, pub)
	}
	f.publish(pubs...)
	for _, pub := range pubs {
		got, err := f.s.Event(f.Context(), f.ws, pub.Event.ID)
		f.must(err)
		if !bytes.Equal(got.Body, pub.Event.Body) {
			f.Errorf("body of %d bytes came back as %d bytes", len(pub.Event.Body), len(got.Body))
		}
	}
}

func publishNothing(f *fixture) {
	if outcomes, errs := f.s.Publish(f.Context(), nil); len(outcomes) != 0 || len(errs) != 0 {
		f.Errorf("outcomes %v, errors %v", outcomes, errs)
	}
}

// wantDuplicate checks that publishing dup found first, with its living births.
func (f *fixture) wantDuplicate(first, dup *cybervault.Publication, got cybervault.Published, births int) {
	f.Helper()
	if diff := cmp.Diff(first.Event, got.Existing); diff != "" {
		f.Fatalf("existing event (-first +got):\n%s", diff)
	}
	if got.ExistingDeliveries != births {
		f.Errorf("existing deliveries = %d, want %d", got.ExistingDeliveries, births)
	}
	_, err := f.s.Event(f.Context(), f.ws, dup.Event.ID)
	f.wantCode(err, cybervault.CodeNotFound)
	for _, d := range dup.Deliveries {
		_, err := f.s.Delivery(f.Context(), f.ws, d.ID)
		f.wantCode(err, cybervault.CodeNotFound)
	}
}

func duplicateLater(f *fixture) {
	w := f.webhook()
	first := f.publication(event{key: "k"}, waiting(w), born(w, cybervault.DeliverySkipped, "filter"), waiting(w))
	f.publish(first)
	// A replay is not a delivery it had at birth.
	f.must(f.s.AddDelivery(f.Context(), first.Event, &cybervault.NewDelivery{
		ID: cybervault.NewID[cybervault.DeliveryID](f.ids), Webhook: w.ID, Status: cybervault.DeliveryPending, ReplayOf: first.Deliveries[0].ID,
	}))
	dup := f.publication(event{key: "k", data: `{"other":true}`}, waiting(w))
	outcomes, errs := f.s.Publish(f.Context(), []*cybervault.Publication{dup})
	f.must(errs[0])
	f.wantDuplicate(first, dup, outcomes[0], 2)
	after := f.publication(event{key: "k2"}, waiting(w))
	f.publish(after)
	if got := after.Deliveries[0].Sequence; got != 4 {
		f.Errorf("the duplicate used up a sequence number: the next is %d, want 4", got)
	}
}

func duplicateInBatch(f *fixture) {
	w := f.webhook()
	first := f.publication(event{key: "k"}, waiting(w), waiting(w))
	dup := f.publication(event{key: "k"}, waiting(w))
	outcomes, errs := f.s.Publish(f.Context(), []*cybervault.Publication{first, dup})
	f.must(errs[0])
	f.must(errs[1])
	if outcomes[0].Existing != nil {
		f.Fatal("the first of the batch was not stored")
	}
	f.wantDuplicate(first, dup, outcomes[1], 2)
}

func duplicateConcurrent(f *fixture) {
	const callers, rounds = 8, 5
	w := f.webhook()
	for round := range rounds {
		key := fmt.Sprint("key", round)
		pubs := make([]*cybervault.Publication, callers)
		outcomes := make([]cybervault.Published, callers)
		errs := make([]error, callers)
		var wg sync.WaitGroup
		for i := range callers {
			pubs[i] = f.publication(event{key: key}, waiting(w))
			wg.Go(func() {
				o, e := f.s.Publish(f.Context(), pubs[i:i+1])
				outcomes[i], errs[i] = o[0], e[0]
			})
		}
		wg.Wait()
		stored := slices.IndexFunc(outcomes, func(o cybervault.Published) bool { return o.Existing == nil })
		for i, o := range outcomes {
			f.must(errs[i])
			if i != stored {
				f.wantDuplicate(pubs[stored], pubs[i], o, 1)
			}
		}
	}
	if n := len(f.events(cybervault.EventQuery{})); n != rounds {
		f.Errorf("%d events stored, want %d", n, rounds)
	}
}

func duplicateElsewhere(f *fixture) {
	f.publish(
		f.publication(event{key: "k"}),
		f.publication(event{key: "k", ws: f.strangersWorkspace()}),
		f.publication(event{key: "K"}),
		f.publication(event{key: "k "}),
	)
}

func batchPlaces(f *fixture) {
	w := f.webhook()
	old := f.publication(event{key: "old"}, waiting(w))
	f.publish(old)
	pubs := make([]*cybervault.Publication, 1000)
	for i := range pubs {
		switch i {
		case 500:
			pubs[i] = f.publication(event{key: "old"})
		case 700:
			pubs[i] = f.publication(event{})
			pubs[i].Event.ID = old.Event.ID // its row key is taken
		default:
			pubs[i] = f.publication(event{}, waiting(w))
		}
	}
	outcomes, errs := f.s.Publish(f.Context(), pubs)
	for i := range pubs {
		switch i {
		case 500:
			f.must(errs[i])
			f.wantDuplicate(old, pubs[i], outcomes[i], 1)
		case 700:
			f.wantCode(errs[i], cybervault.CodeInternal)
		default:
			f.must(errs[i])
			if outcomes[i].Existing != nil {
				f.Fatalf("publication %d was not stored", i)
			}
		}
	}
	if n := len(f.events(cybervault.EventQuery{Limit: cybervault.MaxPageSize})); n != 999 {
		f.Errorf("%d events stored, want 999", n)
	}
	f.wantGapless(w, 999)
}

func brokenPublications(f *fixture) {
	w := f.webhook()
	nul, notUTF8 := f.publication(event{key: "a\x00b"}), f.publication(event{key: "a\xff"})
	apart := f.publication(event{}, waiting(w))
	apart.Deliveries[0].ID = cybervault.NewID[cybervault.DeliveryID](f.ids)
	finished := f.publication(event{}, born(w, cybervault.DeliveryDelivered, ""))
	good := f.publication(event{}, waiting(w))
	_, errs := f.s.Publish(f.Context(), []*cybervault.Publication{nul, notUTF8, apart, finished, good})
	f.wantCode(errs[0], cybervault.CodeInvalid)
	f.wantCode(errs[1], cybervault.CodeInvalid)
	f.wantCode(errs[2], cybervault.CodeInternal)
	f.wantCode(errs[3], cybervault.CodeInternal)
	f.must(errs[4])
	if got := f.events(cybervault.EventQuery{}); len(got) != 1 || got[0].ID != good.Event.ID {
		f.Errorf("stored %d events, want the good one alone", len(got))
	}
}

// wantGapless checks that the webhook's deliveries have the numbers 1 to n.
func (f *fixture) wantGapless(w *cybervault.Webhook, n int) {
	f.Helper()
	var got []int64
	for _, d := range f.deliveries(cybervault.DeliveryQuery{Webhook: w.ID, Limit: cybervault.MaxPageSize}) {
		if d.Status != cybervault.DeliverySkipped {
			got = append(got, d.Sequence)
		}
	}
	slices.Sort(got)
	if len(got) != n {
		f.Fatalf("%d deliveries have a sequence number, want %d", len(got), n)
	}
	for i, sequence := range got {
		if sequence != int64(i+1) {
			f.Fatalf("sequence number %d is missing", i+1)
		}
	}
}

func gaplessSequences(f *fixture) {
	const callers, rounds, batch = 8, 5, 7
	one, two := f.webhook(), f.webhook()
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			for range rounds {
				var pubs []*cybervault.Publication
				for i := range batch {
					// Two webhooks in changing order, so that writers meet.
					births := []cybervault.NewDelivery{waiting(one), waiting(two), born(one, cybervault.DeliverySkipped, "filter")}
					if (caller+i)%2 == 0 {
						births[0], births[1] = births[1], births[0]
					}
					pubs = append(pubs, f.publication(event{}, births...))
				}
				_, errs := f.s.Publish(f.Context(), pubs)
				for _, err := range errs {
					if err != nil {
						f.Errorf("publish: %v", err)
					}
				}
			}
		})
	}
	wg.Wait()
	f.wantGapless(one, callers*rounds*batch)
	f.wantGapless(two, callers*rounds*batch)
}

func sequencesInOrder(f *fixture) {
	w := f.webhook()
	for want := int64(1); want <= 5; want += 2 {
		pubs := []*cybervault.Publication{f.publication(event{}, waiting(w)), f.publication(event{}, waiting(w))}
		f.publish(pubs...)
		if a, b := pubs[0].Deliveries[0].Sequence, pubs[1].Deliveries[0].Sequence; a != want || b != want+1 {
			f.Errorf("sequence numbers %d and %d, want %d and %d", a, b, want, want+1)
		}
	}
}

func skippedSequence(f *fixture) {
	w := f.webhook()
	pub := f.publication(event{}, born(w, cybervault.DeliverySkipped, cybervault.ReasonWebhookDisabled), waiting(w))
	f.publish(pub)
	if got := f.delivery(pub.Deliveries[0].ID); got.Sequence != 0 || got.Reason != cybervault.ReasonWebhookDisabled || !got.Status.Ended() {
		f.Errorf("skipped delivery: %+v", got)
	}
	if got := f.delivery(pub.Deliveries[1].ID).Sequence; got != 1 {
		f.Errorf("sequence after a skipped delivery = %d, want 1", got)
	}
}

// A caller that has given up is answered one way or the other, and told the truth.
func publishEnded(f *fixture) {
	for range 20 {
		pub := f.publication(event{})
		_, errs := f.s.Publish(ended(), []*cybervault.Publication{pub})
		_, err := f.s.Event(f.Context(), f.ws, pub.Event.ID)
		if errs[0] == nil {
			f.must(err)
		} else {
			f.wantCode(errs[0], cybervault.CodeUnavailable)
			f.wantCode(err, cybervault.CodeNotFound)
		}
	}
}
