package router

import (
	"context"
	"slices"
	"time"

	"github.com/cybervault/cybervault"
)

// PreviewFilter says what a filter would have done with the newest events of
// the chosen types (none: of all) that happened after since.
//
// Errors: CodeInvalid (a filter that cannot be saved, a choice that is none).
func (r *Router) PreviewFilter(ctx context.Context, ws cybervault.WorkspaceID, expression string, choices []string, since time.Time) (*cybervault.FilterPreview, error) {
	if len(choices) == 0 {
		choices = []string{"*"}
	}
	// What may not be saved may not be asked for either.
	would := &cybervault.Webhook{URL: "https://preview.invalid", Events: choices, Status: cybervault.WebhookEnabled, Accept: cybervault.AcceptDefault,
		Tuning: cybervault.Tuning{Filter: expression}}
	if err := would.Check(); err != nil {
		return nil, err
	}
	var f *filter
	if expression != "" {
		var err error
		if f, err = r.filters.compile(expression); err != nil {
			return nil, err
		}
	}
	events, err := r.recent(ctx, ws, choices, since)
	if err != nil {
		return nil, err
	}
	preview := &cybervault.FilterPreview{Examined: len(events)}
	verdicts := make([]cybervault.FilterVerdict, len(events))
	for i, e := range events {
		verdicts[i] = cybervault.FilterVerdict{Event: e.ID, Type: e.Type, Matched: true, Why: "no filter: everything is delivered"}
		if f != nil {
			verdict, err := r.judge(ctx, f, e, &verdicts[i])
			if err != nil {
				return nil, err
			}
			if verdict == cybervault.ReasonFilterError {
				preview.Errors++
			}
		}
		if verdicts[i].Matched {
			preview.Matched++
		}
	}
	preview.Sample = sample(verdicts)
	return preview, nil
}

// recent returns the newest events of the chosen types, newest first; tests
// are left out, since no filter is asked about them.
func (r *Router) recent(ctx context.Context, ws cybervault.WorkspaceID, choices []string, since time.Time) ([]*cybervault.Event, error) {
	query := cybervault.EventQuery{Workspace: ws, Since: since, Limit: cybervault.PreviewEvents}
	if len(choices) == 1 && choices[0] != "*" {
		query.Type = choices[0]
	}
	chosen := cybervault.Webhook{Events: choices}
	var found []*cybervault.Event
	// Among events of other types the chosen ones may be rare; how far back
	// they are looked for is bounded.
	for range 10 {
		page, err := r.cfg.Log.Events(ctx, query)
		if err != nil {
			return nil, err
		}
		for _, e := range page.Rows {
			query.Before = e.ID
			if e.Test || !chosen.Subscribes(e.Type) {
				continue
			}
			if found = append(found, e); len(found) == cybervault.PreviewEvents {
				return found, nil
			}
		}
		if !page.More {
			break
		}
	}
	return found, nil
}

// judge fills in what the filter says of a stored event, and returns the reason
// it would be skipped for, or "". The error is ctx's.
func (r *Router) judge(ctx context.Context, f *filter, e *cybervault.Event, v *cybervault.FilterVerdict) (string, error) {
	matched, err := f.matches(ctx, newStoredView(e))
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case err != nil:
		v.Matched, v.Why = false, explainFilterError(err)
		return cybervault.ReasonFilterError, nil
	case !matched:
		v.Matched, v.Why = false, "the filter says false"
		return cybervault.ReasonFilter, nil
	}
	v.Why = "the filter says true"
	return "", nil
}

// sample picks verdicts such that each outcome is seen, newest first.
func sample(all []cybervault.FilterVerdict) []cybervault.FilterVerdict {
	const ofEach = cybervault.PreviewSample / 3
	type outcome struct {
		matched bool
		why     string
	}
	chosen := make([]int, 0, cybervault.PreviewSample)
	seen := map[outcome]int{}
	for _, limit := range []int{ofEach, len(all)} {
		for i, v := range all {
			o := outcome{v.Matched, v.Why}
			if len(chosen) < cybervault.PreviewSample && seen[o] < limit && !slices.Contains(chosen, i) {
				seen[o]++
				chosen = append(chosen, i)
			}
		}
	}
	slices.Sort(chosen)
	picked := make([]cybervault.FilterVerdict, len(chosen))
	for i, n := range chosen {
		picked[i] = all[n]
	}
	return picked
}
