package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cybervault/cybervault/test/testenv"
)

type report struct {
	Status string `json:"status"`
	Checks []struct {
		Name    string `json:"name"`
		Status  string `json:"status"`
		Subject string `json:"subject"`
		Summary string `json:"summary"`
	} `json:"checks"`
}

// find is the status of a check about a subject, and what it says.
func (r *report) find(name, subject string) string {
	for _, c := range r.Checks {
		if c.Name == name && (subject == "" || c.Subject == subject) {
			return c.Status + " " + c.Summary
		}
	}
	return "none"
}

// examine runs doctor, and says with which status it ended.
func examine(t *testing.T, server *testenv.Server, args ...string) (r report, ok bool) {
	t.Helper()
	out, errs, err := command(t, server, append([]string{"doctor", "--json"}, args...)...)
	if unreadable := json.Unmarshal([]byte(out), &r); unreadable != nil {
		t.Fatalf("doctor printed %s%s", out, errs)
	}
	return r, err == nil
}

// A running server looks at itself: one receiver that answers, one that is not
// there, one whose certificate nobody trusts.
func TestDoctorOfARunningServer(t *testing.T) {
	onBoth(t, func(t *testing.T, server *testenv.Server) {
		receiver := testenv.NewReceiver(t)
		good := addWebhook(t, server, receiver, "")
		call[struct{}](t, server, http.StatusAccepted, http.MethodPost, "/v1/events", threat)
		waitDelivered(t, server, 1)
		r, ok := examine(t, server)
		if !ok || r.Status == "fail" || !strings.HasPrefix(r.find("destination", good.ID), "ok https://127.0.0.1") {
			t.Errorf("a server that is well: %+v", r)
		}
		for _, name := range []string{"version", "configuration", "key file", "server", "database", "open files", "queue", "webhook", "certificate", "clock"} {
			if got := r.find(name, ""); strings.HasPrefix(got, "fail") || got == "none" {
				t.Errorf("%s: %s", name, got)
			}
		}

		gone := testenv.Nobody(t)
		dead := call[webhook](t, server, http.StatusCreated, http.MethodPost, "/v1/webhooks", `{"url":"https://`+gone+`/very-secret","events":["patch.failed"]}`)
		strange := call[webhook](t, server, http.StatusCreated, http.MethodPost, "/v1/webhooks", `{"url":"`+receiver.URL+`/other","events":["patch.failed"]}`)
		before := len(receiver.Received())
		r, ok = examine(t, server)
		if ok || r.Status != "fail" {
			t.Errorf("two receivers cannot be reached: %+v", r)
		}
		for id, want := range map[string]string{good.ID: "ok", dead.ID: "fail https://" + gone + " cannot be reached (connect)", strange.ID: "fail " + receiver.URL + " cannot be reached (tls)"} {
			if got := r.find("destination", id); !strings.HasPrefix(got, want) {
				t.Errorf("destination: %s, want %s", got, want)
			}
		}
		if len(receiver.Received()) != before {
			t.Error("a receiver was sent something")
		}
		out, _, _ := command(t, server, "doctor")
		if !strings.Contains(out, "FAIL  destination: "+dead.ID) || strings.Contains(out, "very-secret") {
			t.Errorf("for people: %s", out)
		}
	}, "--allow-destination", "127.0.0.0/8")
}

// A server that does not run is looked at from outside.
func TestDoctorOfAStoppedServer(t *testing.T) {
	t.Parallel()
	server := testenv.StartServer(t, testenv.ServerOptions{})
	data := filepath.Join(server.Dir, "data")
	server.Stop()
	before, err := os.ReadDir(data)
	if err != nil {
		t.Fatal(err)
	}
	r, ok := examine(t, server, "--data", data)
	if ok || !strings.HasPrefix(r.find("server", ""), "fail no server answers") || !strings.HasPrefix(r.find("database", ""), "ok") || !strings.HasPrefix(r.find("key file", ""), "ok") {
		t.Errorf("a server that is stopped: %+v", r)
	}
	if after, err := os.ReadDir(data); err != nil || len(after) != len(before) {
		t.Errorf("doctor left %v, there was %v: %v", after, before, err)
	}
	if err := os.Remove(filepath.Join(data, "secret.key")); err != nil {
		t.Fatal(err)
	}
	if r, _ = examine(t, server, "--data", data); !strings.HasPrefix(r.find("key file", ""), "fail does not exist") {
		t.Errorf("without its key: %+v", r)
	}
}
