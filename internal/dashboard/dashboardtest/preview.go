package dashboardtest

import (
	"context"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

// PreviewFilter implements dashboard.Previewer for filters that are one word
// long: an event matches if that stands in its envelope, and cannot be judged if
// that is "error".
func (f *Fake) PreviewFilter(ctx context.Context, ws cybervault.WorkspaceID, filter string, choices []string, since time.Time) (*cybervault.FilterPreview, error) {
	if strings.Contains(filter, "==") {
		return nil, cybervault.Invalid("filter", "line 1, column %d: Syntax error", len(filter))
	}
	page, err := f.Events(ctx, cybervault.EventQuery{Workspace: ws, Since: since, Limit: cybervault.PreviewEvents})
	if err != nil {
		return nil, err
	}
	chosen := cybervault.Webhook{Events: choices}
	p := &cybervault.FilterPreview{}
	for _, e := range page.Rows {
		if len(choices) > 0 && !chosen.Subscribes(e.Type) {
			continue
		}
		p.Examined++
		v := cybervault.FilterVerdict{Event: e.ID, Type: e.Type, Matched: strings.Contains(string(e.Body), filter), Why: "the filter says true"}
		switch {
		case filter == "error":
			v.Why = "the event has no field error: ask has(…) for it first"
			p.Errors++
		case v.Matched:
			p.Matched++
		default:
			v.Why = "the filter says false"
		}
		if len(p.Sample) < cybervault.PreviewSample {
			p.Sample = append(p.Sample, v)
		}
	}
	return p, nil
}
