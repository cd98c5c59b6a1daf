package web

import (
	"container/list"
	"fmt"
	"strings"
	"time"
)

// The rules of the behavioural scan detector, by the names that detections show.
const (
	RuleSensitive = "scan.sensitive_paths"
	RuleForced    = "scan.forced_browsing"
)

// Thresholds of the scan detector. They count different paths, so that a broken
// link that is followed again and again never adds up, and only paths that were
// not served, so that an administrator's own tools do not count.
//
// A person or a crawler that follows a stale link asks for one or two paths that
// look sensitive (an old wp-login.php); three different ones within ten minutes,
// none of which is there, are a list. Paths that nobody links to (.env, .git/config) weigh double.
//
// Forced browsing is asking for many paths that are not there, whatever they
// are called: forty different ones in two minutes, nine requests in ten
// unanswered. A crawler with a stale sitemap is slower, and finds most pages.
const (
	sensitiveWeight = 3
	brokenWeight    = 1
	sensitiveWindow = 10 * time.Minute
	forcedPaths     = 40
	forcedShare     = 0.9
	forcedWindow    = 2 * time.Minute
)

// Bounds of the detector's memory.
const (
	maxProbePaths   = 64    // remembered of one address
	maxProbeSources = 20000 // addresses watched
)

// Probe is a request as the scan detector sees it.
type Probe struct {
	Key    string // workspace and address
	Path   string // of the target, without the query
	Status int    // 0 if unknown
	Broken bool   // it is no HTTP request; Path is all there is of it
	Told   bool   // a rule matched it, so that it is counted already
	Time   time.Time
}

// Scan is the detector's conclusion: this request is part of a scan.
type Scan struct {
	Rule        string
	New         bool // the first of its window: First and Count tell of the requests before it
	First       time.Time
	Count       int // requests that led to it
	Untold      int // of these, the ones that no rule matched
	Paths       int // different ones
	Techniques  []string
	Vector      string
	Rank        int
	Explanation string
}

// Scans watches who asks for what is not there. It is not safe for concurrent use.
type Scans struct {
	bySource map[string]*list.Element
	recent   *list.List // of *probing, the most recently seen in front
	evicted  int64
}

type probing struct {
	key      string
	paths    []probedPath // newest last
	requests []time.Time  // that were answered otherwise than "not here", at most maxProbePaths
	hot      [2]time.Time // until when further probes belong to a scan already told of, by rule
}

type probedPath struct {
	path   string
	weight int
	told   bool
	at     time.Time
}

// NewScans returns a detector that has seen nothing.
func NewScans() *Scans {
	return &Scans{bySource: map[string]*list.Element{}, recent: list.New()}
}

// Size returns how many addresses are watched, and how many were forgotten for
// want of room.
func (s *Scans) Size() (sources int, evicted int64) { return len(s.bySource), s.evicted }

// refused reports whether a status says that the path is not there, or not for
// the one who asks.
func refused(status int) bool {
	switch status {
	case 400, 401, 403, 404, 405, 410, 444:
		return true
	}
	return false
}

// Add takes in a request and returns the scan it is part of, or nil.
func (s *Scans) Add(p Probe) *Scan {
	miss := refused(p.Status)
	el := s.bySource[p.Key]
	if el == nil {
		if !miss {
			return nil // most addresses never miss: they cost nothing
		}
		if len(s.bySource) >= maxProbeSources {
			oldest := s.recent.Back()
			delete(s.bySource, oldest.Value.(*probing).key)
			s.recent.Remove(oldest)
			s.evicted++
		}
		el = s.recent.PushFront(&probing{key: p.Key})
		s.bySource[p.Key] = el
	}
	s.recent.MoveToFront(el)
	src := el.Value.(*probing)
	if !miss {
		src.requests = append(src.requests, p.Time)
		if len(src.requests) > maxProbePaths {
			src.requests = append(src.requests[:0], src.requests[1:]...)
		}
		return nil
	}
	weight, what := Sensitivity(p.Path)
	if p.Broken {
		// What speaks another protocol to a web server looks for something. A browser
		// does so with TLS, where a link has the wrong scheme.
		weight, what = brokenWeight, p.Path
		if strings.HasPrefix(p.Path, "\x16\x03") || strings.HasPrefix(p.Path, `\x16\x03`) {
			weight = 0
		}
	}
	if weight == 0 {
		what = p.Path
	}
	if !src.see(what, weight, p) && !p.Time.Before(src.hot[0]) && !p.Time.Before(src.hot[1]) {
		return nil
	}
	if scan := src.sensitive(p, weight); scan != nil {
		return scan
	}
	return src.forced(p)
}

