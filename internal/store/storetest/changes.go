package storetest

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault"
)

func changeCases() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"changes/a life, in order":            changesLife,
		"changes/every way a status changes":  changesWays,
		"changes/nothing else":                changesNothing,
		"changes/what is asked for":           changesFilter,
		"changes/from any position":           changesResume,
		"changes/of many writers at once":     changesRace,
		"changes/bounded by size":             changesSize,
		"changes/removed from the front":      changesPrune,
		"changes/what was removed since":      changesRemoved,
		"changes/positions that are no place": changesNowhere,
	}
}

func (f *fixture) lastChange() cybervault.ChangePosition {
	f.Helper()
	at, err := f.s.LastChange(f.Context())
	f.must(err)
	return at
}

// follow reads on until everything that has been committed is read. PostgreSQL
// shows nothing while an older transaction is under way, be it another test's.
func (f *fixture) follow(q cybervault.ChangeQuery, want int) []cybervault.Change {
	f.Helper()
	if q.Workspace.IsZero() {
		q.Workspace = f.ws
	}
	var all []cybervault.Change
	deadline := time.Now().Add(time.Minute)
	for {
		page, err := f.s.Changes(f.Context(), q)
		f.must(err)
		all = append(all, page.Rows...)
		q.After = page.Next
		if !page.More && len(all) >= want && q.After == f.lastChange() {
			return all
		}
		if time.Now().After(deadline) {
			f.Fatalf("%d changes were read, want %d", len(all), want)
		}
	}
}

// words writes changes down as "event 1", "delivery 1.0 pending", "attempt 1.0 1"
// where 1 is the event's place among pubs, and 0 the delivery's in it.
func words(changes []cybervault.Change, pubs ...*cybervault.Publication) string {
	var out []string
	for _, c := range changes {
		word := string(c.Kind) + " " + place(&c, pubs)
		if c.Attempt != nil {
			word += " " + strconv.Itoa(c.Attempt.Number)
		} else if c.Status != "" {
			word += " " + string(c.Status)
		}
		out = append(out, word)
	}
	return strings.Join(out, ", ")
}

// place says which of pubs a change is about.
func place(c *cybervault.Change, pubs []*cybervault.Publication) string {
	for i, p := range pubs {
		if c.Event != nil && c.Event.ID == p.Event.ID {
			return strconv.Itoa(i)
		}
		for k := range p.Deliveries {
			if c.Delivery != nil && c.Delivery.ID == p.Deliveries[k].ID {
				return strconv.Itoa(i) + "." + strconv.Itoa(k)
			}
		}
	}
	return "?"
}

func (f *fixture) wantWords(got []cybervault.Change, want string, pubs ...*cybervault.Publication) {
	f.Helper()
	if diff := cmp.Diff(want, words(got, pubs...)); diff != "" {
		f.Errorf("changes (-want +got):\n%s", diff)
	}
}

