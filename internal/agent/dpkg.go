package agent

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"pault.ag/go/debian/version"

	"github.com/cybervault/cybervault"
)

// Where dpkg and apt keep what they know, below the root of the system.
const (
	dpkgStatus  = "var/lib/dpkg/status"
	dpkgUpdates = "var/lib/dpkg/updates"
	aptHistory  = "var/log/apt/history.log"
	docDir      = "usr/share/doc"
	rebootFlag  = "run/reboot-required"
	rebootPkgs  = "run/reboot-required.pkgs"
)

const (
	// dpkgQuiet is how long dpkg must have changed nothing, where it cannot be asked
	// whether it is at work, before a package that is not in order counts as failed.
	dpkgQuiet = 10 * time.Minute
	// maxStanza bounds one entry of dpkg's files.
	maxStanza = 1 << 20
	// maxChangelog bounds what is read of one changelog, unpacked.
	maxChangelog = 8 << 20
	// pendingWait bounds how long apt may work out what it would upgrade.
	pendingWait = time.Minute
)

// dpkg reads the state of a Debian system: dpkg's own files say what is installed and what
// is not in order, changelogs and apt what was a security patch. Nothing is changed, and
// apt is only asked what it would do.
type dpkg struct {
	root string // "/"
	now  func() time.Time
}

func (d *dpkg) path(name string) string { return filepath.Join(d.root, name) }

// there reports whether the system is kept by dpkg.
func (d *dpkg) there() bool {
	_, err := os.Stat(d.path(dpkgStatus))
	return err == nil
}

// stamp changes when dpkg has changed something.
func (d *dpkg) stamp() time.Time {
	var newest time.Time
	for _, name := range []string{dpkgStatus, dpkgUpdates, rebootFlag} {
		if info, err := os.Stat(d.path(name)); err == nil && info.ModTime().After(newest) {
			newest = info.ModTime()
		}
	}
	return newest
}

// installed is one package of the system.
type installed struct {
	version string
	status  string // the third word of dpkg's: "installed", "half-configured" …
}

