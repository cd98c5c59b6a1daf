package dashboardtest

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/cybervault/cybervault"
)

// Rules implements dashboard.Rules, as do the methods after it.
func (f *Fake) Rules(_ context.Context, ws cybervault.WorkspaceID) ([]cybervault.RuleInfo, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := make([]cybervault.RuleInfo, len(f.rules))
	for i := range f.rules {
		list[i] = f.rules[i].RuleInfo
		list[i].Off = f.offOf(list[i].ID)
	}
	return list, f.check(ws)
}

func (f *Fake) offOf(id string) *cybervault.RuleOff {
	if off, is := f.off[id]; is {
		return &off
	}
	return nil
}

// RulesOff lists what is turned off.
func (f *Fake) RulesOff(_ context.Context, ws cybervault.WorkspaceID) (map[string]cybervault.RuleOff, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.off), f.check(ws)
}

// Rule reads one.
func (f *Fake) Rule(_ context.Context, ws cybervault.WorkspaceID, id string) (*cybervault.RuleDetail, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := cybervault.RuleDetail{RuleInfo: cybervault.RuleInfo{ID: id}}
	if i := slices.IndexFunc(f.rules, func(r cybervault.RuleDetail) bool { return r.ID == id }); i >= 0 {
		d = f.rules[i]
	}
	d.Off = f.offOf(id)
	return &d, f.check(ws)
}

// SetRule turns one on or off.
func (f *Fake) SetRule(_ context.Context, ws cybervault.WorkspaceID, id string, on bool, reason string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case on:
		delete(f.off, id)
	case reason == "":
		return cybervault.Invalid("reason", "say why it is off, for whoever reads this in a year")
	default:
		f.off[id] = cybervault.RuleOff{Reason: reason, At: f.clock()}
	}
	return f.check(ws)
}

// Exceptions lists them.
func (f *Fake) Exceptions(_ context.Context, ws cybervault.WorkspaceID) ([]cybervault.Exception, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.exceptions), f.check(ws)
}

// AddException adds one that the dictionary takes.
func (f *Fake) AddException(_ context.Context, ws cybervault.WorkspaceID, e cybervault.Exception) (*cybervault.Exception, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := e.Check(f.clock()); err != nil {
		return nil, err
	}
	f.putException(&e)
	return &e, f.check(ws)
}

func (f *Fake) putException(e *cybervault.Exception) {
	e.ID.UUID, e.CreatedAt = f.ids.Next(), f.clock()
	f.exceptions = slices.Insert(f.exceptions, 0, *e)
}

// PutException adds one without any check.
func (f *Fake) PutException(e cybervault.Exception) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.putException(&e)
}

// RemoveException removes one.
func (f *Fake) RemoveException(_ context.Context, ws cybervault.WorkspaceID, id cybervault.ExceptionID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(f.exceptions)
	if f.exceptions = slices.DeleteFunc(f.exceptions, func(e cybervault.Exception) bool { return e.ID == id }); len(f.exceptions) == n {
		return missing("exception")
	}
	return f.check(ws)
}

// PreviewException hides the detections of the rule in records that have one of the
// values of each field anywhere in their event.
func (f *Fake) PreviewException(ctx context.Context, ws cybervault.WorkspaceID, e cybervault.Exception) (*cybervault.ExceptionPreview, error) {
	if err := e.Check(f.now()); err != nil {
		return nil, err
	}
	out := &cybervault.ExceptionPreview{}
	for _, kind := range []string{cybervault.EventThreatDetected, cybervault.EventAuthSuspicious} {
		page, err := f.Events(ctx, cybervault.EventQuery{Workspace: ws, Type: kind, Limit: cybervault.MaxExceptionPreview})
		if err != nil {
			return nil, err
		}
		for _, event := range page.Rows {
			out.Looked++
			hiddenOf(&e, event, out)
		}
	}
	return out, nil
}

func hiddenOf(e *cybervault.Exception, event *cybervault.Event, out *cybervault.ExceptionPreview) {
	var envelope struct {
		Data struct {
			Detections []cybervault.Detection `json:"detections"`
		} `json:"data"`
	}
	for _, values := range e.Where {
		if !slices.ContainsFunc(values, func(v string) bool { return strings.Contains(string(event.Body), v) }) {
			return
		}
	}
	if json.Unmarshal(event.Body, &envelope) != nil {
		return
	}
	h := cybervault.HiddenFinding{Event: event.ID, Type: event.Type, Timestamp: event.Timestamp}
	for _, d := range envelope.Data.Detections {
		if e.Rule == "*" || e.Rule == d.RuleID {
			h.Rules = append(h.Rules, d.RuleID)
		}
	}
	switch h.Whole = len(h.Rules) == len(envelope.Data.Detections); {
	case len(h.Rules) == 0:
		return
	case h.Whole:
		out.Hidden++
	default:
		out.Partly++
	}
	if len(out.Findings) < 20 {
		out.Findings = append(out.Findings, h)
	}
}

// AddRule adds a Sigma rule as it is.
func (f *Fake) AddRule(r cybervault.RuleDetail) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.Kind == "" {
		r.Kind = "rule"
	}
	f.rules = append(f.rules, r)
	slices.SortStableFunc(f.rules, func(a, b cybervault.RuleDetail) int { return strings.Compare(a.Title, b.Title) })
}
