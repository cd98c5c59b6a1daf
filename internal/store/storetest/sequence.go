package storetest

import (
	"slices"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault"
)

func sequenceCases() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"sequence/every range":        sequenceRanges,
		"sequence/what it was":        sequenceWhat,
		"sequence/more than a page":   sequencePages,
		"sequence/what there is none": sequenceNone,
	}
}

// sequence asks for numbers and wants exactly those from first to last.
func (f *fixture) wantSequence(w *cybervault.Webhook, from, to, first, last, next int64) {
	f.Helper()
	page, err := f.s.Sequence(f.Context(), f.ws, w.ID, from, to)
	f.must(err)
	var want, got []int64
	for n := first; n <= last; n++ {
		want = append(want, n)
	}
	for _, d := range page.Rows {
		got = append(got, d.Sequence)
		if d.Webhook != w.ID {
			f.Errorf("number %d is of webhook %s", d.Sequence, d.Webhook)
		}
	}
	if !slices.Equal(got, want) || page.Next != next {
		f.Errorf("from %d to %d: %v, next %d; want %d to %d, next %d", from, to, got, page.Next, first, last, next)
	}
}

func sequenceRanges(f *fixture) {
	// Two webhooks share the events, so that their numbers are far apart, and
	// groups are of every size.
	a, b := f.webhook(), f.webhook()
	const n = 200
	for made := 0; made < n; {
		group := min(1+made/3, n-made)
		var pubs []*cybervault.Publication
		for range group {
			pubs = append(pubs, f.publication(event{}, waiting(a), born(a, cybervault.DeliverySkipped, cybervault.ReasonFilter), waiting(b), waiting(b)))
		}
		f.publish(pubs...)
		made += group
	}
	for _, from := range []int64{1, 2, 63, 64, 65, 100, 127, 128, 129, 191, 192, 193, 199, 200} {
		for _, to := range []int64{1, 63, 64, 65, 128, 150, 191, 192, 199, 200} {
			if from <= to {
				f.wantSequence(a, from, to, from, to, 0)
				f.wantSequence(b, from, to, from, to, 0)
			}
		}
		f.wantSequence(a, from, 0, from, 200, 0)
		f.wantSequence(b, from, 1000, from, 400, 0)
	}
}

func sequenceWhat(f *fixture) {
	w := f.webhook()
	pub := f.publication(event{}, f.leased(w), waiting(w))
	f.publish(pub)
	f.must(f.record(f.result(&pub.Deliveries[0], 1, cybervault.DeliveryDelivered)))
	replay := cybervault.NewDelivery{ID: cybervault.NewID[cybervault.DeliveryID](f.ids), Webhook: w.ID, Status: cybervault.DeliveryPending, ReplayOf: pub.Deliveries[0].ID}
	f.must(f.s.AddDelivery(f.Context(), pub.Event, &replay))
	page, err := f.s.Sequence(f.Context(), f.ws, w.ID, 0, 0)
	f.must(err)
	want := cybervault.SequencePage{Last: 3, Rows: []*cybervault.Delivery{
		f.delivery(pub.Deliveries[0].ID), f.delivery(pub.Deliveries[1].ID), f.delivery(replay.ID),
	}}
	if diff := cmp.Diff(want, page); diff != "" {
		f.Errorf("numbers 1 to 3 (-want +got):\n%s", diff)
	}
}

func sequencePages(f *fixture) {
	w := f.webhook()
	const n = cybervault.MaxSequencePage + 100
	births := make([]cybervault.NewDelivery, n)
	for i := range births {
		births[i] = waiting(w)
	}
	f.publish(f.publication(event{}, births...))
	f.wantSequence(w, 1, 0, 1, cybervault.MaxSequencePage, cybervault.MaxSequencePage+1)
	f.wantSequence(w, 50, n-1, 50, cybervault.MaxSequencePage+49, cybervault.MaxSequencePage+50)
	f.wantSequence(w, cybervault.MaxSequencePage+1, 0, cybervault.MaxSequencePage+1, n, 0)
}

func sequenceNone(f *fixture) {
	w := f.webhook()
	f.wantSequence(w, 1, 10, 1, 0, 0)
	f.publish(f.publication(event{}, waiting(w)))
	f.wantSequence(w, 2, 10, 1, 0, 0)
	_, err := f.s.Sequence(f.Context(), f.strangersWorkspace(), w.ID, 1, 10)
	f.wantCode(err, cybervault.CodeNotFound)
	_, err = f.s.Sequence(f.Context(), f.ws, cybervault.NewID[cybervault.WebhookID](f.ids), 1, 10)
	f.wantCode(err, cybervault.CodeNotFound)
	guessed := cybervault.MakeID[cybervault.WebhookID](w.ID.Key(), w.ID.Rest()^1)
	_, err = f.s.Sequence(f.Context(), f.ws, guessed, 1, 10)
	f.wantCode(err, cybervault.CodeNotFound)
}
