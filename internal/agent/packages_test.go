package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/test/testenv"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// ledger is a server that writes down what it is told of packages.
type ledger struct {
	Server

	state   cybervault.PackageState
	changes []cybervault.PatchChange
	reports int
	err     error
}

func (l *ledger) Report(_ context.Context, who Identity, state *cybervault.PackageState, changes []cybervault.PatchChange) error {
	if who.ID != "agt_1" {
		return errors.New("who is that?")
	}
	if l.err != nil {
		return l.err
	}
	if err := errors.Join(state.Check(), cybervault.CheckPatches(changes)); err != nil {
		return err
	}
	l.state, l.changes, l.reports = *state, append(l.changes, changes...), l.reports+1
	return nil
}

// watch is an inventory of a system, which tells a ledger.
type watch struct {
	*testing.T
	*ledger

	root, dir string
	inv       *inventory
	at        time.Time
}

func newWatch(t *testing.T, d *testenv.Debian) *watch {
	t.Helper()
	w := &watch{T: t, ledger: &ledger{}, root: d.Root, dir: t.TempDir(), at: time.Now()}
	w.restart()
	return w
}

func (w *watch) restart() {
	w.Helper()
	a := &Agent{Config: Config{Server: w.ledger, Dir: w.dir, Root: w.root, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return w.at }}, who: Identity{ID: "agt_1"}}
	w.inv = &inventory{Agent: a, dpkg: &dpkg{root: w.root, now: a.Now}}
	if !w.inv.dpkg.there() {
		w.Fatal("dpkg is not seen")
	}
	must(w.T, w.inv.load())
}

// want looks, and compares what the server is told of: "package from to status", and what
// is known of it.
func (w *watch) want(want ...string) {
	w.Helper()
	w.at = w.at.Add(time.Minute)
	w.ledger.changes = nil
	must(w.T, w.inv.look(w.Context()))
	got := []string{}
	for _, c := range w.ledger.changes {
		security := "unknown"
		if c.Security != nil {
			security = fmt.Sprint(*c.Security)
		}
		got = append(got, strings.Join(append([]string{c.Package, c.From, c.To, string(c.Status), security}, slices.Concat(c.CVEs, c.Advisories)...), " "))
	}
	if diff := cmp.Diff(want, got, cmp.Transformer("none", func(s []string) []string { return append([]string{}, s...) })); diff != "" {
		w.Errorf("told of (-want +got):\n%s", diff)
	}
}

const cve = "CVE-2026-1234"

func TestPatches(t *testing.T) {
	t.Parallel()
	d := testenv.NewDebian(t)
	old := testenv.ChangelogEntry("tls", "1.0-1", "bookworm", "First release, closes CVE-2020-0001")
	base := testenv.Deb{Name: "tls", Version: "1.0-1", Changelog: old}
	must(t, d.Install(base, testenv.Deb{Name: "tool", Version: "2.0", Changelog: testenv.ChangelogEntry("tool", "2.0", "bookworm", "New.")}))
	w := newWatch(t, d)
	w.want() // what is there at the first look is no patch
	if s := w.state; s.Manager != "dpkg" || s.Installed != 2 || s.Broken != 0 || s.RebootRequired {
		t.Errorf("%+v", s)
	}
	fixed := testenv.Deb{Name: "tls", Version: "1.0-1+deb12u1", Changelog: testenv.ChangelogEntry("tls", "1.0-1+deb12u1", "bookworm-security", "Fix "+cve+" (DSA-5764-1), and "+cve+" again") + old}
	must(t, d.Install(fixed, testenv.Deb{Name: "tool", Version: "2.1", Changelog: testenv.ChangelogEntry("tool", "2.1", "bookworm", "Faster.")}, testenv.Deb{Name: "fresh", Version: "1"}))
	w.want("tls 1.0-1 1.0-1+deb12u1 deployed true "+cve+" DSA-5764-1", "tool 2.0 2.1 deployed false")
	w.want()
	w.restart()
	w.want() // it is on disk
	must(t, d.Install(base))
	w.want() // going back is no patch
	reports := w.reports
	w.want()
	if w.reports != reports {
		t.Error("a report with nothing new was sent")
	}
	d.Write("run/reboot-required", "*** System restart required ***\n")
	d.Write("run/reboot-required.pkgs", "tls\nlinux-image-6.1.0-1-amd64\n")
	must(t, d.Install(fixed))
	w.want("tls 1.0-1 1.0-1+deb12u1 deployed true " + cve + " DSA-5764-1")
	if !w.state.RebootRequired || !w.ledger.changes[0].RebootRequired {
		t.Errorf("no reboot: %+v %+v", w.state, w.ledger.changes)
	}
	must(t, d.Install(testenv.Deb{Name: "tool", Version: "2.2"}))
	w.want("tool 2.1 2.2 deployed unknown")
	if w.ledger.changes[0].RebootRequired {
		t.Error("tool needs no reboot")
	}
}

