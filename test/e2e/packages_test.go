package e2e

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/cybervault/cybervault/test/testenv"
)

type patchRow struct {
	Event string
	Data  struct {
		Package    string
		From       string `json:"from_version"`
		To         string `json:"to_version"`
		Error      *string
		CVEs       []string
		Advisories []string
	}
}

func patches(t *testing.T, server *testenv.Server) []patchRow {
	t.Helper()
	return call[struct{ Data []patchRow }](t, server, http.StatusOK, http.MethodGet, "/v1/events?event=patch.*&limit=200", "").Data
}

// A real agent tells what a real dpkg did, also while it did not run.
func TestPatches(t *testing.T) {
	onBoth(t, func(t *testing.T, server *testenv.Server) {
		d := testenv.NewDebian(t)
		fails := func(err error) {
			t.Helper()
			if err == nil {
				t.Fatal("dpkg did what it cannot")
			}
		}
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		first := testenv.ChangelogEntry("tls", "1.0-1", "bookworm", "New.")
		must(d.Install(testenv.Deb{Name: "tls", Version: "1.0-1", Changelog: first}))
		a := testenv.StartAgent(t, server.Program(), server.URL(), agentToken(t, server, 1), "--packages", d.Root)
		type row struct {
			ID       string
			Packages *struct{ Installed, Broken int }
		}
		list := func() []row {
			return call[struct{ Data []row }](t, server, http.StatusOK, http.MethodGet, "/v1/agents", "").Data
		}
		until(t, "the packages are counted", func() bool {
			all := list()
			return len(all) == 1 && all[0].Packages != nil && all[0].Packages.Installed == 1
		})

		a.Stop() // what it misses it finds when it starts
		second := testenv.ChangelogEntry("tls", "1.0-1+deb12u1", "bookworm-security", "Fix CVE-2026-1234 (DSA-5764-1)") + first
		fails(d.Install(testenv.Deb{Name: "tls", Version: "1.0-1+deb12u1", Changelog: second, Postinst: "exit 3"}))
		a.Start()
		until(t, "the failure is told of", func() bool { return len(patches(t, server)) == 1 })
		if p := patches(t, server)[0]; p.Event != "patch.failed" || p.Data.Package != "tls" || p.Data.From != "1.0-1" || p.Data.To != "1.0-1+deb12u1" || p.Data.Error == nil || !strings.Contains(*p.Data.Error, "half-configured") {
			t.Errorf("%+v", p)
		}
		if all := list(); all[0].Packages.Broken != 1 {
			t.Errorf("%+v", all[0].Packages)
		}

		a.Stop()
		third := testenv.ChangelogEntry("tls", "1.0-1+deb12u2", "bookworm-security", "Fix the script.") + second
		must(d.Install(testenv.Deb{Name: "tls", Version: "1.0-1+deb12u2", Changelog: third}))
		a.Start()
		until(t, "the success is told of", func() bool { return len(patches(t, server)) == 2 })
		if p := patches(t, server)[0]; p.Event != "patch.deployed" || p.Data.From != "1.0-1" || p.Data.To != "1.0-1+deb12u2" || !slices.Equal(p.Data.CVEs, []string{"CVE-2026-1234"}) || !slices.Equal(p.Data.Advisories, []string{"DSA-5764-1"}) {
			t.Errorf("%+v", p)
		}
		a.Stop()
	})
}
