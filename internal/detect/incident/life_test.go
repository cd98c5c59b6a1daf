package incident_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/catalog"
	"github.com/cybervault/cybervault/internal/detect/incident"
)

// recorder is a store in memory that shows what was committed, and lets somebody
// else be quicker.
type recorder struct {
	*incident.Memory

	events   []cybervault.Finding
	verdicts map[string][2]int
	quicker  func() // called once, before the next change
}

func (rec *recorder) ChangeIncidents(ctx context.Context, ws cybervault.WorkspaceID, c cybervault.IncidentChanges) error {
	if first := rec.quicker; first != nil {
		rec.quicker = nil
		first()
	}
	if err := rec.Memory.ChangeIncidents(ctx, ws, c); err != nil {
		return err
	}
	rec.events = append(rec.events, c.Events...)
	for _, v := range c.Verdicts {
		sum := rec.verdicts[v.Rule+v.Name]
		rec.verdicts[v.Rule+v.Name] = [2]int{sum[0] + v.TruePositive, sum[1] + v.FalsePositive}
	}
	return nil
}

// watched is a rig whose store is a recorder.
func watched(t *testing.T) (*rig, *recorder) {
	r := newRig(t)
	rec := &recorder{Memory: r.memory, verdicts: map[string][2]int{}}
	r.manager = incident.New(incident.Config{Store: rec, Now: func() time.Time { return r.now }, Quiet: 24 * time.Hour})
	return r, rec
}

// told takes the events so far, as "type id-of-the-incident", checked against their
// types' schemas.
func (rec *recorder) told(t *testing.T) []string {
	t.Helper()
	types, err := catalog.New()
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	keys := map[string]bool{}
	for _, e := range rec.events {
		if err := types.Validate(workspace, e.Type, e.Data); err != nil {
			t.Errorf("%s: %v", e.Data, err)
		}
		if keys[e.Key] {
			t.Errorf("the key %s stands twice", e.Key)
		}
		keys[e.Key] = true
		told = append(told, strings.TrimPrefix(e.Type, "incident."))
	}
	rec.events = nil
	return told
}

func (rec *recorder) last(t *testing.T) (data map[string]any) {
	t.Helper()
	if err := json.Unmarshal(rec.events[len(rec.events)-1].Data, &data); err != nil {
		t.Fatal(err)
	}
	return data
}

func (r *rig) update(id string, c cybervault.IncidentChange) (*cybervault.Incident, error) {
	r.Helper()
	parsed, err := cybervault.ParseID[cybervault.IncidentID](id)
	if err != nil {
		r.Fatal(err)
	}
	c.By = "ada"
	return r.manager.Update(context.Background(), workspace, parsed, c)
}

func (r *rig) mustUpdate(id string, c cybervault.IncidentChange) *cybervault.Incident {
	r.Helper()
	i, err := r.update(id, c)
	if err != nil {
		r.Fatal(err)
	}
	return i
}

func (r *rig) tend() {
	r.Helper()
	for more := true; more; {
		var err error
		if more, err = r.manager.Tend(context.Background()); err != nil {
			r.Fatal(err)
		}
	}
}

func TestEventsAreFew(t *testing.T) {
	t.Parallel()
	r, rec := watched(t)
	for n := range 500 {
		r.now = r.now.Add(time.Second)
		r.assign(finding(n, from("203.0.113.9")))
	}
	if got := rec.told(t); !slices.Equal(got, []string{"created", "updated", "updated", "updated", "updated"}) {
		t.Errorf("500 threats within 500 seconds: %v, want one event, three more at once, and one after five minutes", got)
	}
	r.now = r.now.Add(6 * time.Minute)
	r.tend()
	if change, _ := rec.last(t)["change"].(map[string]any); change["members"] == nil {
		t.Errorf("the change is %v", change)
	}
	if got := rec.last(t)["counts"]; fmt.Sprint(got) != "map[members:500 records:500]" {
		t.Errorf("what was folded is told of as %v", got)
	}
	r.tend()
	r.assign(finding(499, from("203.0.113.9"), count(1000))) // more of the same: nobody has to know
	if got := rec.told(t); !slices.Equal(got, []string{"updated"}) {
		t.Errorf("afterwards: %v, want one event about the rest", got)
	}
	r.assign(finding(500, from("203.0.113.9"), severity(cybervault.SeverityCritical)))
	if got := rec.last(t)["severity"]; got != "critical" {
		t.Errorf("a higher severity is told of as %v", got)
	}
}

