// Package login finds guessing of passwords in the outcomes of logins.
//
// It stands within the detect stage: attempts go in, patterns come out. It
// works in event time, tolerates records out of order within its windows, and
// keeps a bounded number of sources in memory. It never decides what is worth
// an event, and folds nothing.
package login

import (
	"sort"
	"time"
)

// The patterns, as events and detections name them.
const (
	BruteForce           = "brute_force"
	SlowBruteForce       = "slow_brute_force"
	PasswordSpray        = "password_spray"
	DistributedGuessing  = "distributed_guessing"
	SuccessAfterFailures = "success_after_failures"
	ServiceProbe         = "service_probe" // speaks something else than SSH to sshd: no login, but a scan
)

// Thresholds. An attempt is one try at one secret. The ones below a pattern's
// are no one's business: a person mistypes three times, reconnects and mistypes
// twice more; with a caps-lock key it may be nine before somebody looks down.
// So attempts on one existing account other than root, which is all that a
// clumsy person produces, count far less than guesses at names.
const (
	FastWindow   = 2 * time.Minute // brute_force: a program's pace
	FastNames    = 6               // attempts, where several names, an unknown one or root are tried
	FastOneName  = 10              // attempts on one existing account
	SlowWindow   = 7 * 24 * time.Hour
	SlowNames    = 8  // attempts within SlowWindow, likewise; what a success of the same account forgave is left out
	SlowOneName  = 15 // likewise
	SprayWindow  = time.Hour
	SprayUsers   = 10 // different names from one address …
	SprayEach    = 2  // … with at most this many attempts at each, on average
	CrowdWindow  = time.Hour
	CrowdOneName = 8  // addresses that fail at one account
	CrowdNames   = 25 // addresses that fail at accounts that do not exist, on one host
	CrowdEach    = 4  // attempts an address at most, on average: more is brute force, told of already
	ProbeWindow  = 10 * time.Minute
	Probes       = 4
	QuietAfter   = time.Hour      // an attack is over after this long without an attempt,
	SlowQuiet    = 24 * time.Hour // or this long if it is a slow one
	SuccessAfter = 24 * time.Hour // a success this long after an attack is its success
)

// Attempt is one line of telemetry that tells of a login.
type Attempt struct {
	Scope   string // keeps workspaces and hosts apart
	Address string
	User    string
	Unknown bool   // there is no such account
	Conn    string // the connection it belongs to, if known: lines of one are not counted twice
	Class   string // the form of the line: a connection's attempts are those of its most frequent form
	Outcome Outcome
	Secret  bool // the success was by a secret that can be guessed, not by a key
	Times   int
	Time    time.Time
}

// Outcome of an attempt.
type Outcome int

// The outcomes.
const (
	Failure Outcome = iota
	Success
	Probe // not a try at a secret: a connection that spoke something else
)

// Conclusion is a pattern that an attempt completed or went on with.
type Conclusion struct {
	Pattern string
	Address string // "" for DistributedGuessing
	User    string // "" if many
	New     bool   // the first of its attack: First and Count tell of the attempts before it
	First   time.Time
	Count   int // attempts that this adds
	Total   int // attempts of the attack so far
	Users   int // different names tried
	Sources int // different addresses, of DistributedGuessing
	Unknown int // attempts at accounts that do not exist
}

// Tracker holds the windows. It is not safe for concurrent use.
type Tracker struct {
	addresses *lru[address]
	crowds    *lru[crowd]
	late      int64
}

// Bounds of the memory: attempts remembered of one address, addresses of one
// crowd, and how many of each.
const (
	maxAttempts  = 64
	maxUsers     = 64
	maxConns     = 16
	maxAddresses = 50000
	maxCrowd     = 128
	maxCrowds    = 5000
)

// NewTracker returns a tracker that has seen nothing.
func NewTracker() *Tracker {
	return &Tracker{addresses: newLRU[address](maxAddresses), crowds: newLRU[crowd](maxCrowds)}
}

// Size returns how many addresses and accounts are watched, how many were
// forgotten for want of room, and how many attempts came too late to count.
func (t *Tracker) Size() (watched int, evicted, late int64) {
	return t.addresses.len() + t.crowds.len(), t.addresses.evicted + t.crowds.evicted, t.late
}

// address is what is remembered of one address on one host.
type address struct {
	attempts []attempt // failures, by time, the latest maxAttempts
	conns    []conn
	probes   []time.Time
	hot      string // the pattern last concluded, "" if none
	hotSince time.Time
	hotUntil time.Time
	total    int
	probing  time.Time // until when further probes belong to a scan already told of
}

type attempt struct {
	at      time.Time
	user    string
	unknown bool
}

// conn counts a connection's lines by form.
type conn struct {
	id      string
	counted int
	classes map[string]int
}

