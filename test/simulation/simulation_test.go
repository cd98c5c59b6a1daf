package simulation

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/store"
)

var (
	oneSeed   = flag.Uint64("seed", 0, "the seed to run, and no other")
	someSteps = flag.String("steps", "", "the steps of that seed to take, separated by commas; empty: all")
	seeds     = flag.Uint64("seeds", 0, "how many seeds to run")
	start     = flag.Uint64("start", 1, "the first of them")
	tries     = flag.Int("tries", 200, "how often a failing seed is run to find the steps that show it")
	lines     = flag.Int("lines", 200, "how many lines of what happened to tell of one seed that fails")
)

// TestMain has one goroutine run at a time: with what else is done for it, a seed
// then says what happens, and when.
func TestMain(m *testing.M) {
	runtime.GOMAXPROCS(1)
	m.Run()
}

// outcome is what is known of a run.
type outcome struct {
	sum        uint64
	failure    *failure
	trace      *trace
	events     int
	deliveries int
	requests   int
	calls      int // to the store
	simulated  time.Duration
}

// total is what many runs were.
type total struct {
	outcome

	seeds int
}

func (s *total) add(out *outcome) {
	s.seeds++
	s.events += out.events
	s.deliveries += out.deliveries
	s.requests += out.requests
	s.calls = max(s.calls, out.calls)
	s.simulated += out.simulated
}

func (s *total) String() string {
	return fmt.Sprintf("%d seeds: %d events, %d deliveries, %d requests in %s of simulated time, at most %d calls to the store", s.seeds, s.events, s.deliveries, s.requests, s.simulated.Round(time.Hour), s.calls)
}

// lab runs seeds, each on a database of its own.
type lab struct {
	dir      string
	template []byte
	runs     atomic.Uint64
}

func newLab(t *testing.T) *lab {
	t.Helper()
	dir := t.TempDir()
	if shm, err := os.MkdirTemp("/dev/shm", "cybervault-simulation-"); err == nil { //nolint:usetesting // memory, where there is some: t.TempDir is on a disk
		t.Cleanup(func() { _ = os.RemoveAll(shm) })
		dir = shm
	}
	empty := filepath.Join(dir, "empty.db")
	s, err := store.Open(t.Context(), store.Config{Path: empty, Key: make([]byte, store.KeySize)})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	template, err := os.ReadFile(empty)
	if err != nil {
		t.Fatal(err)
	}
	return &lab{dir: dir, template: template}
}

// run runs a plan.
func (l *lab) run(t *testing.T, p *plan) (out outcome) {
	t.Helper()
	path := filepath.Join(l.dir, strconv.FormatUint(l.runs.Add(1), 10)+".db")
	if err := os.WriteFile(path, l.template, 0o600); err != nil {
		t.Fatal(err)
	}
	defer func() {
		for _, suffix := range []string{"", "-wal", "-shm", ".lock"} {
			_ = os.Remove(path + suffix)
		}
	}()
	synctest.Test(t, func(t *testing.T) { out = live(t, p, path) })
	return out
}

// live is one run, inside its bubble.
func live(t *testing.T, p *plan, path string) outcome {
	t.Helper()
	began := time.Now()
	w := newWorld(t, p, path)
	for n := range p.hooks {
		w.do(op{n: 1000 + n, what: "create"})
	}
	for _, o := range p.ops {
		<-time.After(o.after)
		if w.failed() {
			break
		}
		w.work.Go(func() { w.do(o) })
	}
	if !w.failed() {
		w.heal()
	}
	w.end()
	out := outcome{sum: w.trace.total(), failure: w.failure, trace: w.trace, events: len(w.ledger.events), deliveries: len(w.ledger.all), calls: w.calls, simulated: time.Since(began)}
	for _, e := range w.ledger.all {
		out.requests += e.requests
	}
	return out
}

