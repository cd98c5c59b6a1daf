// Package incident groups findings into incidents and leads these through their
// life: opened, grown, merged, acknowledged, resolved.
//
// It stands between the threat engine and the router (detect -> incident ->
// router): each finding is told which incident it belongs to before it is
// published, and what happens to an incident becomes an event. What belongs
// together is decided here, without clock or store; a Store keeps it, and commits
// a change on the condition that no other node has been quicker. It publishes
// nothing: the events lie with the incidents until somebody has.
package incident

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/cybervault/cybervault"
)

// Store keeps incidents.
type Store interface {
	// IncidentView reads what a change depends on, as of one revision or a later one.
	IncidentView(ctx context.Context, ws cybervault.WorkspaceID, lookup cybervault.IncidentLookup) (*cybervault.IncidentView, error)
	// ChangeIncidents commits a change. CodeConflict where the workspace's incidents
	// are at another revision: nothing was written.
	ChangeIncidents(ctx context.Context, ws cybervault.WorkspaceID, changes cybervault.IncidentChanges) error
	// DueIncidents lists live incidents, of all workspaces, with which nothing has
	// had to do since one moment, or that have had something to tell since another:
	// at most limit.
	DueIncidents(ctx context.Context, activeBefore, toldBefore time.Time, limit int) ([]*cybervault.Incident, error)
}

// Config of a Manager.
type Config struct {
	Store Store
	// NewID makes the id of the incident that a finding opens; nil makes it from what
	// the finding says, so that the same telemetry gives the same.
	NewID func(*cybervault.Finding) cybervault.IncidentID
	// Now is the clock that incidents are opened, updated and resolved by.
	Now func() time.Time
	// Quiet is how long nothing must have had to do with an incident before it
	// resolves by itself; 0: it does not.
	Quiet time.Duration
}

// Manager changes incidents. Safe for concurrent use, and on several nodes.
type Manager struct {
	cfg Config
	mu  sync.Mutex // held during a change: two of one node would only get in each other's way
}

// New returns a manager.
func New(cfg Config) *Manager {
	if cfg.NewID == nil {
		cfg.NewID = idOf
	}
	return &Manager{cfg: cfg}
}

// chunk bounds the findings of one change.
const chunk = 100

// Assign finds the incident of each finding, opening and merging as needed, and
// returns the findings with the incident's id in their data, in the same order. It
// is committed by then. A finding that comes again gets what it got before.
//
// CodeUnavailable: it was not, or not all of it, and is to be asked for again.
func (m *Manager) Assign(ctx context.Context, ws cybervault.WorkspaceID, findings []cybervault.Finding) ([]cybervault.Finding, error) {
	out := make([]cybervault.Finding, 0, len(findings))
	for len(findings) > 0 {
		n := min(len(findings), chunk)
		assigned, err := m.assign(ctx, ws, findings[:n])
		if err != nil {
			return nil, err
		}
		out, findings = append(out, assigned...), findings[n:]
	}
	return out, nil
}

func (m *Manager) assign(ctx context.Context, ws cybervault.WorkspaceID, findings []cybervault.Finding) ([]cybervault.Finding, error) {
	lookup := cybervault.IncidentLookup{}
	for i := range findings {
		if g := &findings[i].Gist; g.Subject != "" {
			lookup.Subjects = append(lookup.Subjects, g.Subject)
			lookup.Links = append(lookup.Links, linksOf(g)...)
		}
	}
	if len(lookup.Subjects) == 0 {
		return findings, nil
	}
	ids := make([]cybervault.IncidentID, len(findings))
	err := m.change(ctx, ws, lookup, func(b *board) error {
		for i := range findings {
			ids[i] = b.place(&findings[i])
		}
		for i := range ids {
			ids[i] = b.final(ids[i])
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := make([]cybervault.Finding, len(findings))
	for i, f := range findings {
		f.Data = withIncident(f.Data, ids[i])
		out[i] = f
	}
	return out, nil
}

// noIncident is how the engine leaves room for the id. Within a string, JSON
// escapes the quotes, and no detection has a field of that name.
var noIncident = []byte(`"incident_id":null`)

func withIncident(data []byte, id cybervault.IncidentID) []byte {
	if id.IsZero() {
		return data
	}
	return bytes.Replace(data, noIncident, []byte(`"incident_id":"`+id.String()+`"`), 1)
}

// Tend resolves what has been quiet and tells of what had to wait, in all
// workspaces. more says that there was more than it does at once.
func (m *Manager) Tend(ctx context.Context) (more bool, err error) {
	now := m.cfg.Now()
	quiet := time.Time{}
	if m.cfg.Quiet > 0 {
		quiet = now.Add(-m.cfg.Quiet)
	}
	due, err := m.cfg.Store.DueIncidents(ctx, quiet, now.Add(-updateEvery), chunk)
	if err != nil {
		return false, err
	}
	for _, i := range due {
		err := m.change(ctx, i.Workspace, cybervault.IncidentLookup{IDs: []cybervault.IncidentID{i.ID}}, func(b *board) error {
			b.tend(b.slots[i.ID], quiet)
			return nil
		})
		if err != nil {
			return false, err
		}
	}
	return len(due) == chunk, nil
}

// tend resolves an incident if it has been quiet, or tells of it if it is time.
func (b *board) tend(s *slot, quiet time.Time) {
	if s == nil || !s.Live() {
		return
	}
	if !quiet.IsZero() && !s.Times.Active.After(quiet) {
		b.note(s, engine, "resolved: nothing more was seen")
		b.resolve(s, cybervault.ResolvedByQuiet)
		return
	}
	if s.Told.Behind && b.mayUpdate(&s.Told) {
		s.touched = true
	}
}

// How often a change is tried when other nodes are quicker, and how long a try may
// wait for its turn.
const (
	tries    = 40
	maxPause = 50 * time.Millisecond
)

// change reads, decides and commits, until no other node has been quicker.
func (m *Manager) change(ctx context.Context, ws cybervault.WorkspaceID, lookup cybervault.IncidentLookup, decide func(*board) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for range tries {
		view, err := m.cfg.Store.IncidentView(ctx, ws, lookup)
		if err != nil {
			return err
		}
		b := newBoard(ws, view, m.cfg.Now(), m.cfg.NewID)
		if err := decide(b); err != nil {
			return err
		}
		changes := b.finish()
		if len(changes.Incidents)+len(changes.Members) == 0 {
			return nil
		}
		err = m.cfg.Store.ChangeIncidents(ctx, ws, changes)
		if cybervault.ErrorCode(err) != cybervault.CodeConflict {
			return err
		}
		pause := time.NewTimer(rand.N(maxPause))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return &cybervault.Error{Code: cybervault.CodeUnavailable, Message: "nothing was kept: the call was broken off", Err: ctx.Err()}
		}
	}
	return cybervault.Errorf(cybervault.CodeUnavailable, "the incidents are being changed by other nodes all the time; nothing was kept, try again")
}

// idOf makes an incident's id from the finding that opens it.
func idOf(f *cybervault.Finding) cybervault.IncidentID {
	sum := sha256.Sum256([]byte("incident\x00" + f.Gist.Subject + "\x00" + f.Key))
	ms := min(max(f.Gist.FirstSeen.UnixMilli(), 0), 1<<43-1)
	key := ms<<20 | int64(binary.BigEndian.Uint32(sum[:4])&(1<<20-1))
	return cybervault.IncidentID{UUID: cybervault.UUIDFromParts(key, int64(binary.BigEndian.Uint64(sum[8:16])>>10))}
}
