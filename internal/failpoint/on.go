//go:build failpoints

package failpoint

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Hit ends the process as kill -9 would, when the environment asks for it at
// this hit of this point. Safe for concurrent use.
func Hit(name string) {
	t := asked()
	if t.name != name || t.left.Add(-1) != 0 {
		return
	}
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Kill()
	}
	if err != nil {
		panic(fmt.Sprintf("failpoint: cannot end this process: %v", err))
	}
	select {} // nothing runs past the point
}

// Clock is time.Now, or a clock that is off by what the file says that the
// environment names. A step of it is harder than one of the system's clock, which
// leaves the time between two readings within a process as it is.
func Clock() func() time.Time {
	path := os.Getenv(ClockEnvironment)
	if path == "" {
		return time.Now
	}
	return func() time.Time {
		text, err := os.ReadFile(path)
		if err != nil {
			panic(err) // the test has it there before the start
		}
		offset, err := time.ParseDuration(strings.TrimSpace(string(text)))
		if err != nil {
			panic(err)
		}
		return time.Now().Add(offset)
	}
}

// trap is what the environment asks for.
type trap struct {
	name string
	left atomic.Int64 // hits to go
}

var asked = sync.OnceValue(func() *trap {
	t, err := parse(os.Getenv(Environment))
	if err != nil {
		panic(err) // a test that asks for nothing would pass for nothing
	}
	return t
})

func parse(text string) (*trap, error) {
	t := new(trap)
	if text == "" {
		return t, nil
	}
	name, count, _ := strings.Cut(text, ":")
	n, err := strconv.ParseInt(count, 10, 64)
	if err != nil || n < 1 || !slices.Contains(All(), name) {
		return nil, fmt.Errorf("failpoint: %s is %q: write name:N with N from 1 on and a name of %s", Environment, text, strings.Join(All(), ", "))
	}
	t.name = name
	t.left.Store(n)
	return t, nil
}