func TestPatchesThatFail(t *testing.T) {
	t.Parallel()
	d := testenv.NewDebian(t)
	old := testenv.ChangelogEntry("tls", "1.0", "bookworm", "New.")
	must(t, d.Install(testenv.Deb{Name: "tls", Version: "1.0", Changelog: old}, testenv.Deb{Name: "server", Version: "1.0", Depends: "tls"}, testenv.Deb{Name: "gone", Version: "1"}))
	w := newWatch(t, d)
	w.want()

	// The script that sets it up fails, and so cannot what depends on it be set up.
	broken := testenv.Deb{Name: "tls", Version: "1.1", Postinst: "exit 3", Changelog: testenv.ChangelogEntry("tls", "1.1", "bookworm-security", "Fix "+cve) + old}
	if err := d.Install(broken, testenv.Deb{Name: "server", Version: "1.1", Depends: "tls (>= 1.1)"}); err == nil {
		t.Fatal("it was set up")
	}
	d.Write("var/log/apt/history.log", "\nStart-Date: 2026-11-20  06:25:01\nCommandline: /usr/bin/unattended-upgrade\nUpgrade: tls:all (1.0, 1.1)\nError: Sub-process /usr/bin/dpkg returned an error code (1)\nEnd-Date: 2026-11-20  06:25:09\n")
	w.want("server 1.0 1.1 failed unknown", "tls 1.0 1.1 failed true "+cve)
	said := w.ledger.changes
	if !strings.Contains(said[0].Error, "something that it depends on") || !strings.Contains(said[1].Error, "half-configured") || !strings.Contains(said[1].Error, "error code (1)") || w.state.Broken != 2 {
		t.Errorf("%+v, %d broken", said, w.state.Broken)
	}
	w.want()
	w.restart()
	written := func() time.Time {
		info, err := os.Stat(filepath.Join(w.dir, packagesFile))
		must(t, err)
		return info.ModTime()
	}
	before := written()
	w.want() // told of once
	w.want()
	if after := written(); !after.Equal(before) {
		t.Error("it is written down again and again that a package is not in order")
	}

	// It is put right by the next version.
	next := testenv.Deb{Name: "tls", Version: "1.2", Changelog: testenv.ChangelogEntry("tls", "1.2", "bookworm-security", "Fix the script.") + broken.Changelog}
	must(t, d.Install(next, testenv.Deb{Name: "server", Version: "1.1", Depends: "tls (>= 1.1)"}))
	w.want("server 1.0 1.1 deployed unknown", "tls 1.0 1.2 deployed true "+cve)
	if w.state.Broken != 0 {
		t.Errorf("%+v", w.state)
	}

	// A new package that cannot be set up is no patch, and neither is it once it can.
	if err := d.Install(testenv.Deb{Name: "fresh", Version: "1", Postinst: "exit 1"}); err == nil {
		t.Fatal("it was set up")
	}
	w.want()
	w.want()
	if w.state.Broken != 1 {
		t.Errorf("%+v", w.state)
	}
	must(t, d.Install(testenv.Deb{Name: "fresh", Version: "2"}))
	w.want()
	must(t, d.Install(testenv.Deb{Name: "fresh", Version: "3"}))
	w.want("fresh 2 3 deployed unknown")

	// Unpacking breaks off: the package is as it was, or is told of.
	if err := d.Install(testenv.Deb{Name: "gone", Version: "2", Preinst: "exit 1"}); err == nil {
		t.Fatal("it was unpacked")
	}
	w.want()
	must(t, d.Purge("server", "gone", "fresh"))
	w.want()
	if w.state.Installed != 1 {
		t.Errorf("%+v", w.state)
	}
}

