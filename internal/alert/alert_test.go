package alert_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/alert"
	"github.com/cybervault/cybervault/internal/catalog"
)

var ws = cybervault.WorkspaceID{UUID: cybervault.UUIDFromParts(1, 1)}

// desk is a store and a router in memory, either of which may be gone.
type desk struct {
	*testing.T

	keeper            *alert.Keeper
	at                time.Time
	alerts            []*cybervault.Alert
	noStore, noRouter bool
	keys              map[string]bool
	told              []string
	types             *catalog.Catalog
}

var errGone = cybervault.Errorf(cybervault.CodeUnavailable, "the database is gone")

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{T: t, at: time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC), keys: map[string]bool{}}
	var err error
	if d.types, err = catalog.New(); err != nil {
		t.Fatal(err)
	}
	d.start()
	return d
}

// start is a fresh process: only what is stored is known to it.
func (d *desk) start() {
	now := func() time.Time { return d.at }
	d.keeper = alert.New(alert.Config{Store: d, Publish: d.publish, IDs: cybervault.NewIDSource(1, 0, now), Now: now, Log: slog.New(slog.DiscardHandler)})
}

func (d *desk) publish(_ context.Context, ws cybervault.WorkspaceID, req cybervault.PublishRequest) error {
	if d.noRouter {
		return errGone
	}
	if err := d.types.Validate(ws, req.Type, req.Data); err != nil {
		d.Errorf("the event breaks its schema: %v", err)
	}
	if !d.keys[req.IdempotencyKey] {
		d.keys[req.IdempotencyKey] = true
		var said alert.Data
		if err := json.Unmarshal(req.Data, &said); err != nil {
			d.Error(err)
		}
		d.told = append(d.told, fmt.Sprintf("%s %s %s", said.Code, said.Subject, said.Status))
	}
	return nil
}

func (d *desk) FireAlert(_ context.Context, a *cybervault.Alert) (bool, error) {
	if d.noStore {
		return false, errGone
	}
	for _, b := range d.alerts {
		if b.Code == a.Code && b.Subject == a.Subject && b.Workspace == a.Workspace && b.Status == cybervault.AlertFiring {
			return false, nil
		}
	}
	kept := *a
	d.alerts = append(d.alerts, &kept)
	return true, nil
}

func (d *desk) ResolveAlert(_ context.Context, a *cybervault.Alert) error {
	for i, b := range d.alerts {
		if b.ID == a.ID && b.Status == cybervault.AlertFiring {
			kept := *a
			d.alerts[i] = &kept
		}
	}
	return nil
}

func (d *desk) ToldAlert(_ context.Context, id string, status cybervault.AlertStatus) error {
	for _, a := range d.alerts {
		if a.ID == id && a.Status == status {
			a.Untold = false
		}
	}
	return nil
}

func (d *desk) LiveAlerts(context.Context) ([]*cybervault.Alert, error) {
	if d.noStore {
		return nil, errGone
	}
	var live []*cybervault.Alert
	for _, a := range d.alerts {
		if a.Untold || a.Status == cybervault.AlertFiring {
			kept := *a
			live = append(live, &kept)
		}
	}
	return live, nil
}

// judge has the keeper compare a code's subjects, and shows what was told of.
func (d *desk) judge(code string, over func(*cybervault.Alert) (string, bool), subjects ...string) []string {
	d.Helper()
	f := alert.Finding{Code: code, Over: over}
	for _, s := range subjects {
		f.Firing = append(f.Firing, alert.Condition{Workspace: ws, Subject: s, Severity: cybervault.SeverityHigh, Summary: s + " is wrong.", Remedy: "Put it right."})
	}
	if err := d.keeper.Judge(d.Context(), d.at, f); err != nil {
		d.Fatal(err)
	}
	told := d.told
	d.told = nil
	return told
}

func (d *desk) want(got []string, want ...string) {
	d.Helper()
	if !slices.Equal(got, want) {
		d.Errorf("told of %q, want %q", got, want)
	}
}

func TestEachChangeIsToldOfOnce(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.want(d.judge("late", nil))
	d.want(d.judge("late", nil, "a", "a"), "late a firing")
	d.want(d.judge("late", nil, "a"))
	d.start()
	d.want(d.judge("late", nil, "a", "b"), "late b firing")
	d.want(d.judge("other", nil)) // leaves those of another code alone
	d.want(d.judge("late", nil, "b"), "late a resolved")
	d.want(d.judge("late", nil), "late b resolved")
	d.want(d.judge("late", nil, "a"), "late a firing") // anew
	if a := d.alerts[0]; a.Remedy != "Nothing is left to do." || a.ResolvedAt.IsZero() || a.Untold {
		t.Errorf("%+v", a)
	}
}

