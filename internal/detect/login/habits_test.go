package login

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

var (
	berlin   = Place{Country: "DE", Lat: 52.5, Lon: 13.4, Exact: true, Located: true}
	paris    = Place{Country: "FR", Lat: 48.9, Lon: 2.4, Exact: true, Located: true}
	sydney   = Place{Country: "AU", Lat: -33.9, Lon: 151.2, Exact: true, Located: true}
	potsdam  = Place{Country: "DE", Lat: 52.4, Lon: 13.1, Exact: true, Located: true}
	germany  = Place{Country: "DE", Lat: 51, Lon: 9, Located: true}
	france   = Place{Country: "FR", Lat: 46, Lon: 2, Located: true}
	brazil   = Place{Country: "BR", Lat: -10, Lon: -55, Located: true}
	onlyName = Place{Country: "JP"}
)

// from is a login from an address, at a place.
func from(after time.Duration, address string, place Place) Attempt {
	return Attempt{Scope: "s", Address: address, User: "ann", Outcome: Success, Secret: true, Time: start.Add(after), Place: place}
}

// regular logs in every morning for so many days.
func regular(days int, place Place) []Attempt {
	var out []Attempt
	for d := range days {
		out = append(out, from(time.Duration(d)*24*time.Hour, "192.0.2.1", place))
	}
	return out
}

func TestHabits(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		attempts []Attempt
		want     string // patterns in order
	}{
		"a new country":                       {append(regular(6, berlin), from(6*day, "203.0.113.9", paris)), NewCountry},
		"a country known by its name alone":   {append(regular(6, berlin), from(6*day, "203.0.113.9", onlyName)), NewCountry},
		"and then it is known":                {append(regular(6, berlin), from(6*day, "203.0.113.9", paris), from(8*day, "203.0.113.9", paris)), NewCountry},
		"a user of whom little is known":      {append(regular(3, berlin), from(6*day, "203.0.113.9", paris)), ""},
		"many logins on one day are no habit": {append(every(9, time.Hour, func(_ int, at time.Duration) Attempt { return from(at, "192.0.2.1", berlin) }), from(2*day, "203.0.113.9", paris)), ""},
		"another town":                        {append(regular(6, berlin), from(6*day, "203.0.113.9", potsdam)), ""},
		"no country is known":                 {append(regular(6, Place{}), from(6*day, "203.0.113.9", Place{})), ""},

		"across the world in an hour":  {[]Attempt{from(0, "192.0.2.1", berlin), from(time.Hour, "203.0.113.9", sydney)}, ImpossibleTravel},
		"records in the wrong order":   {[]Attempt{from(time.Hour, "203.0.113.9", sydney), from(0, "192.0.2.1", berlin)}, ImpossibleTravel},
		"across the world in a day":    {[]Attempt{from(0, "192.0.2.1", berlin), from(25*time.Hour, "203.0.113.9", sydney)}, ""},
		"by train":                     {[]Attempt{from(0, "192.0.2.1", berlin), from(9*time.Hour, "203.0.113.9", paris)}, ""},
		"between neighbours, coarsely": {[]Attempt{from(0, "192.0.2.1", germany), from(10*time.Minute, "203.0.113.9", france)}, ""},
		"to another continent, coarse": {[]Attempt{from(0, "192.0.2.1", germany), from(time.Hour, "203.0.113.9", brazil)}, ImpossibleTravel},
		"by the company's VPN": {append(append(regular(4, berlin), from(5*day, "203.0.113.9", sydney)),
			from(6*day, "192.0.2.1", berlin), from(6*day+time.Hour, "203.0.113.9", sydney)), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tracker := NewTracker()
			var got []string
			for _, a := range c.attempts {
				for _, f := range tracker.Add(a) {
					got = append(got, f.Pattern)
					if f.User != "ann" || f.Address != a.Address || f.Detail == "" {
						t.Errorf("%+v", f)
					}
				}
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("%v, want %q", got, c.want)
			}
		})
	}
}

