package login

import (
	"fmt"
	"runtime"
	"testing"
	"time"
)

var start = time.Date(2026, 3, 10, 8, 0, 0, 0, time.UTC)

// try is one failed attempt, each over a connection of its own.
func try(after time.Duration, address, user string, unknown bool) Attempt {
	return Attempt{Scope: "s", Address: address, User: user, Unknown: unknown, Class: "password", Outcome: Failure, Time: start.Add(after)}
}

func enter(after time.Duration, address, user string, secret bool) Attempt {
	return Attempt{Scope: "s", Address: address, User: user, Outcome: Success, Secret: secret, Time: start.Add(after)}
}

// run feeds attempts and returns the strongest pattern concluded, its first
// conclusion, and all that attempts added to it.
func run(attempts []Attempt) (strongest string, firsts []Conclusion, total int) {
	t := NewTracker()
	for _, a := range attempts {
		for _, c := range t.Add(a) {
			if c.New || c.Pattern == SuccessAfterFailures {
				firsts = append(firsts, c)
			}
			total += c.Count
			if strongest == "" || strength(c.Pattern) > strength(strongest) {
				strongest = c.Pattern
			}
		}
	}
	return strongest, firsts, total
}

// every makes n attempts, gap apart.
func every(n int, gap time.Duration, of func(i int, at time.Duration) Attempt) []Attempt {
	var out []Attempt
	for i := range n {
		out = append(out, of(i, time.Duration(i)*gap))
	}
	return out
}

func TestPatterns(t *testing.T) {
	t.Parallel()
	names := []string{"admin", "oracle", "test", "root", "git", "www", "ftp", "pi", "ubuntu", "guest", "demo", "info"}
	for name, c := range map[string]struct {
		attempts []Attempt
		want     string
		total    int
	}{
		"root guessed fast": {every(20, 3*time.Second, func(_ int, at time.Duration) Attempt { return try(at, "a", "root", false) }), BruteForce, 20},
		"names guessed fast, one short": {every(FastNames-1, 3*time.Second, func(i int, at time.Duration) Attempt { return try(at, "a", names[i%3], true) }),
			"", 0},
		"names guessed fast": {every(FastNames, 3*time.Second, func(i int, at time.Duration) Attempt { return try(at, "a", names[i%3], true) }), BruteForce, FastNames},
		"one account fast":   {every(FastOneName, 3*time.Second, func(_ int, at time.Duration) Attempt { return try(at, "a", "ann", false) }), BruteForce, FastOneName},
		"every half hour":    {every(30, 30*time.Minute, func(i int, at time.Duration) Attempt { return try(at, "a", names[i%12], true) }), SlowBruteForce, 30},
		"every eleven minutes, one account": {every(SlowOneName, 11*time.Minute, func(_ int, at time.Duration) Attempt { return try(at, "a", "ann", false) }),
			SlowBruteForce, SlowOneName},
		"a spray": {every(12, 4*time.Minute, func(i int, at time.Duration) Attempt { return try(at, "a", names[i], false) }), PasswordSpray, 12},
		"many addresses, one account": {every(10, 5*time.Minute, func(i int, at time.Duration) Attempt { return try(at, fmt.Sprint("a", i), "ann", false) }),
			DistributedGuessing, 10},
		"many addresses, names that do not exist": {every(30, time.Minute, func(i int, at time.Duration) Attempt { return try(at, fmt.Sprint("a", i), names[i%12], true) }),
			DistributedGuessing, 30},
		"guessed, then in": {append(every(12, 2*time.Second, func(_ int, at time.Duration) Attempt { return try(at, "a", "backup", false) }),
			enter(time.Minute, "a", "backup", true)), SuccessAfterFailures, 13},
		"slowly guessed, then in hours later": {append(every(20, time.Hour, func(i int, at time.Duration) Attempt { return try(at, "a", names[i%12], true) }),
			enter(25*time.Hour, "a", "git", true)), SuccessAfterFailures, 21},
		"guessed, then in by key": {append(every(12, 2*time.Second, func(_ int, at time.Duration) Attempt { return try(at, "a", "root", false) }),
			enter(time.Minute, "a", "ann", false)), BruteForce, 12},

		"one account, faster than anyone types": {every(BurstTries, 1900*time.Millisecond, func(_ int, at time.Duration) Attempt { return try(at, "a", "ann", false) }), BruteForce, BurstTries},

		// What people do.
		"a mail program with an old password": {every(9, 3*time.Second, func(_ int, at time.Duration) Attempt { return try(at, "a", "ann", false) }), "", 0},
		"mistypes twice":                      {[]Attempt{try(0, "a", "ann", false), try(9*time.Second, "a", "ann", false), enter(20*time.Second, "a", "ann", true)}, "", 0},
		"caps lock, nine in a row":            {append(every(9, 8*time.Second, func(_ int, at time.Duration) Attempt { return try(at, "a", "ann", false) }), enter(2*time.Minute, "a", "ann", true)), "", 0},
		"misspells the name at first": {append(every(3, 5*time.Second, func(_ int, at time.Duration) Attempt { return try(at, "a", "an", true) }),
			try(20*time.Second, "a", "ann", false), enter(30*time.Second, "a", "ann", true)), "", 0},
		"mistypes every morning for a week": {func() (out []Attempt) {
			for day := range 7 {
				at := time.Duration(day) * 24 * time.Hour
				out = append(out, try(at, "a", "ann", false), try(at+5*time.Second, "a", "ann", false), try(at+9*time.Second, "a", "ann", false), enter(at+20*time.Second, "a", "ann", true))
			}
			return out
		}(), "", 0},
		"an office behind one address": {func() (out []Attempt) {
			for i := range 9 {
				at := time.Duration(i) * 10 * time.Minute
				out = append(out, try(at, "a", fmt.Sprint("person", i), false), enter(at+9*time.Second, "a", fmt.Sprint("person", i), true))
			}
			return out
		}(), "", 0},
		"seven people at one shared account": {every(7, 5*time.Minute, func(i int, at time.Duration) Attempt { return try(at, fmt.Sprint("a", i), "shared", false) }), "", 0},
		"fails long ago do not add up":       {every(20, 36*time.Hour, func(_ int, at time.Duration) Attempt { return try(at, "a", "ann", false) }), "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, firsts, total := run(c.attempts)
			if got != c.want || total != c.total {
				t.Errorf("%q with %d attempts, want %q with %d: %+v", got, total, c.want, c.total, firsts)
			}
		})
	}
}