// While dpkg is at work nothing has failed yet.
func TestNothingFailsWhileDpkgIsAtWork(t *testing.T) {
	t.Parallel()
	d := testenv.NewDebian(t)
	stanza := func(version, status string) string {
		return "Package: tls\nStatus: install ok " + status + "\nArchitecture: all\nVersion: " + version + "\nConffiles:\n /etc/tls 0123\n\n"
	}
	d.Write("var/lib/dpkg/status", stanza("1.0", "installed"))
	w := newWatch(t, d)
	w.want()
	d.Write("var/lib/dpkg/updates/0001", stanza("1.1", "half-configured")) // dpkg's journal
	d.Write("var/lib/dpkg/updates/tmp.i", "half of a line")
	lock := filepath.Join(d.Root, "var/lib/dpkg/lock")
	d.Write("var/lib/dpkg/lock", "")
	holder := exec.CommandContext(t.Context(), "/bin/sh", "-c", "exec "+os.Args[0]+" -test.run=TestHoldLock$")
	holder.Env = append(os.Environ(), "HOLD_LOCK="+lock)
	out, err := holder.StdoutPipe()
	must(t, err)
	in, err := holder.StdinPipe()
	must(t, err)
	must(t, holder.Start())
	line := make([]byte, len("locked"))
	if _, err := out.Read(line); err != nil || string(line) != "locked" {
		t.Fatalf("%q, %v", line, err)
	}
	w.want()
	must(t, in.Close())
	must(t, holder.Wait())
	w.want("tls 1.0 1.1 failed unknown")
	d.Write("var/lib/dpkg/updates/0001", stanza("1.1", "installed"))
	w.want("tls 1.0 1.1 deployed unknown")
}

// TestHoldLock is no test: it is the process that stands for dpkg.
func TestHoldLock(*testing.T) {
	path := os.Getenv("HOLD_LOCK")
	if path == "" {
		return
	}
	if err := holdLock(path); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	_, _ = os.Stdout.WriteString("locked")
	_, _ = os.Stdin.Read(make([]byte, 1))
	os.Exit(0)
}

func TestWhatTheServerDoesNotTakeWaits(t *testing.T) {
	t.Parallel()
	d := testenv.NewDebian(t)
	must(t, d.Install(testenv.Deb{Name: "tls", Version: "1"}))
	w := newWatch(t, d)
	w.want()
	w.err = errors.New("no route to host")
	must(t, d.Install(testenv.Deb{Name: "tls", Version: "2"}))
	if err := w.inv.look(t.Context()); err == nil {
		t.Error("it was sent")
	}
	must(t, d.Install(testenv.Deb{Name: "tls", Version: "3"}))
	w.restart()
	w.err = nil
	w.want("tls 1 2 deployed unknown", "tls 2 3 deployed unknown")
	w.err = fmt.Errorf("%w: no such package", ErrRefused)
	must(t, d.Install(testenv.Deb{Name: "tls", Version: "4"}))
	w.want()
	w.err = nil
	must(t, d.Install(testenv.Deb{Name: "tls", Version: "5"}))
	w.want("tls 4 5 deployed unknown") // what was refused does not stand in the way
	w.err = ErrGone
	must(t, d.Install(testenv.Deb{Name: "tls", Version: "6"}))
	if err := w.inv.look(t.Context()); !errors.Is(err, ErrGone) {
		t.Error(err)
	}
}

// A disk that is full keeps nothing, so nothing is sent that would be sent again.
func TestNothingIsSentThatIsNotOnDisk(t *testing.T) {
	t.Parallel()
	d := testenv.NewDebian(t)
	must(t, d.Install(testenv.Deb{Name: "tls", Version: "1"}))
	w := newWatch(t, d)
	w.want()
	// A directory in its place is as good as a full disk, for root too.
	blocker := filepath.Join(w.dir, packagesFile+".new")
	must(t, os.Mkdir(blocker, 0o700))
	must(t, d.Install(testenv.Deb{Name: "tls", Version: "2"}))
	for range 2 {
		if err := w.inv.look(t.Context()); err == nil || len(w.ledger.changes) != 0 {
			t.Errorf("%v, and %+v was sent", err, w.ledger.changes)
		}
	}
	must(t, os.Remove(blocker))
	w.want("tls 1 2 deployed unknown")
	w.restart()
	w.want()
}

