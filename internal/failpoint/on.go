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
