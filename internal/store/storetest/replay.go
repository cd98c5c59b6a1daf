package storetest

import (
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault"
)

func replayCases() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"replay/what is chosen":            replayChoice,
		"replay/step by step":              replaySteps,
		"replay/each step is taken once":   replayFenced,
		"replay/across a restart":          replayRestart,
		"replay/ended":                     replayEnded,
		"replay/what went in the meantime": replayRemoved,
		"replay/lists":                     replayLists,
		"replay/strangers see none":        replayForeign,
	}
}

func (f *fixture) newReplay(w *cybervault.Webhook, change ...func(*cybervault.ReplayCriteria)) *cybervault.Replay {
	f.Helper()
	f.clock.Move(time.Second)
	r := &cybervault.Replay{
		ID: cybervault.NewID[cybervault.ReplayID](f.ids), Workspace: f.ws, Webhook: w.ID, Rate: 100, Status: cybervault.ReplayRunning, DueAt: f.clock.Now(),
		Criteria: cybervault.ReplayCriteria{Since: start, Until: f.clock.Now()},
	}
	for _, c := range change {
		c(&r.Criteria)
	}
	var err error
	r.Matched, _, err = f.s.MatchReplay(f.Context(), r)
	f.must(err)
	f.must(f.s.SaveReplay(f.Context(), r))
	return r
}

func (f *fixture) step(r *cybervault.Replay, limit int) error {
	f.Helper()
	f.clock.Move(time.Second)
	return f.s.StepReplay(f.Context(), r, limit, f.clock.Now().Add(time.Second), func() cybervault.NewDelivery {
		return cybervault.NewDelivery{ID: cybervault.NewID[cybervault.DeliveryID](f.ids), Status: cybervault.DeliveryPending}
	})
}

// replayed lists what the webhook's replays are replays of, oldest first.
func (f *fixture) replayed(w *cybervault.Webhook) (of []cybervault.DeliveryID) {
	f.Helper()
	for _, d := range f.deliveries(cybervault.DeliveryQuery{Webhook: w.ID}) {
		if !d.ReplayOf.IsZero() {
			of = append(of, d.ReplayOf)
		}
	}
	slices.Reverse(of)
	return of
}

func idsOf(pubs ...*cybervault.Publication) (ids []cybervault.DeliveryID) {
	for _, p := range pubs {
		ids = append(ids, p.Deliveries[0].ID)
	}
	return ids
}

func replayChoice(f *fixture) {
	w, other := f.webhook(), f.webhook()
	before := f.finish(w, cybervault.DeliveryDelivered)
	f.clock.Move(time.Hour)
	delivered, dead := f.finish(w, cybervault.DeliveryDelivered), f.finish(w, cybervault.DeliveryDeadLetter)
	skipped := f.publication(event{kind: cybervault.EventSystemAlert}, born(w, cybervault.DeliverySkipped, cybervault.ReasonWebhookDisabled))
	test := f.publication(event{test: true}, born(w, cybervault.DeliverySkipped, ""))
	f.publish(skipped, test)
	f.finish(w, cybervault.DeliveryPending)
	f.finish(other, cybervault.DeliveryDelivered)
	again := cybervault.NewDelivery{ID: cybervault.NewID[cybervault.DeliveryID](f.ids), Webhook: w.ID, Status: cybervault.DeliverySkipped, ReplayOf: delivered.Deliveries[0].ID}
	f.must(f.s.AddDelivery(f.Context(), delivered.Event, &again))
	since := func(c *cybervault.ReplayCriteria) { c.Since = start.Add(time.Minute) }
	for name, tc := range map[string]struct {
		change func(*cybervault.ReplayCriteria)
		want   []cybervault.DeliveryID
	}{
		"all":       {func(c *cybervault.ReplayCriteria) { c.Since = start }, idsOf(before, delivered, dead, skipped)},
		"since":     {since, idsOf(delivered, dead, skipped)},
		"until":     {func(c *cybervault.ReplayCriteria) { c.Until = start.Add(time.Minute) }, idsOf(before)},
		"status":    {func(c *cybervault.ReplayCriteria) { c.Statuses = []cybervault.DeliveryStatus{"dead_letter"} }, idsOf(dead)},
		"type":      {func(c *cybervault.ReplayCriteria) { c.Events = []string{cybervault.EventSystemAlert} }, idsOf(skipped)},
		"namespace": {func(c *cybervault.ReplayCriteria) { since(c); c.Events = []string{"patch.*", "threat.*"} }, idsOf(delivered, dead)},
		"all types": {func(c *cybervault.ReplayCriteria) { since(c); c.Events = []string{"patch.*", "*"} }, idsOf(delivered, dead, skipped)},
		"nothing":   {func(c *cybervault.ReplayCriteria) { c.Events = []string{"patch.*"} }, nil},
	} {
		r := f.newReplay(w, tc.change)
		matched, sample, err := f.s.MatchReplay(f.Context(), r)
		f.must(err)
		var got []cybervault.DeliveryID
		for _, d := range sample {
			got = append(got, d.ID)
		}
		if !slices.Equal(got, tc.want) || matched != int64(len(tc.want)) {
			f.Errorf("%s: matched %d: %v, want %v", name, matched, got, tc.want)
		}
	}
}

