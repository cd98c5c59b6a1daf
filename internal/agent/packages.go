package agent

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/cybervault/cybervault"
)

const (
	packagesFile  = "packages.json"
	packagesEvery = 30 * time.Second // between two looks at whether something changed
	pendingEvery  = time.Hour        // between two questions to apt what it would upgrade
	// maxWaitingPatches bounds what waits on disk for the server.
	maxWaitingPatches = 10_000
)

// inventory tells the server what became of the machine's packages. What it compares with
// is on disk, so that nothing is missed while the agent does not run, and nothing is told
// of twice; what is to be told of is written down before it is sent.
type inventory struct {
	*Agent

	dpkg  *dpkg
	known knownPackages
	stamp time.Time // as of the last look
	asked time.Time // when apt was asked last
	dirty bool      // what is known is not on disk yet
}

// knownPackages is what is on disk.
type knownPackages struct {
	Packages map[string]knownPackage  `json:"packages"`
	Waiting  []cybervault.PatchChange `json:"waiting"`
	Dropped  int64                    `json:"dropped"` // of what waited, for want of room
	State    cybervault.PackageState  `json:"state"`
	Sent     cybervault.PackageState  `json:"sent"`
}

type knownPackage struct {
	Version string `json:"version"`
	From    string `json:"from,omitempty"`   // the version before, while this one is not in order
	Failed  string `json:"failed,omitempty"` // dpkg's word for what is not in order, once it was told of
	New     bool   `json:"new,omitempty"`    // it was never in order: that it is installed is no patch
}

// packages looks after the packages until ctx ends.
func (a *Agent) packages(ctx context.Context) error {
	inv := &inventory{Agent: a, dpkg: &dpkg{root: a.Root, now: a.Now}}
	if !inv.dpkg.there() {
		return nil
	}
	if err := inv.load(); err != nil {
		return err
	}
	said := ""
	for {
		err := inv.look(ctx)
		if errors.Is(err, ErrGone) {
			return err
		}
		switch {
		case err == nil:
			said = ""
		case ctx.Err() == nil && err.Error() != said:
			said = err.Error()
			a.Log.Warn("what became of the packages cannot be told; trying again", slog.Any("error", err))
		}
		if !rest(ctx, packagesEvery) {
			return nil
		}
	}
}

func (inv *inventory) load() error {
	raw, err := os.ReadFile(filepath.Join(inv.Dir, packagesFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &inv.known)
	}
	if err != nil {
		// What became of the packages since then cannot be known any more.
		inv.Log.Warn("what was known of the packages cannot be read; it begins anew", slog.Any("error", err))
		inv.known = knownPackages{}
	}
	return nil
}

func (inv *inventory) save() error {
	raw, err := json.Marshal(inv.known)
	if err == nil {
		err = writeFile(filepath.Join(inv.Dir, packagesFile), raw)
	}
	inv.dirty = err != nil
	return err
}

// look compares, writes down and sends. What could not be written down, the disk being
// full, is not sent: after a restart it would be found, and told of, again.
func (inv *inventory) look(ctx context.Context) error {
	if err := inv.compare(ctx); err != nil {
		return err
	}
	if inv.dirty {
		if err := inv.save(); err != nil {
			return err
		}
	}
	return inv.send(ctx)
}

