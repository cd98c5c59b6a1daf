package crash

import (
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cybervault/cybervault/internal/failpoint"
	"github.com/cybervault/cybervault/test/testenv"
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

// A clock that is set back or forward by a day while deliveries wait for their
// next attempt neither keeps them for that day nor loses one; ids go on rising,
// and what is signed is as wrong as the clock, no more.
func TestTheClockIsSet(t *testing.T) {
	t.Parallel()
	for name, steps := range map[string][]time.Duration{
		"back": {-24 * time.Hour}, "forward": {24 * time.Hour}, "there and back": {24 * time.Hour, -24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			setTheClock(t, steps)
		})
	}
}

func setTheClock(t *testing.T, steps []time.Duration) {
	t.Helper()
	clock := newClock(t)
	receiver := testenv.NewPlainReceiver(t)
	ledger := testenv.NewLedger(t, "a clock that is set")
	var sink *testenv.Sink
	var out atomic.Bool // the receiver is
	receiver.AnswerWith(func(w http.ResponseWriter, _ *http.Request, got testenv.Received) {
		sink.Got(got.Header.Get("Webhook-Id"), !out.Load())
		if out.Load() {
			w.WriteHeader(http.StatusBadGateway)
		}
	})
	server := testenv.StartServer(t, testenv.ServerOptions{
		Failpoint: nowhere, // it is for the clock
		Args:      []string{"--dev", "--retry-schedule", quickRetries}, Env: clock.env(),
	})
	sink = ledger.Sink("the receiver", hook(t, server, receiver.URL))
	last := ""
	publish := func(n int) {
		t.Helper()
		for range n {
			ledger.Published(1)
			id := publishOne(t, server, strconv.Itoa(n))
			ledger.Acknowledged(id)
			if id <= last {
				t.Fatalf("the id %s follows %s", id, last)
			}
			last = id
		}
	}
	const each = 40
	sent := 0
	for _, step := range steps {
		out.Store(true)
		publish(each)
		// Each has been refused once at least, and waits.
		receiver.Wait(patience, "a first attempt for each", func([]testenv.Received) bool { return sink.Refused() >= each })
		clock.step(step)
		out.Store(false)
		publish(each)
		ledger.Settle(server, 2*patience) // a sweep finds what the clock has moved
		received := receiver.Received()
		for _, got := range received[len(received)-1:] {
			stamp, err := strconv.ParseInt(got.Header.Get("Webhook-Timestamp"), 10, 64)
			if off := time.Unix(stamp, 0).Sub(got.At.Add(clock.offset)).Abs(); err != nil || off > time.Minute {
				t.Errorf("the last attempt's timestamp is %s away from the server's clock (%v)", off, err)
			}
		}
		sent = len(received)
	}
	ledger.Check(t)
	if sent < 3*each*len(steps) {
		t.Errorf("%d requests in all: nothing was refused", sent)
	}
}
