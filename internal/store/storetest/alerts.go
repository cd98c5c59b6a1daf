package storetest

import (
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cybervault/cybervault"
)

func alertCases() map[string]func(*fixture) {
	return map[string]func(*fixture){"alerts/life": alertLife, "alerts/dead letters": deadLetters}
}

func alertLife(f *fixture) {
	a := &cybervault.Alert{
		ID: "alr_1", Workspace: f.ws, Code: "breaker_open", Subject: "whk_1", Severity: cybervault.SeverityMedium, Status: cybervault.AlertFiring, Summary: "It is open.", Remedy: "Look.", FiredAt: start, Untold: true,
	}
	fire := func(a *cybervault.Alert, want bool) {
		f.Helper()
		fresh, err := f.s.FireAlert(f.Context(), a)
		f.must(err)
		if fresh != want {
			f.Errorf("%s is fresh: %t", a.ID, fresh)
		}
	}
	live := func(want ...*cybervault.Alert) {
		f.Helper()
		got, err := f.s.LiveAlerts(f.Context())
		f.must(err)
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(cybervault.Alert{}, "Number"), cmpopts.EquateEmpty()); diff != "" {
			f.Errorf("live (-want +got):\n%s", diff)
		}
	}
	fire(a, true)
	second := *a
	second.ID = "alr_2"
	fire(&second, false) // one of a code and subject fires at a time
	live(a)
	f.must(f.s.ToldAlert(f.Context(), a.ID, cybervault.AlertResolved)) // which it is not
	live(a)
	f.must(f.s.ToldAlert(f.Context(), a.ID, cybervault.AlertFiring))
	a.Untold = false
	live(a)
	f.clock.Move(time.Minute)
	ended := *a
	ended.Status, ended.Summary, ended.ResolvedAt, ended.Untold = cybervault.AlertResolved, "It is closed.", f.clock.Now(), true
	f.must(f.s.ResolveAlert(f.Context(), &ended))
	live(&ended)
	f.must(f.s.ResolveAlert(f.Context(), a)) // it is resolved already
	live(&ended)
	f.must(f.s.ToldAlert(f.Context(), a.ID, cybervault.AlertResolved))
	live()
	second.FiredAt = f.clock.Now()
	fire(&second, true)
	list := func(q cybervault.AlertQuery) (ids []string, last int64) {
		f.Helper()
		q.Workspace = f.ws
		page, err := f.s.Alerts(f.Context(), q)
		f.must(err)
		for _, a := range page.Rows {
			ids, last = append(ids, a.ID), a.Number
		}
		return ids, last
	}
	first, at := list(cybervault.AlertQuery{Limit: 1})
	rest, _ := list(cybervault.AlertQuery{Limit: 5, Before: at})
	firing, _ := list(cybervault.AlertQuery{Limit: 5, Status: cybervault.AlertFiring})
	if diff := cmp.Diff([][]string{{"alr_2"}, {"alr_1"}, {"alr_2"}}, [][]string{first, rest, firing}); diff != "" {
		f.Errorf("lists (-want +got):\n%s", diff)
	}
	_, err := f.s.Alerts(f.Context(), cybervault.AlertQuery{Workspace: f.ws, Status: "gone"})
	f.wantCode(err, cybervault.CodeInvalid)
	f.clock.Move(91 * 24 * time.Hour)
	third := second
	third.ID, third.Subject = "alr_3", "whk_2"
	fire(&third, true)
	if ids, _ := list(cybervault.AlertQuery{Limit: 5}); len(ids) != 2 {
		f.Errorf("after three months %v are listed", ids)
	}
	third.Summary = "a\x00b"
	_, err = f.s.FireAlert(f.Context(), &third)
	f.wantCode(err, cybervault.CodeInvalid)
}

func deadLetters(f *fixture) {
	w, other := f.webhook(), f.webhook()
	pub := f.publication(event{}, f.leased(w), f.leased(w), f.leased(other))
	f.publish(pub)
	for i := range pub.Deliveries {
		f.must(f.record(f.result(&pub.Deliveries[i], 1, cybervault.DeliveryDeadLetter)))
	}
	counts, err := f.s.DeadLettersByWebhook(f.Context(), start)
	f.must(err)
	if counts[w.ID] != 2 || counts[other.ID] != 1 {
		f.Errorf("%v", counts)
	}
	if counts, err = f.s.DeadLettersByWebhook(f.Context(), f.clock.Now().Add(time.Hour)); err != nil || len(counts) != 0 {
		f.Errorf("%v, %v", counts, err)
	}
}