// compare finds what changed since the last look.
func (inv *inventory) compare(ctx context.Context) error {
	stamp := inv.dpkg.stamp()
	unsettled := slices.ContainsFunc(slices.Collect(maps.Values(inv.known.Packages)), func(p knownPackage) bool { return p.From != "" })
	moved := inv.known.Packages == nil || !stamp.Equal(inv.stamp)
	if !moved && !unsettled && inv.Now().Sub(inv.asked) < pendingEvery {
		return nil
	}
	now, err := inv.dpkg.packages()
	if err != nil {
		return err
	}
	state := cybervault.PackageState{Manager: "dpkg", Installed: len(now), RebootRequired: inv.dpkg.reboot("")}
	settled := inv.dpkg.settled()
	next := make(map[string]knownPackage, len(now))
	first := inv.known.Packages == nil
	for _, key := range slices.Sorted(maps.Keys(now)) {
		is := now[key]
		was, before := inv.known.Packages[key]
		if !before {
			was = knownPackage{Version: is.version, New: !first}
		}
		p, change := inv.judge(key, was, is, settled)
		if p.Failed != "" {
			state.Broken++
		}
		if next[key] = p; change != nil && !first {
			inv.known.Waiting = append(inv.known.Waiting, *change)
		}
	}
	inv.dirty = inv.dirty || first || !maps.Equal(next, inv.known.Packages) // a change to be told of changes that too
	inv.known.Packages, inv.stamp = next, stamp
	if over := len(inv.known.Waiting) - maxWaitingPatches; over > 0 {
		inv.known.Waiting = slices.Delete(inv.known.Waiting, 0, over)
		inv.known.Dropped += int64(over)
		inv.Log.Error("what became of packages was dropped for want of room", slog.Int("changes", over))
	}
	state.Pending, state.PendingSecurity = inv.known.State.Pending, inv.known.State.PendingSecurity
	if moved || inv.Now().Sub(inv.asked) >= pendingEvery {
		state.Pending, state.PendingSecurity = inv.pending(ctx)
		inv.asked = inv.Now()
	}
	inv.dirty = inv.dirty || !state.Equal(&inv.known.State)
	inv.known.State = state
	return nil
}

func (inv *inventory) pending(ctx context.Context) (all, security *int) {
	a, s, err := inv.dpkg.pending(ctx)
	if err != nil {
		inv.Log.Debug("apt does not say what it would upgrade", slog.Any("error", err))
		return nil, nil
	}
	return &a, &s
}

// judge compares one package with what was known of it.
func (inv *inventory) judge(key string, was knownPackage, is installed, settled bool) (knownPackage, *cybervault.PatchChange) {
	good := was.Version // the last version that was in order
	if was.From != "" {
		good = was.From
	}
	name, arch, _ := strings.Cut(key, ":")
	change := func(status cybervault.PatchStatus, text string) *cybervault.PatchChange {
		p := inv.dpkg.changes(key, good, is.version)
		c := &cybervault.PatchChange{
			Package: name, Arch: arch, From: good, To: is.version, Status: status, Error: text, CVEs: p.cves, Advisories: p.advisories,
			RebootRequired: inv.dpkg.reboot(name), At: inv.Now().UTC().Truncate(time.Millisecond),
		}
		if p.known {
			c.Security = &p.security
		}
		return c
	}
	what := broken(is.status)
	if was.New {
		return knownPackage{Version: is.version, Failed: is.brokenAs(settled), New: what != ""}, nil
	}
	switch {
	case what != "" && (!settled || was.Failed == is.status && was.Version == is.version):
		// It may only be at work, or it was told of.
		return knownPackage{Version: is.version, From: good, Failed: was.Failed}, nil
	case what != "":
		if text := inv.dpkg.lastError(); text != "" {
			what += " apt: " + text
		}
		return knownPackage{Version: is.version, From: good, Failed: is.status}, change(cybervault.PatchFailed, cut(what, cybervault.MaxPatchErrorBytes))
	case good != "" && newer(is.version, good):
		return knownPackage{Version: is.version}, change(cybervault.PatchDeployed, "")
	}
	return knownPackage{Version: is.version}, nil
}

// cut shortens a text, and leaves out what the server does not take.
func cut(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, text)
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "")
	}
	return text
}

// send hands over what waits, and how things stand.
func (inv *inventory) send(ctx context.Context) error {
	for len(inv.known.Waiting) > 0 || !inv.known.State.Equal(&inv.known.Sent) {
		batch := inv.known.Waiting[:min(len(inv.known.Waiting), cybervault.MaxPatchChanges)]
		err := inv.Server.Report(ctx, inv.identity(), &inv.known.State, batch)
		if errors.Is(err, ErrRefused) {
			inv.Log.Error("the server does not take what became of packages; it is dropped", slog.Int("changes", len(batch)), slog.Any("error", err))
		} else if err != nil {
			return err
		}
		inv.known.Waiting = slices.Clone(inv.known.Waiting[len(batch):])
		inv.known.Sent = inv.known.State
		if err := inv.save(); err != nil {
			return err
		}
	}
	return nil
}
