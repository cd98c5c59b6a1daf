package detect

import (
	"container/list"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/detect/login"
)

// signal is what one record adds to an attack.
type signal struct {
	engine, rule, title string
	level               cybervault.Severity
	name                string // vector or pattern
	rank                int
	technique           string    // of the vector or pattern
	techniques          []string  // of the rule
	first               time.Time // of the records that it tells of
	add                 int       // how many records these are, beyond those already counted
	ruleAdd             int       // how many for the rule itself; 1 if 0
	same                bool      // a further rule of a request that was counted
	status              int
	explanation         string
	inspected           bool    // the record is a request that a rule or the learned score matched
	score               float64 // the learned score of the request
	learned             bool    // the rule is the learned score itself
	path                string
	record              []byte
	behaviour           int // different paths of a scan
	quiet               time.Duration
	user                string
	users               int
	sources             int
	unknown             int
}

// attackKey says which records belong to one attack.
type attackKey struct {
	ws     cybervault.WorkspaceID
	kind   string // the event type
	source string
	target string
	user   string // of a crowd
	crowd  bool
}

// Bounds of an attack. What is beyond them starts another, or is only counted.
const (
	webQuiet      = 10 * time.Minute // a web attack is over after this long without a record
	maxSpan       = 7 * 24 * time.Hour
	maxDetections = 10
	maxPaths      = 256
	maxNames      = 16
	maxAttacks    = 20000 // held at once; the one longest untouched goes first
)

// attack is what records of one source against one target add up to.
type attack struct {
	key         attackKey
	first, last time.Time
	count       int
	quiet       time.Duration
	names       map[string]*naming // the vectors or patterns it showed
	detections  []*cybervault.Detection
	further     int // detections of rules beyond maxDetections
	paths       map[string]bool
	answered    int // requests with a status below 400
	refused     int // with one from 400 to 499
	failed      int // with one from 500
	behaviour   int
	user        string
	users       int
	sources     int
	unknown     int
	scored      bool    // a rule or the learned score matched a request of it
	learned     bool    // the learned score did
	score       float64 // the highest learned score of its requests

	told         bool
	toldCount    int
	toldSeverity cybervault.Severity
	toldNames    int
}

// naming is what speaks for calling an attack by one vector or pattern.
type naming struct {
	rank, count int
	technique   string
	level       cybervault.Severity // the worst that it showed
}

// attacks holds the open attacks of all workspaces.
type attacks struct {
	byKey   map[attackKey]*list.Element
	recent  *list.List // of *attack, the most recently touched in front
	evicted int64
	min     float64
	said    map[cybervault.WorkspaceID]cybervault.DispositionCounts
}

func newAttacks(minConfidence float64) *attacks {
	return &attacks{byKey: map[attackKey]*list.Element{}, recent: list.New(), min: minConfidence, said: map[cybervault.WorkspaceID]cybervault.DispositionCounts{}}
}

// fold adds a signal to the attack it belongs to, or starts one. An attack that
// ends by it, or has to make room, is told of now.
func (b *Batch) fold(k attackKey, at time.Time, s signal) {
	as := b.e.attacks
	el := as.byKey[k]
	if el != nil {
		if a := el.Value.(*attack); a.over(at) {
			b.finish(el)
			el = nil
		}
	}
	if el == nil {
		if as.recent.Len() >= maxAttacks {
			b.finish(as.recent.Back())
			as.evicted++
		}
		el = as.recent.PushFront(&attack{key: k, first: s.first, last: at, quiet: webQuiet, names: map[string]*naming{}, paths: map[string]bool{}})
		as.byKey[k] = el
	}
	as.recent.MoveToFront(el)
	a := el.Value.(*attack)
	a.add(at, s)
	b.touched[a] = true
}

// finish lets go of an attack, telling of it if there is something new to tell.
// An attack of another workspace is never told of here: the batch that touched
// it last has told of it, or will at its end.
func (b *Batch) finish(el *list.Element) {
	a := el.Value.(*attack)
	if a.key.ws == b.ws {
		if f, ok := b.e.attacks.tell(a); ok {
			b.findings = append(b.findings, f)
		}
		delete(b.touched, a)
	}
	b.e.attacks.recent.Remove(el)
	delete(b.e.attacks.byKey, a.key)
}

// over reports whether a record of the given time is too far from the attack to
// belong to it, on either side: records may come out of order.
func (a *attack) over(at time.Time) bool {
	return at.Sub(a.last) > a.quiet || a.first.Sub(at) > a.quiet || at.Sub(a.first) > maxSpan
}

func (a *attack) add(at time.Time, s signal) {
	if s.first.Before(a.first) {
		a.first = s.first
	}
	if at.After(a.last) {
		a.last = at
	}
	a.count += s.add
	a.quiet = max(a.quiet, s.quiet)
	name := a.names[s.name]
	if name == nil && len(a.names) < maxNames {
		name = &naming{rank: s.rank, technique: s.technique}
		a.names[s.name] = name
	}
	if name != nil {
		name.count += s.add
		if name.level == "" || s.level.Rank() > name.level.Rank() {
			name.level = s.level
		}
	}
	if s.path != "" && len(a.paths) < maxPaths {
		a.paths[s.path] = true
	}
	if !s.same {
		switch {
		case s.status >= 500:
			a.failed++
		case s.status >= 400:
			a.refused++
		case s.status > 0:
			a.answered++
		}
	}
	a.behaviour = max(a.behaviour, s.behaviour)
	a.scored, a.learned, a.score = a.scored || s.inspected, a.learned || s.learned, max(a.score, s.score)
	if s.user != "" {
		a.user = s.user
	} else if s.users > 1 && a.names[login.SuccessAfterFailures] == nil {
		a.user = ""
	}
	a.users, a.sources, a.unknown = max(a.users, s.users), max(a.sources, s.sources), max(a.unknown, s.unknown)
	a.detect(s)
}

// best is the vector or pattern that names the attack: of those that a
// twentieth of its records speak for, the one that would do most harm. A login
// that succeeded is one record, and always counts.
func (a *attack) best() (string, *naming) {
	var best string
	var by *naming
	for _, enough := range []int{a.count / 20, 0} {
		for name, n := range a.names {
			if n.count < enough && name != login.SuccessAfterFailures {
				continue
			}
			if by == nil || n.rank > by.rank || n.rank == by.rank && name < best {
				best, by = name, n
			}
		}
		if by != nil {
			break
		}
	}
	return best, by
}

// detect adds to the rule's detection, or makes it: the record shown is the
// first, the explanation of a pattern the latest.
func (a *attack) detect(s signal) {
	n := max(1, s.ruleAdd)
	for _, d := range a.detections {
		if d.RuleID == s.rule && d.Engine == s.engine {
			d.Count += n
			if s.ruleAdd > 0 {
				d.Explanation = s.explanation
			}
			return
		}
	}
	if len(a.detections) >= maxDetections {
		a.further++
		return
	}
	a.detections = append(a.detections, &cybervault.Detection{
		Engine: s.engine, RuleID: s.rule, Title: s.title, Level: s.level, MitreIDs: s.techniques,
		Record: cut(string(s.record), cybervault.MaxDetectionRecordBytes), Count: n, Explanation: s.explanation,
	})
}

// grown reports whether an attack that was told of is worth telling of again.
func (a *attack) grown(severity cybervault.Severity) bool {
	return a.count >= 10*a.toldCount || severity.Rank() > a.toldSeverity.Rank() || len(a.names) > a.toldNames
}
