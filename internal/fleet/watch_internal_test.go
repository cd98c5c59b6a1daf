package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
)

// world is agents that send heartbeats, a store that has them, and a watch that looks,
// second by second. Nothing in it waits.
type world struct {
	Store // what is not faked is not called
	*testing.T

	fleet   *Fleet
	watch   *watch
	now     time.Time
	elapsed time.Duration
	ws      cybervault.WorkspaceID
	ids     *cybervault.IDSource
	agents  []*machine
	byID    map[cybervault.AgentID]*machine
	events  []string // "offline web-1", "agents_offline_together firing 5"
	keys    map[string]string
	data    []json.RawMessage

	refuse bool  // the store takes no event
	fail   error // of the store
	sick   bool
	away   bool // the duty is another node's
}

type machine struct {
	cybervault.Agent
	next  time.Duration // when it sends the next heartbeat
	quiet bool
}

func newWorld(t *testing.T, n int) *world {
	t.Helper()
	w := &world{T: t, now: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), keys: map[string]string{}, byID: map[cybervault.AgentID]*machine{}}
	w.ids = cybervault.NewIDSource(1, 0, func() time.Time { return w.now })
	w.ws.UUID = w.ids.Next()
	w.fleet = New(Config{
		Store: w, IDs: w.ids, Now: func() time.Time { return w.now }, Mine: func() bool { return !w.away }, Well: func() bool { return !w.sick },
		Publish: w.publish, Log: slog.New(slog.DiscardHandler),
	})
	w.watch = newWatch(w.fleet)
	for i := range n {
		m := &machine{Agent: cybervault.Agent{
			HostFacts: cybervault.HostFacts{Hostname: fmt.Sprintf("web-%d", i), OS: "Debian", Addresses: []string{"192.0.2.1"}}, ID: cybervault.NewID[cybervault.AgentID](w.ids), Workspace: w.ws,
			Interval: cybervault.DefaultHeartbeat, Missed: cybervault.DefaultMissed, Status: cybervault.AgentOnline, LastSeen: w.now, ChangedAt: w.now, KeyedAt: w.now.Add(100 * 24 * time.Hour),
		}, next: time.Duration(i%30) * time.Second}
		w.agents, w.byID[m.ID] = append(w.agents, m), m
	}
	return w
}

func (w *world) publish(_ context.Context, ws cybervault.WorkspaceID, req cybervault.PublishRequest) error {
	if ws != w.ws {
		w.Errorf("published for %s", ws)
	}
	if w.refuse {
		return cybervault.Errorf(cybervault.CodeUnavailable, "no")
	}
	if before, ok := w.keys[req.IdempotencyKey]; ok {
		if before != string(req.Data) {
			return cybervault.Errorf(cybervault.CodeConflict, "the key has other content")
		}
		return nil
	}
	w.keys[req.IdempotencyKey] = string(req.Data)
	var d struct {
		Code, Status, Hostname string
		Count                  int
	}
	if err := json.Unmarshal(req.Data, &d); err != nil {
		w.Fatal(err)
	}
	line := strings.TrimPrefix(req.Type, "endpoint.") + " " + d.Hostname
	if req.Type == cybervault.EventSystemAlert {
		line = d.Code + " " + d.Status
		if d.Count > 0 {
			line += fmt.Sprint(" ", d.Count)
		}
	}
	w.events, w.data = append(w.events, line), append(w.data, req.Data)
	return nil
}

func (w *world) JudgeAgents(_ context.Context, now time.Time) (due []*cybervault.Agent, watched map[cybervault.WorkspaceID]int, err error) {
	watched = map[cybervault.WorkspaceID]int{}
	for _, m := range w.agents {
		if m.Status != cybervault.AgentOffline {
			watched[m.Workspace]++
		}
		if m.Status == cybervault.AgentEnrolled && !m.LastSeen.IsZero() || m.Status == cybervault.AgentOnline && !m.LastSeen.Add(m.Patience()).After(now) || m.Status == cybervault.AgentOffline && m.LastSeen.After(m.ChangedAt) {
			a := m.Agent
			due = append(due, &a)
		}
	}
	return due, watched, w.fail
}

