package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/detect"
	"github.com/cybervault/cybervault/internal/detect/sigma"
	"github.com/cybervault/cybervault/internal/telemetry"
)

// controlsEvery is how often it is looked whether another node has changed what
// the engine is to leave out.
const controlsEvery = time.Second

// controlTries is how often a change is made anew because somebody else was quicker.
const controlTries = 5

// controlStore keeps controls, and the events that a preview looks at.
type controlStore interface {
	Controls(ctx context.Context, ws cybervault.WorkspaceID, known int64) (*cybervault.Controls, error)
	SaveControls(ctx context.Context, ws cybervault.WorkspaceID, c *cybervault.Controls) error
	Events(ctx context.Context, q cybervault.EventQuery) (cybervault.Page[*cybervault.Event], error)
}

// controls lead what people tell the threat engine from the API to the store, and
// from there to the engine of every node. Safe for concurrent use.
type controls struct {
	store     controlStore
	engine    *detect.Engine
	rules     *sigma.Engine
	sources   []detect.RuleSource // that the rules were read from
	workspace cybervault.WorkspaceID
	newID     func() cybervault.ExceptionID
	now       func() time.Time
	log       *slog.Logger

	mu    sync.Mutex
	known int64 // the revision that the engine goes by
}

// follow makes the engine know what is stored.
func (c *controls) follow(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	stored, err := c.store.Controls(ctx, c.workspace, c.known)
	if err != nil || stored.Revision == c.known {
		return err
	}
	if err := c.engine.SetControls(c.workspace, stored); err != nil {
		return err
	}
	c.known = stored.Revision
	return nil
}

// run follows until ctx ends.
func (c *controls) run(ctx context.Context) {
	for {
		if err := c.follow(ctx); err != nil && ctx.Err() == nil {
			c.log.Warn("what the threat engine is to leave out is yet to be taken into account; trying again", slog.Any("error", err))
		}
		if !rest(ctx, controlsEvery) {
			return
		}
	}
}

// read returns the controls as they are stored.
func (c *controls) read(ctx context.Context, ws cybervault.WorkspaceID) (*cybervault.Controls, error) {
	return c.store.Controls(ctx, ws, -1)
}

// change makes a change to what is stored, anew where somebody else was quicker.
func (c *controls) change(ctx context.Context, ws cybervault.WorkspaceID, to func(*cybervault.Controls) error) error {
	for try := 1; ; try++ {
		stored, err := c.read(ctx, ws)
		if err != nil {
			return err
		}
		changed := stored.Clone()
		if err := to(changed); err != nil {
			return err
		}
		err = c.store.SaveControls(ctx, ws, changed)
		if cybervault.ErrorCode(err) == cybervault.CodeConflict && try < controlTries {
			continue
		}
		if err == nil {
			err = c.follow(ctx)
		}
		return err
	}
}

// Rules lists the Sigma rules, and whether they are on.
func (c *controls) Rules(ctx context.Context, ws cybervault.WorkspaceID) ([]cybervault.RuleInfo, error) {
	stored, err := c.read(ctx, ws)
	if err != nil {
		return nil, err
	}
	out := []cybervault.RuleInfo{}
	if c.rules == nil {
		return out, nil
	}
	for _, r := range c.rules.Rules() {
		out = append(out, ruleInfo(r, stored))
	}
	for _, r := range c.rules.Correlations() {
		out = append(out, ruleInfo(r, stored))
	}
	slices.SortStableFunc(out, func(a, b cybervault.RuleInfo) int { return strings.Compare(a.Title, b.Title) })
	return out, nil
}

func ruleInfo(r *sigma.RuleInfo, stored *cybervault.Controls) cybervault.RuleInfo {
	info := cybervault.RuleInfo{ID: r.ID, Title: r.Title, Level: r.Severity, LogSource: r.LogSource.String(), Techniques: r.Techniques, Kind: "rule"}
	switch {
	case r.Rule != nil:
		info.File = r.Rule.Pos.File
	case r.Correlation != nil:
		info.Kind, info.File = "correlation", r.Correlation.Pos.File
	}
	if off, is := stored.Off[r.ID]; is {
		info.Off = &off
	}
	return info
}

// SetRule turns a rule on or off. It may be a Sigma rule, a number of the web's rule
// set, or a login pattern: whatever stands in a detection's rule_id.
func (c *controls) SetRule(ctx context.Context, ws cybervault.WorkspaceID, id string, on bool, reason string) error {
	if id == "" || len(id) > cybervault.MaxRuleIDBytes {
		return cybervault.Invalid("id", "name a rule as a detection's rule_id does, in at most %d bytes", cybervault.MaxRuleIDBytes)
	}
	if !on && (strings.TrimSpace(reason) == "" || len(reason) > cybervault.MaxExceptionText) {
		return cybervault.Invalid("reason", "say why it is off, for whoever reads this in a year; at most %d bytes", cybervault.MaxExceptionText)
	}
	return c.change(ctx, ws, func(to *cybervault.Controls) error {
		if on {
			delete(to.Off, id)
			return nil
		}
		if len(to.Off) >= cybervault.MaxRulesOff {
			return cybervault.Errorf(cybervault.CodeConflict, "%d rules are off, and no more can be: take them out of the directories of --rules instead", cybervault.MaxRulesOff)
		}
		to.Off[id] = cybervault.RuleOff{Reason: reason, At: c.now().UTC()}
		return nil
	})
}