// One try leaves several lines of different forms; it is one attempt.
func TestLinesOfOneConnection(t *testing.T) {
	t.Parallel()
	tracker := NewTracker()
	for i := range FastNames - 1 {
		for _, class := range []string{"unknown_user", "pam_module_failed", "password_failed", "disconnected"} {
			a := try(time.Duration(i)*3*time.Second, "a", "admin", true)
			a.Conn, a.Class = fmt.Sprint(i), class
			if c := tracker.Add(a); len(c) > 0 {
				t.Fatalf("attempt %d, %s: %+v", i, class, c)
			}
		}
	}
	a := try(30*time.Second, "a", "admin", true)
	a.Conn, a.Class, a.Times = "last", "password_failed", 3
	c := tracker.Add(a)
	if len(c) != 1 || c[0].Pattern != BruteForce || c[0].Count != FastNames+2 || !c[0].First.Equal(start) {
		t.Errorf("%+v", c)
	}
}

// Records out of order conclude the same in the end.
func TestOutOfOrder(t *testing.T) {
	t.Parallel()
	attempts := every(12, 5*time.Second, func(_ int, at time.Duration) Attempt { return try(at, "a", "root", false) })
	for i := 0; i+2 < len(attempts); i += 3 {
		attempts[i], attempts[i+2] = attempts[i+2], attempts[i]
	}
	got, firsts, total := run(attempts)
	if got != BruteForce || total != 12 || len(firsts) != 1 || !firsts[0].First.Equal(start) {
		t.Errorf("%q, %d attempts, %+v", got, total, firsts)
	}
	tracker := NewTracker()
	tracker.Add(try(30*24*time.Hour, "a", "root", false))
	tracker.Add(try(0, "a", "root", false))
	if _, _, late := tracker.Size(); late != 1 {
		t.Errorf("%d late", late)
	}
}

