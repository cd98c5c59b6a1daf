package fleet

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/cybervault/cybervault"
)

// How silence is judged.
const (
	tickEvery = time.Second
	// lateTick is how long after the one before a tick comes that says that this process
	// did not run meanwhile: it could not have heard anybody.
	lateTick = 5 * time.Second
	// stepped is how far the clock goes astray of a stopwatch between two ticks when
	// somebody has set it.
	stepped = 3 * time.Second
	// maxSettle bounds how long an agent's silence is looked at for whether it is alone.
	maxSettle = 15 * time.Second
)

// Many at once are one alert: so many, and so large a part of those that are watched.
const (
	stormLeast   = 5
	stormPercent = 10
	// calmIntervals is how many heartbeats long nobody else must go or come back for it to
	// be over, and holdIntervals after how many it is in any case.
	calmIntervals = 4
	holdIntervals = 20
	maxListed     = 100
)

// An agent that is lost again and again is told of once.
const (
	flapTimes  = 3 // that it was lost within flapWithin
	flapWithin = time.Hour
	flapSteady = 30 * time.Minute // without a change, and it is over
)

// The codes of the alerts.
const (
	CodeTogether = "agents_offline_together"
	CodeFlapping = "agent_flapping"
)

// watch judges who is silent. It holds what is only true of now; after a restart it
// begins anew, with everybody as if just heard of. Used by one goroutine.
type watch struct {
	fleet *Fleet

	ticked  bool
	wall    time.Time     // of the last tick
	elapsed time.Duration // of the last tick, by the stopwatch
	blind   []stretch     // when nobody could have been heard of, oldest first, apart

	missed map[cybervault.AgentID]*miss
	storms map[cybervault.WorkspaceID]*storm
	flaps  map[cybervault.AgentID]*flap
}

// stretch is a stretch of time.
type stretch struct{ from, to time.Time }

// miss is an agent that has been silent for too long, and is not told of yet.
type miss struct {
	agent *cybervault.Agent
	since time.Time
}

// storm is many agents going at once.
type storm struct {
	id    string
	begun time.Time
	last  time.Time // when one went, or came back, last
	pace  time.Duration
	count int
	names []string
}

// flap is how an agent has come and gone.
type flap struct {
	lost    []time.Time
	alert   string // the alert that is firing; empty: none
	changed time.Time
	is      cybervault.AgentStatus
	told    cybervault.AgentStatus // what was told last
	agent   *cybervault.Agent
}

func newWatch(f *Fleet) *watch {
	return &watch{fleet: f, missed: map[cybervault.AgentID]*miss{}, storms: map[cybervault.WorkspaceID]*storm{}, flaps: map[cybervault.AgentID]*flap{}}
}

// tick looks once. elapsed is what a stopwatch shows that nobody sets.
func (w *watch) tick(ctx context.Context, now time.Time, elapsed time.Duration) {
	mine := w.fleet.Mine()
	if !mine || !w.ticked {
		clear(w.missed)
		clear(w.storms) // whose duty it is tells of them
		w.blind = []stretch{{to: now}}
		if !w.ticked {
			w.clamp(ctx, now)
		}
	}
	took, gone := elapsed-w.elapsed, now.Sub(w.wall)
	switch {
	case !w.ticked || !mine:
	case (gone - took).Abs() > stepped:
		// What is written down is of another clock: everybody is as if just heard of.
		w.fleet.Log.Warn("the clock was set; agents are given time to be heard of anew", slog.Duration("by", gone-took))
		w.blind = []stretch{{to: now}}
		w.clamp(ctx, now)
	case took > lateTick || !w.fleet.Well() || w.fleet.isBehind():
		w.blinded(stretch{w.wall, now})
	}
	before := w.wall
	w.ticked, w.wall, w.elapsed = true, now, elapsed
	if !mine {
		return
	}
	due, watched, err := w.fleet.Store.JudgeAgents(ctx, now)
	if err != nil {
		if ctx.Err() == nil {
			w.fleet.Log.Warn("agents cannot be looked at; trying again", slog.Any("error", err))
		}
		w.blinded(stretch{before, now}) // a store that cannot be asked takes no heartbeats either
		return
	}
	w.judge(ctx, now, due, watched)
	w.steady(ctx, now)
}