func TestFactors(t *testing.T) {
	t.Parallel()
	push := func(n int, gap time.Duration, end FactorEvent) []Factor {
		var out []Factor
		for i := range n {
			at := start.Add(time.Duration(i) * gap)
			out = append(out, Factor{Event: FactorAsked, Time: at}, Factor{Event: FactorRefused, Time: at.Add(20 * time.Second)})
		}
		at := start.Add(time.Duration(n) * gap)
		if end == FactorPassed {
			out = append(out, Factor{Event: FactorAsked, Time: at})
		}
		return append(out, Factor{Event: end, Time: at.Add(20 * time.Second), How: "reset_all", By: "helpdesk"})
	}
	for name, c := range map[string]struct {
		events []Factor
		want   string
		sure   bool
		count  int
	}{
		"many pushes, then a yes":    {push(6, time.Minute, FactorPassed), MFAFatigue, true, 6},
		"a slow telephone":           {push(4, time.Minute, FactorPassed), "", false, 0},
		"pushes far apart":           {push(12, 10*time.Minute, FactorPassed), "", false, 0},
		"many pushes, and no":        {push(11, time.Minute, FactorRefused), MFAFatigue, false, 12},
		"some pushes, and no":        {push(7, time.Minute, FactorRefused), "", false, 0},
		"removed":                    {[]Factor{{Event: FactorRemoved, Time: start, How: "reset_all"}}, MFARemoved, false, 1},
		"removed after the fatigue":  {push(11, time.Minute, FactorRemoved), MFARemoved, true, 12},
		"absent where it is a habit": {append(every3(FactorPassed), Factor{Event: FactorAbsent, Time: start.Add(time.Hour), How: "IMAP"}), MFABypass, false, 1},
		"absent as ever":             {[]Factor{{Event: FactorAbsent, Time: start, How: "IMAP"}, {Event: FactorAbsent, Time: start.Add(time.Hour), How: "IMAP"}}, "", false, 0},
		"bypassed":                   {[]Factor{{Event: FactorBypassed, Time: start, How: "legacy protocol"}}, MFABypass, false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tracker, last, count := NewTracker(), Conclusion{}, 0
			for _, f := range c.events {
				f.Scope, f.User, f.Address = "s", "ann", "203.0.113.9"
				for _, found := range tracker.AddFactor(f) {
					last = found
					count += found.Count
				}
			}
			if last.Pattern != c.want || last.Sure != c.sure || count != c.count {
				t.Errorf("%+v, %d in all; want %q, sure %v, %d", last, count, c.want, c.sure, c.count)
			}
			if c.want == MFARemoved && !strings.Contains(last.Detail, "reset_all") {
				t.Errorf("told as %q", last.Detail)
			}
		})
	}
}

func every3(e FactorEvent) []Factor {
	return []Factor{{Event: e, Time: start}, {Event: e, Time: start.Add(time.Minute)}, {Event: e, Time: start.Add(2 * time.Minute)}}
}

