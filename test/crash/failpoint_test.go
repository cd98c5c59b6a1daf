package crash

import (
	"fmt"
	"testing"
	"time"

	"github.com/cybervault/cybervault/internal/failpoint"
	"github.com/cybervault/cybervault/test/testenv"
)

// soon is for how long a server is given to reach its failpoint once there is
// nothing more to publish. One that does not is killed where it is.
const soon = 10 * time.Second

// A scene is what is done to a server that is to be killed at a point.
type scene struct {
	within int             // it is killed at a hit between the first and this one
	before func(*campaign) // what is done while it does not run
	act    func(*campaign) // what makes it reach the point; nil: publishing
}

// scenes has a scene for each point.
var scenes = map[string]scene{
	failpoint.CommitBegun:     {within: 40},
	failpoint.CommitDone:      {within: 40},
	failpoint.PublishStored:   {within: 10},
	failpoint.ClaimDone:       {within: 3},
	failpoint.AnswerReceived:  {within: 100},
	failpoint.CheckpointBegin: {within: 1}, // when there is nothing more to write
	failpoint.CheckpointEnd:   {within: 1},
	failpoint.MigrationStep:   {within: 9},
	failpoint.SweepHalf:       {within: 2, before: age},
	failpoint.SweepStep:       {within: 2, before: age},
	failpoint.StopBegin:       {within: 1, act: stopInTheMiddle},
	failpoint.StopDrained:     {within: 1, act: stopInTheMiddle},
}

// A server that is killed at the worst of all instants, again and again on the
// same data, loses nothing that it acknowledged.
func TestKilledAtEachPoint(t *testing.T) {
	t.Parallel()
	for _, point := range failpoint.All() {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			s, ok := scenes[point]
			if !ok {
				t.Fatalf("no scene reaches %s", point)
			}
			s.play(t, point)
		})
	}
}

func (s scene) play(t *testing.T, point string) {
	t.Helper()
	rounds, events := 2, 200
	if n := testenv.Torture(); n > 1 {
		rounds, events = 3*n, 1500
	}
	if point == failpoint.MigrationStep {
		s.playMigration(t)
		return
	}
	clock := newClock(t)
	c := newCampaign(t, "SIGKILL at "+point, testenv.ServerOptions{Args: []string{"--retention", "1h"}, Env: clock.env()})
	c.clock = clock
	c.make(events)
	c.publish()
	killed := 0
	for round := range rounds {
		if c.server.Stop(); s.before != nil {
			s.before(c)
		}
		hit := 1
		if round > 0 {
			hit += c.random.IntN(s.within)
		}
		c.server.RestartAt(fmt.Sprintf("%s:%d", point, hit))
		c.make(events)
		if s.act != nil {
			s.act(c)
		} else {
			c.publish()
		}
		if c.server.Killed(soon) {
			killed++
		} else {
			c.server.Kill()
		}
		c.server.Restart()
	}
	c.finish()
	if killed == 0 {
		t.Errorf("the server never came to %s", point)
	}
	t.Logf("killed %d times at %s, and %d times elsewhere", killed, point, rounds-killed)
}

// age lets time go by until what there is has outlived its retention.
func age(c *campaign) {
	c.clock.step(2 * time.Hour)
	c.forgets = true
}

// stopInTheMiddle asks the server to stop once half of what is to be published
// is acknowledged.
func stopInTheMiddle(c *campaign) {
	c.after(len(c.left)/2, c.server.Terminate)
	c.publish()
}

// playMigration kills the server while it makes its tables, and then wants an
// ordinary one.
func (s scene) playMigration(t *testing.T) {
	t.Helper()
	for hit := 1; ; hit++ {
		c := beginCampaign(t, "SIGKILL at "+failpoint.MigrationStep)
		c.server = testenv.StartServer(t, testenv.ServerOptions{
			Failpoint: fmt.Sprintf("%s:%d", failpoint.MigrationStep, hit), Args: []string{"--dev", "--retry-schedule", quickRetries},
		})
		if !c.server.Dead() {
			if hit < s.within {
				t.Errorf("the server starts after %d steps of its schema, want %d at least", hit-1, s.within)
			}
			return
		}
		c.server.Killed(soon)
		c.server.Restart()
		c.subscribe()
		c.make(c.batch)
		c.finish()
	}
}