// see remembers a path and reports whether it is new in its window.
func (src *probing) see(path string, weight int, p Probe) bool {
	if len(path) > 512 {
		path = path[:512]
	}
	kept := src.paths[:0]
	fresh := true
	for _, old := range src.paths {
		if d := p.Time.Sub(old.at); d > sensitiveWindow || d < -sensitiveWindow {
			continue
		}
		if old.path == path {
			fresh = false
		}
		kept = append(kept, old)
	}
	if fresh {
		if len(kept) >= maxProbePaths {
			kept = append(kept[:0], kept[1:]...)
		}
		kept = append(kept, probedPath{path, weight, p.Told, p.Time})
	}
	src.paths = kept
	return fresh
}

func (src *probing) sensitive(p Probe, weight int) *Scan {
	if weight == 0 {
		return nil
	}
	total, n, untold, first := 0, 0, 0, p.Time
	var names []string
	for _, q := range src.paths {
		if q.weight > 0 {
			total += q.weight
			n++
			untold += one(!q.told)
			if q.at.Before(first) {
				first = q.at
			}
			if len(names) < 5 {
				names = append(names, printable(q.path, 60))
			}
		}
	}
	fresh := !p.Time.Before(src.hot[0])
	if total < sensitiveWeight || fresh && n < 2 {
		return nil
	}
	src.hot[0] = p.Time.Add(sensitiveWindow)
	scan := &Scan{
		Rule: RuleSensitive, New: fresh, First: first, Count: 1, Untold: one(!p.Told), Paths: n, Techniques: scanVector.techniques, Vector: scanVector.name, Rank: scanVector.rank,
		Explanation: fmt.Sprintf("asked for %d different paths that only a scanner asks for within %s, none of which was served: %s",
			n, sensitiveWindow, strings.Join(names, ", ")),
	}
	if fresh {
		scan.Count, scan.Untold = n, untold
	}
	return scan
}

func (src *probing) forced(p Probe) *Scan {
	misses, untold, first := 0, 0, p.Time
	for _, q := range src.paths {
		if p.Time.Sub(q.at) <= forcedWindow && q.at.Sub(p.Time) <= forcedWindow {
			misses++
			untold += one(!q.told)
			if q.at.Before(first) {
				first = q.at
			}
		}
	}
	hits := 0
	for _, at := range src.requests {
		if p.Time.Sub(at) <= forcedWindow && at.Sub(p.Time) <= forcedWindow {
			hits++
		}
	}
	if misses < forcedPaths || float64(misses) < forcedShare*float64(misses+hits) {
		return nil
	}
	fresh := !p.Time.Before(src.hot[1])
	src.hot[1] = p.Time.Add(forcedWindow)
	scan := &Scan{
		Rule: RuleForced, New: fresh, First: first, Count: 1, Untold: one(!p.Told), Paths: misses, Techniques: scanVector.techniques, Vector: scanVector.name, Rank: scanVector.rank,
		Explanation: fmt.Sprintf("asked for %d different paths that are not there within %s, and %d requests that were answered", misses, forcedWindow, hits),
	}
	if fresh {
		scan.Count, scan.Untold = misses, untold
	}
	return scan
}

func one(yes bool) int {
	if yes {
		return 1
	}
	return 0
}