func TestCrowds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		attempts []Attempt
		want     string
	}{
		"an address every few hours": {every(16, 8*time.Hour, func(i int, at time.Duration) Attempt { return try(at, fmt.Sprintf("198.51.%d.7", i), "ann", false) }), DistributedGuessing},
		"one network in turns": {every(14, 40*time.Minute, func(i int, at time.Duration) Attempt {
			return try(at, fmt.Sprintf("198.51.100.%d", i%4), fmt.Sprint("user", i), true)
		}), DistributedGuessing},
		"an office's own network": {every(14, 40*time.Minute, func(i int, at time.Duration) Attempt {
			return try(at, fmt.Sprintf("10.1.2.%d", i%4), fmt.Sprint("user", i), true)
		}), ""},
		"a crowd that gets in": {append(every(9, 5*time.Minute, func(i int, at time.Duration) Attempt { return try(at, fmt.Sprintf("198.51.%d.7", i), "ann", false) }),
			enter(50*time.Minute, "198.51.3.7", "ann", true)), SuccessAfterFailures},
		"its owner gets in": {append(every(9, 5*time.Minute, func(i int, at time.Duration) Attempt { return try(at, fmt.Sprintf("198.51.%d.7", i), "ann", false) }),
			enter(50*time.Minute, "192.0.2.1", "ann", true)), DistributedGuessing},
		"a person on the move": {func() (out []Attempt) {
			for i := range 20 {
				at := time.Duration(i) * 7 * time.Hour
				out = append(out, try(at, fmt.Sprintf("198.51.%d.7", i), "ann", false), enter(at+5*time.Minute, fmt.Sprintf("203.0.%d.7", i), "ann", true))
			}
			return out
		}(), ""},
		"an office whose people mistype": {func() (out []Attempt) {
			for i := range 40 {
				at := time.Duration(i) * 3 * time.Hour
				who := fmt.Sprint("person", i)
				if i%4 == 0 { // gives up
					out = append(out, try(at, "192.0.2.1", who, false))
					continue
				}
				out = append(out, try(at, "192.0.2.1", "persn"+fmt.Sprint(i), true), enter(at+time.Minute, "192.0.2.1", who, true))
			}
			return out
		}(), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tracker, got := NewTracker(), ""
			for _, a := range c.attempts {
				for _, f := range tracker.Add(a) {
					got = f.Pattern
				}
			}
			if got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestMisspelt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		typed, meant string
		want         bool
	}{
		{"persn7", "person7", true}, {"Ann", "ann", true}, {`CORP\ann`, "ann@example.com", true}, {"nan", "ann", false}, {"root", "roo", false},
		{"admin", "ann", false}, {"", "ann", false}, {"oracle", "ann", false}, {strings.Repeat("a", 5000), strings.Repeat("a", 5000) + "b", false},
	} {
		if got := misspelt(c.typed, c.meant); got != c.want {
			t.Errorf("%.20q for %.20q: %v", c.typed, c.meant, got)
		}
	}
}

// A tracker that is saved and loaded goes on as if nothing had been.
func TestItIsKept(t *testing.T) {
	t.Parallel()
	var all []Attempt
	for i := range 600 {
		at := time.Duration(i) * 11 * time.Minute
		all = append(all, try(at, fmt.Sprintf("198.51.%d.7", i%40), fmt.Sprint("user", i%9), i%3 == 0))
		if i%7 == 0 {
			a := from(at, fmt.Sprintf("192.0.2.%d", i%5), []Place{berlin, paris, sydney, germany}[i%4])
			a.User = fmt.Sprint("user", i%2)
			all = append(all, a)
		}
	}
	one, two := NewTracker(), NewTracker()
	for i, a := range all {
		if i%97 == 0 {
			var b bytes.Buffer
			if err := two.Save(&b); err != nil {
				t.Fatal(err)
			}
			var err error
			if two, err = Load(&b); err != nil {
				t.Fatal(err)
			}
		}
		if i%50 == 0 {
			f := Factor{Scope: "s", User: "ann", Event: FactorRefused, Time: a.Time}
			if x, y := fmt.Sprint(one.AddFactor(f)), fmt.Sprint(two.AddFactor(f)); x != y {
				t.Fatalf("factor at %d: %s and %s", i, x, y)
			}
		}
		if x, y := fmt.Sprint(one.Add(a)), fmt.Sprint(two.Add(a)); x != y {
			t.Fatalf("attempt %d: %s and %s", i, x, y)
		}
	}
	a, b, c := one.Size()
	if x, y, z := two.Size(); a != x || b != y || c != z || one.addresses.used == 0 {
		t.Errorf("%d %d %d became %d %d %d", a, b, c, x, y, z)
	}
	if _, err := Load(strings.NewReader("garbage")); err == nil {
		t.Error("garbage was loaded")
	}
}