// clamp has nobody been heard of in the time to come, which a clock that was set back
// would make of what was written down.
func (w *watch) clamp(ctx context.Context, now time.Time) {
	f := w.fleet
	f.mu.Lock()
	for id, at := range f.seen {
		if at.After(now) {
			f.seen[id] = now
		}
	}
	f.mu.Unlock()
	if err := f.Store.ClampAgents(ctx, now); err != nil && ctx.Err() == nil {
		f.Log.Warn("agents that were heard of in the time to come cannot be put right", slog.Any("error", err))
	}
}

// longest is the longest that an agent may be silent.
const longest = cybervault.MaxMissed * cybervault.MaxHeartbeat

// blinded notes that nobody could have been heard of.
func (w *watch) blinded(s stretch) {
	if n := len(w.blind); n > 0 && !w.blind[n-1].to.Before(s.from) {
		w.blind[n-1].to = s.to
	} else {
		w.blind = append(w.blind, s)
	}
	old := 0
	for old < len(w.blind)-1 && w.blind[old].to.Before(s.to.Add(-longest)) {
		old++
	}
	w.blind = w.blind[old:]
}

// silence is how long an agent has been silent while it could have been heard of.
func (w *watch) silence(a *cybervault.Agent, now time.Time) time.Duration {
	last := a.LastSeen
	if at := w.fleet.heard(a.ID); at.After(last) {
		last = at
	}
	silent := now.Sub(last)
	for _, s := range w.blind {
		from, to := s.from, s.to
		if from.Before(last) {
			from = last
		}
		if to.After(from) {
			silent -= to.Sub(from)
		}
	}
	return silent
}

func (w *watch) judge(ctx context.Context, now time.Time, due []*cybervault.Agent, watched map[cybervault.WorkspaceID]int) {
	silent := make(map[cybervault.AgentID]bool, len(due))
	for _, a := range due {
		if a.Status != cybervault.AgentOnline {
			w.comes(ctx, now, a)
			continue
		}
		if w.silence(a, now) < a.Patience() {
			continue
		}
		silent[a.ID] = true
		if m := w.missed[a.ID]; m != nil {
			m.agent = a
			continue
		}
		w.missed[a.ID] = &miss{a, now}
		if s := w.storms[a.Workspace]; s != nil {
			s.last = now
			s.add(a)
		}
	}
	byWorkspace := map[cybervault.WorkspaceID][]*miss{}
	for id, m := range w.missed {
		if !silent[id] { // it was heard of, or removed
			delete(w.missed, id)
			if s := w.storms[m.agent.Workspace]; s != nil {
				s.last = now
			}
			continue
		}
		byWorkspace[m.agent.Workspace] = append(byWorkspace[m.agent.Workspace], m)
	}
	for ws, all := range byWorkspace {
		slices.SortFunc(all, func(a, b *miss) int {
			return cmp.Or(a.agent.LastSeen.Compare(b.agent.LastSeen), cmp.Compare(a.agent.ID.Key(), b.agent.ID.Key()))
		})
		if w.storms[ws] == nil && len(all) >= max(stormLeast, (watched[ws]*stormPercent+99)/100) {
			w.begin(ctx, now, ws, all)
		}
	}
	for ws, s := range w.storms {
		all := byWorkspace[ws]
		if len(all) > 0 && now.Sub(s.last) < calmIntervals*s.pace && now.Sub(s.begun) < holdIntervals*s.pace {
			delete(byWorkspace, ws) // held until it is clear
			continue
		}
		if !w.end(ctx, ws, s, len(all)) {
			delete(byWorkspace, ws)
			continue
		}
		delete(w.storms, ws)
		for _, m := range all {
			w.goes(ctx, now, m.agent)
		}
		delete(byWorkspace, ws)
	}
	for _, all := range byWorkspace {
		for _, m := range all {
			if now.Sub(m.since) >= min(m.agent.Interval/2, maxSettle) {
				w.goes(ctx, now, m.agent)
			}
		}
	}
}

func (s *storm) add(a *cybervault.Agent) {
	s.count++
	s.pace = max(s.pace, a.Interval)
	if len(s.names) < maxListed {
		s.names = append(s.names, a.Hostname)
	}
}