// Exceptions lists the exceptions, the newest first, ended ones included.
func (c *controls) Exceptions(ctx context.Context, ws cybervault.WorkspaceID) ([]cybervault.Exception, error) {
	stored, err := c.read(ctx, ws)
	if err != nil {
		return nil, err
	}
	slices.Reverse(stored.Exceptions)
	return stored.Exceptions, nil
}

// AddException adds one.
func (c *controls) AddException(ctx context.Context, ws cybervault.WorkspaceID, e cybervault.Exception) (*cybervault.Exception, error) {
	e.ID, e.CreatedAt = c.newID(), c.now().UTC()
	if err := c.check(&e); err != nil {
		return nil, err
	}
	err := c.change(ctx, ws, func(to *cybervault.Controls) error {
		if len(to.Exceptions) >= cybervault.MaxExceptions {
			return cybervault.Errorf(cybervault.CodeConflict, "there are %d exceptions, and no more can be: remove those that have ended, or join some", cybervault.MaxExceptions)
		}
		to.Exceptions = append(to.Exceptions, e)
		return nil
	})
	return &e, err
}

func (c *controls) check(e *cybervault.Exception) error {
	if err := e.Check(c.now()); err != nil {
		return err
	}
	_, err := detect.NewExceptions([]cybervault.Exception{*e})
	return err
}

// RemoveException removes one. CodeNotFound where there is none.
func (c *controls) RemoveException(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.ExceptionID) error {
	return c.change(ctx, ws, func(to *cybervault.Controls) error {
		before := len(to.Exceptions)
		to.Exceptions = slices.DeleteFunc(to.Exceptions, func(e cybervault.Exception) bool { return e.ID == id })
		if len(to.Exceptions) == before {
			return cybervault.Errorf(cybervault.CodeNotFound, "there is no exception %s", id)
		}
		return nil
	})
}

// maxShownHidden bounds the findings that a preview shows.
const maxShownHidden = 20

// PreviewException tells what an exception would have hidden of the events that
// are stored, the latest cybervault.MaxExceptionPreview of each kind.
func (c *controls) PreviewException(ctx context.Context, ws cybervault.WorkspaceID, e cybervault.Exception) (*cybervault.ExceptionPreview, error) {
	e.ID = c.newID()
	if err := c.check(&e); err != nil {
		return nil, err
	}
	exceptions, err := detect.NewExceptions([]cybervault.Exception{e})
	if err != nil {
		return nil, err
	}
	out := &cybervault.ExceptionPreview{Findings: []cybervault.HiddenFinding{}}
	for _, kind := range []string{cybervault.EventThreatDetected, cybervault.EventAuthSuspicious} {
		q := cybervault.EventQuery{Workspace: ws, Type: kind, Limit: cybervault.MaxPageSize}
		for looked := 0; looked < cybervault.MaxExceptionPreview; {
			page, err := c.store.Events(ctx, q)
			if err != nil {
				return nil, err
			}
			for _, event := range page.Rows {
				out.Looked++
				hiddenOf(ctx, exceptions, event, out)
			}
			if looked += len(page.Rows); !page.More || len(page.Rows) == 0 {
				break
			}
			q.Before = page.Rows[len(page.Rows)-1].ID
		}
	}
	slices.SortStableFunc(out.Findings, func(a, b cybervault.HiddenFinding) int { return b.Timestamp.Compare(a.Timestamp) })
	out.Findings = out.Findings[:min(len(out.Findings), maxShownHidden)]
	return out, nil
}

// hiddenOf adds to a preview what exceptions would have hidden of one event.
func hiddenOf(ctx context.Context, exceptions *detect.Exceptions, event *cybervault.Event, out *cybervault.ExceptionPreview) {
	var envelope struct {
		Data struct {
			Vector     string                 `json:"vector"`
			Pattern    string                 `json:"pattern"`
			SourceIP   string                 `json:"source_ip"`
			User       string                 `json:"user"`
			Asset      string                 `json:"target_asset"`
			Detections []cybervault.Detection `json:"detections"`
		} `json:"data"`
	}
	if json.Unmarshal(event.Body, &envelope) != nil {
		return // of a publisher's own
	}
	d := &envelope.Data
	hidden := cybervault.HiddenFinding{Event: event.ID, Type: event.Type, Timestamp: event.Timestamp, Rules: []string{}}
	for _, one := range d.Detections {
		rec := readDetection(ctx, one.Record)
		if rec.SourceIP == "" {
			rec.SourceIP = d.SourceIP
		}
		if rec.User == "" {
			rec.User = d.User
		}
		if rec.Host == "" {
			rec.Host = d.Asset
		}
		if rec.Source == "" {
			rec.Source = d.Asset
		}
		if exceptions.Hides(rec, one.RuleID, d.Vector, d.Pattern) != nil {
			hidden.Rules = append(hidden.Rules, one.RuleID)
		}
	}
	if len(hidden.Rules) == 0 {
		return
	}
	if hidden.Whole = len(hidden.Rules) == len(d.Detections); hidden.Whole {
		out.Hidden++
	} else {
		out.Partly++
	}
	out.Findings = append(out.Findings, hidden)
}

var errOne = errors.New("one record is enough")

// readDetection reads the record that a detection shows, as far as it can be: it
// may have been cut.
func readDetection(ctx context.Context, text string) *cybervault.Record {
	rec := &cybervault.Record{}
	_, _ = telemetry.Parse(ctx, bytes.NewReader([]byte(text)), telemetry.Options{}, func(r *cybervault.Record) error { // what cannot be read has no fields
		rec = r
		return errOne
	})
	return rec
}