func (w *world) SeeAgents(_ context.Context, seen map[cybervault.AgentID]time.Time) error {
	if w.fail != nil {
		return w.fail
	}
	for id, at := range seen {
		if m := w.byID[id]; m.LastSeen.Before(at) {
			m.LastSeen = at
		}
	}
	return nil
}

func (w *world) ClampAgents(_ context.Context, now time.Time) error {
	for _, m := range w.agents {
		if m.LastSeen.After(now) {
			m.LastSeen = now
		}
	}
	return w.fail
}

func (w *world) SetAgentStatus(_ context.Context, id cybervault.AgentID, from, to cybervault.AgentStatus, at time.Time) (bool, error) {
	m := w.byID[id]
	if w.fail != nil || m.Status != from {
		return false, w.fail
	}
	m.Status, m.ChangedAt = to, at
	return true, nil
}

// pass has everything go on for a while.
func (w *world) pass(d time.Duration) {
	w.Helper()
	for end := w.elapsed + d; w.elapsed < end; {
		w.elapsed, w.now = w.elapsed+time.Second, w.now.Add(time.Second)
		for _, m := range w.agents {
			if m.next > w.elapsed {
				continue
			}
			m.next += m.Interval
			if m.quiet {
				continue
			}
			if _, err := w.fleet.Beat(w.Context(), &m.Agent, m.HostFacts); err != nil {
				w.Fatal(err)
			}
		}
		if w.elapsed%(2*time.Second) == 0 {
			w.fleet.flush(w.Context())
		}
		w.watch.tick(w.Context(), w.now, w.elapsed)
	}
}

func (w *world) want(events ...string) {
	w.Helper()
	slices.Sort(w.events)
	slices.Sort(events)
	if !slices.Equal(w.events, events) {
		w.Errorf("told of %q, want %q", w.events, events)
	}
	w.events = nil
}

func (w *world) quiet(on bool, which ...int) {
	for _, i := range which {
		w.agents[i].quiet = on
	}
}

func upTo(n int) []int {
	var all []int
	for i := range n {
		all = append(all, i)
	}
	return all
}

func TestAnAgentIsLostAndComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	w.agents[2].Status, w.agents[2].LastSeen = cybervault.AgentEnrolled, time.Time{}
	w.pass(time.Minute)
	w.want("online web-2")
	w.quiet(true, 0)
	last := w.agents[0].LastSeen
	w.pass(last.Add(90 * time.Second).Sub(w.now)) // three did not come
	w.want()
	w.pass(14 * time.Second)
	w.want()
	w.pass(2 * time.Second) // it is alone, and told of half a heartbeat later
	w.want("offline web-0")
	var d struct {
		AgentID  string    `json:"agent_id"`
		LastSeen time.Time `json:"last_seen_at"`
		Missed   int       `json:"missed"`
	}
	if err := json.Unmarshal(w.data[len(w.data)-1], &d); err != nil || d.AgentID != w.agents[0].ID.String() || !d.LastSeen.Equal(last) || d.Missed != 3 {
		t.Errorf("%s, %v", w.data[len(w.data)-1], err)
	}
	w.pass(time.Hour)
	w.want()
	w.quiet(false, 0)
	w.pass(time.Minute)
	w.want("online web-0")
	w.agents[1].next += 65 * time.Second // one that is back in time is not told of
	w.pass(time.Hour)
	w.want()
}

