package crash

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cybervault/cybervault/internal/failpoint"
)

// A clock says by how much the clock of a server with failpoints is off.
type clock struct {
	t      *testing.T
	path   string
	offset time.Duration
}

func newClock(t *testing.T) *clock {
	t.Helper()
	c := &clock{t: t, path: filepath.Join(t.TempDir(), "offset")}
	c.step(0)
	return c
}

// env has a server follow the clock.
func (c *clock) env() []string { return []string{failpoint.ClockEnvironment + "=" + c.path} }

// step sets the clock forward, or back. The server reads all of the new offset or
// all of the old one.
func (c *clock) step(by time.Duration) {
	c.t.Helper()
	c.offset += by
	write(c.t, c.path+".new", c.offset.String())
	if err := os.Rename(c.path+".new", c.path); err != nil {
		c.t.Fatal(err)
	}
}