func TestQuietResolves(t *testing.T) {
	t.Parallel()
	r, rec := watched(t)
	first := r.assign(finding(0, from("203.0.113.9")))[0]
	r.now = r.now.Add(23 * time.Hour)
	r.mustUpdate(first, cybervault.IncidentChange{Note: new("still looking")})
	rec.told(t)
	r.now = r.now.Add(23 * time.Hour)
	r.tend()
	if got := rec.told(t); len(got) != 0 {
		t.Errorf("23 hours after a person was at it: %v", got)
	}
	r.now = r.now.Add(time.Hour)
	r.tend()
	if data := rec.last(t); data["resolution"] != "quiet" || data["status"] != "resolved" || data["resolved_at"] == nil {
		t.Errorf("it is resolved as %v", data)
	}
	if got := rec.told(t); !slices.Equal(got, []string{"resolved"}) {
		t.Errorf("told of as %v", got)
	}
	if again := r.assign(finding(0, from("203.0.113.9"), count(10)))[0]; again == first || again == "" {
		t.Errorf("what goes on after that is %q, want another incident than %s", again, first)
	}
}

func TestPeopleLeadIncidents(t *testing.T) {
	t.Parallel()
	r, rec := watched(t)
	id := r.assign(finding(0, from("203.0.113.9"), severity(cybervault.SeverityMedium)))[0]
	rec.told(t)
	acknowledged, resolved, opened := cybervault.IncidentAcknowledged, cybervault.IncidentResolved, cybervault.IncidentOpen
	low, engines := cybervault.SeverityLow, cybervault.Severity("")

	i := r.mustUpdate(id, cybervault.IncidentChange{Status: &acknowledged, Assignee: new("ada"), Note: new("mine"), Severity: &low, Title: new("A drill")})
	if i.Status != acknowledged || i.Assignee != "ada" || i.Severity != low || i.Title != "A drill" || len(i.Notes) != 1 || i.Notes[0].By != "ada" || i.Revision != 2 {
		t.Errorf("%+v", i)
	}
	if want := "assignee: none → ada; title: SQL injection from 203.0.113.9 → A drill; severity: medium → low; status: open → acknowledged"; i.History[0].Text != want {
		t.Errorf("history %q, want %q", i.History[0].Text, want)
	}
	r.assign(finding(1, from("203.0.113.9"), severity(cybervault.SeverityCritical)))
	if got := r.memory.Incidents()[0]; got.Severity != low || got.Title != "A drill" || got.Evidence.Worst != cybervault.SeverityCritical {
		t.Errorf("the engine changed what a person had set: %s, %q", got.Severity, got.Title)
	}
	if i = r.mustUpdate(id, cybervault.IncidentChange{Severity: &engines, Title: new("")}); i.Severity != cybervault.SeverityCritical || i.Title != "SQL injection from 203.0.113.9" {
		t.Errorf("left to the engine again: %s, %q", i.Severity, i.Title)
	}
	rec.told(t)
	before := i.Revision
	if i = r.mustUpdate(id, cybervault.IncidentChange{Status: &acknowledged}); i.Revision != before || len(rec.told(t)) != 0 {
		t.Errorf("a change that changes nothing made revision %d of %d", i.Revision, before)
	}
	r.mustUpdate(id, cybervault.IncidentChange{Note: new("a note")})
	if got := rec.told(t); len(got) != 0 {
		t.Errorf("a note was told of: %v", got)
	}
	i = r.mustUpdate(id, cybervault.IncidentChange{Status: &resolved})
	if i.Resolution != cybervault.ResolvedByPerson || i.Times.Resolved.IsZero() {
		t.Errorf("resolved: %+v", i)
	}
	i = r.mustUpdate(id, cybervault.IncidentChange{Status: &opened})
	if i.Resolution != "" || !i.Times.Resolved.IsZero() || i.Status != opened {
		t.Errorf("opened again: %+v", i)
	}
	if got := rec.told(t); !slices.Equal(got, []string{"resolved", "updated"}) {
		t.Errorf("told of as %v", got)
	}
	if joined := r.assign(finding(2, from("203.0.113.9")))[0]; joined != id {
		t.Errorf("what comes after it was opened again joins %s, want %s", joined, id)
	}
}

