package fleet

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

// patchEvent is the data of patch.deployed and patch.failed.
type patchEvent struct {
	AgentID    string   `json:"agent_id"`
	Hostname   string   `json:"hostname"`
	Package    string   `json:"package"`
	Arch       string   `json:"arch,omitempty"`
	From       *string  `json:"from_version"`
	To         *string  `json:"to_version"`
	Advisories []string `json:"advisories"`
	CVEs       []string `json:"cves"`
	Reboot     bool     `json:"reboot_required"`
	Error      *string  `json:"error"`
}

// Report takes how an agent's packages stand and what became of some of them, publishes
// what is told of, and stores the state. The same report, sent again, is told of once.
func (f *Fleet) Report(ctx context.Context, a *cybervault.Agent, state cybervault.PackageState, changes []cybervault.PatchChange) error {
	if err := state.Check(); err != nil {
		return err
	}
	if err := cybervault.CheckPatches(changes); err != nil {
		return err
	}
	for i := range changes {
		if err := f.tellPatch(ctx, a, &changes[i]); err != nil {
			return err
		}
	}
	state.At = f.Now().UTC().Truncate(time.Millisecond)
	return f.Store.SavePackageState(ctx, a.ID, &state)
}

// tellPatch publishes what became of a security patch. A failure is told of unless it is
// known that it concerns none: what cannot be told may be one.
func (f *Fleet) tellPatch(ctx context.Context, a *cybervault.Agent, c *cybervault.PatchChange) error {
	event := cybervault.EventPatchDeployed
	switch {
	case c.Status == cybervault.PatchFailed:
		event = cybervault.EventPatchFailed
		if c.Security != nil && !*c.Security {
			return nil
		}
	case c.Security == nil || !*c.Security:
		return nil
	}
	said := func(text string) *string {
		if text == "" {
			return nil
		}
		return &text
	}
	data, err := json.Marshal(patchEvent{
		AgentID: a.ID.String(), Hostname: a.Hostname, Package: c.Package, Arch: c.Arch, From: said(c.From), To: said(c.To), Advisories: c.Advisories, CVEs: c.CVEs, Reboot: c.RebootRequired, Error: said(c.Error),
	})
	if err != nil {
		return err
	}
	// An agent's clock may be wrong: what has not happened yet happens now.
	at := c.At
	if at.After(f.Now()) {
		at = time.Time{}
	}
	sum := sha256.Sum256([]byte(strings.Join([]string{a.ID.String(), c.Package, c.Arch, c.From, c.To, string(c.Status), c.At.UTC().Format(time.RFC3339Nano)}, "\x00")))
	err = f.Publish(ctx, a.Workspace, cybervault.PublishRequest{Type: event, Data: data, Timestamp: at, IdempotencyKey: fmt.Sprintf("patch_%s_%s", a.ID, hex.EncodeToString(sum[:12]))})
	if cybervault.ErrorCode(err) == cybervault.CodeConflict { // told of by the report before, in other words
		return nil
	}
	return err
}
