package login

import (
	"sort"
	"strings"
	"time"
)

// address is what is remembered of one address on one host. Fields are exported
// for encoding alone, here and below.
type address struct {
	Attempts []attempt // failures, by time, the latest maxAttempts
	Conns    []conn
	Probes   []time.Time
	Good     []time.Time // successes, the latest maxAttempts
	Hot      string      // the pattern last concluded, "" if none
	HotSince time.Time
	HotUntil time.Time
	Total    int
	Probing  time.Time // until when further probes belong to a scan already told of
}

type attempt struct {
	At      time.Time
	User    string
	Unknown bool
	Exists  bool
}

// conn counts a connection's lines by form.
type conn struct {
	ID      string
	Counted int
	Classes []class
}

type class struct {
	Name  string
	Lines int
}

func costOfAddress(key string, a *address) int {
	n := entryBytes + len(key) + 200 + 56*cap(a.Attempts) + 56*cap(a.Conns) + 24*(cap(a.Probes)+cap(a.Good))
	for i := range a.Conns {
		n += 24 * cap(a.Conns[i].Classes)
	}
	return n
}

// count says how many attempts a line adds to those of its connection. One try
// leaves several lines (PAM's, sshd's, the end of the connection), each in a
// form of its own; the form that occurs most often counts them.
func (s *address) count(a Attempt) int {
	if a.Conn == "" {
		return a.Times
	}
	c := s.conn(a.Conn)
	lines := 0
	for i := range c.Classes {
		if c.Classes[i].Name == a.Class {
			c.Classes[i].Lines += a.Times
			lines = c.Classes[i].Lines
		}
	}
	if lines == 0 {
		lines = a.Times
		c.Classes = append(c.Classes, class{a.Class, lines})
	}
	n := max(0, lines-c.Counted)
	c.Counted += n
	return n
}

func (s *address) conn(id string) *conn {
	for i := range s.Conns {
		if s.Conns[i].ID == id {
			return &s.Conns[i]
		}
	}
	if len(s.Conns) >= maxConns {
		s.Conns = append(s.Conns[:0], s.Conns[1:]...)
	}
	s.Conns = append(s.Conns, conn{ID: id})
	return &s.Conns[len(s.Conns)-1]
}

// fail takes in n failures and says what pattern the address shows.
func (s *address) fail(a Attempt, n int) (Conclusion, bool) {
	if s.Hot != "" && a.Time.After(s.HotUntil) { // a new attack counts from nought
		*s = address{Conns: s.Conns, Probes: s.Probes, Probing: s.Probing, Good: s.Good}
	}
	for range min(n, maxAttempts) {
		at := sort.Search(len(s.Attempts), func(i int) bool { return s.Attempts[i].At.After(a.Time) })
		s.Attempts = append(s.Attempts, attempt{})
		copy(s.Attempts[at+1:], s.Attempts[at:])
		s.Attempts[at] = attempt{a.Time, a.User, a.Unknown, a.Exists}
	}
	newest := s.Attempts[len(s.Attempts)-1].At
	drop := sort.Search(len(s.Attempts), func(i int) bool { return newest.Sub(s.Attempts[i].At) <= SlowWindow })
	if s.Hot != "" {
		drop = 0
	}
	if over := len(s.Attempts) - maxAttempts; over > drop {
		drop = over
	}
	s.Attempts = append(s.Attempts[:0], s.Attempts[drop:]...)

	pattern := s.pattern()
	if pattern == "" {
		return Conclusion{}, false
	}
	c := Conclusion{Pattern: pattern, Address: a.Address, Count: n, New: s.Hot == ""}
	if s.Hot != "" && strength(s.Hot) >= strength(pattern) {
		c.Pattern = s.Hot
	}
	if c.New {
		c.Count = max(len(s.Attempts), n)
		s.HotSince = s.Attempts[0].At
	}
	s.Total += c.Count
	s.Hot = c.Pattern
	quiet := QuietAfter
	if c.Pattern == SlowBruteForce {
		quiet = SlowQuiet
	}
	if until := a.Time.Add(quiet); until.After(s.HotUntil) {
		s.HotUntil = until
	}
	c.First, c.Total = s.HotSince, s.Total
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
	newest := s.Attempts[len(s.Attempts)-1].At
	within := func(d time.Duration) []attempt {
		i := sort.Search(len(s.Attempts), func(i int) bool { return newest.Sub(s.Attempts[i].At) <= d })
		return s.Attempts[i:]
	}
	if w := within(SprayWindow); len(w) >= SprayUsers {
		if u := distinct(w); u >= SprayUsers && len(w) <= SprayEach*u {
			return PasswordSpray
		}
	}
	if w := within(FastWindow); len(w) >= FastNames && (guesses(w) || len(w) >= FastOneName) {
		return BruteForce
	}
	if len(within(BurstWindow)) >= BurstTries {
		return BruteForce
	}
	if pattern := s.enumeration(within, newest); pattern != "" {
		return pattern
	}
	if w := s.Attempts; len(w) >= SlowNames && (guesses(w) || len(w) >= SlowOneName) && len(w) >= SlowBetter*s.good(newest) {
		return SlowBruteForce
	}
	return ""
}