// crowd is what is remembered of one account (or one host), from all addresses.
type crowd struct {
	sources  map[string]int // attempts by address
	first    map[string]time.Time
	last     map[string]time.Time
	hotUntil time.Time
	total    int
}

// Add takes in an attempt and returns what it concludes, the strongest first;
// mostly nothing.
func (t *Tracker) Add(a Attempt) []Conclusion {
	if a.Times < 1 {
		a.Times = 1
	}
	if a.Address == "" {
		return nil
	}
	src := t.addresses.get(a.Scope + "\x00" + a.Address)
	switch a.Outcome {
	case Success:
		return src.success(a)
	case Probe:
		return src.probe(a)
	case Failure:
	}
	n := src.count(a)
	if n == 0 {
		return nil
	}
	if len(src.attempts) > 0 && src.attempts[len(src.attempts)-1].at.Sub(a.Time) > SlowWindow {
		t.late++
		return nil
	}
	var out []Conclusion
	if c, ok := src.fail(a, n); ok {
		out = append(out, c)
	}
	if c, ok := t.crowd(a, n, src.hot != ""); ok {
		out = append(out, c)
	}
	return out
}

// count says how many attempts a line adds to those of its connection. One try
// leaves several lines (PAM's, sshd's, the end of the connection), each in a
// form of its own; the form that occurs most often counts them.
func (s *address) count(a Attempt) int {
	if a.Conn == "" {
		return a.Times
	}
	var c *conn
	for i := range s.conns {
		if s.conns[i].id == a.Conn {
			c = &s.conns[i]
		}
	}
	if c == nil {
		if len(s.conns) >= maxConns {
			s.conns = append(s.conns[:0], s.conns[1:]...)
		}
		s.conns = append(s.conns, conn{id: a.Conn, classes: map[string]int{}})
		c = &s.conns[len(s.conns)-1]
	}
	c.classes[a.Class] += a.Times
	n := max(0, c.classes[a.Class]-c.counted)
	c.counted += n
	return n
}

// fail takes in n failures and says what pattern the address shows.
func (s *address) fail(a Attempt, n int) (Conclusion, bool) {
	if s.hot != "" && a.Time.After(s.hotUntil) { // a new attack counts from nought
		*s = address{conns: s.conns, probes: s.probes, probing: s.probing}
	}
	for range min(n, maxAttempts) {
		at := sort.Search(len(s.attempts), func(i int) bool { return s.attempts[i].at.After(a.Time) })
		s.attempts = append(s.attempts, attempt{})
		copy(s.attempts[at+1:], s.attempts[at:])
		s.attempts[at] = attempt{a.Time, a.User, a.Unknown}
	}
	newest := s.attempts[len(s.attempts)-1].at
	drop := sort.Search(len(s.attempts), func(i int) bool { return newest.Sub(s.attempts[i].at) <= SlowWindow })
	if s.hot != "" {
		drop = 0
	}
	if over := len(s.attempts) - maxAttempts; over > drop {
		drop = over
	}
	s.attempts = append(s.attempts[:0], s.attempts[drop:]...)

	pattern := s.pattern()
	if pattern == "" {
		return Conclusion{}, false
	}
	c := Conclusion{Pattern: pattern, Address: a.Address, Count: n, New: s.hot == ""}
	if s.hot != "" && strength(s.hot) >= strength(pattern) {
		c.Pattern = s.hot
	}
	if c.New {
		c.Count = max(len(s.attempts), n)
		s.hotSince = s.attempts[0].at
	}
	s.total += c.Count
	s.hot = c.Pattern
	quiet := QuietAfter
	if c.Pattern == SlowBruteForce {
		quiet = SlowQuiet
	}
	if until := a.Time.Add(quiet); until.After(s.hotUntil) {
		s.hotUntil = until
	}
	c.First, c.Total = s.hotSince, s.total
	c.Users, c.Unknown, c.User = s.users()
	return c, true
}

func strength(pattern string) int {
	switch pattern {
	case SuccessAfterFailures:
		return 4
	case PasswordSpray:
		return 3
	case BruteForce:
		return 2
	case SlowBruteForce:
		return 1
	}
	return 0
}

// pattern judges the attempts in memory by the thresholds.
func (s *address) pattern() string {
	newest := s.attempts[len(s.attempts)-1].at
	within := func(d time.Duration) []attempt {
		i := sort.Search(len(s.attempts), func(i int) bool { return newest.Sub(s.attempts[i].at) <= d })
		return s.attempts[i:]
	}
	if w := within(SprayWindow); len(w) >= SprayUsers {
		if u := distinct(w); u >= SprayUsers && len(w) <= SprayEach*u {
			return PasswordSpray
		}
	}
	if w := within(FastWindow); len(w) >= FastNames && (guesses(w) || len(w) >= FastOneName) {
		return BruteForce
	}
	if w := s.attempts; len(w) >= SlowNames && (guesses(w) || len(w) >= SlowOneName) {
		return SlowBruteForce
	}
	return ""
}

