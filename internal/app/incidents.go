package app

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/detect/incident"
	"github.com/cybervault/cybervault/internal/observe"
	"github.com/cybervault/cybervault/internal/store"
)

// How the incidents are looked after.
const (
	// tendEvery is how often it is looked for incidents that have been quiet, have
	// something to tell, or whose events nobody has published.
	tendEvery = 5 * time.Second
	// pruneEvery is how often incidents that are old are removed.
	pruneEvery = time.Hour
)

// incidentStore is the store as the incidents need it.
type incidentStore interface {
	incident.Store
	incidentReader
	OutgoingIncidentEvents(ctx context.Context, ws cybervault.WorkspaceID) (cybervault.OutgoingEvents, error)
	ForgetIncidentEvents(ctx context.Context, out cybervault.OutgoingEvents) error
	PruneIncidents(ctx context.Context, before time.Time) (more bool, err error)
	IncidentVerdicts(ctx context.Context, ws cybervault.WorkspaceID, known int64) (verdicts []cybervault.Verdict, revision int64, err error)
}

// incidentReader is the store as the API and the pages read it.
type incidentReader interface {
	Incidents(ctx context.Context, q cybervault.IncidentQuery) (cybervault.Page[*cybervault.Incident], error)
	LiveIncidents(ctx context.Context, ws cybervault.WorkspaceID) ([]cybervault.IncidentCount, error)
	Incident(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.IncidentID) (*cybervault.Incident, error)
	IncidentMembers(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.IncidentID, limit int) ([]*cybervault.IncidentMember, error)
}

// incidents leads findings and people's changes to the incidents, publishes what
// becomes of these, and does what is to be done by the clock. Safe for concurrent
// use.
type incidents struct {
	store   incidentStore
	manager *incident.Manager
	metrics *observe.Metrics
	publish func(ctx context.Context, ws cybervault.WorkspaceID, events []cybervault.Finding) []cybervault.PublishOutcome
	mine    func() bool   // whether it is this node that does what is to be done once
	keep    time.Duration // of resolved ones; 0: for ever
	now     func() time.Time
	log     *slog.Logger

	sending sync.Mutex // held while events go out: in the order of commit

	// What people found moves the confidence of the engine.
	workspace cybervault.WorkspaceID
	teach     func(ws cybervault.WorkspaceID, said cybervault.DispositionCounts)
	teaching  sync.Mutex
	taught    int64 // the revision of what the engine knows
}

// openIncidents makes them, and leads the findings of the pipeline to them.
func (a *App) openIncidents(metrics *observe.Metrics, ids *cybervault.IDSource) {
	manager := incident.New(incident.Config{
		Store: a.store, Now: a.store.Now, Quiet: a.cfg.IncidentQuiet,
		NewID: func(*cybervault.Finding) cybervault.IncidentID { return cybervault.NewID[cybervault.IncidentID](ids) },
	})
	keep := max(a.cfg.Retention, a.cfg.RetentionDead)
	if a.cfg.Retention == 0 {
		keep = 0
	}
	a.incidents = &incidents{
		store: a.store, manager: manager, metrics: metrics, publish: a.pipeline.publishOnce, mine: func() bool { return a.store.Has(store.DutyIncidents) },
		keep: keep, now: a.store.Now, log: a.log, workspace: a.workspace, teach: a.pipeline.engine.SetDispositions,
	}
	a.pipeline.incidents = a.incidents
}

// Assign finds the incident of each finding.
func (n *incidents) Assign(ctx context.Context, ws cybervault.WorkspaceID, findings []cybervault.Finding) ([]cybervault.Finding, error) {
	return n.manager.Assign(ctx, ws, findings)
}

// Send publishes what became of a workspace's incidents, in the order in which it
// did, or of all workspaces'. What cannot be published now stays, and goes out with
// the next call; whatever was published twice is one event, by its key.
func (n *incidents) Send(ctx context.Context, ws cybervault.WorkspaceID) error {
	n.sending.Lock()
	defer n.sending.Unlock()
	for {
		out, err := n.store.OutgoingIncidentEvents(ctx, ws)
		if err != nil || len(out.Events) == 0 {
			return err
		}
		for i, outcome := range n.publish(ctx, out.Workspace, out.Events) {
			switch {
			case outcome.Err == nil:
				if !outcome.Receipt.Replayed {
					n.metrics.Found(out.Events[i].Type)
				}
			case unavailable(outcome.Err) || cybervault.ErrorCode(outcome.Err) == cybervault.CodeInternal:
				return outcome.Err
			default: // it would be refused for ever
				n.log.Error("an event about an incident could not be published", slog.String("event", out.Events[i].Type), slog.Any("error", outcome.Err))
			}
		}
		if err := n.store.ForgetIncidentEvents(ctx, out); err != nil {
			return err
		}
	}
}

