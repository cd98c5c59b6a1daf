package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/cybervault/cybervault"
)

// Packages takes what agents say of the packages on their machines.
type Packages interface {
	// Report publishes what became of some, and stores how they stand. CodeInvalid, with the
	// field, for what cannot be.
	Report(ctx context.Context, a *cybervault.Agent, state cybervault.PackageState, changes []cybervault.PatchChange) error
}

// packageReport is what an agent sends.
type packageReport struct {
	state   cybervault.PackageState
	changes []cybervault.PatchChange
}

// changeJSON is one entry of changes.
type changeJSON struct {
	Package        string                 `json:"package"`
	Arch           string                 `json:"arch"`
	From           string                 `json:"from_version" doc:"The version that was in order before."`
	To             string                 `json:"to_version"`
	Status         cybervault.PatchStatus `json:"status" doc:"deployed or failed"`
	Security       *bool                  `json:"security" doc:"Whether it is a security patch; null: it cannot be told."`
	CVEs           []string               `json:"cves"`
	Advisories     []string               `json:"advisories"`
	RebootRequired bool                   `json:"reboot_required"`
	Error          string                 `json:"error"`
	At             time.Time              `json:"at" doc:"When it was noticed."`
}

func packageFields() fields[packageReport] {
	count := func(name, doc string, into func(*packageReport, *int)) field[packageReport] {
		return field[packageReport]{name: name, doc: doc, schema: schema{"type": "integer", "minimum": 0, "maximum": cybervault.MaxPackages}, read: func(raw json.RawMessage, r *packageReport) error {
			n, err := readPackageCount(raw)
			into(r, &n)
			return err
		}}
	}
	return fields[packageReport]{
		{name: "manager", doc: "what keeps the packages: dpkg", required: true, schema: schema{"type": "string", "maxLength": cybervault.MaxPackageManagerLen}, read: func(raw json.RawMessage, r *packageReport) (err error) {
			r.state.Manager, err = readString(raw)
			return err
		}},
		count("installed", "packages that are installed", func(r *packageReport, n *int) { r.state.Installed = *n }),
		count("broken", "packages that are not in order", func(r *packageReport, n *int) { r.state.Broken = *n }),
		count("pending", "upgrades that are there to be had; left out where that is unknown", func(r *packageReport, n *int) { r.state.Pending = n }),
		count("pending_security", "of those, security patches", func(r *packageReport, n *int) { r.state.PendingSecurity = n }),
		{name: "reboot_required", doc: "whether the machine has to be started anew", schema: schema{"type": "boolean"}, read: func(raw json.RawMessage, r *packageReport) (err error) {
			r.state.RebootRequired, err = readBool(raw)
			return err
		}},
		{name: "changes", doc: "packages that were upgraded, or could not be, since the last report", schema: schema{"type": "array", "items": of[changeJSON](), "maxItems": cybervault.MaxPatchChanges}, read: func(raw json.RawMessage, r *packageReport) error {
			var list []changeJSON
			if err := json.Unmarshal(raw, &list); err != nil {
				return cybervault.Errorf(cybervault.CodeInvalid, "is no list of changes: %v", err)
			}
			for i := range list {
				r.changes = append(r.changes, cybervault.PatchChange(list[i]))
			}
			return nil
		}},
	}
}

func readPackageCount(raw json.RawMessage) (int, error) {
	var n int
	if err := json.Unmarshal(raw, &n); err != nil {
		return 0, cybervault.Errorf(cybervault.CodeInvalid, "is %s: give a whole number from 0 to %d", shorten(string(raw)), cybervault.MaxPackages)
	}
	return n, nil
}

func (s *server) reportPackages(c *call) error {
	id, err := pathID[cybervault.AgentID](c, "agent")
	if err != nil {
		return err
	}
	if c.key.Agent == nil || c.key.Agent.ID != id {
		return cybervault.Errorf(cybervault.CodeForbidden, "an agent tells of its own packages, with its own key")
	}
	body, err := readJSON(c, MaxRequestBytes)
	if err != nil {
		return err
	}
	report, err := packageFields().decode(body, bodyOptions{})
	if err != nil {
		return err
	}
	if err := s.Packages.Report(c.ctx(), c.key.Agent, report.state, report.changes); err != nil {
		return err
	}
	return writeJSON(c, http.StatusOK, struct{}{})
}

func aboutReportPackages(rt *route) {
	rt.id, rt.tag, rt.summary = "reportPackages", tagAgents, "Tell of packages"
	rt.doc = "By the agent itself, with its own key: how the packages of its machine stand, and what became of some. What is a security patch becomes patch.deployed or patch.failed; a report that is sent again is told of once."
	rt.body = &bodyDoc{media: []string{"application/json"}, schema: packageFields().describe(bodyOptions{}), example: schema{"manager": "dpkg", "installed": 412, "pending": 3, "pending_security": 2, "changes": []schema{{
		"package": "openssl", "arch": "amd64", "from_version": "3.0.13-1~deb12u1", "to_version": "3.0.14-1~deb12u2", "status": "deployed", "security": true, "cves": []string{"CVE-2024-6119"}, "at": "2026-11-20T06:25:09Z",
	}}}}
	rt.answers = []answer{{status: 200, doc: "Taken.", schema: of[struct{}]()}}
	rt.errors = []int{503}
}

// packagesJSON is how the packages of a machine stand.
type packagesJSON struct {
	Manager         string    `json:"manager"`
	Installed       int       `json:"installed"`
	Broken          int       `json:"broken" doc:"That are not in order."`
	Pending         *int      `json:"pending" doc:"Upgrades that are there to be had; null: unknown."`
	PendingSecurity *int      `json:"pending_security" doc:"Of those, security patches."`
	RebootRequired  bool      `json:"reboot_required"`
	At              time.Time `json:"at" doc:"As of then."`
}

func showPackages(p *cybervault.PackageState) *packagesJSON {
	if p.Manager == "" {
		return nil
	}
	return &packagesJSON{Manager: p.Manager, Installed: p.Installed, Broken: p.Broken, Pending: p.Pending, PendingSecurity: p.PendingSecurity, RebootRequired: p.RebootRequired, At: p.At.UTC()}
}