// good counts the successes within SlowWindow of a time.
func (s *address) good(at time.Time) int {
	n := 0
	for _, g := range s.Good {
		if d := at.Sub(g); d <= SlowWindow && d >= -SlowWindow {
			n++
		}
	}
	return n
}

// guesses reports whether the attempts are at more than a person's own account.
func guesses(w []attempt) bool {
	for i, a := range w {
		if a.Unknown || a.User == "root" || i > 0 && a.User != w[0].User {
			return true
		}
	}
	return false
}

func distinct(w []attempt) int {
	seen := make(map[string]bool, len(w))
	for _, a := range w {
		seen[a.User] = true
	}
	return len(seen)
}

func (s *address) users() (users, unknown int, one string) {
	for _, a := range s.Attempts {
		if a.Unknown {
			unknown++
		}
	}
	if users = distinct(s.Attempts); users == 1 {
		one = s.Attempts[0].User
	}
	return users, unknown, one
}

// success forgives a person's slips, or finds that an attack got in.
func (s *address) success(a Attempt) []Conclusion {
	if s.Hot != "" && a.Secret && a.Time.Sub(s.HotSince) >= 0 && a.Time.Sub(s.HotUntil) <= SuccessAfter {
		s.Hot = SuccessAfterFailures
		if until := a.Time.Add(QuietAfter); until.After(s.HotUntil) {
			s.HotUntil = until
		}
		users, unknown, _ := s.users()
		return []Conclusion{{Pattern: SuccessAfterFailures, Address: a.Address, User: a.User, First: s.HotSince,
			Count: 1, Total: s.Total, Users: users, Unknown: unknown}}
	}
	if s.Hot != "" {
		return nil
	}
	if len(s.Good) >= maxAttempts {
		s.Good = append(s.Good[:0], s.Good[1:]...)
	}
	s.Good = append(s.Good, a.Time)
	kept := s.Attempts[:0]
	for _, old := range s.Attempts {
		own := old.User == a.User || a.Time.Sub(old.At) <= ForgiveNames && misspelt(old.User, a.User)
		if !own || old.At.After(a.Time) {
			kept = append(kept, old)
		}
	}
	s.Attempts = kept
	return nil
}

// misspelt reports whether a person who means the one name may type the other:
// two slips, the wrong case, or the name within an address or domain.
func misspelt(typed, meant string) bool {
	typed, meant = bare(typed), bare(meant)
	if typed == "" || meant == "" || typed == "root" {
		return typed == meant
	}
	if len(typed) > 64 || len(meant) > 64 {
		return false
	}
	return distance(typed, meant) <= min(2, len(meant)/2)
}

func bare(name string) string {
	name = strings.ToLower(name)
	if _, after, ok := strings.Cut(name, `\`); ok {
		name = after
	}
	name, _, _ = strings.Cut(name, "@")
	return name
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		left := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := left
			if a[i] != b[j] {
				cost++
			}
			left = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// probe counts connections that did not come to log in.
func (s *address) probe(a Attempt) []Conclusion {
	kept := s.Probes[:0]
	for _, at := range s.Probes {
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
	s.Probes = kept
	if len(kept) < Probes {
		return nil
	}
	c := Conclusion{Pattern: ServiceProbe, Address: a.Address, New: !a.Time.Before(s.Probing), First: kept[0], Count: a.Times, Total: len(kept)}
	for _, at := range kept {
		if at.Before(c.First) {
			c.First = at
		}
	}
	if c.New {
		c.Count = len(kept)
	}
	s.Probing = a.Time.Add(ProbeWindow)
	return []Conclusion{c}
}
