package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"
)

// Options says how much to do.
type Options struct {
	Events     int           // of each round
	Rounds     int           // what is compared takes turns so often
	Batch      int           // events that a publish call carries, where they are not published alone
	Publishers int           // connections that publish, where events are not published alone
	Light      time.Duration // how long the light load lasts
	Reference  time.Duration // how long the bare client runs in each round
	History    int           // deliveries that have ended already, in history
	Backlog    int           // deliveries that wait for a retry already, in backlog
	Webhooks   int           // the most webhooks, in webhooks

	CPUProfile string    // file for the profile of a scenario's first server, of the others with .2, .3 … behind it; "": none
	Progress   io.Writer // a line for each step; nil for none

	// Scratch gives the arguments that name an empty database and a function
	// that removes it; nil: a new data directory each time.
	Scratch func(ctx context.Context) (args []string, remove func(), err error)
	Store   string // what the report calls the database
	Restart string // a command that restarts the database, for nodes; "": none
}

// Scenario is one kind of load.
type Scenario struct {
	Name  string
	About string
	run   func(context.Context, *bench) error
}

// Scenarios lists all, in the order to run them.
func Scenarios() []Scenario {
	return []Scenario{
		{"batch", "100 webhooks, one delivery an event, published in batches of 100", runBatch},
		{"single", "the same, each event published alone by 64 connections", runSingle},
		{"fanout", "each event to 10 webhooks", runFanout},
		{"stalled", "100 webhooks, 10 of which never answer: what the other 90 keep of their rate", runStalled},
		{"webhooks", "1, 100 and 10,000 webhooks, one delivery an event", runWebhooks},
		{"history", "a log of 10 million attempts: the rate beside an empty store, and pages of the log", runHistory},
		{"backlog", "1,000,000 retries that wait: memory, the rate beside none, the start after kill -9", runBacklog},
		{"https", "the same as batch over HTTPS, by HTTP/1.1 and by HTTP/2", runHTTPS},
		{"nodes", "one, two and three nodes on one PostgreSQL; with --restart-database, that restarted in mid-round", runNodes},
		{"light", "100 events/s, published one by one: how long it takes", runLight},
	}
}

// needsPostgres is the scenario that does not run on the embedded store.
const needsPostgres = "nodes"

// Named finds scenarios by their names, with commas between them, or all that run
// on either database.
func Named(names string) ([]Scenario, error) {
	all := Scenarios()
	if names == "all" {
		return slices.DeleteFunc(all, func(s Scenario) bool { return s.Name == needsPostgres }), nil
	}
	var chosen []Scenario
next:
	for name := range strings.SplitSeq(names, ",") {
		for _, s := range all {
			if s.Name == strings.TrimSpace(name) {
				chosen = append(chosen, s)
				continue next
			}
		}
		return nil, fmt.Errorf("%q is not a scenario: choose from %s, or all", name, strings.Join(scenarioNames(all), ", "))
	}
	return chosen, nil
}

func scenarioNames(all []Scenario) []string {
	names := make([]string, len(all))
	for i, s := range all {
		names[i] = s.Name
	}
	return names
}

// bench is one run of a scenario.
type bench struct {
	o       Options
	report  *Report
	dir     string // of everything that the run leaves on disk
	recv    *child
	control *http.Client // asks the receiver for its counts
	made    int          // data directories
	starts  int          // of servers
	undo    []func()
	next    counter // the number of the next event
}

// Deliver runs a scenario and says what it found.
func Deliver(ctx context.Context, s Scenario, o Options) (_ *Report, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	b := &bench{o: o, report: newReport(s, o), control: &http.Client{}}
	if b.dir, err = os.MkdirTemp("", "cybervault-bench-*"); err != nil {
		return nil, fmt.Errorf("make a scratch directory: %w", err)
	}
	b.undo = append(b.undo, func() { _ = os.RemoveAll(b.dir) })
	defer func() {
		for len(b.undo) > 0 { // what was made last goes first
			last := len(b.undo) - 1
			undo := b.undo[last]
			b.undo = b.undo[:last]
			undo()
		}
	}()
	if err := b.startReceiver(ctx); err != nil {
		return nil, err
	}
	if err := s.run(ctx, b); err != nil {
		return nil, fmt.Errorf("scenario %s: %w", s.Name, err)
	}
	return b.report, nil
}

func (b *bench) startReceiver(ctx context.Context, args ...string) (err error) {
	if b.recv, err = start(ctx, ReceiverMarker, nil, append([]string{"bench", "receiver"}, args...)...); err != nil {
		return err
	}
	recv := b.recv
	b.undo = append(b.undo, recv.stop)
	return nil
}

// hookURL is where the receiver takes deliveries.
func (b *bench) hookURL() string { return "http://" + b.recv.address + "/hook" }

func (b *bench) say(format string, args ...any) {
	if b.o.Progress != nil {
		_, _ = fmt.Fprintf(b.o.Progress, b.report.Scenario+": "+format+"\n", args...)
	}
}

// errLog adds the last lines of a server's log to an error.
func errLog(err error, server *child) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("%w\nserver:\n%s", err, server.log.String())
}