// Many at once are one alert; who stays away is told of once it is clear who does.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 100)
	w.pass(time.Minute)
	w.quiet(true, upTo(20)...)
	w.pass(140 * time.Second)
	if len(w.events) != 1 || !strings.HasPrefix(w.events[0], CodeTogether+" firing") {
		t.Fatalf("told of %q", w.events)
	}
	w.events = nil
	w.quiet(false, upTo(17)...)
	w.pass(10 * time.Minute)
	w.want(CodeTogether+" resolved 20", "offline web-17", "offline web-18", "offline web-19")
	// A cut network comes back whole.
	w.quiet(true, upTo(90)...)
	w.pass(150 * time.Second)
	w.quiet(false, upTo(90)...)
	w.pass(10 * time.Minute)
	for _, event := range w.events {
		if strings.HasPrefix(event, "offline") {
			t.Errorf("told of %q", w.events)
			break
		}
	}
}

// A network that is now here and now there holds nobody back for ever.
func TestAStormEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 100)
	w.quiet(true, upTo(20)...)
	for minute := range 15 {
		w.pass(time.Minute)
		w.quiet(minute%2 == 0, 50+minute)
		w.quiet(minute%2 == 1, 65+minute)
	}
	w.quiet(false, upTo(100)...)
	w.quiet(true, 3)
	w.pass(5 * time.Minute)
	if !slices.Contains(w.events, "offline web-3") || !slices.ContainsFunc(w.events, func(e string) bool { return strings.HasPrefix(e, CodeTogether+" resolved") }) {
		t.Errorf("told of %q", w.events)
	}
}

// Four of a hundred are no storm, and five of six are.
func TestWhatIsMany(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 100)
	w.quiet(true, upTo(9)...)
	w.pass(5 * time.Minute)
	if len(w.events) != 9 {
		t.Errorf("told of %q", w.events)
	}
	w = newWorld(t, 6)
	w.quiet(true, upTo(5)...)
	w.pass(2 * time.Minute)
	w.want(CodeTogether + " firing 5")
}

// What keeps the server from hearing anybody is nobody's silence.
func TestOurOwnSilence(t *testing.T) {
	t.Parallel()
	for name, hurt := range map[string]func(w *world){
		"the process stood still": func(w *world) { w.now, w.elapsed = w.now.Add(time.Hour), w.elapsed+time.Hour },
		"a restart": func(w *world) {
			w.now, w.elapsed = w.now.Add(time.Hour), 0
			w.watch = newWatch(w.fleet)
			for _, m := range w.agents {
				m.next = 0
			}
		},
		"the clock was set on":   func(w *world) { w.now = w.now.Add(26 * time.Hour) },
		"the clock was set back": func(w *world) { w.now = w.now.Add(-26 * time.Hour) },
		"overload": func(w *world) {
			w.sick = true
			w.quiet(true, upTo(len(w.agents))...)
			w.pass(time.Hour)
			w.quiet(false, upTo(len(w.agents))...)
			w.sick = false
		},
		"the database was away": func(w *world) {
			w.fail = errors.New("no")
			w.pass(time.Hour)
			w.fail = nil
		},
		"the duty was another node's": func(w *world) {
			w.away = true
			w.quiet(true, upTo(len(w.agents))...)
			w.pass(time.Hour)
			w.quiet(false, upTo(len(w.agents))...)
			w.away = false
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 50)
			w.pass(10 * time.Minute)
			hurt(w)
			w.pass(10 * time.Minute)
			w.want()
			w.quiet(true, 7) // and whoever is lost is noticed as soon as ever
			w.pass(3 * time.Minute)
			w.want("offline web-7")
		})
	}
}

// Who was silent before the server stood still is told of after it, not at once.
func TestSilenceIsAddedUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 20)
	w.pass(10 * time.Minute)
	w.quiet(true, 3)
	w.pass(time.Minute)
	left := w.agents[3].Patience() + maxSettle - w.now.Sub(w.agents[3].LastSeen)
	w.now, w.elapsed = w.now.Add(time.Hour), w.elapsed+time.Hour
	for _, m := range w.agents {
		m.next = w.elapsed + time.Duration(rand.IntN(30))*time.Second
	}
	w.pass(left - 2*time.Second)
	w.want()
	w.pass(4 * time.Second)
	w.want("offline web-3")
}

