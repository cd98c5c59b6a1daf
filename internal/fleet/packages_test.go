package fleet_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/catalog"
)

func TestReport(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	a, _, err := y.Enrol(t.Context(), y.token(cybervault.AgentToken{}), web)
	y.want(err, "", "")
	at := y.now().Add(-time.Minute)
	state := cybervault.PackageState{Manager: "dpkg", Installed: 412, Pending: new(3)}
	change := func(name string, status cybervault.PatchStatus, security *bool) cybervault.PatchChange {
		return cybervault.PatchChange{Package: name, Arch: "amd64", From: "1", To: "2", Status: status, Security: security, At: at}
	}
	full := change("openssl", cybervault.PatchDeployed, new(true))
	full.CVEs, full.Advisories, full.RebootRequired = []string{"CVE-2026-1234"}, []string{"DSA-1-1"}, true
	failed := change("curl", cybervault.PatchFailed, nil)
	failed.Error, failed.From, failed.At = "It is half-configured.", "", y.now().Add(time.Hour)
	changes := []cybervault.PatchChange{
		full, failed, change("vim", cybervault.PatchDeployed, new(false)), change("nano", cybervault.PatchDeployed, nil), change("vim", cybervault.PatchFailed, new(false)), change("bash", cybervault.PatchFailed, new(true)),
	}
	y.want(y.Report(t.Context(), a, state, changes), "", "")
	types, err := catalog.New()
	y.want(err, "", "")
	var told []string
	keys := map[string]bool{}
	for _, e := range y.events {
		if err := types.Validate(y.ws, e.Type, e.Data); err != nil {
			t.Errorf("%s breaks the schema: %v", e.Data, err)
		}
		var data struct{ Package, Hostname string }
		if err := json.Unmarshal(e.Data, &data); err != nil || data.Hostname != "web-1.example.com" {
			t.Errorf("%s, %v", e.Data, err)
		}
		told, keys[e.IdempotencyKey] = append(told, e.Type+" "+data.Package), true
	}
	if diff := cmp.Diff([]string{"patch.deployed openssl", "patch.failed curl", "patch.failed bash"}, told); diff != "" || len(keys) != 3 {
		t.Errorf("(-want +got):\n%s\n%v", diff, keys)
	}
	if !strings.Contains(string(y.events[0].Data), `"cves":["CVE-2026-1234"],"reboot_required":true,"error":null`) || !y.events[0].Timestamp.Equal(at) {
		t.Errorf("%s at %s", y.events[0].Data, y.events[0].Timestamp)
	}
	if !strings.Contains(string(y.events[1].Data), `"from_version":null`) || !y.events[1].Timestamp.IsZero() {
		t.Errorf("%s at %s: what has not happened yet happens now", y.events[1].Data, y.events[1].Timestamp)
	}
	before := slices.Clone(y.events)
	y.want(y.Report(t.Context(), a, state, changes), "", "") // the answer was lost
	for i, e := range y.events[len(before):] {
		if e.IdempotencyKey != before[i].IdempotencyKey {
			t.Errorf("%s is told of twice", e.Data)
		}
	}
	got, err := y.Agent(t.Context(), y.ws, a.ID)
	y.want(err, "", "")
	if p := got.Packages; !p.Equal(&state) || !p.At.Equal(y.now()) {
		t.Errorf("%+v", p)
	}

	for field, wrong := range map[string]func(s *cybervault.PackageState, c *cybervault.PatchChange){
		"manager":                 func(s *cybervault.PackageState, _ *cybervault.PatchChange) { s.Manager = "" },
		"installed":               func(s *cybervault.PackageState, _ *cybervault.PatchChange) { s.Installed = -1 },
		"pending":                 func(s *cybervault.PackageState, _ *cybervault.PatchChange) { s.Pending = new(2_000_000) },
		"changes[0].package":      func(_ *cybervault.PackageState, c *cybervault.PatchChange) { c.Package = "" },
		"changes[0].to_version":   func(_ *cybervault.PackageState, c *cybervault.PatchChange) { c.To = "\x1b[31m" },
		"changes[0].from_version": func(_ *cybervault.PackageState, c *cybervault.PatchChange) { c.From = strings.Repeat("1", 201) },
		"changes[0].status":       func(_ *cybervault.PackageState, c *cybervault.PatchChange) { c.Status = "done" },
		"changes[0].cves":         func(_ *cybervault.PackageState, c *cybervault.PatchChange) { c.CVEs = []string{"CVE-1"} },
		"changes[0].advisories":   func(_ *cybervault.PackageState, c *cybervault.PatchChange) { c.Advisories = []string{"\n"} },
		"changes[0].error":        func(_ *cybervault.PackageState, c *cybervault.PatchChange) { c.Error = strings.Repeat("x", 1001) },
		"changes[0].at":           func(_ *cybervault.PackageState, c *cybervault.PatchChange) { c.At = time.Time{} },
	} {
		s, c := state, full
		wrong(&s, &c)
		y.want(y.Report(t.Context(), a, s, []cybervault.PatchChange{c}), cybervault.CodeInvalid, field)
	}
	y.want(y.Report(t.Context(), a, state, make([]cybervault.PatchChange, 501)), cybervault.CodeInvalid, "changes")
}