// begin tells, once, that many agents went at once.
func (w *watch) begin(ctx context.Context, now time.Time, ws cybervault.WorkspaceID, all []*miss) {
	s := &storm{id: fmt.Sprintf("alr_%s_%d", CodeTogether, now.UnixMicro()), begun: now, last: now}
	for _, m := range all {
		s.add(m.agent)
	}
	if w.alert(ctx, ws, alert{
		ID: s.id, Code: CodeTogether, Severity: "critical", Status: "firing",
		Summary: fmt.Sprintf("%d agents went silent at once.", s.count),
		Remedy:  "Look at what they have in common: a network, a proxy, a power supply, or the way to this server. Each of them is told of on its own only once it is clear who stays away.",
		Subject: "agents", Count: s.count, Agents: s.names,
	}) {
		w.storms[ws] = s
	}
}

// end tells that it is clear who stays away.
func (w *watch) end(ctx context.Context, ws cybervault.WorkspaceID, s *storm, left int) bool {
	summary := fmt.Sprintf("Of %d agents that went silent at once, all are back.", s.count)
	if left > 0 {
		summary = fmt.Sprintf("Of %d agents that went silent at once, %d stay away, and are told of one by one.", s.count, left)
	}
	return w.alert(ctx, ws, alert{
		ID: s.id, Code: CodeTogether, Severity: "critical", Status: "resolved", Summary: summary, Remedy: "Nothing is left to do about their going at once.",
		Subject: "agents", Count: s.count, Agents: s.names,
	})
}

// goes tells that an agent is lost.
func (w *watch) goes(ctx context.Context, now time.Time, a *cybervault.Agent) {
	f := w.flap(a, now, cybervault.AgentOffline)
	f.lost = slices.DeleteFunc(f.lost, func(t time.Time) bool { return now.Sub(t) >= flapWithin })
	if f.alert == "" && len(f.lost) >= flapTimes {
		id := fmt.Sprintf("alr_%s_%s_%d", CodeFlapping, a.ID, a.LastSeen.UnixMicro())
		if !w.alert(ctx, a.Workspace, alert{
			ID: id, Code: CodeFlapping, Severity: "medium", Status: "firing",
			Summary: fmt.Sprintf("The agent of %s was lost %d times within %s.", a.Hostname, len(f.lost)+1, cybervault.FormatDuration(flapWithin)),
			Remedy:  "Look at its network and its load. It is told of again once it has stayed for " + cybervault.FormatDuration(flapSteady) + " as it is.",
			Subject: a.ID.String(),
		}) {
			return
		}
		f.alert = id
	}
	if f.alert == "" && !w.tell(ctx, a, cybervault.EventEndpointOffline, a.LastSeen, a.Missed) {
		return
	}
	if f.alert == "" {
		f.told = cybervault.AgentOffline
	}
	if w.set(ctx, a, cybervault.AgentOffline, now) {
		f.lost, f.is, f.changed = append(f.lost, now), cybervault.AgentOffline, now
		delete(w.missed, a.ID)
	}
}

// comes tells that an agent is there, or there again.
func (w *watch) comes(ctx context.Context, now time.Time, a *cybervault.Agent) {
	f := w.flap(a, now, cybervault.AgentOnline)
	missed := 0
	if a.Status == cybervault.AgentOffline {
		missed = a.Missed + int(a.LastSeen.Sub(a.ChangedAt)/a.Interval)
	}
	if f.alert == "" {
		if !w.tell(ctx, a, cybervault.EventEndpointOnline, a.ChangedAt, missed) {
			return
		}
		f.told = cybervault.AgentOnline
	}
	if w.set(ctx, a, cybervault.AgentOnline, now) {
		f.is, f.changed = cybervault.AgentOnline, now
	}
}

func (w *watch) flap(a *cybervault.Agent, now time.Time, is cybervault.AgentStatus) *flap {
	f := w.flaps[a.ID]
	if f == nil {
		f = &flap{changed: now, is: is}
		w.flaps[a.ID] = f
	}
	f.agent = a
	return f
}