func TestWhatWaitsIsBounded(t *testing.T) {
	t.Parallel()
	d := testenv.NewDebian(t)
	status := func(version int) {
		var all strings.Builder
		for i := range 3000 {
			fmt.Fprintf(&all, "Package: p%d\nStatus: install ok installed\nArchitecture: all\nVersion: %d\n\n", i, version)
		}
		d.Write("var/lib/dpkg/status", all.String())
	}
	status(1)
	w := newWatch(t, d)
	w.want()
	w.err = errors.New("away")
	for v := 2; v < 6; v++ {
		status(v)
		w.at = w.at.Add(2 * time.Hour)
		if err := w.inv.look(t.Context()); err == nil {
			t.Fatal("it was sent")
		}
	}
	if n := len(w.inv.known.Waiting); n != maxWaitingPatches || w.inv.known.Dropped != 4*3000-maxWaitingPatches {
		t.Errorf("%d wait, %d were dropped", n, w.inv.known.Dropped)
	}
	w.err = nil
	must(t, w.inv.look(t.Context()))
	if len(w.ledger.changes) != maxWaitingPatches || w.reports < maxWaitingPatches/cybervault.MaxPatchChanges {
		t.Errorf("%d in %d reports", len(w.ledger.changes), w.reports)
	}
}

func TestAKnownStateThatIsDamagedBeginsAnew(t *testing.T) {
	t.Parallel()
	d := testenv.NewDebian(t)
	must(t, d.Install(testenv.Deb{Name: "tls", Version: "1"}))
	w := newWatch(t, d)
	w.want()
	must(t, os.WriteFile(filepath.Join(w.dir, packagesFile), []byte("{"), 0o600))
	must(t, d.Install(testenv.Deb{Name: "tls", Version: "2"}))
	w.restart()
	w.want()
	raw, err := os.ReadFile(filepath.Join(w.dir, packagesFile))
	var known knownPackages
	if err != nil || json.Unmarshal(raw, &known) != nil || known.Packages["tls:all"].Version != "2" {
		t.Errorf("%s, %v", raw, err)
	}
}

func TestChangelogs(t *testing.T) {
	t.Parallel()
	log := testenv.ChangelogEntry("linux", "6.1-4", "bookworm", "Nothing of the kind") + testenv.ChangelogEntry("linux", "6.1-3", "bookworm-security", "Fix "+cve+", CVE-2026-99999 and CVE-20-1; USN-6543-2") + testenv.ChangelogEntry("linux", "6.1-2", "bookworm", "Fix CVE-2025-1000") + "garbage\n (1) \n" + testenv.ChangelogEntry("linux", "6.1-1", "bookworm", "Fix CVE-2024-1000")
	for name, c := range map[string]struct {
		from, to string
		want     patch
	}{
		"one step":             {"6.1-2", "6.1-3", patch{true, true, []string{cve, "CVE-2026-99999"}, []string{"USN-6543-2"}}},
		"two steps":            {"6.1-2", "6.1-4", patch{true, true, []string{cve, "CVE-2026-99999"}, []string{"USN-6543-2"}}},
		"not of security":      {"6.1-3", "6.1-4", patch{known: true}},
		"a CVE alone":          {"6.1-1", "6.1-2", patch{security: true, known: true, cves: []string{"CVE-2025-1000"}}},
		"a version unheard of": {"6.0-9", "6.0-10", patch{}},
		"from between":         {"6.1-2+b1", "6.1-3", patch{true, true, []string{cve, "CVE-2026-99999"}, []string{"USN-6543-2"}}},
	} {
		got := readChanges(strings.NewReader(log), c.from, c.to)
		if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(patch{}), cmp.Transformer("none", func(s []string) []string { return append([]string{}, s...) })); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	for _, pair := range [][2]string{{"1.0~rc1", "1.0"}, {"1.0", "1.0+deb12u1"}, {"9", "10"}, {"2", "1:1"}, {"1.0-1", "1.0-1+b1"}} {
		if !newer(pair[1], pair[0]) || newer(pair[0], pair[1]) {
			t.Errorf("%s is not before %s", pair[0], pair[1])
		}
	}
	if newer("", "1") || newer("1", "") || newer("not a version!", "1") {
		t.Error("what is no version is newer")
	}
}