func TestAnAgentFlaps(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 10)
	for range 8 {
		w.quiet(true, 4)
		w.pass(3 * time.Minute)
		w.quiet(false, 4)
		w.pass(time.Minute)
	}
	offline := 0
	for _, event := range w.events {
		if event == "offline web-4" {
			offline++
		}
	}
	if offline != flapTimes || !slices.Contains(w.events, CodeFlapping+" firing") {
		t.Errorf("told of %q", w.events)
	}
	w.events = nil
	w.pass(flapSteady + time.Minute)
	w.want(CodeFlapping + " resolved")
	w.quiet(true, 4)
	w.pass(3 * time.Minute)
	w.want("offline web-4")
}

// One that flaps and then stays away is told of when it is steady.
func TestAnAgentFlapsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 10)
	for range 4 {
		w.quiet(false, 4)
		w.pass(time.Minute)
		w.quiet(true, 4)
		w.pass(3 * time.Minute)
	}
	w.quiet(false, 4)
	w.pass(time.Minute)
	w.quiet(true, 4)
	w.pass(3 * time.Minute)
	w.events = nil
	w.pass(time.Hour)
	if got := strings.Join(w.events, ", "); got != CodeFlapping+" resolved" && got != CodeFlapping+" resolved, offline web-4" {
		t.Errorf("told of %s", got)
	}
	if flapped := w.watch.flaps[w.agents[4].ID]; flapped != nil {
		t.Errorf("%+v is remembered", flapped)
	}
}

// What the store does not take is told once it does, once.
func TestTheStoreIsFull(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 30)
	w.refuse = true
	w.quiet(true, 1)
	w.pass(5 * time.Minute)
	w.want()
	w.refuse = false
	w.pass(5 * time.Second)
	w.want("offline web-1")
	w.refuse = true
	w.quiet(true, upTo(12)...)
	w.pass(2 * time.Minute)
	w.refuse = false
	w.pass(2 * time.Second)
	w.want(CodeTogether + " firing 11")
}

// A crash between an event and the new status tells of nothing twice.
func TestToldTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 30)
	w.quiet(true, 1)
	w.pass(2 * time.Minute)
	w.want("offline web-1")
	w.agents[1].Status = cybervault.AgentOnline
	w.watch = newWatch(w.fleet)
	w.pass(5 * time.Minute)
	w.want()
	if w.agents[1].Status != cybervault.AgentOffline {
		t.Error("it is not offline")
	}
}

// Thousands of agents for an hour, with heartbeats early and late, and the server
// started anew twice: nobody is missed.
func TestAnHourOfThousands(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4000)
	random := rand.New(rand.NewPCG(7, 7))
	for minute := range 60 {
		for _, m := range w.agents {
			m.next += time.Duration(random.IntN(5)-2) * time.Second
		}
		w.pass(time.Minute)
		if minute == 20 || minute == 40 {
			w.watch = newWatch(w.fleet)
		}
	}
	w.want()
	lost := w.agents[3210]
	lost.quiet = true
	last := lost.LastSeen
	w.pass(3 * time.Minute)
	w.want("offline web-3210")
	if noticed := lost.ChangedAt.Sub(last); noticed > 4*lost.Interval+lost.Interval/2 {
		t.Errorf("noticed after %s", noticed)
	}
}

func TestBlindStretchesAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	at := w.now
	for range 3 {
		w.watch.blinded(stretch{at, at.Add(time.Second)})
		w.watch.blinded(stretch{at.Add(time.Second), at.Add(2 * time.Second)})
		at = at.Add(time.Hour)
	}
	if len(w.watch.blind) != 3 {
		t.Errorf("%d stretches", len(w.watch.blind))
	}
	w.watch.blinded(stretch{at.Add(2 * longest), at.Add(2*longest + time.Second)})
	if len(w.watch.blind) != 1 {
		t.Errorf("%d stretches", len(w.watch.blind))
	}
}
