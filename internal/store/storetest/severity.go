package storetest

import (
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault"
)

// of is a waiting delivery to w of a severity.
func of(w *cybervault.Webhook, severity cybervault.Severity) cybervault.NewDelivery {
	return cybervault.NewDelivery{Webhook: w.ID, Status: cybervault.DeliveryPending, Severity: severity}
}

// line stores waiting deliveries, one after the other, and returns a function
// that claims and checks which of them came, by their places.
func (f *fixture) line(w *cybervault.Webhook, severities ...cybervault.Severity) func(c cybervault.Claim, want ...int) []*cybervault.Assignment {
	f.Helper()
	at := map[cybervault.DeliveryID]int{}
	for i, severity := range severities {
		pub := f.publication(event{}, of(w, severity))
		f.publish(pub)
		at[pub.Deliveries[0].ID] = i
		f.clock.Move(time.Millisecond)
	}
	return func(c cybervault.Claim, want ...int) []*cybervault.Assignment {
		f.Helper()
		c.Webhook, c.Lease = w.ID, f.lease()
		claimed, err := f.s.Claim(f.Context(), c)
		f.must(err)
		var got []int
		for _, a := range claimed {
			got = append(got, at[a.Delivery])
			if a.Severity != severities[at[a.Delivery]] {
				f.Errorf("claimed one that is %s as %s", severities[at[a.Delivery]], a.Severity)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			f.Errorf("claimed (-want +got):\n%s", diff)
		}
		return claimed
	}
}

const (
	info     = cybervault.SeverityInfo
	low      = cybervault.SeverityLow
	medium   = cybervault.SeverityMedium
	high     = cybervault.SeverityHigh
	critical = cybervault.SeverityCritical
)

func claimSevere(f *fixture) {
	w := f.webhook()
	claim := f.line(w, info, critical, low, high, medium, critical, info, "")
	nextDue := func(least cybervault.Severity, want time.Time) {
		f.Helper()
		got, err := f.s.NextDue(f.Context(), w.ID, least)
		f.must(err)
		if !got.Equal(want) {
			f.Errorf("of %q and above the next is due %v, want %v", least, got, want)
		}
	}
	began := f.clock.Now().Add(-8 * time.Millisecond)
	nextDue("", began)
	nextDue(medium, began.Add(time.Millisecond))
	first := claim(cybervault.Claim{Limit: 1}, 1)
	claim(cybervault.Claim{Limit: 9, Least: high}, 5, 3)
	nextDue(high, first[0].Lease.Until)
	nextDue("", began)
	claim(cybervault.Claim{Limit: 2}, 4, 2)
	claim(cybervault.Claim{Limit: 9, Least: high})
	claim(cybervault.Claim{Limit: 2, Least: info}, 0, 6)

	// A retry passes what is less severe.
	f.must(f.record(f.result(asBirth(first[0]), 1, cybervault.DeliveryPending)))
	f.clock.Move(time.Minute - time.Microsecond)
	claim(cybervault.Claim{Limit: 1, Least: critical}, 5) // its lease has ended
	f.clock.Move(time.Microsecond)
	if again := claim(cybervault.Claim{Limit: 1}, 1); again[0].Attempt != 2 {
		f.Errorf("attempt %d, want 2", again[0].Attempt)
	}
	if got := f.delivery(first[0].Delivery); got.Severity != critical {
		f.Errorf("the log says %q", got.Severity)
	}
	if got, err := f.s.NextDue(f.Context(), f.webhook().ID, ""); err != nil || !got.IsZero() {
		f.Errorf("of an idle webhook the next is due %v, %v", got, err)
	}
}

func claimPatient(f *fixture) {
	claim := f.line(f.webhook(), low, critical, high, critical, low, low, critical, high, info)
	claim(cybervault.Claim{Limit: 3, Patient: 1}, 1, 3, 0)
	claim(cybervault.Claim{Limit: 1, Patient: 1}, 2) // the longest due is severe itself
	claim(cybervault.Claim{Limit: 1, Patient: 9}, 4)
	claim(cybervault.Claim{Limit: 3, Patient: 1}, 6, 7, 5)
	claim(cybervault.Claim{Limit: 3, Patient: 1}, 8)

	// What nobody is kept waiting by is not left free.
	claim = f.line(f.webhook(), critical, critical, info)
	claim(cybervault.Claim{Limit: 2, Patient: 2}, 0, 1)
	claim(cybervault.Claim{Limit: 2, Patient: 2}, 2)
}

// A replay is as severe as what it replays, made alone or with many.
func replaySevere(f *fixture) {
	w := f.webhook()
	claim := f.line(w, critical)
	first := claim(cybervault.Claim{Limit: 1}, 0)[0]
	f.must(f.record(f.result(asBirth(first), 1, cybervault.DeliveryDelivered)))
	f.clock.Move(time.Second)
	now := f.clock.Now()
	r := &cybervault.Replay{ID: cybervault.NewID[cybervault.ReplayID](f.ids), Workspace: f.ws, Webhook: w.ID, Criteria: cybervault.ReplayCriteria{Until: now},
		Rate: 10, Status: cybervault.ReplayRunning, DueAt: now}
	f.must(f.s.SaveReplay(f.Context(), r))
	f.must(f.s.StepReplay(f.Context(), r, 10, now, func() cybervault.NewDelivery {
		return cybervault.NewDelivery{ID: cybervault.NewID[cybervault.DeliveryID](f.ids), Status: cybervault.DeliveryPending}
	}))
	one := cybervault.NewDelivery{ID: cybervault.NewID[cybervault.DeliveryID](f.ids), Webhook: w.ID, Status: cybervault.DeliveryPending,
		Severity: f.delivery(first.Delivery).Severity, ReplayOf: first.Delivery}
	event, err := f.s.Event(f.Context(), f.ws, first.Event)
	f.must(err)
	f.must(f.s.AddDelivery(f.Context(), event, &one))
	again := f.claim(w, 10)
	if len(again) != 2 {
		f.Fatalf("%d replays, want 2", len(again))
	}
	for _, a := range again {
		if a.Severity != critical {
			f.Errorf("a replay of a critical delivery is %s", a.Severity)
		}
	}
}
