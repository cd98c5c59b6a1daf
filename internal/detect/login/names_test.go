package login

import (
	"fmt"
	"testing"
	"time"
)

// Names tried one after the other, by a program and by people.
func TestEnumeration(t *testing.T) {
	t.Parallel()
	list := func(gap time.Duration, names ...string) (out []Attempt) {
		for i, name := range names {
			out = append(out, try(time.Duration(i)*gap, "a", name, false))
		}
		return out
	}
	exist := func(all []Attempt) []Attempt {
		for i := range all {
			all[i].Exists = true
		}
		return all
	}
	before := func(n int, all []Attempt) (out []Attempt) {
		for i := range n {
			out = append(out, enter(time.Duration(i-n)*time.Hour, "a", fmt.Sprint("person", i), true))
		}
		return append(out, all...)
	}
	for name, c := range map[string]struct {
		attempts []Attempt
		want     string
		total    int
	}{
		"four names at a program's pace":    {list(4*time.Second, "linda", "spanish", "relax", "itw"), BruteForce, 4},
		"four names at a person's pace":     {list(6*time.Second, "linda", "spanish", "relax", "itw"), "", 0},
		"three names at a program's pace":   {list(time.Second, "linda", "spanish", "relax", "linda", "spanish"), "", 0},
		"names that stand in every list":    {list(10*time.Minute, "admin@example.org", "info@example.org", "webmaster@example.org", "test@example.org"), SlowBruteForce, 4},
		"the same within two minutes":       {list(30*time.Second, "admin", "root", "test", "bob"), BruteForce, 4},
		"the same over days":                {list(13*time.Hour, "admin", "root", "test", "bob"), "", 0},
		"two of them and two others":        {list(time.Minute, "admin", "root", "alice", "bob"), "", 0},
		"an administrator who forgot which": {list(20*time.Second, "admin", "root", "administrator", "admin", "root"), "", 0},

		// What people do.
		"slips at one name":                    {list(3*time.Second, "fredrika", "fredrka", "frederika", "fredrik", "Fredrika@example.org"), "", 0},
		"people at a shared address who exist": {exist(list(2*time.Second, "linda", "oskar", "relja", "itw", "maren")), "", 0},
		"an office that mostly gets in":        {before(3, list(2*time.Second, "linda", "oskar", "relja", "itw")), "", 0},
		"a mail program with an old password":  {list(10*time.Minute, "admin@example.org", "admin@example.org", "admin@example.org", "admin@example.org"), "", 0},
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