func replaySteps(f *fixture) {
	w := f.webhook()
	var pubs []*cybervault.Publication
	for range 25 {
		pubs = append(pubs, f.finish(w, cybervault.DeliveryDelivered))
	}
	r := f.newReplay(w)
	for want := int64(10); r.Status == cybervault.ReplayRunning; want += 10 {
		f.must(f.step(r, 10))
		if r.Created != min(want, 25) || r.Matched != 25 {
			f.Fatalf("after a step: %+v", r)
		}
		stored, err := f.s.Replay(f.Context(), f.ws, r.ID)
		f.must(err)
		if diff := cmp.Diff(r, stored); diff != "" {
			f.Fatalf("what is stored (-want +got):\n%s", diff)
		}
	}
	if r.FinishedAt.IsZero() {
		f.Error("done, but not finished")
	}
	if diff := cmp.Diff(idsOf(pubs...), f.replayed(w)); diff != "" {
		f.Errorf("replays of (-want +got):\n%s", diff)
	}
	if got := f.claim(w, 100); len(got) != 25 || string(got[0].Body) != string(pubs[0].Event.Body) || got[0].Sequence != 26 {
		f.Errorf("claimed %d: %+v", len(got), got[0])
	}
	f.wantCode(f.step(r, 10), cybervault.CodeConflict)
}

func replayFenced(f *fixture) {
	w := f.webhook()
	for range 10 {
		f.finish(w, cybervault.DeliveryDelivered)
	}
	r := f.newReplay(w)
	late := *r
	f.must(f.step(r, 3))
	f.wantCode(f.step(&late, 3), cybervault.CodeConflict)
	if late.Created != 0 || len(f.replayed(w)) != 3 {
		f.Errorf("a step was taken twice: %+v, %d replays", late, len(f.replayed(w)))
	}
	running, err := f.s.RunningReplays(f.Context())
	f.must(err)
	if diff := cmp.Diff([]*cybervault.Replay{r}, running); diff != "" {
		f.Errorf("running (-want +got):\n%s", diff)
	}
}

func replayRestart(f *fixture) {
	w := f.webhook()
	var pubs []*cybervault.Publication
	for range 10 {
		pubs = append(pubs, f.finish(w, cybervault.DeliveryDelivered))
	}
	f.must(f.step(f.newReplay(w), 4))
	f.must(f.s.Close())
	f.s = f.open()
	running, err := f.s.RunningReplays(f.Context())
	f.must(err)
	for running[0].Status == cybervault.ReplayRunning {
		f.must(f.step(running[0], 4))
	}
	if diff := cmp.Diff(idsOf(pubs...), f.replayed(w)); diff != "" {
		f.Errorf("replays of (-want +got):\n%s", diff)
	}
}

func replayEnded(f *fixture) {
	w := f.webhook()
	f.finish(w, cybervault.DeliveryDelivered)
	r := f.newReplay(w)
	f.must(f.s.EndReplay(f.Context(), f.ws, r.ID))
	f.wantCode(f.s.EndReplay(f.Context(), f.ws, r.ID), cybervault.CodeConflict)
	f.wantCode(f.step(r, 3), cybervault.CodeConflict)
	stored, err := f.s.Replay(f.Context(), f.ws, r.ID)
	f.must(err)
	if stored.Status != cybervault.ReplayCancelled || stored.FinishedAt.IsZero() || len(f.replayed(w)) != 0 {
		f.Errorf("after the end: %+v, %d replays", stored, len(f.replayed(w)))
	}
	if running, err := f.s.RunningReplays(f.Context()); err != nil || len(running) != 0 {
		f.Errorf("%d are running, %v", len(running), err)
	}
}

func replayRemoved(f *fixture) {
	w := f.webhook()
	f.finish(w, cybervault.DeliveryDelivered)
	f.clock.Move(31 * day)
	kept := f.finish(w, cybervault.DeliveryDelivered)
	r := f.newReplay(w)
	f.sweep()
	for r.Status == cybervault.ReplayRunning {
		f.must(f.step(r, 1))
	}
	if got := f.replayed(w); r.Matched != 2 || r.Created != 1 || !slices.Equal(got, idsOf(kept)) {
		f.Errorf("%+v, replays of %v", r, got)
	}
}

func replayLists(f *fixture) {
	w := f.webhook()
	var want []*cybervault.Replay
	for range 3 {
		want = append([]*cybervault.Replay{f.newReplay(w)}, want...)
	}
	page, err := f.s.Replays(f.Context(), f.ws, cybervault.ReplayID{}, 2)
	f.must(err)
	if diff := cmp.Diff(want[:2], page.Rows); diff != "" || !page.More {
		f.Errorf("first page, more %v (-want +got):\n%s", page.More, diff)
	}
	page, err = f.s.Replays(f.Context(), f.ws, want[1].ID, 2)
	f.must(err)
	if diff := cmp.Diff(want[2:], page.Rows); diff != "" || page.More {
		f.Errorf("second page, more %v (-want +got):\n%s", page.More, diff)
	}
}

func replayForeign(f *fixture) {
	r := f.newReplay(f.webhook())
	_, err := f.s.Replay(f.Context(), f.strangersWorkspace(), r.ID)
	f.wantCode(err, cybervault.CodeNotFound)
	f.wantCode(f.s.EndReplay(f.Context(), f.strangersWorkspace(), r.ID), cybervault.CodeNotFound)
	page, err := f.s.Replays(f.Context(), f.strangersWorkspace(), cybervault.ReplayID{}, 10)
	f.must(err)
	if len(page.Rows) != 0 {
		f.Errorf("a stranger sees %d", len(page.Rows))
	}
}
