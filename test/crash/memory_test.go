//go:build linux

package crash

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cybervault/cybervault/test/testenv"
)

// large is what makes an event of a campaign nearly as large as one may be.
var large = strings.Repeat("x", 200<<10)

// A server that the system gives no more than 1 GiB, and that was told of it as
// docs/overload.md says, holds a backlog for a receiver that does not answer, and
// bodies as large as there may be, and delivers all of it. The program has no race
// detector, whose memory is not the server's.
func TestLittleMemory(t *testing.T) {
	t.Parallel()
	const limit = 1 << 30
	limited := filepath.Join(t.TempDir(), "cybervault")
	write(t, limited, fmt.Sprintf("#!/bin/sh\nulimit -d %d\nexec %s \"$@\"\n", limit>>10, testenv.FailpointBinary(t)))
	if err := os.Chmod(limited, 0o700); err != nil {
		t.Fatal(err)
	}
	c := newCampaign(t, "1 GiB of memory", testenv.ServerOptions{Binary: limited, Env: []string{"GOMEMLIMIT=600MiB", "GOTRACEBACK=none"}})
	c.publishers = 16
	hold := c.inbox.holdAnswers()
	c.make(5000 * testenv.Torture()) // the backlog
	c.batch = 500
	c.publish()
	c.batch, c.padding = 50, large // 10 MiB each, 160 MiB at once
	c.make(600)
	c.publish()
	if c.server.Dead() {
		t.Fatal("the server ran out of memory")
	}
	close(hold.release)
	c.finish()
	t.Logf("at most %d MiB were resident and %d MiB taken, of %d", c.server.Memory("VmHWM")>>20, c.server.Memory("VmData")>>20, limit>>20)
}

// A server that the system refuses memory in the middle of its work ends at once,
// as killed, and loses nothing that it acknowledged.
func TestMemoryRunsOut(t *testing.T) {
	t.Parallel()
	c := newCampaign(t, "no memory left", testenv.ServerOptions{Binary: testenv.FailpointBinary(t), Env: []string{"GOTRACEBACK=none"}})
	c.publishers, c.padding = 16, large
	for range 1 + testenv.Torture() {
		c.make(20)
		c.publish()
		c.server.Limit(testenv.LimitMemory, c.server.Memory("VmData"))
		// More at once each time: how much room the heap has left is the collector's.
		for until := time.Now().Add(2 * time.Minute); !c.server.Dead() && time.Now().Before(until); {
			c.make(300)
			c.publish()
			c.publishers = min(2*c.publishers, 256)
		}
		if !c.server.Dead() {
			t.Error("the server has what it needs, so memory did not run out")
		}
		c.publishers = 16
		c.server.Kill()
		c.server.Restart()
	}
	if !strings.Contains(c.server.Log(), "out of memory") {
		t.Error("the server did not say that it ran out of memory")
	}
	c.finish()
}