// packages reads what is on the system, by name and architecture.
func (d *dpkg) packages() (map[string]installed, error) {
	all := map[string]installed{}
	if err := d.read(dpkgStatus, all); err != nil {
		return nil, err
	}
	// What dpkg did since it last wrote the whole file; dpkg reads these the same way.
	updates, err := os.ReadDir(d.path(dpkgUpdates))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, u := range updates { // in the order of their numbers
		if strings.Trim(u.Name(), "0123456789") != "" {
			continue
		}
		if err := d.read(filepath.Join(dpkgUpdates, u.Name()), all); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return all, nil
}

// read adds the stanzas of a file (deb822(5)).
func (d *dpkg) read(name string, into map[string]installed) error {
	f, err := os.Open(d.path(name))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it is only read
	s := bufio.NewScanner(f)
	s.Buffer(make([]byte, 64<<10), maxStanza)
	var pkg, arch, status string
	var p installed
	end := func() {
		if words := strings.Fields(status); pkg != "" && len(words) == 3 && words[2] != "not-installed" && words[2] != "config-files" {
			p.status = words[2]
			into[pkg+":"+arch] = p
		} else if pkg != "" {
			delete(into, pkg+":"+arch)
		}
		pkg, arch, status, p = "", "", "", installed{}
	}
	for s.Scan() {
		line := s.Text()
		if line == "" {
			end()
			continue
		}
		field, value, ok := strings.Cut(line, ":")
		if !ok || line[0] == ' ' || line[0] == '\t' {
			continue
		}
		value = strings.TrimSpace(value)
		switch field {
		case "Package":
			pkg = value
		case "Architecture":
			arch = value
		case "Status":
			status = value
		case "Version":
			p.version = value
		}
	}
	end()
	return s.Err()
}

// broken says in what way a package is not in order; empty where it is.
func broken(status string) string {
	switch status {
	case "half-configured":
		return "It is half-configured: the script that sets it up failed."
	case "half-installed":
		return "It is half-installed: unpacking it did not come to an end."
	case "unpacked":
		return "It is unpacked and not configured: something that it depends on is not in order."
	}
	return "" // installed, or waiting for a trigger
}

// brokenAs is dpkg's word for what is not in order, where it stays so.
func (p *installed) brokenAs(settled bool) string {
	if settled && broken(p.status) != "" {
		return p.status
	}
	return ""
}

// settled reports whether dpkg is not at work, so that what is not in order stays so.
func (d *dpkg) settled() bool {
	if busy, known := locked(d.path("var/lib/dpkg/lock")); known && !busy {
		busy, known = locked(d.path("var/lib/dpkg/lock-frontend"))
		if known {
			return !busy
		}
	} else if known {
		return false
	}
	return d.now().Sub(d.stamp()) >= dpkgQuiet
}

// newer compares versions as dpkg does. What cannot be read is no newer.
func newer(a, b string) bool {
	x, err := version.Parse(a)
	if err != nil {
		return false
	}
	y, err := version.Parse(b)
	return err == nil && version.Compare(x, y) > 0
}

var (
	changelogHead = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]* \(([^)\s]+)\)((?: [A-Za-z0-9.+~-]+)+);`)
	cveID         = regexp.MustCompile(`\bCVE-[0-9]{4}-[0-9]{4,}\b`)
	advisoryID    = regexp.MustCompile(`\b(?:DSA|DLA|USN)-[0-9]{1,6}-[0-9]{1,3}\b`)
)

// patch is what is known of an upgrade.
type patch struct {
	security   bool
	known      bool // whether it is a security patch can be told
	cves       []string
	advisories []string
}

// changes reads what the changelog says between two versions, the first one excluded.
// A changelog is unpacked with its package, so that it is there when setting it up failed.
func (d *dpkg) changes(key, from, to string) patch {
	var p patch
	name, arch, _ := strings.Cut(key, ":")
	// A build of the same source has its own changelog; a native package has one only.
	for _, file := range []string{"changelog.Debian.gz", "changelog.Debian." + arch + ".gz", "changelog.gz"} {
		f, err := os.Open(d.path(filepath.Join(docDir, name, file)))
		if err != nil {
			continue
		}
		packed, err := gzip.NewReader(f)
		if err == nil {
			p = readChanges(io.LimitReader(packed, maxChangelog), from, to)
		}
		_ = f.Close() // it is only read
		if p.known {
			return p
		}
	}
	return p
}

func readChanges(r io.Reader, from, to string) patch {
	var p patch
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 64<<10)
	within := false
	for lines.Scan() {
		line := lines.Text()
		if head := changelogHead.FindStringSubmatch(line); head != nil {
			if head[1] == from || newer(from, head[1]) {
				break
			}
			within = !newer(head[1], to)
			p.known = p.known || within
			if within && slices.ContainsFunc(strings.Fields(head[2]), func(suite string) bool { return strings.HasSuffix(suite, "-security") || suite == "security" }) {
				p.security = true
			}
			continue
		}
		if within {
			p.cves = append(p.cves, cveID.FindAllString(line, -1)...)
			p.advisories = append(p.advisories, advisoryID.FindAllString(line, -1)...)
		}
	}
	for _, ids := range []*[]string{&p.cves, &p.advisories} {
		slices.Sort(*ids)
		*ids = slices.Compact(*ids)
		*ids = (*ids)[:min(len(*ids), cybervault.MaxPatchIDs)]
	}
	p.security = p.security || len(p.cves) > 0 || len(p.advisories) > 0
	return p
}

// reboot says whether the machine has to be started anew for a package to take effect.
func (d *dpkg) reboot(name string) bool {
	if _, err := os.Stat(d.path(rebootFlag)); err != nil {
		return false
	}
	raw, err := os.ReadFile(d.path(rebootPkgs))
	return err != nil || name == "" || slices.Contains(strings.Fields(string(raw)), name)
}

// lastError is what apt wrote about its last run that failed, if that was lately.
func (d *dpkg) lastError() string {
	f, err := os.Open(d.path(aptHistory))
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }() // it is only read
	if info, err := f.Stat(); err == nil {
		_, _ = f.Seek(max(0, info.Size()-maxStanza), io.SeekStart)
	}
	last := ""
	s := bufio.NewScanner(f)
	s.Buffer(nil, maxStanza)
	for s.Scan() {
		if s.Text() == "" {
			continue
		}
		if strings.HasPrefix(s.Text(), "Start-Date:") {
			last = ""
		}
		if text, ok := strings.CutPrefix(s.Text(), "Error: "); ok {
			last = text
		}
	}
	return last
}

var aptInst = regexp.MustCompile(`^Inst (\S+) \[[^\]]+\] \((\S+) ([^)]*)\)`)

// pending asks apt what it would upgrade, and how much of that comes from a suite of
// security patches. It fails where there is no apt, or it does not know.
func (d *dpkg) pending(ctx context.Context) (all, security int, err error) {
	ctx, cancel := context.WithTimeout(ctx, pendingWait)
	defer cancel()
	args := []string{"-s", "-o", "Debug::NoLocking=1", "-o", "Dir=" + d.root, "-o", "Dir::State::status=" + d.path(dpkgStatus), "dist-upgrade"}
	cmd := exec.CommandContext(ctx, "apt-get", args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "APT_CONFIG=")
	out, err := cmd.Output()
	if err != nil {
		return 0, 0, fmt.Errorf("apt-get: %w", err)
	}
	for line := range strings.SplitSeq(string(out), "\n") {
		if m := aptInst.FindStringSubmatch(line); m != nil {
			all++
			if strings.Contains(strings.ToLower(m[3]), "security") {
				security++
			}
		}
	}
	return all, security, nil
}