// heal puts everything right, and waits until all deliveries have ended.
func (w *world) heal() {
	<-time.After(4 * time.Minute) // for what was begun, and what stands still
	w.mu.Lock()
	w.healed = true
	w.trace.add(0, "healed")
	w.mu.Unlock()
	w.set(w.furthest - w.offset())
	for range 100 {
		w.put()
		<-time.After(31 * time.Second)
		if w.failed() || w.rests() {
			break
		}
		w.set(25 * time.Hour)
	}
	<-time.After(time.Minute)
	w.look()
	w.judge()
}

// put makes every webhook take what it has.
func (w *world) put() {
	h := &hand{world: w, Rand: w.plan.seed.rand(ofOp, 0), op: op{what: "heal"}, router: w.router()}
	for _, hook := range w.ledger.order {
		now := hook.now()
		if now == nil || !now.DeletedAt.IsZero() {
			continue
		}
		if now.Live() && !now.Held() && now.RateLimit == 0 {
			if now.Polled() {
				h.fetch(hook, true, cybervault.MaxPageSize)
				h.fetch(hook, true, cybervault.MaxPageSize)
			}
			continue // nobody changes it: what is left must be found without
		}
		enabled, none, no := cybervault.WebhookEnabled, 0.0, false
		h.change(hook, cybervault.WebhookChange{Status: &enabled, RateLimit: &none, Verification: &no})
	}
}

// rests reports whether nothing is left to do.
func (w *world) rests() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.ledger.all {
		if !e.ended() {
			return false
		}
	}
	running, err := w.store.RunningReplays(w.ctx)
	return err == nil && len(running) == 0
}

// end stops all that runs.
func (w *world) end() {
	w.changing <- struct{}{}
	for _, n := range w.nodes {
		w.clear(n, 10*time.Second)
		n.once.Do(func() { close(n.killed) })
	}
	w.clear(w.front, 0)
	w.front.once.Do(func() { close(w.front.killed) })
	w.work.Wait()
	if err := w.store.Close(); err != nil {
		w.t.Error(err)
	}
}

// usual is how many seeds run when nobody says.
const usual = 60

// TestSimulation runs seeds: the one given, or those that have failed before and a
// range.
func TestSimulation(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	if *oneSeed != 0 {
		l.show(t)
		return
	}
	todo, count := failedBefore(t), *seeds
	if count == 0 {
		count = usual
	}
	if *seeds == 0 {
		l.all(t, func(n uint64) (uint64, bool) {
			if n < uint64(len(todo)) {
				return todo[n], true
			}
			return *start + n - uint64(len(todo)), n < uint64(len(todo))+count
		})
		return
	}
	l.all(t, func(n uint64) (uint64, bool) { return *start + n, n < count })
}

// show runs one seed, or some steps of it, and tells what happened.
func (l *lab) show(t *testing.T) {
	t.Helper()
	p := newPlan(*oneSeed, 0)
	if *someSteps != "" {
		p = p.only(numbers(t, *someSteps))
	}
	out := l.run(t, p)
	t.Logf("trace %016x: %d events, %d deliveries, %d requests in %s", out.sum, out.events, out.deliveries, out.requests, out.simulated)
	if out.failure != nil {
		t.Errorf("%v\n%s", out.failure, out.trace.about(out.failure.delivery, *lines))
	} else if testing.Verbose() {
		t.Log("\n" + out.trace.about(0, 2000))
	}
}

// all runs seed after seed until next has no more or one has failed.
func (l *lab) all(t *testing.T, next func(n uint64) (seed uint64, more bool)) {
	t.Helper()
	var sum total
	began, told := time.Now(), time.Now()
	progress := func() { t.Logf("%s, %.1f a second", &sum, float64(sum.seeds)/time.Since(began).Seconds()) }
	for n := uint64(0); ; n++ {
		seed, more := next(n)
		if !more {
			break
		}
		out := l.run(t, newPlan(seed, 0))
		if out.failure != nil {
			l.report(t, seed, &out)
			break
		}
		sum.add(&out)
		if time.Since(told) > 10*time.Second {
			told = time.Now()
			progress()
		}
	}
	progress()
}

