package detect

import (
	"bytes"
	"encoding/gob"
	"fmt"
	"io"
	"maps"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/detect/login"
	"github.com/cybervault/cybervault/internal/detect/sigma"
	"github.com/cybervault/cybervault/internal/detect/web"
)

// stateVersion is of the form that Save writes. A state of another form is not
// read: windows that begin anew are better than windows read wrongly.
const stateVersion = 1

// engineState is an engine's memory, written down.
type engineState struct {
	Version int
	Records int64
	Evicted int64
	Attacks []keptAttack // the longest untouched first
	Scans   []web.KeptProbes
	Logins  []byte
	Groups  []byte // of correlations
}

type keptAttack struct {
	Workspace                  cybervault.WorkspaceID
	Kind, Source, Target, User string
	Crowd                      bool

	First, Last               time.Time
	Count                     int
	Quiet                     time.Duration
	Names                     map[string]keptNaming
	Detections                []*cybervault.Detection
	Further                   int
	Paths                     []string
	Answered, Refused, Failed int
	Behaviour                 int
	OneUser                   string
	Users, Sources, Unknown   int

	Told         bool
	ToldCount    int
	ToldSeverity cybervault.Severity
	ToldNames    int
}

type keptNaming struct {
	Rank, Count int
	Technique   string
	Level       cybervault.Severity
}

// Save writes down what the engine remembers of attacks, scans, logins and correlations, so that
// another engine can go on from there. Batches wait while it is copied, not while
// it is written.
func (e *Engine) Save(w io.Writer) error {
	s := engineState{Version: stateVersion}
	var logins, groups, rest bytes.Buffer
	e.sigmaMu.RLock()
	defer e.sigmaMu.RUnlock()
	e.mu.Lock()
	s.Records, s.Evicted, s.Scans = e.records, e.attacks.evicted, e.scans.Keep()
	for el := e.attacks.recent.Back(); el != nil; el = el.Prev() {
		s.Attacks = append(s.Attacks, el.Value.(*attack).keep())
	}
	err := e.logins.Save(&logins)
	if err == nil && e.correlator != nil {
		err = e.correlator.Save(&groups)
	}
	if err == nil {
		s.Logins, s.Groups = logins.Bytes(), groups.Bytes()
		err = gob.NewEncoder(&rest).Encode(s)
	}
	e.mu.Unlock()
	if err != nil {
		return err
	}
	_, err = rest.WriteTo(w)
	return err
}

// Load makes an engine that has seen nothing remember what was saved. On an error
// it still has seen nothing.
func (e *Engine) Load(r io.Reader) error {
	var s engineState
	if err := gob.NewDecoder(r).Decode(&s); err != nil {
		return fmt.Errorf("the state of the threat engine cannot be read: %w", err)
	}
	if s.Version != stateVersion {
		return fmt.Errorf("the state of the threat engine is of form %d, not %d", s.Version, stateVersion)
	}
	logins, err := login.Load(bytes.NewReader(s.Logins))
	if err != nil {
		return err
	}
	e.sigmaMu.Lock()
	defer e.sigmaMu.Unlock()
	var groups *sigma.Correlator
	if e.sigma != nil && len(s.Groups) > 0 {
		if groups, err = e.sigma.LoadCorrelator(bytes.NewReader(s.Groups)); err != nil {
			return err
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if groups != nil {
		e.correlator = groups
	}
	e.records, e.attacks.evicted, e.logins, e.scans = s.Records, s.Evicted, logins, web.RestoreScans(s.Scans)
	for _, k := range s.Attacks[max(0, len(s.Attacks)-maxAttacks):] {
		a := k.restore()
		e.attacks.byKey[a.key] = e.attacks.recent.PushFront(a)
	}
	return nil
}

func (a *attack) keep() keptAttack {
	k := keptAttack{
		Workspace: a.key.ws, Kind: a.key.kind, Source: a.key.source, Target: a.key.target, User: a.key.user, Crowd: a.key.crowd,
		First: a.first, Last: a.last, Count: a.count, Quiet: a.quiet, Names: make(map[string]keptNaming, len(a.names)), Detections: a.detections, Further: a.further,
		Answered: a.answered, Refused: a.refused, Failed: a.failed, Behaviour: a.behaviour, OneUser: a.user, Users: a.users, Sources: a.sources, Unknown: a.unknown,
		Told: a.told, ToldCount: a.toldCount, ToldSeverity: a.toldSeverity, ToldNames: a.toldNames,
	}
	for name, n := range a.names {
		k.Names[name] = keptNaming{n.rank, n.count, n.technique, n.level}
	}
	for path := range maps.Keys(a.paths) {
		k.Paths = append(k.Paths, path)
	}
	return k
}

func (k *keptAttack) restore() *attack {
	a := &attack{
		key:   attackKey{ws: k.Workspace, kind: k.Kind, source: k.Source, target: k.Target, user: k.User, crowd: k.Crowd},
		first: k.First, last: k.Last, count: k.Count, quiet: k.Quiet, names: make(map[string]*naming, len(k.Names)), detections: k.Detections, further: k.Further,
		paths: make(map[string]bool, len(k.Paths)), answered: k.Answered, refused: k.Refused, failed: k.Failed, behaviour: k.Behaviour,
		user: k.OneUser, users: k.Users, sources: k.Sources, unknown: k.Unknown,
		told: k.Told, toldCount: k.ToldCount, toldSeverity: k.ToldSeverity, toldNames: k.ToldNames,
	}
	for name, n := range k.Names {
		a.names[name] = &naming{rank: n.Rank, count: n.Count, technique: n.Technique, level: n.Level}
	}
	for _, path := range k.Paths {
		a.paths[path] = true
	}
	return a
}
