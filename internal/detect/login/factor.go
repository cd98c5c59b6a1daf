package login

import (
	"fmt"
	"strings"
	"time"
)

// Thresholds of attacks on a second factor. A person whose telephone is slow
// asks three or four times.
const (
	FatigueWindow = 15 * time.Minute
	FatigueThenIn = 5  // pushes refused or unanswered within FatigueWindow, and then a yes
	FatigueAlone  = 10 // without one
	FactorTrouble = 24 * time.Hour
	HabitOfFactor = 3 // so many times a second factor was given, and its absence is odd
)

// FactorEvent is what a record tells of a second factor.
type FactorEvent int

// The events of second factors.
const (
	FactorAsked    FactorEvent = iota // a push was sent
	FactorRefused                     // it was refused, or nobody answered
	FactorPassed                      // it was approved, or a code was right
	FactorRemoved                     // a factor was removed, reset or suspended
	FactorBypassed                    // somebody tried to get around it
	FactorAbsent                      // a login did without, by a protocol that has none
)

// Factor is one record that tells of a second factor.
type Factor struct {
	Scope   string
	Address string
	User    string // whose factor it is
	By      string // who removed it, "" if not known
	Event   FactorEvent
	How     string // what the record calls it
	Time    time.Time
}

// factor is what is remembered of one user's second factor.
type factor struct {
	Passed  int
	Asked   []time.Time
	Refused []time.Time
	Hot     time.Time // until when more of the same belongs to what was told
	Since   time.Time
	Trouble time.Time // of the last fatigue, for what follows

	AskedAll, RefusedAll, Told int // of the fatigue under way
}

func costOfFactor(key string, f *factor) int {
	return entryBytes + len(key) + 150 + 24*(cap(f.Asked)+cap(f.Refused))
}

// AddFactor takes in an event of a second factor and returns what it concludes.
func (t *Tracker) AddFactor(a Factor) []Conclusion {
	if a.User == "" {
		return nil
	}
	e := t.factors.get(a.Scope + "\x00" + strings.ToLower(a.User))
	defer func() { t.factors.charge(e, costOfFactor(e.key, &e.value)) }()
	f := &e.value
	switch a.Event {
	case FactorAsked:
		f.Asked = latest(append(f.Asked, a.Time), a.Time)
		return f.fatigue(a, false)
	case FactorRefused:
		f.Refused = latest(append(f.Refused, a.Time), a.Time)
		return f.fatigue(a, false)
	case FactorPassed:
		f.Passed++
		out := f.fatigue(a, true)
		f.Asked, f.Refused = nil, nil
		return out
	case FactorRemoved:
		return []Conclusion{f.once(a, MFARemoved, removal(a))}
	case FactorAbsent:
		if f.Passed < HabitOfFactor {
			return nil // an account that works so, such as a printer's
		}
		return []Conclusion{f.once(a, MFABypass, fmt.Sprintf("%q, who otherwise gives a second factor, logged in without: %s", a.User, a.How))}
	case FactorBypassed:
		return []Conclusion{f.once(a, MFABypass, fmt.Sprintf("the second factor of %q was got around: %s", a.User, a.How))}
	}
	return nil
}

func removal(a Factor) string {
	s := fmt.Sprintf("a second factor of %q was removed", a.User)
	if a.By != "" && !strings.EqualFold(a.By, a.User) {
		s += fmt.Sprintf(" by %q", a.By)
	}
	if a.How != "" {
		s += ": " + a.How
	}
	return s
}

// latest keeps the times within the window, as many as are of use.
func latest(times []time.Time, now time.Time) []time.Time {
	out := times[:0]
	for _, at := range times {
		if d := now.Sub(at); d <= FatigueWindow && d >= -FatigueWindow {
			out = append(out, at)
		}
	}
	if over := len(out) - maxAttempts; over > 0 {
		out = append(out[:0], out[over:]...)
	}
	return out
}

// fatigue judges the pushes at hand. Each leaves up to two records, one that it
// was sent and one that it was refused, so that the more frequent counts them.
// The push that is then approved is no refused one.
func (f *factor) fatigue(a Factor, passed bool) []Conclusion {
	f.Asked, f.Refused = latest(f.Asked, a.Time), latest(f.Refused, a.Time)
	asked := len(f.Asked)
	if passed {
		asked = max(0, asked-1)
	}
	n := max(asked, len(f.Refused))
	if n < FatigueThenIn || !passed && n < FatigueAlone {
		return nil
	}
	first := a.Time
	for _, times := range [][]time.Time{f.Asked, f.Refused} {
		for _, at := range times {
			if at.Before(first) {
				first = at
			}
		}
	}
	c := Conclusion{Pattern: MFAFatigue, Address: a.Address, User: a.User, New: a.Time.After(f.Hot), First: first, Count: 1, Total: n, Users: 1, Sure: passed}
	switch {
	case c.New:
		f.AskedAll, f.RefusedAll, f.Told, f.Since = asked, len(f.Refused), 0, first
	case a.Event == FactorAsked:
		f.AskedAll++
	case a.Event == FactorRefused:
		f.RefusedAll++
	}
	c.Count = max(f.AskedAll, f.RefusedAll) - f.Told
	f.Told += c.Count
	switch {
	case passed:
		c.Count = max(c.Count, 1)
	case c.Count == 0:
		return nil // the other record of a push that is counted
	}
	c.First = f.Since
	c.Detail = fmt.Sprintf("%d requests for a second factor of %q within %s were refused or not answered", n, a.User, a.Time.Sub(first).Round(time.Second))
	if passed {
		c.Detail += ", and then one was approved"
	}
	f.Hot, f.Trouble = a.Time.Add(QuietAfter), a.Time
	return []Conclusion{c}
}

// once is a conclusion of one record, which is surer after a fatigue.
func (f *factor) once(a Factor, pattern, detail string) Conclusion {
	return Conclusion{Pattern: pattern, Address: a.Address, User: a.User, New: true, First: a.Time, Count: 1, Total: 1, Users: 1, Detail: detail,
		Sure: !f.Trouble.IsZero() && a.Time.Sub(f.Trouble) <= FactorTrouble && !a.Time.Before(f.Trouble)}
}