// guesses reports whether the attempts are at more than a person's own account.
func guesses(w []attempt) bool {
	for i, a := range w {
		if a.unknown || a.user == "root" || i > 0 && a.user != w[0].user {
			return true
		}
	}
	return false
}

func distinct(w []attempt) int {
	seen := make(map[string]bool, len(w))
	for _, a := range w {
		seen[a.user] = true
	}
	return len(seen)
}

func (s *address) users() (users, unknown int, one string) {
	for _, a := range s.attempts {
		if a.unknown {
			unknown++
		}
	}
	if users = distinct(s.attempts); users == 1 {
		one = s.attempts[0].user
	}
	return users, unknown, one
}

// success forgives a person's slips, or finds that an attack got in.
func (s *address) success(a Attempt) []Conclusion {
	if s.hot != "" && a.Secret && a.Time.Sub(s.hotSince) >= 0 && a.Time.Sub(s.hotUntil) <= SuccessAfter {
		s.hot = SuccessAfterFailures
		if until := a.Time.Add(QuietAfter); until.After(s.hotUntil) {
			s.hotUntil = until
		}
		users, unknown, _ := s.users()
		return []Conclusion{{Pattern: SuccessAfterFailures, Address: a.Address, User: a.User, First: s.hotSince,
			Count: 1, Total: s.total, Users: users, Unknown: unknown}}
	}
	if s.hot == "" {
		kept := s.attempts[:0]
		for _, old := range s.attempts {
			if old.user != a.User || old.at.After(a.Time) {
				kept = append(kept, old)
			}
		}
		s.attempts = kept
	}
	return nil
}

// probe counts connections that did not come to log in.
func (s *address) probe(a Attempt) []Conclusion {
	kept := s.probes[:0]
	for _, at := range s.probes {
		if d := a.Time.Sub(at); d <= ProbeWindow && d >= -ProbeWindow {
			kept = append(kept, at)
		}
	}
	for range min(a.Times, Probes) {
		if len(kept) == maxAttempts {
			kept = append(kept[:0], kept[1:]...)
		}
		kept = append(kept, a.Time)
	}
	s.probes = kept
	if len(kept) < Probes {
		return nil
	}
	c := Conclusion{Pattern: ServiceProbe, Address: a.Address, New: !a.Time.Before(s.probing), First: kept[0], Count: a.Times, Total: len(kept)}
	for _, at := range kept {
		if at.Before(c.First) {
			c.First = at
		}
	}
	if c.New {
		c.Count = len(kept)
	}
	s.probing = a.Time.Add(ProbeWindow)
	return []Conclusion{c}
}

// crowd looks at one account from all addresses, and at one host's unknown
// accounts. What a single address does in force is told of without it.
func (t *Tracker) crowd(a Attempt, n int, hot bool) (Conclusion, bool) {
	if hot {
		return Conclusion{}, false
	}
	user, limit := a.User, CrowdOneName
	if a.Unknown || user == "" {
		user, limit = "", CrowdNames
	}
	c := t.crowds.get(a.Scope + "\x00" + user)
	if c.sources == nil {
		c.sources, c.first, c.last = map[string]int{}, map[string]time.Time{}, map[string]time.Time{}
	}
	for ip, at := range c.last {
		if d := a.Time.Sub(at); d > CrowdWindow || d < -CrowdWindow {
			delete(c.sources, ip)
			delete(c.first, ip)
			delete(c.last, ip)
		}
	}
	if _, known := c.sources[a.Address]; known || len(c.sources) < maxCrowd {
		if !known {
			c.first[a.Address] = a.Time
		}
		c.sources[a.Address] += n
		c.last[a.Address] = a.Time
	}
	attempts, first := 0, a.Time
	for ip, k := range c.sources {
		attempts += k
		if c.first[ip].Before(first) {
			first = c.first[ip]
		}
	}
	if len(c.sources) < limit || attempts > CrowdEach*len(c.sources) {
		return Conclusion{}, false
	}
	out := Conclusion{Pattern: DistributedGuessing, User: user, New: a.Time.After(c.hotUntil), First: first, Count: n, Sources: len(c.sources), Users: 1}
	if out.New {
		out.Count, c.total = attempts, 0
	}
	if user == "" {
		out.Users, out.Unknown = 0, attempts
	}
	c.total += out.Count
	out.Total = c.total
	c.hotUntil = a.Time.Add(QuietAfter)
	return out, true
}
