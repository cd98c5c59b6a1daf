package cluster

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/cybervault/cybervault/internal/failpoint"
	"github.com/cybervault/cybervault/test/testenv"
)

// Three nodes publish and deliver while one of them at a time is killed and
// started again, and PostgreSQL is restarted and killed in between.
func TestNodesAreKilled(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t, testenv.PostgresOptions{})
	s := newSite(t, pg.URL(), 3, "", `,"concurrency":2`)
	s.hooks[1].setRefuse(20)
	s.publish()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for round := range 4 * testenv.Torture() {
		s.waitAcks(int64(30 + random.IntN(100)))
		node := s.nodes[random.IntN(len(s.nodes))]
		node.Kill()
		switch round % 4 {
		case 1:
			pg.Restart([]string{"fast", "immediate"}[random.IntN(2)])
		case 3:
			pg.Kill()
			pg.Start()
		}
		s.waitAcks(int64(30 + random.IntN(100)))
		node.Restart()
	}
	s.recovers(s.nodes...)
	s.finish()
}

// points are the failpoints that a node on PostgreSQL passes while it works.
var points = []string{failpoint.CommitBegun, failpoint.CommitDone, failpoint.PublishStored, failpoint.ClaimDone, failpoint.AnswerReceived}

// A node kills itself at each of the places where that would hurt most, while two
// others go on.
func TestNodesAreKilledAtFailpoints(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t, testenv.PostgresOptions{})
	s := newSite(t, pg.URL(), 3, "")
	s.hooks[0].setRefuse(5)
	s.publish()
	node := s.nodes[2]
	for round := range testenv.Torture() {
		for _, point := range points {
			node.Kill()
			node.RestartAt(fmt.Sprintf("%s:%d", point, 1+(7*round)%40))
			if !node.Killed(patience) {
				t.Fatalf("the node did not come to %s within %s", point, patience)
			}
			s.waitAcks(20)
			node.Restart()
		}
	}
	s.recovers(s.nodes...)
	s.finish()
}

// takeover kills the first node while it has attempts under way, and returns how
// long it took until another node made one of them again.
func (s *site) takeover() time.Duration {
	s.t.Helper()
	const events = 5
	node, h := s.nodes[0], s.hooks[0]
	h.setHold(true)
	before := len(h.receiver.Received())
	leased := map[string]bool{}
	for range events {
		a := call(node, http.MethodPost, "/v1/events", event(fmt.Sprintf("takeover-%d", s.next.Add(1))))
		if a.status != http.StatusAccepted {
			s.t.Fatalf("publish: %d %s %v", a.status, a.body, a.err)
		}
		s.ledger.Published(1)
		s.ledger.Acknowledged(a.id())
		leased[a.id()] = true
	}
	h.receiver.Wait(patience, "an attempt", func(got []testenv.Received) bool { return len(got) > before })
	node.Kill()
	killed := time.Now()
	h.setHold(false)
	var again time.Time
	h.receiver.Wait(patience, "what the killed node had leased", func(got []testenv.Received) bool {
		for _, r := range got {
			if r.At.After(killed) && leased[r.Header.Get("Webhook-Id")] {
				again = r.At
				return true
			}
		}
		return false
	})
	node.Restart()
	return again.Sub(killed)
}

func (h *hook) setHold(hold bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hold = hold
}

func (h *hook) setRefuse(oneIn int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refuse = oneIn
}

// What a killed node had leased is taken up by the others. The long form kills
// often, for the figures of the documentation.
func TestWorkOfAKilledNodeGoesOn(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t, testenv.PostgresOptions{})
	s := newSite(t, pg.URL(), 3, "")
	var took []time.Duration
	for range 1 + 4*(testenv.Torture()-1) {
		took = append(took, s.takeover())
	}
	slices.Sort(took)
	t.Logf("from the kill to the first attempt of what was leased, over %d kills: median %s, worst %s",
		len(took), took[len(took)/2].Round(10*time.Millisecond), took[len(took)-1].Round(10*time.Millisecond))
	s.finish()
}