func changesLife(f *fixture) {
	w := f.webhook()
	start := f.lastChange()
	pub := f.publication(event{}, f.leased(w), born(w, cybervault.DeliverySkipped, cybervault.ReasonFilter))
	f.publish(pub)
	d := &pub.Deliveries[0]
	f.must(f.record(f.result(d, 1, cybervault.DeliveryPending)))
	f.clock.Move(time.Hour)
	again := asBirth(f.claim(w, 1)[0])
	f.must(f.record(f.result(again, 2, cybervault.DeliveryDelivered)))
	got := f.follow(cybervault.ChangeQuery{After: start}, 7)
	f.wantWords(got, "event 0, delivery 0.0 pending, delivery 0.1 skipped, attempt 0.0 1, delivery 0.0 pending, attempt 0.0 2, delivery 0.0 delivered", pub)

	// What is told is all that there is to tell, as it is now.
	stored, err := f.s.Event(f.Context(), f.ws, pub.Event.ID)
	f.must(err)
	if diff := cmp.Diff(stored, got[0].Event); diff != "" {
		f.Errorf("the event (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(f.delivery(d.ID), got[1].Delivery); diff != "" {
		f.Errorf("the delivery (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(f.attempts(d.ID), []*cybervault.Attempt{got[3].Attempt, got[5].Attempt}); diff != "" {
		f.Errorf("the attempts (-want +got):\n%s", diff)
	}
	if got[3].Delivery == nil || got[3].Delivery.ID != d.ID {
		f.Errorf("an attempt without its delivery: %+v", got[3])
	}
}

func changesWays(f *fixture) {
	w := f.webhook(unverified)
	pub := f.publication(event{}, born(w, cybervault.DeliveryHeld, ""), born(w, cybervault.DeliveryHeld, ""), waiting(w), waiting(w))
	f.publish(pub)
	start := f.lastChangeAfter(5)
	if _, err := f.s.FreeHeld(f.Context(), w.ID); err != nil {
		f.Fatal(err)
	}
	f.must(f.s.CancelDelivery(f.Context(), f.ws, pub.Deliveries[2].ID, cybervault.ReasonCancelled))
	replay := cybervault.NewDelivery{ID: cybervault.NewID[cybervault.DeliveryID](f.ids), Webhook: w.ID, Status: cybervault.DeliveryPending, ReplayOf: pub.Deliveries[2].ID}
	f.must(f.s.AddDelivery(f.Context(), pub.Event, &replay))
	if _, err := f.s.CancelDeliveries(f.Context(), w.ID, cybervault.ReasonWebhookDeleted); err != nil {
		f.Fatal(err)
	}
	got := f.follow(cybervault.ChangeQuery{After: start}, 8)
	replayed := &cybervault.Publication{Event: pub.Event, Deliveries: []cybervault.NewDelivery{replay}}
	// The order in which one statement frees or ends many is not told.
	for _, group := range [][]cybervault.Change{got[:2], got[4:]} {
		slices.SortFunc(group, func(a, b cybervault.Change) int {
			return int(a.Delivery.ID.Key() - b.Delivery.ID.Key())
		})
	}
	f.wantWords(got, "delivery 0.0 pending, delivery 0.1 pending, delivery 0.2 cancelled, delivery 1.0 pending, delivery 0.0 cancelled, delivery 0.1 cancelled, delivery 0.3 cancelled, delivery 1.0 cancelled", pub, replayed)
}

// lastChangeAfter waits for so many changes and returns the position behind.
func (f *fixture) lastChangeAfter(n int) cybervault.ChangePosition {
	f.Helper()
	deadline := time.Now().Add(time.Minute)
	for time.Now().Before(deadline) {
		if at := f.lastChange(); at.Done == n {
			return at
		}
	}
	f.Fatalf("the last transaction does not show %d changes: %+v", n, f.lastChange())
	return cybervault.ChangePosition{}
}

func changesNothing(f *fixture) {
	w := f.webhook()
	f.publish(f.publication(event{key: "k"}, waiting(w), waiting(w)))
	start := f.lastChangeAfter(3)
	claimed := f.claim(w, 1)
	f.must(f.s.Release(f.Context(), claimed))
	// A result under a lease that is lost, a cancellation that is refused, an
	// idempotency key that is taken.
	f.wantCode(f.record(f.result(asBirth(claimed[0]), 1, cybervault.DeliveryDelivered)), cybervault.CodeConflict)
	f.wantCode(f.s.CancelDelivery(f.Context(), f.strangersWorkspace(), claimed[0].Delivery, cybervault.ReasonCancelled), cybervault.CodeNotFound)
	if out, errs := f.s.Publish(f.Context(), []*cybervault.Publication{f.publication(event{key: "k"}, waiting(w))}); errs[0] != nil || out[0].Existing == nil {
		f.Errorf("published twice: %v", errs)
	}
	if _, err := f.s.MarkOrdered(f.Context(), w.ID); err != nil {
		f.Error(err)
	}
	f.must(f.s.SaveWebhook(f.Context(), w))
	last := f.publication(event{})
	f.publish(last)
	f.wantWords(f.follow(cybervault.ChangeQuery{After: start}, 1), "event 0", last)
}

func changesFilter(f *fixture) {
	a, b := f.webhook(), f.webhook()
	start := f.lastChange()
	threat := f.publication(event{}, f.leased(a), f.leased(b))
	alert := f.publication(event{kind: cybervault.EventSystemAlert}, waiting(a))
	f.publish(threat)
	f.publish(alert)
	f.must(f.record(f.result(&threat.Deliveries[0], 1, cybervault.DeliveryDelivered)))
	for _, c := range []struct {
		q    cybervault.ChangeQuery
		want string
	}{
		{cybervault.ChangeQuery{}, "event 0, delivery 0.0 pending, delivery 0.1 pending, event 1, delivery 1.0 pending, attempt 0.0 1, delivery 0.0 delivered"},
		{cybervault.ChangeQuery{Kinds: []cybervault.ChangeKind{cybervault.ChangeEvent}}, "event 0, event 1"},
		{cybervault.ChangeQuery{Kinds: []cybervault.ChangeKind{cybervault.ChangeAttempt, cybervault.ChangeEvent}}, "event 0, event 1, attempt 0.0 1"},
		{cybervault.ChangeQuery{Webhook: a.ID}, "delivery 0.0 pending, delivery 1.0 pending, attempt 0.0 1, delivery 0.0 delivered"},
		{cybervault.ChangeQuery{Webhook: b.ID}, "delivery 0.1 pending"},
		{cybervault.ChangeQuery{Types: []string{"system.*", "patch.failed"}}, "event 1, delivery 1.0 pending"},
		{cybervault.ChangeQuery{Types: []string{"threat.*"}, Webhook: a.ID, Kinds: []cybervault.ChangeKind{cybervault.ChangeAttempt}}, "attempt 0.0 1"},
		{cybervault.ChangeQuery{Workspace: f.strangersWorkspace()}, ""},
	} {
		c.q.After = start
		want := 0
		if c.want != "" {
			want = strings.Count(c.want, ",") + 1
		}
		f.wantWords(f.follow(c.q, want), c.want, threat, alert)
	}
}

// Whoever goes on after any change gets exactly what follows it.
func changesResume(f *fixture) {
	w := f.webhook()
	start := f.lastChange()
	births := make([]cybervault.NewDelivery, 150)
	for i := range births {
		births[i] = waiting(w)
	}
	f.publish(f.publication(event{}, births...))
	for range 60 {
		f.publish(f.publication(event{}, waiting(w)))
	}
	f.publish(f.publication(event{}, slices.Clone(births)...))
	const n = 151 + 120 + 151
	all := f.follow(cybervault.ChangeQuery{After: start}, n)
	if len(all) != n {
		f.Fatalf("%d changes, want %d", len(all), n)
	}
	for i, c := range all {
		if i%7 != 0 && i < n-3 {
			continue
		}
		rest := f.follow(cybervault.ChangeQuery{After: c.At}, n-1-i)
		if len(rest) != n-1-i || len(rest) > 0 && rest[0].At != all[i+1].At {
			f.Fatalf("after change %d follow %d, want %d", i, len(rest), n-1-i)
		}
	}
	if q, err := f.s.Changes(f.Context(), cybervault.ChangeQuery{Workspace: f.ws, After: start}); err != nil || len(q.Rows) > 200 || !q.More {
		f.Errorf("one look reads %d changes, more %v, %v", len(q.Rows), q.More, err)
	}
}

// Readers that follow while many write miss nothing, and all see one order.
func changesRace(f *fixture) {
	const writers, each = 8, 40
	w := f.webhook()
	start := f.lastChange()
	var publishing, following sync.WaitGroup
	for range writers {
		publishing.Go(func() {
			for range each {
				pub := f.publication(event{}, f.leased(w))
				if _, errs := f.s.Publish(f.Context(), []*cybervault.Publication{pub}); errs[0] != nil {
					f.Error(errs[0])
				}
				if err := f.record(f.result(&pub.Deliveries[0], 1, cybervault.DeliveryDelivered)); err != nil {
					f.Error(err)
				}
			}
		})
	}
	const want = writers * each * 4
	seen := make([][]cybervault.ChangePosition, 3)
	for i := range seen {
		following.Go(func() {
			q := cybervault.ChangeQuery{Workspace: f.ws, After: start}
			for deadline := time.Now().Add(time.Minute); len(seen[i]) < want && time.Now().Before(deadline); {
				page, err := f.s.Changes(f.Context(), q)
				if err != nil {
					f.Error(err)
					return
				}
				for _, c := range page.Rows {
					seen[i] = append(seen[i], c.At)
				}
				q.After = page.Next
			}
		})
	}
	publishing.Wait()
	following.Wait()
	for i := range seen {
		if len(seen[i]) != want || !slices.Equal(seen[i], seen[0]) {
			f.Errorf("reader %d saw %d changes, want %d in the order of the others", i, len(seen[i]), want)
		}
	}
}

func changesSize(f *fixture) {
	start := f.lastChange()
	large := `"` + strings.Repeat("x", 100<<10) + `"`
	const n = 40
	for range n {
		f.publish(f.publication(event{data: large}))
	}
	q := cybervault.ChangeQuery{Workspace: f.ws, After: start}
	total := 0
	for deadline := time.Now().Add(time.Minute); total < n; {
		page, err := f.s.Changes(f.Context(), q)
		f.must(err)
		if len(page.Rows) > 21 {
			f.Fatalf("one look holds %d events of 100 KiB", len(page.Rows))
		}
		total += len(page.Rows)
		q.After = page.Next
		if time.Now().After(deadline) {
			f.Fatalf("read %d events of %d", total, n)
		}
	}
	if total != n {
		f.Errorf("read %d events, want %d", total, n)
	}
}

func (f *fixture) prune(before time.Time) {
	f.Helper()
	f.audit()
	f.pruneOnly(before)
}

// pruneOnly is prune without the audit log, which holds it up.
func (f *fixture) pruneOnly(before time.Time) {
	f.Helper()
	for range 100 {
		more, err := f.s.PruneChanges(f.Context(), before)
		f.must(err)
		if !more {
			return
		}
	}
	f.Fatal("pruning does not end")
}

func changesPrune(f *fixture) {
	start := f.lastChange()
	for range 700 {
		f.publish(f.publication(event{}))
	}
	all := f.follow(cybervault.ChangeQuery{After: start}, 700)
	f.clock.Move(day)
	f.prune(f.clock.Now().Add(-2 * day))
	f.wantFollows(start, 700)
	old := all[len(all)-2].At
	f.wantFollows(old, 1)
	f.prune(f.clock.Now())
	f.wantGone(start)
	f.wantGone(old)
	// The newest one stays, and with it everybody who has read all.
	last := all[len(all)-1].At
	f.wantFollows(last, 0)
	pub := f.publication(event{})
	f.publish(pub)
	f.wantWords(f.follow(cybervault.ChangeQuery{After: last}, 1), "event 0", pub)
	f.prune(f.clock.Now())
	f.wantFollows(last, 1) // what follows it was logged now, and is not before now
}

func (f *fixture) wantFollows(at cybervault.ChangePosition, n int) {
	f.Helper()
	if got := f.follow(cybervault.ChangeQuery{After: at}, n); len(got) != n {
		f.Errorf("after %+v follow %d changes, want %d", at, len(got), n)
	}
}

func (f *fixture) wantGone(at cybervault.ChangePosition) {
	f.Helper()
	_, err := f.s.Changes(f.Context(), cybervault.ChangeQuery{Workspace: f.ws, After: at})
	f.wantCode(err, cybervault.CodeGone)
}

func changesRemoved(f *fixture) {
	w := f.webhook()
	start := f.lastChange()
	f.finish(w, cybervault.DeliveryDelivered)
	f.clock.Move(40 * day)
	f.sweep()
	pub := f.publication(event{})
	f.publish(pub)
	f.wantWords(f.follow(cybervault.ChangeQuery{After: start}, 1), "event 0", pub)
}

func changesNowhere(f *fixture) {
	f.publish(f.publication(event{}))
	at := f.lastChangeAfter(1)
	for _, wrong := range []cybervault.ChangePosition{
		{}, {Transaction: at.Transaction, Mark: at.Mark, Done: at.Done + 1}, {Transaction: at.Transaction, Mark: at.Mark + 1},
		{Transaction: at.Transaction + 1<<40, Mark: at.Mark}, {Transaction: -1},
	} {
		f.wantGone(wrong)
	}
}