func TestChangesThatAreRefused(t *testing.T) {
	t.Parallel()
	r, rec := watched(t)
	id := r.assign(finding(0, from("203.0.113.9")))[0]
	other := r.assign(finding(1, from("203.0.113.10")))[0]
	parsed, _ := cybervault.ParseID[cybervault.IncidentID](id)
	unknown := cybervault.MakeID[cybervault.IncidentID](1<<30, 3)
	resolved, closed := cybervault.IncidentResolved, cybervault.IncidentStatus("closed")
	bad, maybe := cybervault.Severity("bad"), cybervault.IncidentDisposition("maybe")
	r.mustUpdate(other, cybervault.IncidentChange{Status: &resolved})
	done, _ := cybervault.ParseID[cybervault.IncidentID](other)
	rec.told(t)
	for field, c := range map[string]struct {
		change cybervault.IncidentChange
		code   cybervault.Code
	}{
		"revision":          {cybervault.IncidentChange{Revision: new(int64(9)), Note: new("x")}, cybervault.CodeConflict},
		"status":            {cybervault.IncidentChange{Status: &closed}, cybervault.CodeInvalid},
		"status with merge": {cybervault.IncidentChange{Status: &resolved, MergeInto: &done}, cybervault.CodeInvalid},
		"severity":          {cybervault.IncidentChange{Severity: &bad}, cybervault.CodeInvalid},
		"disposition":       {cybervault.IncidentChange{Disposition: &maybe}, cybervault.CodeInvalid},
		"title":             {cybervault.IncidentChange{Title: new("two\nlines")}, cybervault.CodeInvalid},
		"assignee":          {cybervault.IncidentChange{Assignee: new(strings.Repeat("a", 201))}, cybervault.CodeInvalid},
		"note":              {cybervault.IncidentChange{Note: new(" \n ")}, cybervault.CodeInvalid},
		"merge_into itself": {cybervault.IncidentChange{MergeInto: &parsed}, cybervault.CodeInvalid},
		"merge_into none":   {cybervault.IncidentChange{MergeInto: &unknown}, cybervault.CodeInvalid},
		"merge_into done":   {cybervault.IncidentChange{MergeInto: &done}, cybervault.CodeConflict},
	} {
		_, err := r.update(id, c.change)
		e, ok := err.(*cybervault.Error) //nolint:errorlint // it is answered as it is
		name, _, _ := strings.Cut(field, " ")
		if !ok || e.Code != c.code || e.Field != name {
			t.Errorf("%s: %v, want code %s and field %s", field, err, c.code, name)
		}
	}
	if _, err := r.update(unknown.String(), cybervault.IncidentChange{Note: new("x")}); cybervault.ErrorCode(err) != cybervault.CodeNotFound {
		t.Errorf("of an unknown one: %v", err)
	}
	if i := r.memory.Incidents()[0]; i.Revision != 1 || len(rec.told(t)) != 0 {
		t.Errorf("something was changed all the same: %+v", i)
	}
}

func TestMerges(t *testing.T) {
	t.Parallel()
	for name, merge := range map[string]func(r *rig, from, into string){
		"by a person": func(r *rig, from, into string) {
			id, _ := cybervault.ParseID[cybervault.IncidentID](into)
			if i := r.mustUpdate(from, cybervault.IncidentChange{MergeInto: &id}); i.MergedInto != id {
				r.Errorf("merged into %q", i.MergedInto)
			}
		},
		"by a finding that belongs to both": func(r *rig, _, into string) {
			if got := r.assign(finding(2, from("203.0.113.9"), by("alice")))[0]; got != into {
				r.Errorf("it belongs to %s, want the elder, %s", got, into)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, rec := watched(t)
			a := finding(0, from("203.0.113.9"), at("shop"))
			into := r.assign(a)[0]
			r.now = r.now.Add(time.Hour)
			b := finding(1, by("alice"), severity(cybervault.SeverityCritical), showing("T1059", "remote_code_execution"))
			second := r.assign(b)[0]
			r.mustUpdate(second, cybervault.IncidentChange{Note: new("seen")})
			rec.told(t)
			merge(r, second, into)

			all := r.memory.Incidents()
			kept, gone := all[0], all[1]
			if gone.Status != cybervault.IncidentResolved || gone.Resolution != cybervault.ResolvedByMerge || gone.MergedInto != kept.ID {
				t.Errorf("the merged one: %+v", gone)
			}
			if kept.Severity != cybervault.SeverityCritical || len(kept.Notes) != 1 || len(kept.Entities.Users) != 1 || kept.Evidence.Members < 2 ||
				!slices.Contains(kept.Evidence.Threats, b.Gist.Subject) || !slices.Equal(kept.Merged, []cybervault.IncidentID{gone.ID}) {
				t.Errorf("the other one: %+v", kept)
			}
			if got := rec.told(t); !slices.Equal(got, []string{"updated", "resolved"}) && !slices.Equal(got, []string{"resolved", "updated"}) {
				t.Errorf("told of as %v", got)
			}
			if again := r.assign(b)[0]; again != second {
				t.Errorf("the same finding again was told %s, and %s before: it would be another event", again, second)
			}
			if grown := r.assign(finding(1, by("alice"), count(10)))[0]; grown != into {
				t.Errorf("when it grows it belongs to %s, want %s", grown, into)
			}
			opened := cybervault.IncidentOpen
			if _, err := r.update(second, cybervault.IncidentChange{Status: &opened}); cybervault.ErrorCode(err) != cybervault.CodeConflict {
				t.Errorf("what was merged is opened again: %v", err)
			}
		})
	}
}

