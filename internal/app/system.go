package app

import (
	"context"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/deliver"
	"github.com/cybervault/cybervault/internal/store"
	"github.com/cybervault/cybervault/internal/telemetry/roster"
)

// countWait bounds how long the page of the system waits for what has to be counted.
const countWait = 5 * time.Second

// system is how the server stands, as the dashboard wants it.
type system struct {
	*App

	started time.Time
	version string
}

// System asks the parts of the server. What cannot be asked is a problem, not an error:
// the page is for when something is wrong.
func (s system) System(ctx context.Context) cybervault.System {
	ctx, cancel := context.WithTimeout(ctx, countWait)
	defer cancel()
	stats, load := s.store.Stats(), s.load.Stats()
	v := cybervault.System{
		Version: s.version, StartedAt: s.started, Retention: s.cfg.Retention, RetentionDead: s.cfg.RetentionDead, Store: s.store.Dialect(), Node: int(s.store.Node()), Waiting: stats.QueueBytes,
		Refused: stats.RefusedDisk + stats.RefusedDatabase + stats.RefusedQueue + load.RefusedMemory + load.RefusedRequests,
	}
	problem := func(name, summary, remedy string) {
		v.Problems = append(v.Problems, cybervault.Check{Name: name, Status: cybervault.CheckFail, Summary: summary, Remedy: remedy})
	}
	if s.cfg.DatabaseURL == "" {
		disk := s.store.CheckDisk()
		v.Free, v.Reserve = disk.Free, disk.Reserve
		if disk.Problem != "" {
			problem("disk", "Nothing is published: "+disk.Problem+".", "What was accepted goes on being delivered.")
		}
	}
	if stats.Refusing {
		problem("database", "The database refused the last write.", "Look at its disk and its log: nothing is published until it takes one again.")
	}
	if !s.store.Trusted() {
		problem("database", "This node has not heard from the database lately, and begins no attempt.", "Look at the network between them; another node takes its deliveries over.")
	}
	const unread = "What stands here may be old. The server's log names the cause."
	if diagnosis, err := s.store.Diagnose(ctx); err != nil {
		problem("database", "The database cannot be asked how it stands.", unread)
	} else {
		v.Bytes, v.Oldest = diagnosis.Bytes, diagnosis.Oldest
	}
	var err error
	if v.Pending, v.Held, err = s.store.Pending(ctx); err != nil {
		problem("queue", "The queue cannot be counted.", unread)
	}
	if v.Nodes, err = s.store.NodeList(ctx); err != nil {
		problem("nodes", "The list of nodes cannot be read.", unread)
	}
	if audit, ok := auditLog(s.store)(); ok {
		v.Audited, v.Unaudited = audit.Entries, audit.Behind
	}
	v.Engine = s.engine(ctx)
	return v
}

func (s system) engine(ctx context.Context) cybervault.Engine {
	stats := s.pipeline.engine.Stats()
	e := cybervault.Engine{
		Records: stats.Records, Open: stats.OpenAttacks, Watched: stats.WatchedSources, Evicted: stats.EvictedAttacks + stats.EvictedSources, Late: stats.LateRecords, Failed: stats.Failed,
	}
	rules, err := s.controls.Rules(ctx, s.workspace)
	if err != nil {
		return e
	}
	for i := range rules {
		if rules[i].Off == nil {
			e.Rules++
		}
	}
	return e
}

// Sources lists where telemetry has come from.
func (s system) Sources(ws cybervault.WorkspaceID) []cybervault.TelemetrySource {
	return s.pipeline.sources.Sources(ws, time.Now())
}

// Examine has the doctor look at everything, which takes up to half a minute.
func (s system) Examine(ctx context.Context, ws cybervault.WorkspaceID) ([]cybervault.Check, error) {
	return s.doctor().Examine(ctx, ws)
}

// receivers is how the receivers of webhooks stand: what this node knows of their answers,
// and what waits for them in the store.
type receivers struct {
	*deliver.Dispatcher

	store *store.Store
}

// Waiting counts the deliveries of a webhook that have not ended.
func (r receivers) Waiting(ctx context.Context, id cybervault.WebhookID) (int64, error) {
	return r.store.Waiting(ctx, id)
}

// senders counts the records of each source in one hand-in of telemetry.
type senders map[string]int

func (s senders) count(rec *cybervault.Record) {
	name := rec.Source
	if name == "" {
		name = rec.Host
	}
	s[name]++
}

// told tells the roster of them.
func (s senders) told(r *roster.Roster, ws cybervault.WorkspaceID) {
	now := time.Now()
	for name, records := range s {
		if name == "" {
			name = unnamedSource
		}
		r.Saw(ws, name, records, now)
	}
}

// unnamedSource is what telemetry without a name or a machine is listed under.
const unnamedSource = "(no name)"
