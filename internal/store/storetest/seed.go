package storetest

import (
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/store"
)

// What is made up is as what happened: it is listed, searched, replayed and
// claimed like that, and its sequences have no gap.
func seeded(f *fixture) {
	named := func(name string) func(*cybervault.Webhook) {
		return func(w *cybervault.Webhook) { w.Events = []string{name} }
	}
	hooks := []*cybervault.Webhook{f.webhook(named("acme.a")), f.webhook(named("acme.b")), f.webhook()}
	begin, due := start.Add(-48*time.Hour), start.Add(time.Hour)
	told := 0
	f.must(f.s.Seed(f.Context(), store.Seeding{
		Ended: 900, Waiting: 90, Since: begin, Until: start.Add(-time.Hour), RetryAt: due, RetryEnd: due.Add(90 * time.Minute), Data: []byte(`{"note":"made up"}`),
	}, func(events int) { told = events }))
	if told != 990 {
		f.Errorf("told of %d events", told)
	}
	counts := map[cybervault.DeliveryStatus]int{}
	types := map[string]int{}
	for _, d := range f.deliveries(cybervault.DeliveryQuery{}) {
		counts[d.Status]++
		types[d.EventType]++
		want := map[cybervault.DeliveryStatus]int{cybervault.DeliveryDelivered: 1, cybervault.DeliveryDeadLetter: 13, cybervault.DeliveryPending: 3}[d.Status]
		if attempts := f.attempts(d.ID); d.Attempts != want || len(attempts) != want || attempts[want-1].Succeeded() != (d.Status == cybervault.DeliveryDelivered) {
			f.Fatalf("%s: %d attempts, %d in the log", d.Status, d.Attempts, len(attempts))
		}
	}
	if counts[cybervault.DeliveryDelivered] != 891 || counts[cybervault.DeliveryDeadLetter] != 9 || counts[cybervault.DeliveryPending] != 90 || len(counts) != 3 {
		f.Errorf("%v", counts)
	}
	if types["acme.a"] != 330 || types["acme.b"] != 330 || types[cybervault.EventThreatDetected] != 330 {
		f.Errorf("%v", types)
	}
	if n := len(f.events(cybervault.EventQuery{Since: begin.Add(24 * time.Hour), Text: "made up"})); n < 470 || n > 490 {
		f.Errorf("%d events in the second half", n)
	}
	page, err := f.s.Sequence(f.Context(), f.ws, hooks[1].ID, 100, 300)
	f.must(err)
	if page.Last != 330 || len(page.Rows) != 201 || page.Rows[0].Sequence != 100 || page.Rows[200].Sequence != 300 {
		f.Errorf("the sequence: %d of %d", len(page.Rows), page.Last)
	}
	if early := f.claim(hooks[0], 100); len(early) != 0 {
		f.Errorf("%d were due at once", len(early))
	}
	f.clock.Move(time.Hour + 45*time.Minute)
	if half := f.claim(hooks[0], 100); len(half) != 15 && len(half) != 16 || half[0].Attempt != 4 {
		f.Errorf("%d were due after half of the time", len(half))
	}
}
