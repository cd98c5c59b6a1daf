package cybervault

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"
)

// PatchStatus is what became of an upgrade of a package.
type PatchStatus string

// What becomes of an upgrade.
const (
	PatchDeployed PatchStatus = "deployed"
	PatchFailed   PatchStatus = "failed"
)

// PatchStatuses lists them.
func PatchStatuses() []PatchStatus { return []PatchStatus{PatchDeployed, PatchFailed} }

// Limits on what an agent says of packages.
const (
	MaxPatchChanges      = 500 // in one report
	MaxPatchIDs          = 200 // CVEs, and advisories, of one change
	MaxPatchErrorBytes   = 1000
	MaxPackageNameBytes  = 200 // of a name, and of a version
	MaxPackages          = 1_000_000
	MaxPackageManagerLen = 20
)

// PatchChange is one package that was upgraded, or could not be.
type PatchChange struct {
	Package        string      `json:"package"`
	Arch           string      `json:"arch"`
	From           string      `json:"from_version"`
	To             string      `json:"to_version"`
	Status         PatchStatus `json:"status"`
	Security       *bool       `json:"security"` // whether it is a security patch; nil: it cannot be told
	CVEs           []string    `json:"cves"`     // that the changelog names
	Advisories     []string    `json:"advisories"`
	RebootRequired bool        `json:"reboot_required"`
	Error          string      `json:"error"` // why it failed
	At             time.Time   `json:"at"`    // when the agent noticed
}

// PackageState is how the packages of a machine stand. The zero value: it was not told.
type PackageState struct {
	Manager         string    `json:"manager"` // "dpkg"
	Installed       int       `json:"installed"`
	Broken          int       `json:"broken"`                     // that are not in order
	Pending         *int      `json:"pending,omitempty"`          // upgrades that are there to be had; nil: unknown
	PendingSecurity *int      `json:"pending_security,omitempty"` // of those, security patches
	RebootRequired  bool      `json:"reboot_required"`
	At              time.Time `json:"at,omitzero"` // when the server was told; set by it
}

// Equal reports whether two states say the same, whenever they were told.
func (s *PackageState) Equal(o *PackageState) bool {
	same := func(a, b *int) bool { return a == nil && b == nil || a != nil && b != nil && *a == *b }
	return s.Manager == o.Manager && s.Installed == o.Installed && s.Broken == o.Broken && s.RebootRequired == o.RebootRequired && same(s.Pending, o.Pending) && same(s.PendingSecurity, o.PendingSecurity)
}

// Check refuses a state that cannot be.
func (s *PackageState) Check() error {
	if s.Manager == "" {
		return Invalid("manager", "is missing: give dpkg, for one")
	}
	if err := plain("manager", s.Manager, MaxPackageManagerLen); err != nil {
		return err
	}
	count := func(field string, n *int) error {
		if n != nil && (*n < 0 || *n > MaxPackages) {
			return Invalid(field, "is %d: give a number from 0 to %d", *n, MaxPackages)
		}
		return nil
	}
	return errors.Join(count("installed", &s.Installed), count("broken", &s.Broken), count("pending", s.Pending), count("pending_security", s.PendingSecurity))
}

// cveID is the form of CVE ids.
var cveID = regexp.MustCompile(`^CVE-[0-9]{4}-[0-9]{4,}$`)

// CheckPatches refuses changes that cannot be.
func CheckPatches(changes []PatchChange) error {
	if len(changes) > MaxPatchChanges {
		return Invalid("changes", "has %d entries, more than %d: send them in several reports", len(changes), MaxPatchChanges)
	}
	for i := range changes {
		if err := changes[i].check(fmt.Sprintf("changes[%d].", i)); err != nil {
			return err
		}
	}
	return nil
}

func (c *PatchChange) check(at string) error {
	for _, f := range []struct {
		name, text string
		most       int
		needed     bool
	}{
		{"package", c.Package, MaxPackageNameBytes, true}, {"arch", c.Arch, MaxPackageManagerLen, false}, {"from_version", c.From, MaxPackageNameBytes, false},
		{"to_version", c.To, MaxPackageNameBytes, false}, {"error", c.Error, MaxPatchErrorBytes, false},
	} {
		if f.needed && f.text == "" {
			return Invalid(at+f.name, "is missing")
		}
		if err := plain(at+f.name, f.text, f.most); err != nil {
			return err
		}
	}
	switch {
	case !slices.Contains(PatchStatuses(), c.Status):
		return Invalid(at+"status", "is %.40q: give deployed or failed", string(c.Status))
	case len(c.CVEs) > MaxPatchIDs || len(c.Advisories) > MaxPatchIDs:
		return Invalid(at+"cves", "or advisories has more than %d entries", MaxPatchIDs)
	case c.At.IsZero() || c.At.Unix() < 0:
		return Invalid(at+"at", "is missing: give the time at which it was noticed")
	}
	for _, id := range c.CVEs {
		if !cveID.MatchString(id) {
			return Invalid(at+"cves", "has %.40q, which is no CVE id", id)
		}
	}
	for _, id := range c.Advisories {
		if err := plain(at+"advisories", id, MaxPackageNameBytes); err != nil {
			return err
		}
	}
	return nil
}
