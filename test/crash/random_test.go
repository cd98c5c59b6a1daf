package crash

import (
	"testing"

	"github.com/cybervault/cybervault/test/testenv"
)

// A server that is killed again and again, whatever it is doing, loses nothing
// that it acknowledged.
func TestKilledAgainAndAgain(t *testing.T) {
	t.Parallel()
	rounds, events := 5, 300
	if n := testenv.Torture(); n > 1 {
		rounds, events = 5*n, 5000
	}
	c := newCampaign(t, "SIGKILL at random moments", testenv.ServerOptions{})
	for range rounds {
		c.make(events)
		now := make(chan struct{})
		c.after(1+c.random.IntN(events), func() { close(now) })
		published := make(chan struct{})
		go func() { defer close(published); c.publish() }()
		select {
		case <-now:
		case <-published: // what was not taken in the rounds before may be few
		}
		c.server.Kill()
		<-published
		c.server.Restart()
	}
	c.finish()
}
