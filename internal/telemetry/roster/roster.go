// Package roster keeps which sources of telemetry have sent something, and when, so
// that one which falls silent is noticed: an attacker who is in turns the logs off first.
//
// It stands beside the flow: whoever reads telemetry tells it, and the dashboard asks.
// It keeps names and times in memory, of this node and since its start, and never a
// record.
package roster

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cybervault/cybervault"
)

const (
	// MaxSources bounds how many are kept. Beyond it the one that has been silent for
	// longest is forgotten.
	MaxSources = 1000
	// maxName bounds a name, in bytes; what is longer is cut.
	maxName = 200
	// gapsKept is how many times between batches are looked at.
	gapsKept = 16
	// together is how close two batches are one.
	together = time.Second
)

// Roster keeps sources. The zero value is ready; safe for concurrent use.
type Roster struct {
	mu        sync.Mutex
	sources   map[key]*entry
	forgotten int64
}

type key struct {
	workspace cybervault.WorkspaceID
	name      string
}

type entry struct {
	cybervault.TelemetrySource

	gaps [gapsKept]time.Duration
	next int
	kept int
}

// Saw notes that a source has sent so many records.
func (r *Roster) Saw(ws cybervault.WorkspaceID, name string, records int, at time.Time) {
	if len(name) > maxName {
		name = strings.ToValidUTF8(name[:maxName], "")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	k := key{ws, name}
	e := r.sources[k]
	if e == nil {
		r.makeRoom()
		e = &entry{TelemetrySource: cybervault.TelemetrySource{Name: name, FirstSeen: at, LastSeen: at, Batches: 1}}
		if r.sources == nil {
			r.sources = map[key]*entry{}
		}
		r.sources[k] = e
	} else if gap := at.Sub(e.LastSeen); gap >= together {
		e.gaps[e.next], e.next, e.kept = gap, (e.next+1)%gapsKept, min(e.kept+1, gapsKept)
		e.Batches++
		e.LastSeen = at
	}
	e.Records += int64(records)
}

// makeRoom forgets the source that has been silent for longest.
func (r *Roster) makeRoom() {
	if len(r.sources) < MaxSources {
		return
	}
	var oldest key
	found := false
	for k, e := range r.sources {
		if !found || e.LastSeen.Before(r.sources[oldest].LastSeen) {
			oldest, found = k, true
		}
	}
	delete(r.sources, oldest)
	r.forgotten++
}

// Sources lists the sources of a workspace, those that fell silent first, then by name.
func (r *Roster) Sources(ws cybervault.WorkspaceID, now time.Time) []cybervault.TelemetrySource {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := []cybervault.TelemetrySource{}
	for k, e := range r.sources {
		if k.workspace == ws {
			s := e.TelemetrySource
			s.Usual = e.usual()
			list = append(list, s)
		}
	}
	slices.SortFunc(list, func(a, b cybervault.TelemetrySource) int {
		if silent := a.Silent(now); silent != b.Silent(now) {
			if silent {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.Name, b.Name)
	})
	return list
}

// All lists the sources of every workspace that has any, as Sources does.
func (r *Roster) All(now time.Time) map[cybervault.WorkspaceID][]cybervault.TelemetrySource {
	all := map[cybervault.WorkspaceID][]cybervault.TelemetrySource{}
	r.mu.Lock()
	for k := range r.sources {
		all[k.workspace] = nil
	}
	r.mu.Unlock()
	for ws := range all {
		all[ws] = r.Sources(ws, now)
	}
	return all
}

// Forgotten counts the sources that were forgotten for want of room.
func (r *Roster) Forgotten() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.forgotten
}

// usual is the median of the gaps that are kept.
func (e *entry) usual() time.Duration {
	if e.kept == 0 {
		return 0
	}
	gaps := slices.Clone(e.gaps[:e.kept])
	slices.Sort(gaps)
	return gaps[len(gaps)/2]
}
