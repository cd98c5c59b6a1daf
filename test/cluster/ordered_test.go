package cluster

import (
	"math/rand/v2"
	"testing"

	"github.com/cybervault/cybervault/test/testenv"
)

// The line of an ordered webhook holds while nodes are killed and PostgreSQL is
// restarted: nothing is accepted after what comes behind it.
func TestOrderHoldsOverKills(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t, testenv.PostgresOptions{})
	s := newSite(t, pg.URL(), 3, `,"ordered":true`)
	s.publish()
	for round := range 2 * testenv.Torture() {
		s.waitAcks(50)
		node := s.nodes[rand.IntN(len(s.nodes))]
		node.Kill()
		if round%2 == 1 {
			pg.Restart("fast")
		}
		s.waitAcks(50)
		node.Restart()
	}
	s.finish()
	s.hooks[0].inOrder(t)
}

// inOrder checks that what has arrived stands in the order of its numbers; what
// came again comes before the next.
func (h *hook) inOrder(t *testing.T) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	last, wrong := 0, 0
	for _, a := range h.arrivals {
		if a.sequence < last {
			wrong++
			t.Logf("number %d was accepted after number %d", a.sequence, last)
		}
		last = max(last, a.sequence)
	}
	if wrong > 0 {
		t.Errorf("%d of %d arrivals are out of order", wrong, len(h.arrivals))
	}
}
