package roster_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/telemetry/roster"
)

var (
	start = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	ws    = cybervault.WorkspaceID{UUID: cybervault.UUIDFromParts(1, 1)}
	other = cybervault.WorkspaceID{UUID: cybervault.UUIDFromParts(2, 2)}
)

func one(t *testing.T, r *roster.Roster, now time.Time) cybervault.TelemetrySource {
	t.Helper()
	all := r.Sources(ws, now)
	if len(all) != 1 {
		t.Fatalf("%+v", all)
	}
	return all[0]
}

func TestAllWorkspaces(t *testing.T) {
	t.Parallel()
	var r roster.Roster
	if all := r.All(start); len(all) != 0 {
		t.Errorf("%v", all)
	}
	r.Saw(ws, "a", 1, start)
	r.Saw(ws, "b", 1, start)
	r.Saw(other, "a", 1, start)
	if all := r.All(start); len(all) != 2 || len(all[ws]) != 2 || len(all[other]) != 1 || all[other][0].Name != "a" {
		t.Errorf("%v", all)
	}
}

func TestSilence(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		every  time.Duration
		times  int
		silent time.Duration // the first whole minute after the last batch at which it is
	}{
		"each second":          {time.Second, 10, 11 * time.Minute},
		"each minute":          {time.Minute, 10, 11 * time.Minute},
		"each five minutes":    {5 * time.Minute, 10, 51 * time.Minute},
		"once an hour":         {time.Hour, 30, 601 * time.Minute},
		"six times":            {time.Minute, 6, 11 * time.Minute},
		"not often enough yet": {time.Minute, 5, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var r roster.Roster
			last := start
			for i := range c.times {
				last = start.Add(time.Duration(i) * c.every)
				r.Saw(ws, "web-1", 3, last)
			}
			first := time.Duration(0)
			for m := range 2000 {
				now := last.Add(time.Duration(m) * time.Minute)
				if s := one(t, &r, now); s.Silent(now) {
					first = time.Duration(m) * time.Minute
					break
				}
			}
			s := one(t, &r, last)
			if first != c.silent || s.Records != int64(3*c.times) || !s.FirstSeen.Equal(start) || !s.LastSeen.Equal(last) {
				t.Errorf("silent after %s, want %s: %+v", first, c.silent, s)
			}
		})
	}
}

// A pause, or a source that changes how often it sends, moves the median, not one gap.
func TestOneLongGapIsForgiven(t *testing.T) {
	t.Parallel()
	var r roster.Roster
	at := start
	for i := range 20 {
		at = at.Add(time.Minute)
		if i == 10 {
			at = at.Add(5 * time.Hour)
		}
		r.Saw(ws, "web-1", 1, at)
	}
	if s := one(t, &r, at); s.Usual != time.Minute {
		t.Errorf("usual is %s", s.Usual)
	}
}

func TestBatchesOfOneMomentAreOne(t *testing.T) {
	t.Parallel()
	var r roster.Roster
	for i := range 1000 {
		r.Saw(ws, "web-1", 1, start.Add(time.Duration(i)*time.Millisecond))
	}
	if s := one(t, &r, start); s.Batches != 1 || s.Records != 1000 {
		t.Errorf("%+v", s)
	}
}

func TestOrderAndWorkspaces(t *testing.T) {
	t.Parallel()
	var r roster.Roster
	for i := range 10 {
		r.Saw(ws, "b", 1, start.Add(time.Duration(i)*time.Minute))
		r.Saw(ws, "a", 1, start.Add(time.Duration(i+30)*time.Minute))
		r.Saw(ws, "c", 1, start.Add(time.Duration(i+30)*time.Minute))
		r.Saw(other, "x", 1, start)
	}
	var names []string
	for _, s := range r.Sources(ws, start.Add(40*time.Minute)) {
		names = append(names, s.Name)
	}
	if got := strings.Join(names, " "); got != "b a c" {
		t.Errorf("listed %s, want the silent one first", got)
	}
}

func TestSourcesAreBounded(t *testing.T) {
	t.Parallel()
	var r roster.Roster
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 500 {
				r.Saw(ws, fmt.Sprintf("%s-%d-%d", strings.Repeat("x", 300), w, i), 1, start)
				r.Saw(ws, fmt.Sprintf("%d-%d", w, i), 1, start.Add(time.Duration(i)*time.Second))
			}
		})
	}
	wg.Wait()
	all := r.Sources(ws, start)
	if len(all) != roster.MaxSources || r.Forgotten() < 2001-int64(roster.MaxSources) {
		t.Errorf("%d are kept, %d forgotten", len(all), r.Forgotten())
	}
	for _, s := range all {
		if len(s.Name) > 200 {
			t.Errorf("a name of %d bytes", len(s.Name))
		}
	}
}