// report says what went wrong, on as few steps as show it, and how to see it again.
func (l *lab) report(t *testing.T, seed uint64, first *outcome) {
	t.Helper()
	steps := l.shrink(t, seed)
	out := l.run(t, newPlan(seed, 0).only(steps))
	if out.failure == nil { // it does not replay: what was seen first is all there is
		out = *first
	}
	t.Errorf("seed %d: %v\n%s\n%d steps of %d show it: %v\n%s\nreplay: go test ./test/simulation -run '^TestSimulation$' -v -seed=%d\nor those steps alone: … -steps=%s",
		seed, first.failure, first.trace.about(first.failure.delivery, 12), len(steps), len(newPlan(seed, 0).ops), out.failure,
		out.trace.about(out.failure.delivery, 60), seed, strings.Trim(strings.Join(strings.Fields(fmt.Sprint(steps)), ","), "[]"))
}

// shrink leaves out steps, large parts first, for as long as a run still fails.
func (l *lab) shrink(t *testing.T, seed uint64) []int {
	t.Helper()
	p := newPlan(seed, 0)
	steps, run := p.steps(), 0
	for part := len(steps) / 2; part > 0; part /= 2 {
		for at := 0; at+part <= len(steps) && run < *tries; {
			run++
			fewer := slices.Delete(slices.Clone(steps), at, at+part)
			if l.run(t, p.only(fewer)).failure != nil {
				steps = fewer
			} else {
				at += part
			}
		}
	}
	return steps
}

// failedBefore are seeds that have found something once.
func failedBefore(t *testing.T) (out []uint64) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "failed.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if word == "" || word == "#" {
			continue
		}
		seed, err := strconv.ParseUint(word, 10, 64)
		if err != nil {
			t.Fatal(fmt.Errorf("testdata/failed.txt: %w", err))
		}
		out = append(out, seed)
	}
	return out
}

// The same seed gives the same trace. A machine that takes the processor away in
// the middle of an instant can still make two goroutines of that instant change
// places, so a seed may be run again; what may not be is that each run differs.
func TestReplaysAreExact(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	again := 0
	for seed := uint64(1); seed <= exactSeeds; seed++ {
		sums := map[uint64]bool{}
		var last outcome
		for run := 1; ; run++ {
			out := l.run(t, newPlan(seed, 0))
			if sums[out.sum] {
				again += run - 2
				break
			}
			if run == exactRuns {
				t.Errorf("seed %d gave another trace in each of %d runs; the last two part here:\n%s", seed, run, parting(last.trace, out.trace))
				break
			}
			sums[out.sum] = true
			last = out
		}
	}
	t.Logf("%d seeds, each until two runs agreed; %d runs differed", exactSeeds, again)
}

const (
	exactSeeds = 10 // are run twice, or more often
	exactRuns  = 12 // at most
)

// parting is where two traces begin to differ.
func parting(a, b *trace) string {
	inOrder := func(t *trace) {
		slices.SortStableFunc(t.entries, func(x, y traced) int { return cmp.Or(x.at.Compare(y.at), cmp.Compare(label(x), label(y))) })
	}
	inOrder(a)
	inOrder(b)
	for i := range min(len(a.entries), len(b.entries)) {
		x, y := a.entries[i], b.entries[i]
		if x != y {
			from := max(i-10, 0)
			return (&trace{began: a.began, entries: a.entries[from : i+1]}).about(0, 11) + " or\n" + (&trace{began: b.began, entries: b.entries[i : i+1]}).about(0, 1)
		}
	}
	return "  nowhere that was kept"
}

func numbers(t *testing.T, s string) (out []int) {
	t.Helper()
	for f := range strings.SplitSeq(s, ",") {
		n, err := strconv.Atoi(f)
		if err != nil {
			t.Fatal(fmt.Errorf("-steps: %w", err))
		}
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}
