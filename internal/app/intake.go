package app

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/alert"
)

const (
	windowParts = 12
	windowPart  = 5 * time.Minute

	unreadableLines = 100 // within the window, so that a few say nothing
	unreadableMuch  = 0.2 // of all lines
	unreadableFew   = 0.1
	floodMany       = 200 // findings of one rule within the window
	floodFew        = 50
	maxFloodRules   = 10_000 // that are counted; what goes beyond it is not
)

// window counts what happened within the last hour, to within five minutes.
type window struct {
	parts [windowParts]int64
	last  int64 // number of the newest part, since 1970
}

func (w *window) move(now time.Time) {
	part := now.Unix() / int64(windowPart/time.Second)
	for ; w.last < part && part-w.last <= windowParts; w.last++ {
		w.parts[(w.last+1)%windowParts] = 0
	}
	if w.last < part { // longer ago than the window
		*w = window{last: part}
	}
}

func (w *window) add(now time.Time, n int64) {
	w.move(now)
	w.parts[w.last%windowParts] += n
}

func (w *window) sum(now time.Time) (n int64) {
	w.move(now)
	for _, p := range w.parts {
		n += p
	}
	return n
}

// intake counts what telemetry of the last hour could not be read, and which rules it led
// to findings of. Safe for concurrent use.
type intake struct {
	mu         sync.Mutex
	records    map[cybervault.WorkspaceID]*window
	unreadably map[cybervault.WorkspaceID]*window
	rules      map[ruleOf]*window
}

type ruleOf struct {
	workspace cybervault.WorkspaceID
	rule      string // "engine:rule_id"
}

func newIntake() *intake {
	return &intake{records: map[cybervault.WorkspaceID]*window{}, unreadably: map[cybervault.WorkspaceID]*window{}, rules: map[ruleOf]*window{}}
}

func windowFor[K comparable](all map[K]*window, k K) *window {
	w := all[k]
	if w == nil {
		w = &window{}
		all[k] = w
	}
	return w
}

// saw notes what one hand-in of telemetry held and led to.
func (in *intake) saw(now time.Time, ws cybervault.WorkspaceID, records, unreadable int, findings []cybervault.Finding) {
	if in == nil {
		return
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	windowFor(in.records, ws).add(now, int64(records))
	windowFor(in.unreadably, ws).add(now, int64(unreadable))
	for i := range findings {
		for _, rule := range findings[i].Gist.Rules {
			if k := (ruleOf{ws, rule}); in.rules[k] != nil || len(in.rules) < maxFloodRules {
				windowFor(in.rules, k).add(now, 1)
			}
		}
	}
}

// unreadable judges whether too much of the telemetry cannot be read.
func (in *intake) unreadable(now time.Time) alert.Finding {
	in.mu.Lock()
	defer in.mu.Unlock()
	parts := map[cybervault.WorkspaceID]float64{}
	f := alert.Finding{Code: alertUnreadable, Over: func(a *cybervault.Alert) (string, bool) {
		return "Nearly all telemetry of the last hour could be read.", parts[a.Workspace] < unreadableFew
	}}
	for ws, w := range in.unreadably {
		bad, good := w.sum(now), windowFor(in.records, ws).sum(now)
		parts[ws] = float64(bad) / float64(max(bad+good, 1))
		if bad >= unreadableLines && parts[ws] >= unreadableMuch {
			f.Firing = append(f.Firing, alert.Condition{
				Workspace: ws, Subject: "telemetry", Severity: cybervault.SeverityMedium,
				Summary: fmt.Sprintf("%d lines of telemetry, %.0f %% of the last hour's, could not be read.", bad, 100*parts[ws]),
				Remedy:  "The answer to each hand-in shows samples of them. Name the format of what is sent, or send it in one that docs/telemetry-sources.md lists: what cannot be read is not judged.",
			})
		}
	}
	return f
}

// floods judges whether a rule finds so much that nobody can look at it.
func (in *intake) floods(now time.Time) alert.Finding {
	in.mu.Lock()
	defer in.mu.Unlock()
	counts := map[ruleOf]int64{}
	f := alert.Finding{Code: alertRuleFloods}
	for k, w := range in.rules {
		n := w.sum(now)
		if counts[k] = n; n == 0 {
			delete(in.rules, k)
		}
		if n < floodMany {
			continue
		}
		f.Firing = append(f.Firing, alert.Condition{
			Workspace: k.workspace, Subject: k.rule, Severity: cybervault.SeverityMedium,
			Summary: fmt.Sprintf("The rule %s led to %d findings within an hour.", k.rule, n),
			Remedy:  "Look at some of them. Where they are harmless, add an exception for what they have in common; where they are not, someone attacks on a broad front.",
		})
	}
	slices.SortFunc(f.Firing, func(a, b alert.Condition) int { return cmp.Compare(a.Subject, b.Subject) })
	f.Over = func(a *cybervault.Alert) (string, bool) {
		return "The rule has hardly led to findings within the last hour.", counts[ruleOf{a.Workspace, a.Subject}] < floodFew
	}
	return f
}
