package agent

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cybervault/cybervault"
)

// box is a machine with log files, whose agent is stepped by hand.
type box struct {
	*testing.T

	dir   string
	now   time.Time
	agent *Agent
	tails *tails
	spool *spool
	log   *bytes.Buffer
	top   bool
}

func newBox(t *testing.T) *box {
	t.Helper()
	b := &box{T: t, dir: t.TempDir(), now: time.Unix(1_800_000_000, 0), log: new(bytes.Buffer)}
	for _, sub := range []string{"var", filepath.Join("agent", spoolDir)} {
		if err := os.MkdirAll(filepath.Join(b.dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if b.tails != nil {
			b.tails.close()
		}
	})
	return b
}

// start is the agent starting, as if anew.
func (b *box) start() *box {
	b.Helper()
	if b.tails != nil {
		b.tails.close()
	}
	log := slog.New(slog.NewTextHandler(b.log, nil))
	b.agent = &Agent{Config: Config{Dir: filepath.Join(b.dir, "agent"), Tails: []string{filepath.Join(b.dir, "var", "*.log")}, FromTop: b.top, Log: log, Now: func() time.Time { return b.now }}}
	var err error
	if b.spool, err = openSpool(filepath.Join(b.agent.Dir, spoolDir), MinBuffer, log); err != nil {
		b.Fatal(err)
	}
	if b.tails, err = openTails(b.agent, b.spool); err != nil {
		b.Fatal(err)
	}
	b.step()
	return b
}

// step looks at the files and reads on until there is nothing more.
func (b *box) step() {
	b.Helper()
	b.now = b.now.Add(globEvery)
	b.tails.look()
	for more := true; more; {
		var err error
		if more, err = b.tails.read(); err != nil {
			b.Fatal(err)
		}
	}
}

func (b *box) path(name string) string { return filepath.Join(b.dir, "var", name) }

func (b *box) write(name string, lines ...string) {
	b.Helper()
	f, err := os.OpenFile(b.path(name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	for _, line := range lines {
		if _, err := f.WriteString(line); err != nil {
			b.Fatal(err)
		}
	}
}

func (b *box) move(from, to string) {
	b.Helper()
	if err := os.Rename(b.path(from), b.path(to)); err != nil {
		b.Fatal(err)
	}
}

// want takes what waits, as if the server did.
func (b *box) want(lines ...string) {
	b.Helper()
	if got := b.take(); got != strings.Join(lines, "") {
		b.Errorf("read %.300q, want %.300q", got, strings.Join(lines, ""))
	}
}

// wantBoth is want for lines of two files, of which either may be read first.
func (b *box) wantBoth(one, other string) {
	b.Helper()
	if got := b.take(); got != one+other && got != other+one {
		b.Errorf("read %q, want %q and %q", got, one, other)
	}
}

func (b *box) take() string {
	b.Helper()
	var got strings.Builder
	for len(b.spool.batches) > 0 {
		next, ok := b.spool.oldest(b.Context())
		if !ok {
			b.Fatal("nothing waits")
		}
		got.Write(next.lines)
		b.spool.remove(next)
	}
	return got.String()
}

func TestFilesAreFollowed(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.write("auth.log", "old\n", "half of a li")
	b.start()
	b.want() // what was there is old
	b.write("auth.log", "ne\n", "one\n", "two")
	b.step()
	b.want("half of a line\n", "one\n")
	b.write("auth.log", " and a half\n")
	b.write("new.log", "from the top\n")
	b.step()
	b.wantBoth("two and a half\n", "from the top\n")
	b.start()
	b.step()
	b.want()
	b.write("auth.log", "while it ran\n")
	b.tails.close()
	b.write("auth.log", "while it did not\n")
	b.write("late.log", "new since\n")
	b.start()
	b.wantBoth("while it ran\nwhile it did not\n", "new since\n")
	b = newBox(t)
	b.top = true
	b.write("auth.log", "old\n")
	b.start()
	b.want("old\n")
}

func TestFilesAreRotated(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.write("auth.log", "first line of the first file\n")
	b.start()
	b.write("auth.log", "one\n")
	b.move("auth.log", "auth.log.1")
	b.write("auth.log", "first line of the second file\n")
	b.step()
	b.want("one\n", "first line of the second file\n")
	b.write("auth.log.1", "written to the old one\n")
	b.write("auth.log", "and to the new one\n")
	b.step()
	b.want("written to the old one\n", "and to the new one\n")
	b.write("auth.log.1", "without an end")
	b.now = b.now.Add(lingers)
	b.step()
	b.step()
	b.want("without an end\n")
	if n := len(b.tails.open[b.path("auth.log")]); n != 1 {
		t.Errorf("%d files are open", n)
	}
	// Emptied in place, as copytruncate does.
	if err := os.Truncate(b.path("auth.log"), 0); err != nil {
		t.Fatal(err)
	}
	b.step()
	b.write("auth.log", "anew\n")
	b.step()
	b.want("anew\n")
	// Removed while it is open: what is in it is read all the same.
	b.write("auth.log", "last words\n")
	if err := os.Remove(b.path("auth.log")); err != nil {
		t.Fatal(err)
	}
	b.step()
	b.want("last words\n")
}

// pack replaces a file by its gzip.
func (b *box) pack(name string) {
	b.Helper()
	raw, err := os.ReadFile(b.path(name))
	if err != nil {
		b.Fatal(err)
	}
	info, err := os.Stat(b.path(name))
	if err != nil {
		b.Fatal(err)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(raw); err != nil {
		b.Fatal(err)
	}
	if err := errors.Join(z.Close(), os.WriteFile(b.path(name+".gz"), packed.Bytes(), 0o600), os.Chtimes(b.path(name+".gz"), info.ModTime(), info.ModTime()), os.Remove(b.path(name))); err != nil {
		b.Fatal(err)
	}
}

// age has a file been written to so many hours ago.
func (b *box) age(name string, hours int) {
	b.Helper()
	at := time.Now().Add(-time.Duration(hours) * time.Hour)
	if err := os.Chtimes(b.path(name), at, at); err != nil {
		b.Fatal(err)
	}
}

// Files that were rotated, and packed, while the agent was not running.
func TestFilesAreRotatedMeanwhile(t *testing.T) {
	t.Parallel()
	for _, packed := range []bool{false, true} {
		b := newBox(t)
		b.write("auth.log", "first line of the first file\n")
		b.write("other.log", "first line of another\n")
		b.start()
		b.write("auth.log", "one\n")
		b.step()
		b.want("one\n")
		b.tails.close()
		b.write("auth.log", "two\n")
		b.move("auth.log", "auth.log.2")
		b.age("auth.log.2", 48)
		b.write("auth.log.1", "all of the second file\n")
		b.age("auth.log.1", 24)
		b.write("auth.log.bak", "a copy that somebody made\n")
		b.write("auth.log", "first line of the third file\n")
		if packed {
			b.pack("auth.log.2")
			b.pack("auth.log.1")
		}
		b.start()
		b.want("two\n", "all of the second file\n", "first line of the third file\n")
		b.start()
		b.want()
	}
	b := newBox(t)
	b.write("auth.log", "first line of the first file\n")
	b.start()
	b.tails.close()
	if err := os.Remove(b.path("auth.log")); err != nil {
		t.Fatal(err)
	}
	b.write("auth.log", "first line of the second file\n")
	b.start()
	b.want("first line of the second file\n")
	if !strings.Contains(b.log.String(), "is not found") {
		t.Errorf("the log says %s", b.log)
	}
}

func TestLongLines(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.top = true
	long := strings.Repeat("x", 3*maxLineBytes)
	b.write("auth.log", "before\n", long, "\nafter\n")
	b.start()
	got := b.take()
	lines := strings.Split(got, "\n")
	if len(lines) != 4 || lines[0] != "before" || len(lines[1]) >= maxLineBytes || lines[2] != "after" {
		t.Errorf("%d lines of %d bytes", len(lines), len(got))
	}
}

// A crash between the lines and the place sends lines twice, and leaves none out.
func TestACrashLosesNothing(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.write("auth.log", "first line of the file\n")
	b.start()
	before, err := os.ReadFile(filepath.Join(b.agent.Dir, positionsFile))
	if err != nil {
		t.Fatal(err)
	}
	b.write("auth.log", "one\n")
	b.step()
	if err := os.WriteFile(filepath.Join(b.agent.Dir, positionsFile), before, 0o600); err != nil {
		t.Fatal(err)
	}
	b.start()
	b.want("one\n", "one\n")
}

// While as much waits as may, the files are left alone; nothing of them is left out.
func TestTheBufferIsFull(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.write("auth.log", "first line of the file\n")
	b.start()
	var want []string
	for i := range 40 {
		var lines []string
		for j := range 1000 {
			lines = append(lines, fmt.Sprintf("%03d %03d %s\n", i, j, strings.Repeat("x", 40)))
		}
		want = append(want, lines...)
		b.write("auth.log", lines...)
	}
	b.step()
	if !b.spool.full() || b.spool.bytes > MinBuffer+2*batchBytes {
		t.Errorf("%d bytes wait", b.spool.bytes)
	}
	b.move("auth.log", "auth.log.1")
	b.write("auth.log", "the next file\n")
	b.start() // and it is full after a start, too
	var got strings.Builder
	for range 20 {
		b.step()
		got.WriteString(b.take())
	}
	if got.String() != strings.Join(want, "")+"the next file\n" {
		t.Errorf("%d bytes were read, of %d", got.Len(), len(strings.Join(want, ""))+14)
	}
}

func TestRotatedTooOften(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.write("auth.log", "first line of the file\n")
	b.start()
	b.spool.most = 0 // the server is away
	for i := range maxRotated + 3 {
		b.write("auth.log", fmt.Sprintf("line of file %d\n", i))
		b.move("auth.log", fmt.Sprintf("auth.log.%d", 1000-i))
		b.write("auth.log", fmt.Sprintf("file %d\n", i+1))
		b.step()
	}
	if n := len(b.tails.open[b.path("auth.log")]); n != maxRotated+1 {
		t.Errorf("%d files are open", n)
	}
	if !strings.Contains(b.log.String(), "part of a file is left out") || !strings.Contains(b.log.String(), "bytes=") {
		t.Errorf("the log says %s", b.log)
	}
}

// hub is a server in memory.
type hub struct {
	mu       sync.Mutex
	down     error
	refuse   error
	interval time.Duration
	newKey   string
	keys     []string
	beats    []time.Time
	lines    []string
	enrolled int
}

func (h *hub) Enrol(_ context.Context, token string, facts cybervault.HostFacts) (Identity, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.down != nil {
		return Identity{}, h.down
	}
	if token != "cve_good" || facts.Hostname != "web-1" {
		return Identity{}, ErrRefused
	}
	h.enrolled++
	return Identity{ID: "agt_1", Key: "cva_1", Interval: h.interval}, nil
}

func (h *hub) Beat(_ context.Context, who Identity, _ cybervault.HostFacts) (time.Duration, string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.down != nil {
		return 0, "", h.down
	}
	h.beats, h.keys = append(h.beats, time.Now()), append(h.keys, who.Key)
	return h.interval, h.newKey, nil
}

func (h *hub) Send(_ context.Context, _ Identity, source string, lines []byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := errors.Join(h.down, h.refuse); err != nil {
		return err
	}
	for line := range strings.Lines(string(lines)) {
		h.lines = append(h.lines, source+": "+line)
	}
	return nil
}

func (h *hub) set(change func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change()
}

// run runs an agent until stop is called, which answers with Run's error.
func (b *box) run(h *hub, token string) (stop func() error) {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() {
		done <- Run(ctx, Config{
			Server: h, Address: "https://cv.example.com", Dir: filepath.Join(b.dir, "agent"), Token: token, Tails: []string{b.path("*.log")}, Buffer: MinBuffer,
			Facts: func() cybervault.HostFacts { return cybervault.HostFacts{Hostname: "web-1"} }, Log: slog.New(slog.DiscardHandler),
		})
	}()
	return func() error {
		synctest.Wait()
		select {
		case err := <-done:
			cancel()
			return err
		default:
		}
		cancel()
		return <-done
	}
}

func TestAnAgentWorks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, h := newBox(t), &hub{interval: 10 * time.Second}
		b.write("auth.log", "old\n")
		h.down = errors.New("no route")
		stop := b.run(h, "cve_good")
		rest(t.Context(), time.Minute)
		h.set(func() { h.down = nil })
		rest(t.Context(), 2*time.Minute)
		h.set(func() {
			if h.enrolled != 1 || len(h.beats) < 5 || len(h.beats) > 20 {
				t.Errorf("enrolled %d times, %d heartbeats", h.enrolled, len(h.beats))
			}
			for i := 1; i < len(h.beats); i++ {
				if gap := h.beats[i].Sub(h.beats[i-1]); gap < 9*time.Second || gap > 11*time.Second {
					t.Errorf("two heartbeats %s apart", gap)
				}
			}
			h.down = errors.New("away")
		})
		b.write("auth.log", "one\n", "two\n")
		rest(t.Context(), 5*time.Minute)
		h.set(func() { h.down, h.newKey, h.interval = nil, "cva_2", 5*time.Second })
		rest(t.Context(), 2*time.Minute)
		h.set(func() {
			if want := []string{"web-1: one\n", "web-1: two\n"}; !slices.Equal(h.lines, want) {
				t.Errorf("handed over %q", h.lines)
			}
			if last := h.keys[len(h.keys)-1]; last != "cva_2" {
				t.Errorf("the last heartbeat is with the key %s", last)
			}
			if gap := h.beats[len(h.beats)-1].Sub(h.beats[len(h.beats)-2]); gap > 6*time.Second {
				t.Errorf("two heartbeats %s apart", gap)
			}
			h.newKey = ""
		})
		if err := stop(); err != nil {
			t.Error(err)
		}
		// The next start needs no token, and goes on with the new key.
		b.write("auth.log", "three\n")
		h.set(func() { h.keys, h.lines = nil, nil })
		stop = b.run(h, "")
		rest(t.Context(), time.Minute)
		h.set(func() {
			if h.enrolled != 1 || h.keys[0] != "cva_2" || !slices.Equal(h.lines, []string{"web-1: three\n"}) {
				t.Errorf("enrolled %d times, keys %v, lines %q", h.enrolled, h.keys, h.lines)
			}
			h.refuse = ErrRefused
		})
		// What the server will never take does not stand in the way of the rest.
		b.write("auth.log", "bad\n")
		rest(t.Context(), 10*time.Second)
		h.set(func() { h.refuse = nil })
		b.write("auth.log", "good\n")
		rest(t.Context(), 10*time.Second)
		h.set(func() {
			if got := h.lines[len(h.lines)-1]; got != "web-1: good\n" {
				t.Errorf("handed over %q", h.lines)
			}
			h.down = ErrGone
		})
		rest(t.Context(), time.Minute)
		if err := stop(); !errors.Is(err, ErrGone) {
			t.Errorf("after it was removed: %v", err)
		}
		if kept, err := filepath.Glob(filepath.Join(b.dir, "agent", spoolDir, "*"+refusedSuffix)); err != nil || len(kept) != 1 {
			t.Errorf("%v are set aside, %v", kept, err)
		}
	})
}

func TestAnAgentThatCannotStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, h := newBox(t), &hub{interval: 10 * time.Second}
		if err := b.run(h, "")(); err == nil || !strings.Contains(err.Error(), "CYBERVAULT_AGENT_TOKEN") {
			t.Errorf("without a token: %v", err)
		}
		if err := b.run(h, "cve_bad")(); !errors.Is(err, ErrRefused) {
			t.Errorf("with a bad token: %v", err)
		}
		stop := b.run(h, "cve_good")
		rest(t.Context(), time.Second)
		if err := b.run(h, "")(); err == nil || !strings.Contains(err.Error(), "another agent works in") {
			t.Errorf("a second one: %v", err)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if err := Run(t.Context(), Config{Server: h, Address: "https://other.example.com", Dir: filepath.Join(b.dir, "agent"), Buffer: MinBuffer}); err == nil || !strings.Contains(err.Error(), "is enrolled with https://cv.example.com") {
			t.Errorf("with another server: %v", err)
		}
		if err := Run(t.Context(), Config{Dir: b.dir}); cybervault.ErrorCode(err) != cybervault.CodeInvalid {
			t.Errorf("without a buffer: %v", err)
		}
	})
}

func TestFacts(t *testing.T) {
	t.Parallel()
	f := Facts("", "v1")
	if err := f.Check(); err != nil || f.Hostname == "" || f.OS == "" {
		t.Errorf("%+v, %v", f, err)
	}
}

func (h *hub) Report(context.Context, Identity, *cybervault.PackageState, []cybervault.PatchChange) error {
	return nil
}