// sendOrLeave is Send for whoever has done what was asked: if the events cannot go
// out now, they go out with the next look.
func (n *incidents) sendOrLeave(ctx context.Context, ws cybervault.WorkspaceID) {
	if err := n.Send(ctx, ws); err != nil && ctx.Err() == nil {
		n.log.Warn("what became of an incident is yet to be published; trying again", slog.Any("error", err))
	}
}

// Incidents, LiveIncidents, Incident and IncidentMembers read.

func (n *incidents) Incidents(ctx context.Context, q cybervault.IncidentQuery) (cybervault.Page[*cybervault.Incident], error) {
	return n.store.Incidents(ctx, q)
}

func (n *incidents) LiveIncidents(ctx context.Context, ws cybervault.WorkspaceID) ([]cybervault.IncidentCount, error) {
	return n.store.LiveIncidents(ctx, ws)
}

func (n *incidents) Incident(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.IncidentID) (*cybervault.Incident, error) {
	return n.store.Incident(ctx, ws, id)
}

func (n *incidents) IncidentMembers(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.IncidentID, limit int) ([]*cybervault.IncidentMember, error) {
	return n.store.IncidentMembers(ctx, ws, id, limit)
}

// UpdateIncident makes a person's change.
func (n *incidents) UpdateIncident(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.IncidentID, c cybervault.IncidentChange) (*cybervault.Incident, error) {
	was, err := n.store.Incident(ctx, ws, id)
	if err != nil {
		return nil, err
	}
	i, err := n.manager.Update(cybervault.WithDeed(ctx, deedOf(was, &c)), ws, id, c)
	if err == nil {
		ctx := context.WithoutCancel(ctx)
		n.sendOrLeave(ctx, ws)
		if err := n.learn(ctx); err != nil {
			n.log.Warn("what people found is yet to be taken into account; trying again", slog.Any("error", err))
		}
	}
	return i, err
}

// deedOf is a person's change of an incident, for the log of who did what.
func deedOf(was *cybervault.Incident, c *cybervault.IncidentChange) cybervault.Deed {
	before, after := map[string]any{}, map[string]any{}
	note := func(name string, from, to any, changed bool) {
		if changed {
			before[name], after[name] = from, to
		}
	}
	note("status", was.Status, c.Status, c.Status != nil)
	note("disposition", was.Disposition, c.Disposition, c.Disposition != nil)
	note("severity", was.Severity, c.Severity, c.Severity != nil)
	note("title", was.Title, c.Title, c.Title != nil)
	note("assignee", was.Assignee, c.Assignee, c.Assignee != nil)
	note("note", nil, c.Note, c.Note != nil)
	deed := cybervault.Deed{Action: "incident.update", Target: was.ID.String(), Before: before, After: after}
	if c.MergeInto != nil {
		deed.Action, after["into"] = "incident.merge", *c.MergeInto
	}
	return deed
}

// learn hands what people found to the engine, if that has changed on any node.
func (n *incidents) learn(ctx context.Context) error {
	n.teaching.Lock()
	defer n.teaching.Unlock()
	verdicts, revision, err := n.store.IncidentVerdicts(ctx, n.workspace, n.taught)
	if err != nil || revision == n.taught {
		return err
	}
	said := cybervault.DispositionCounts{}
	for _, v := range verdicts {
		name := v.Name
		if v.Rule != "" {
			_, name, _ = strings.Cut(v.Rule, ":") // the engine knows it without its own part's name
		}
		d := said[name]
		said[name] = cybervault.DispositionCount{TruePositives: d.TruePositives + v.TruePositive, FalsePositives: d.FalsePositives + v.FalsePositive}
	}
	n.teach(n.workspace, said)
	n.taught = revision
	return nil
}

// run looks after the incidents until ctx ends.
func (n *incidents) run(ctx context.Context) {
	var pruned time.Time
	for {
		if err := n.learn(ctx); err != nil && ctx.Err() == nil {
			n.log.Warn("what people found is yet to be taken into account; trying again", slog.Any("error", err))
		}
		if n.mine() {
			err := n.tend(ctx)
			if now := n.now(); err == nil && now.Sub(pruned) >= pruneEvery {
				pruned = now
				err = n.prune(ctx)
			}
			if err != nil && ctx.Err() == nil {
				n.log.Warn("the incidents are not all looked after; trying again", slog.Any("error", err))
			}
		}
		if !rest(ctx, tendEvery) {
			return
		}
	}
}

func (n *incidents) tend(ctx context.Context) error {
	for more := true; more && ctx.Err() == nil; {
		var err error
		more, err = n.manager.Tend(ctx)
		if err = errors.Join(err, n.Send(ctx, cybervault.WorkspaceID{})); err != nil {
			return err
		}
	}
	return nil
}

func (n *incidents) prune(ctx context.Context) error {
	if n.keep == 0 {
		return nil
	}
	for {
		began := n.now()
		more, err := n.store.PruneIncidents(ctx, began.Add(-n.keep))
		if err != nil || !more {
			return err
		}
		if !rest(ctx, max(minRest, sweepRest*n.now().Sub(began))) {
			return nil
		}
	}
}
