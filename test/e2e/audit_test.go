package e2e

import (
	"bytes"
	"database/sql"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	_ "modernc.org/sqlite"

	"github.com/cybervault/cybervault/test/testenv"
)

// auditor runs 'cybervault audit' with the server's address and key, or, once
// the server is gone, without.
type auditor struct {
	t      *testing.T
	dir    string
	server *testenv.Server
}

func (a *auditor) file(name string) string { return filepath.Join(a.dir, name) }

// run returns what the command printed, and wants it to succeed.
func (a *auditor) run(args ...string) string {
	a.t.Helper()
	out, err := a.try(args...)
	if err != nil {
		a.t.Fatalf("audit %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (a *auditor) try(args ...string) (string, error) {
	a.t.Helper()
	cmd := exec.CommandContext(a.t.Context(), testenv.Binary(a.t), append([]string{"audit"}, args...)...)
	cmd.Env = []string{}
	if a.server != nil {
		cmd.Env = append(cmd.Env, "CYBERVAULT_SERVER="+a.server.URL(), "CYBERVAULT_API_KEY="+a.server.APIKey)
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

// A delivery is proven, with a checkpoint from before, once the server and its
// database are gone, kill -9 in between.
func TestADeliveryIsProvenOffline(t *testing.T) {
	onBoth(t, func(t *testing.T, server *testenv.Server) {
		a := &auditor{t: t, dir: t.TempDir(), server: server}
		receiver := testenv.NewPlainReceiver(t)
		addWebhook(t, server, receiver, "")
		publish := func() delivery {
			event := call[published](t, server, http.StatusAccepted, http.MethodPost, "/v1/events", threat)
			d := call[list[delivery]](t, server, http.StatusOK, http.MethodGet, "/v1/deliveries?event="+event.ID, "").Data[0]
			waitDelivery(t, server, d.ID, func(d delivery) bool { return d.Status == "delivered" })
			return d
		}
		if err := os.WriteFile(a.file("audit.key"), []byte(a.run("key")), 0o600); err != nil {
			t.Fatal(err)
		}
		first := publish()
		a.run("prove", "--delivery", first.ID) // waits until it is in the log
		a.run("checkpoint", "-o", a.file("kept"))
		server.Kill() // what has been committed and is not in the log yet goes there after the start
		server.Restart()
		second := publish()
		server.Kill()
		server.Restart()
		words := a.run("prove", "--delivery", second.ID, "--key", a.file("audit.key"), "--checkpoint", a.file("kept"), "-o", a.file("proof"))
		if !strings.Contains(words, second.ID) || !strings.Contains(words, "answered with HTTP 200") || !strings.Contains(words, "of the older checkpoint has been removed, changed or moved") {
			t.Errorf("prove says:\n%s", words)
		}
		if out := a.run("check", "--key", a.file("audit.key"), "--checkpoint", a.file("kept"), "--retention", "1h"); !strings.Contains(out, "4 entries are as the store says now; of 0 the rows have been removed.") {
			t.Errorf("check says:\n%s", out)
		}
		bodies := receiver.WaitFor(patience, 2)
		if err := os.WriteFile(a.file("body"), bodies[len(bodies)-1].Body, 0o600); err != nil {
			t.Fatal(err)
		}

		server.Stop()
		a.server = nil
		verify := []string{"verify", a.file("proof"), "--key", a.file("audit.key"), "--checkpoint", a.file("kept")}
		if out := a.run(append(verify, "--body", a.file("body"))...); !strings.Contains(out, "is that of the event") {
			t.Errorf("verify says:\n%s", out)
		}
		// One word of it changed, and it proves nothing.
		proof, err := os.ReadFile(a.file("proof"))
		if err != nil {
			t.Fatal(err)
		}
		forged := bytes.Replace(proof, []byte(`\"attempts\":1`), []byte(`\"attempts\":2`), 1)
		if err := os.WriteFile(a.file("proof"), forged, 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := a.try(verify...); err == nil || !strings.Contains(out, "is not what is said of the delivery "+second.ID) {
			t.Errorf("a forged proof: %v\n%s", err, out)
		}
	}, "--dev")
}

// What was changed in the database by hand is named, entry by entry; and so is a
// log that is shorter than one that somebody has seen.
func TestAuditCheckNamesWhatWasChanged(t *testing.T) {
	t.Parallel()
	server := testenv.StartServer(t, testenv.ServerOptions{Args: []string{"--dev"}})
	a := &auditor{t: t, dir: t.TempDir(), server: server}
	addWebhook(t, server, testenv.NewPlainReceiver(t), "")
	for range 3 {
		event := call[published](t, server, http.StatusAccepted, http.MethodPost, "/v1/events", threat)
		d := call[list[delivery]](t, server, http.StatusOK, http.MethodGet, "/v1/deliveries?event="+event.ID, "").Data[0]
		waitDelivery(t, server, d.ID, func(d delivery) bool { return d.Status == "delivered" })
		a.run("prove", "--delivery", d.ID)
	}
	a.run("checkpoint", "-o", a.file("kept"))
	check := []string{"check", "--checkpoint", a.file("kept"), "--retention", "1h"}
	a.run(check...)
	for _, c := range []struct{ change, want, undo string }{
		{`UPDATE deliveries SET last_status = 204 WHERE sequence = 2`, `"sequence":2,"status":"delivered","reason":"","attempts":1,"last_status":204`, `UPDATE deliveries SET last_status = 200 WHERE sequence = 2`},
		{`UPDATE events SET timestamp = timestamp + 1 WHERE id = (SELECT MIN(id) FROM events)`, `entry 0: what the store says now was not logged`, `UPDATE events SET timestamp = timestamp - 1 WHERE id = (SELECT MIN(id) FROM events)`},
		{`UPDATE deliveries SET id = -id WHERE sequence = 3`, "is gone, and is younger than the retention", `UPDATE deliveries SET id = -id WHERE sequence = 3`},
		{`UPDATE audit_tiles SET hashes = CAST(zeroblob(32) || substr(hashes, 33) AS BLOB)`, "entries that were in it have been changed", ""},
	} {
		server.Stop()
		changeDatabase(t, server, c.change)
		server.Restart()
		out, err := a.try(check...)
		if err == nil || !strings.Contains(out, c.want) {
			t.Errorf("%s: %v; want it to say %q:\n%s", c.change, err, c.want, out)
		}
		if c.undo != "" {
			server.Stop()
			changeDatabase(t, server, c.undo)
			server.Restart()
			a.run(check...)
		}
	}
	// Another installation's log in its place, as if the server had been set up anew.
	anew := testenv.StartServer(t, testenv.ServerOptions{Args: []string{"--dev"}})
	a.run("checkpoint", "-o", a.file("checkpoint"))
	a.server = anew
	if out, err := a.try("check", "--checkpoint", a.file("kept")); err == nil || !strings.Contains(out, "forged, damaged, or another installation's") {
		t.Errorf("another installation: %v\n%s", err, out)
	}
}

// changeDatabase runs a statement on the SQLite file of a server that is stopped.
func changeDatabase(t *testing.T, server *testenv.Server, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(server.Dir, "data", "cybervault.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

// Who did what is written down on both databases, by the API and by people, and can be
// checked from a file.
func TestWhoDidWhatIsListedAndChecked(t *testing.T) {
	onBoth(t, func(t *testing.T, server *testenv.Server) {
		a := &auditor{t: t, dir: t.TempDir(), server: server}
		w := addWebhook(t, server, testenv.NewPlainReceiver(t), "")
		call[map[string]any](t, server, http.StatusOK, http.MethodPatch, "/v1/webhooks/"+w.ID, `{"description":"to the SIEM"}`)
		out := a.run("actions", "--action", "webhook", "--json")
		for _, want := range []string{`"webhook.create"`, `"webhook.update"`, `"kind":"api_key"`, `"name":"bootstrap"`, `"address":"127.0.0.1"`, "to the SIEM"} {
			if !strings.Contains(out, want) {
				t.Errorf("the log lacks %s:\n%s", want, out)
			}
		}
		if strings.Contains(out, "whsec_") {
			t.Errorf("a secret is in the log:\n%s", out)
		}
		a.run("export", a.file("actions"))
		words := a.run("verify", a.file("actions"))
		lines := strings.Split(strings.TrimSpace(words), "\n")
		head := lines[len(lines)-1]
		call[map[string]any](t, server, http.StatusOK, http.MethodPatch, "/v1/webhooks/"+w.ID, `{"description":"to the other SIEM"}`)
		if out := a.run("verify", "--head", head); !strings.Contains(out, "lines are those that were kept") {
			t.Errorf("verify says:\n%s", out)
		}
		server.Stop()
		a.server = nil
		a.run("verify", a.file("actions"), "--head", head)
	}, "--dev")
}

// Whatever is changed in the database by hand, the check names it. The database itself
// refuses it first.
func TestAuditVerifyNamesWhatWasChanged(t *testing.T) {
	t.Parallel()
	server := testenv.StartServer(t, testenv.ServerOptions{Args: []string{"--dev"}})
	a := &auditor{t: t, dir: t.TempDir(), server: server}
	for range 3 {
		addWebhook(t, server, testenv.NewPlainReceiver(t), "")
	}
	words := strings.Split(strings.TrimSpace(a.run("verify")), "\n")
	kept := words[len(words)-1]
	for _, c := range []struct{ change, want, undo string }{
		{`UPDATE actions SET actor_name = 'mallory' WHERE number = 2`, "line 2 was changed", `UPDATE actions SET actor_name = 'bootstrap' WHERE number = 2`},
		{`UPDATE actions SET at = at + 1 WHERE number = 3`, "line 3 was changed", `UPDATE actions SET at = at - 1 WHERE number = 3`},
		{`UPDATE actions SET number = -number WHERE number = 2`, "line 2 is missing", `UPDATE actions SET number = -number WHERE number = -2`},
		{`UPDATE actions SET number = -number WHERE number = (SELECT MAX(number) FROM actions)`, "are missing: the store has written them", ""},
		{`UPDATE action_head SET number = (SELECT MAX(number) FROM actions), hash = (SELECT hash FROM actions ORDER BY number DESC LIMIT 1)`, "that was kept: lines were removed from its end", ""},
	} {
		server.Stop()
		changeDatabase(t, server, `DROP TRIGGER IF EXISTS actions_stay;`+c.change)
		server.Restart()
		out, err := a.try("verify", "--head", kept)
		if err == nil || !strings.Contains(out, c.want) {
			t.Errorf("%s: %v; want it to say %q:\n%s", c.change, err, c.want, out)
		}
		if c.undo != "" {
			server.Stop()
			changeDatabase(t, server, c.undo)
			server.Restart()
			a.run("verify", "--head", kept)
		}
	}
}