// An attack that ends and begins again is told of again, and counts from nought.
func TestSecondAttack(t *testing.T) {
	t.Parallel()
	one := every(10, 3*time.Second, func(_ int, at time.Duration) Attempt { return try(at, "a", "root", false) })
	two := every(10, 3*time.Second, func(_ int, at time.Duration) Attempt { return try(at+30*time.Hour, "a", "root", false) })
	_, firsts, total := run(append(one, two...))
	if len(firsts) != 2 || total != 20 || firsts[1].First.Before(start.Add(30*time.Hour)) {
		t.Errorf("%d attempts, %+v", total, firsts)
	}
}

func TestServiceProbes(t *testing.T) {
	t.Parallel()
	probe := func(n int, gap time.Duration) (news, total int) {
		tracker := NewTracker()
		for i := range n {
			for _, c := range tracker.Add(Attempt{Scope: "s", Address: "a", Outcome: Probe, Time: start.Add(time.Duration(i) * gap)}) {
				if c.Pattern != ServiceProbe {
					t.Errorf("%+v", c)
				}
				if c.New {
					news++
				}
				total += c.Count
			}
		}
		return news, total
	}
	if news, total := probe(7, 10*time.Second); news != 1 || total != 7 {
		t.Errorf("fast: %d new, %d in all", news, total)
	}
	if news, _ := probe(20, 5*time.Minute); news != 0 {
		t.Errorf("slow: %d new", news)
	}
}

// A million sources, each with a try at its own account, are held in 64 MB or
// less; the stalest go first, and are counted.
func TestAMillionSources(t *testing.T) {
	const sources = 1000000
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	tracker := NewTracker()
	for i := range sources {
		a := try(time.Duration(i)*time.Millisecond, fmt.Sprintf("198.18.%d.%d", i>>8, i&255), fmt.Sprint("user", i), i%2 == 0)
		a.Conn = fmt.Sprint(i)
		tracker.Add(a)
		if i%3 == 0 {
			a.Outcome = Success
			tracker.Add(a)
		}
		if i%10 == 0 {
			tracker.AddFactor(Factor{Scope: "s", User: a.User, Event: FactorRefused, Time: a.Time})
		}
	}
	used := heap() - before
	watched, evicted, _ := tracker.Size()
	t.Logf("%.1f MB for %d entries, %d evicted", float64(used)/1e6, watched, evicted)
	if used > 64<<20 || evicted == 0 || watched < 100000 {
		t.Errorf("%.1f MB for %d entries, %d evicted", float64(used)/1e6, watched, evicted)
	}
	if tracker.addresses.find("s\x00198.18.3906.63") == nil {
		t.Error("the latest address is forgotten")
	}
}

func TestOneEntryIsBounded(t *testing.T) {
	t.Parallel()
	one := NewTracker()
	for i := range 5000 {
		a := try(time.Duration(i)*time.Second, "a", fmt.Sprint("u", i), true)
		a.Conn = fmt.Sprint(i)
		one.Add(a)
	}
	src := one.addresses.find("s\x00a")
	if len(src.Attempts) > maxAttempts || len(src.Conns) > maxConns || src.Total != 5000 {
		t.Errorf("%d attempts, %d connections, total %d", len(src.Attempts), len(src.Conns), src.Total)
	}
	many := NewTracker()
	var last Conclusion
	for i := range 3000 {
		for _, c := range many.Add(try(time.Duration(i)*time.Second, fmt.Sprintf("198.18.%d.%d", i>>8, i&255), "ann", false)) {
			last = c
		}
	}
	c := many.crowds.find("s" + oneName.suffix + "ann")
	if len(c.Sources) > maxCrowd || last.Pattern != DistributedGuessing || last.Sources < 2850 || last.Sources > 3150 {
		t.Errorf("%d sources held, %+v", len(c.Sources), last)
	}
}