func TestItIsOverWhenTheLookSaysSo(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	over := false
	ask := func(a *cybervault.Alert) (string, bool) {
		if a.Subject != "a" {
			t.Errorf("asked about %s", a.Subject)
		}
		return "It is well.", over
	}
	d.want(d.judge("letters", ask, "a"), "letters a firing")
	d.want(d.judge("letters", ask)) // no longer bad enough to fire, and not good enough to end
	over = true
	d.want(d.judge("letters", ask, "a")) // it is bad, whatever else is said
	d.want(d.judge("letters", ask), "letters a resolved")
	if d.alerts[0].Summary != "It is well." {
		t.Error(d.alerts[0].Summary)
	}
}

func TestWhatCouldNotBePublishedIsMadeUpFor(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.noRouter = true
	d.want(d.judge("late", nil, "a"))
	d.start()
	d.noRouter = false
	d.want(d.judge("other", nil), "late a firing")
	d.noRouter = true
	d.want(d.judge("late", nil))
	d.noRouter = false
	d.want(d.judge("late", nil), "late a resolved")
	d.noStore = true
	if err := d.keeper.Judge(t.Context(), d.at); cybervault.ErrorCode(err) != cybervault.CodeUnavailable {
		t.Error(err)
	}
	if err := d.keeper.Raise(t.Context(), alert.Condition{Workspace: ws, Code: "gone", Subject: "w"}); cybervault.ErrorCode(err) != cybervault.CodeUnavailable {
		t.Error(err)
	}
}

func TestManyAtOnceAreOne(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	var all []string
	for i := range 500 {
		all = append(all, fmt.Sprintf("whk_%03d", i))
	}
	told := d.judge("open", nil, all[:alert.MaxEach]...)
	if len(told) != alert.MaxEach {
		t.Errorf("%d alerts", len(told))
	}
	d.want(d.judge("open", nil, all...), "open many firing")
	d.want(d.judge("open", nil, all...))
	many := d.alerts[len(d.alerts)-1]
	if !strings.HasPrefix(many.Summary, "480 more of this kind at once, the first: whk_020 ") || many.Severity != cybervault.SeverityHigh {
		t.Errorf("%+v", many)
	}
	told = d.judge("open", nil, all[18:30]...) // 18 of the first are well, and few of the others are left
	counts := map[string]int{}
	for _, line := range told {
		counts[line[strings.LastIndex(line, " ")+1:]]++
	}
	if diff := cmp.Diff(map[string]int{"resolved": 19, "firing": 10}, counts); diff != "" {
		t.Errorf("(-want +got):\n%s\n%q", diff, told)
	}
	if told = d.judge("open", nil); len(told) != 12 {
		t.Errorf("%q", told)
	}
}

func TestOthersAlertsAreListedToo(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	note := func(status string) {
		t.Helper()
		if err := d.keeper.Note(t.Context(), ws, []byte(`{"alert_id":"alr_x","code":"x","severity":"low","status":"`+status+`","summary":"s","remedy":"r","subject":"a"}`)); err != nil {
			t.Fatal(err)
		}
	}
	note("firing")
	d.want(d.judge("y", nil)) // they are told of already
	if a := d.alerts[0]; a.Status != cybervault.AlertFiring || a.Untold || a.ID != "alr_x" || a.Severity != cybervault.SeverityLow {
		t.Errorf("%+v", a)
	}
	note("resolved")
	d.want(d.judge("y", nil))
	if a := d.alerts[0]; a.Status != cybervault.AlertResolved || a.ResolvedAt.IsZero() {
		t.Errorf("%+v", a)
	}
	if err := d.keeper.Note(t.Context(), ws, []byte("[")); err == nil {
		t.Error("rubbish was taken")
	}
}

// What fires while it is looked was not seen by the look.
func TestALookDoesNotEndWhatFiredMeanwhile(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	began := d.at
	d.at = d.at.Add(time.Millisecond)
	if err := d.keeper.Raise(t.Context(), alert.Condition{Workspace: ws, Code: "off", Subject: "w", Severity: cybervault.SeverityHigh, Summary: "It is off.", Remedy: "Look."}); err != nil {
		t.Fatal(err)
	}
	if err := d.keeper.Judge(t.Context(), began, alert.Finding{Code: "off"}); err != nil {
		t.Fatal(err)
	}
	d.want(d.told, "off w firing")
	d.told = nil
	d.want(d.judge("off", nil), "off w resolved")
}

func TestTextIsBounded(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	long := strings.Repeat("é", alert.MaxTextBytes)
	d.judge("long", nil, long+"\x00")
	d.want(d.judge("long", nil, long+"\x00"))
	if a := d.alerts[0]; len(a.Subject) > alert.MaxTextBytes || len(a.Summary) > alert.MaxTextBytes || !strings.HasSuffix(a.Subject, "é…") {
		t.Errorf("%d, %d, %q", len(a.Subject), len(a.Summary), a.Subject[len(a.Subject)-6:])
	}
	d.judge("bad", nil, "a\x00\xff")
	if a := d.alerts[1]; a.Subject != "a\uFFFD\uFFFD" {
		t.Errorf("%q", a.Subject)
	}
}