// steady forgets how agents came and went once they have stayed as they are, and tells
// of those that it had stopped telling of.
func (w *watch) steady(ctx context.Context, now time.Time) {
	for id, f := range w.flaps {
		if f.alert == "" {
			if now.Sub(f.changed) >= flapWithin {
				delete(w.flaps, id)
			}
			continue
		}
		if now.Sub(f.changed) < flapSteady {
			continue
		}
		a := f.agent
		if !w.alert(ctx, a.Workspace, alert{
			ID: f.alert, Code: CodeFlapping, Severity: "medium", Status: "resolved",
			Summary: fmt.Sprintf("The agent of %s has been %s for %s.", a.Hostname, f.is, cybervault.FormatDuration(flapSteady)),
			Remedy:  "Nothing is left to do.", Subject: a.ID.String(),
		}) {
			continue
		}
		if f.is != f.told {
			name := cybervault.EventEndpointOnline
			if f.is == cybervault.AgentOffline {
				name = cybervault.EventEndpointOffline
			}
			if !w.tell(ctx, a, name, f.changed, a.Missed) {
				continue
			}
		}
		delete(w.flaps, id)
	}
}

// endpoint is the data of endpoint.online and endpoint.offline.
type endpoint struct {
	AgentID   string            `json:"agent_id"`
	Hostname  string            `json:"hostname"`
	LastSeen  *time.Time        `json:"last_seen_at"`
	Missed    int               `json:"missed"`
	Addresses []string          `json:"addresses"`
	OS        string            `json:"os"`
	Labels    map[string]string `json:"labels"`
}

// tell publishes that an agent came or went. One that was told of is not told of again:
// since names the change.
func (w *watch) tell(ctx context.Context, a *cybervault.Agent, event string, since time.Time, missed int) bool {
	e := endpoint{AgentID: a.ID.String(), Hostname: a.Hostname, Missed: missed, Addresses: a.Addresses, OS: a.OS, Labels: a.Labels}
	if !a.LastSeen.IsZero() {
		at := a.LastSeen.UTC()
		e.LastSeen = &at
	}
	return w.publish(ctx, a.Workspace, cybervault.PublishRequest{Type: event, IdempotencyKey: fmt.Sprintf("%s_%s_%d", event, a.ID, since.UnixMicro())}, e)
}

// alert is the data of system.alert.
type alert struct {
	ID       string   `json:"alert_id"`
	Code     string   `json:"code"`
	Severity string   `json:"severity"`
	Status   string   `json:"status"`
	Summary  string   `json:"summary"`
	Remedy   string   `json:"remedy"`
	Subject  string   `json:"subject"`
	Count    int      `json:"count,omitempty"`
	Agents   []string `json:"agents,omitempty"`
}

func (w *watch) alert(ctx context.Context, ws cybervault.WorkspaceID, a alert) bool {
	return w.publish(ctx, ws, cybervault.PublishRequest{Type: cybervault.EventSystemAlert, IdempotencyKey: a.ID + "_" + a.Status}, a)
}

// publish reports whether an event is stored, or never can be: then there is no use in
// trying again.
func (w *watch) publish(ctx context.Context, ws cybervault.WorkspaceID, req cybervault.PublishRequest, data any) bool {
	raw, err := json.Marshal(data)
	if err == nil {
		req.Data = raw
		err = w.fleet.Publish(ctx, ws, req)
	}
	code := cybervault.ErrorCode(err)
	if code == "" || code == cybervault.CodeConflict { // or told by another node, in other words
		return true
	}
	if code == cybervault.CodeUnavailable {
		return false
	}
	if ctx.Err() == nil {
		w.fleet.Log.Error("an event about an agent could not be published", slog.String("event", req.Type), slog.Any("error", err))
	}
	return ctx.Err() == nil
}

func (w *watch) set(ctx context.Context, a *cybervault.Agent, to cybervault.AgentStatus, now time.Time) bool {
	changed, err := w.fleet.Store.SetAgentStatus(ctx, a.ID, a.Status, to, now)
	if err != nil && ctx.Err() == nil {
		w.fleet.Log.Warn("the status of an agent cannot be written down; trying again", slog.String("agent", a.ID.String()), slog.Any("error", err))
	}
	return changed
}