func TestDispositionsAreCounted(t *testing.T) {
	t.Parallel()
	r, rec := watched(t)
	id := r.assign(finding(0, from("203.0.113.9")), finding(1, from("203.0.113.9"), showing("T1190", "xss"), func(g *cybervault.Gist) { g.Rules = []string{"web:941100", "web:942100"} }))[0]
	verdicts := func(what string, want map[string][2]int) {
		t.Helper()
		got := map[string][2]int{}
		for name, v := range rec.verdicts {
			if v != [2]int{} {
				got[name] = v
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	yes, no, unknown, none := cybervault.TruePositive, cybervault.FalsePositive, cybervault.Undetermined, cybervault.IncidentDisposition("")
	r.mustUpdate(id, cybervault.IncidentChange{Disposition: &no})
	verdicts("false", map[string][2]int{"web:942100": {0, 2}, "web:941100": {0, 1}, "sql_injection": {0, 1}, "xss": {0, 1}})
	r.mustUpdate(id, cybervault.IncidentChange{Disposition: &yes})
	verdicts("true after all", map[string][2]int{"web:942100": {2, 0}, "web:941100": {1, 0}, "sql_injection": {1, 0}, "xss": {1, 0}})
	r.assign(finding(2, from("203.0.113.9")))
	verdicts("a new member", map[string][2]int{"web:942100": {3, 0}, "web:941100": {1, 0}, "sql_injection": {2, 0}, "xss": {1, 0}})
	r.assign(finding(2, from("203.0.113.9"), count(10), func(g *cybervault.Gist) { g.Rules = []string{"web:1"} }))
	verdicts("one of other rules", map[string][2]int{"web:942100": {2, 0}, "web:1": {1, 0}, "web:941100": {1, 0}, "sql_injection": {2, 0}, "xss": {1, 0}})
	r.mustUpdate(id, cybervault.IncidentChange{Disposition: &unknown})
	verdicts("neither", map[string][2]int{})
	r.mustUpdate(id, cybervault.IncidentChange{Disposition: &yes})
	r.mustUpdate(id, cybervault.IncidentChange{Disposition: &none})
	verdicts("taken back", map[string][2]int{})

	other := r.assign(finding(3, from("203.0.113.77")))[0]
	into, _ := cybervault.ParseID[cybervault.IncidentID](other)
	r.mustUpdate(other, cybervault.IncidentChange{Disposition: &no})
	r.mustUpdate(id, cybervault.IncidentChange{MergeInto: &into})
	verdicts("merged", map[string][2]int{"web:942100": {0, 3}, "web:1": {0, 1}, "web:941100": {0, 1}, "sql_injection": {0, 3}, "xss": {0, 1}})
}

func TestAFalsePositiveIsNotToldOfAgain(t *testing.T) {
	t.Parallel()
	r, rec := watched(t)
	id := r.assign(finding(0, from("203.0.113.9")))[0]
	resolved, no := cybervault.IncidentResolved, cybervault.FalsePositive
	r.mustUpdate(id, cybervault.IncidentChange{Status: &resolved, Disposition: &no})
	rec.told(t)
	if got := r.assign(finding(0, from("203.0.113.9"), count(100)))[0]; got != id || len(rec.told(t)) != 0 {
		t.Errorf("what a person called a false alarm goes on as %s, want %s and silence", got, id)
	}
	if got := r.assign(finding(1, from("203.0.113.9")))[0]; got == id || got == "" {
		t.Errorf("another threat of the same address is of %q", got)
	}
}

// Another node is quicker: what it did is taken into account.
func TestAChangeIsDecidedAnew(t *testing.T) {
	t.Parallel()
	r, rec := watched(t)
	var elsewhere []string
	rec.quicker = func() {
		node := incident.New(incident.Config{Store: r.memory, Now: func() time.Time { return r.now }})
		assigned, err := node.Assign(context.Background(), workspace, []cybervault.Finding{finding(0, from("203.0.113.9"))})
		if err != nil {
			t.Error(err)
		}
		elsewhere = append(elsewhere, string(assigned[0].Data))
	}
	here := r.assign(finding(1, from("203.0.113.9")))[0]
	if all := r.memory.Incidents(); len(all) != 1 || all[0].Evidence.Members != 2 || !strings.Contains(elsewhere[0], here) {
		t.Errorf("%d incidents; the other node told %v, this one %s", len(all), elsewhere, here)
	}
}

func TestAnalyseIsDeterministicAndInEventTime(t *testing.T) {
	t.Parallel()
	findings := []cybervault.Finding{
		finding(0, from("203.0.113.9")), finding(1, from("203.0.113.9"), after(time.Minute)), finding(2, from("198.51.100.7"), after(30*time.Hour)),
		finding(3, from("203.0.113.9"), after(40*time.Hour)),
	}
	run := func() (string, *incident.Memory) {
		memory := &incident.Memory{}
		out, err := memory.Analyse(context.Background(), workspace, findings, 24*time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		for _, f := range out {
			fmt.Fprintf(&b, "%s %s %s %s\n", f.Type, f.Timestamp.Format(time.RFC3339), f.Key, f.Data)
		}
		return b.String(), memory
	}
	first, memory := run()
	if again, _ := run(); again != first {
		t.Errorf("twice the same gave\n%s\nand\n%s", first, again)
	}
	all := memory.Incidents()
	if len(all) != 3 || !all[0].Times.Resolved.Equal(epoch.Add(24*time.Hour+time.Minute)) || all[0].Resolution != cybervault.ResolvedByQuiet || !all[0].Times.Opened.Equal(epoch) {
		t.Errorf("%d incidents, the first %+v", len(all), all[0].Times)
	}
	var types []string
	for line := range strings.Lines(first) {
		name, _, _ := strings.Cut(line, " ")
		types = append(types, strings.TrimPrefix(name, "incident."))
	}
	want := []string{"threat.detected", "created", "threat.detected", "updated", "resolved", "threat.detected", "created", "threat.detected", "created"}
	if !slices.Equal(types, want) {
		t.Errorf("%v, want %v", types, want)
	}
}

// What does not end is cut into several, and what grows without bound is bounded.
func TestBounds(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	first := r.assign(finding(0, from("203.0.113.9")))[0]
	last := first
	for day := 1; day <= 8; day++ {
		last = r.assign(finding(day, from("203.0.113.9"), after(time.Duration(day)*24*time.Hour)))[0]
	}
	if last == first {
		t.Error("an incident goes on for more than a week")
	}
	var batch []cybervault.Finding
	for n := range cybervault.MaxIncidentMembers + 1 {
		batch = append(batch, finding(100+n, from("198.51.100.7"), by(fmt.Sprint("user", n)), at(fmt.Sprint("host", n))))
	}
	ids := r.assign(batch...)
	if ids[0] != ids[cybervault.MaxIncidentMembers-1] || ids[0] == ids[cybervault.MaxIncidentMembers] {
		t.Error("an incident holds more, or fewer, members than it may")
	}
	for _, i := range r.memory.Incidents() {
		if len(i.Entities.Users) > cybervault.MaxIncidentEntities || len(i.Evidence.Threats) > cybervault.MaxIncidentThreats || len(i.Links) > 300 {
			t.Errorf("%d users, %d threats, %d links", len(i.Entities.Users), len(i.Evidence.Threats), len(i.Links))
		}
	}
}
