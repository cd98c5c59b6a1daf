package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cybervault/cybervault/test/testenv"
)

// agentToken makes a token for so many agents that are lost after a few seconds.
func agentToken(t *testing.T, server *testenv.Server, uses int) string {
	t.Helper()
	return call[struct{ Token string }](t, server, http.StatusCreated, http.MethodPost, "/v1/agent-tokens",
		fmt.Sprintf(`{"name":"test","labels":{"role":"web"},"interval":"1s","missed":4,"uses":%d}`, uses)).Token
}

type agentRow struct {
	ID, Hostname, Status string
	Labels               map[string]string
	Seen                 time.Time `json:"last_seen_at"`
}

func agents(t *testing.T, server *testenv.Server) []agentRow {
	t.Helper()
	return call[struct{ Data []agentRow }](t, server, http.StatusOK, http.MethodGet, "/v1/agents?limit=200", "").Data
}

type endpointEvent struct {
	Data struct {
		AgentID  string `json:"agent_id"`
		Hostname string
		Code     string
		Status   string
		Missed   int
		Count    int
		Labels   map[string]string
	}
}

func endpointEvents(t *testing.T, server *testenv.Server, event string) []endpointEvent {
	t.Helper()
	return call[struct{ Data []endpointEvent }](t, server, http.StatusOK, http.MethodGet, "/v1/events?limit=200&event="+event, "").Data
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.WriteString(text)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func guesses(from string) string {
	var b strings.Builder
	for i := range 8 {
		fmt.Fprintf(&b, "%s bastion sshd[4711]: Failed password for root from %s port %d ssh2\n", time.Now().UTC().Format("Jan _2 15:04:05"), from, 50_000+i)
	}
	return b.String()
}

// An agent enrols, hands in what a file says, is killed and started again, stopped and
// woken, and removed.
func TestAnAgent(t *testing.T) {
	onBoth(t, func(t *testing.T, server *testenv.Server) {
		log := filepath.Join(t.TempDir(), "auth.log")
		appendTo(t, log, "what was there before is none of its business\n")
		a := testenv.StartAgent(t, server.Program(), server.URL(), agentToken(t, server, 1), "--tail", log, "--hostname", "Web-1.example.com")
		until(t, "the agent is online", func() bool { return len(endpointEvents(t, server, "endpoint.online")) == 1 })
		row := agents(t, server)[0]
		if d := endpointEvents(t, server, "endpoint.online")[0].Data; d.AgentID != row.ID || d.Hostname != "web-1.example.com" || d.Labels["role"] != "web" || row.Status != "online" {
			t.Errorf("%+v, %+v", d, row)
		}
		appendTo(t, log, guesses("203.0.113.9"))
		suspicious := func(ip string) func() bool {
			return func() bool {
				events := call[struct{ Data []storedEvent }](t, server, http.StatusOK, http.MethodGet, "/v1/events?event=auth.suspicious&limit=50", "").Data
				for _, e := range events {
					if e.Data.SourceIP == ip {
						return true
					}
				}
				return false
			}
		}
		until(t, "what the file says is judged", suspicious("203.0.113.9"))

		a.Kill()
		until(t, "it is lost", func() bool { return len(endpointEvents(t, server, "endpoint.offline")) == 1 })
		if d := endpointEvents(t, server, "endpoint.offline")[0].Data; d.AgentID != row.ID || d.Missed != 4 {
			t.Errorf("%+v", d)
		}
		appendTo(t, log, guesses("203.0.113.10"))
		a.Start()
		until(t, "it is back", func() bool { return len(endpointEvents(t, server, "endpoint.online")) == 2 })
		until(t, "what was written meanwhile is judged", suspicious("203.0.113.10"))

		a.Signal(syscall.SIGSTOP)
		until(t, "it is lost again", func() bool { return len(endpointEvents(t, server, "endpoint.offline")) == 2 })
		a.Signal(syscall.SIGCONT)
		until(t, "it is back again", func() bool { return len(endpointEvents(t, server, "endpoint.online")) == 3 })

		call[struct{}](t, server, http.StatusNoContent, http.MethodDelete, "/v1/agents/"+row.ID, "")
		if said := a.Ended(); !strings.Contains(said, "enrol it anew") {
			t.Errorf("after it was removed, it says %s", said)
		}
		if left := agents(t, server); len(left) != 0 {
			t.Errorf("%+v are left", left)
		}
	})
}

// Many at once are one alert; a server that was away misses nobody, and what was
// written meanwhile comes when it is there again.
func TestManyAgents(t *testing.T) {
	t.Parallel()
	server, front := testenv.StartServer(t, testenv.ServerOptions{}), testenv.NewFront(t)
	front.Behind(t, server.URL())
	const n = 6
	token, log := agentToken(t, server, n), filepath.Join(t.TempDir(), "auth.log")
	appendTo(t, log, "begins like this\n")
	var all []*testenv.Agent
	for i := range n {
		args := []string{"--hostname", fmt.Sprintf("web-%d", i)}
		if i == 0 {
			args = append(args, "--tail", log)
		}
		all = append(all, testenv.StartAgent(t, server.Program(), front.URL, token, args...))
	}
	until(t, "all are online", func() bool { return len(endpointEvents(t, server, "endpoint.online")) == n })

	front.Away()
	until(t, "it is told that many went at once", func() bool {
		alerts := endpointEvents(t, server, "system.alert")
		return len(alerts) == 1 && alerts[0].Data.Code == "agents_offline_together" && alerts[0].Data.Status == "firing" && alerts[0].Data.Count >= 5
	})
	front.Behind(t, server.URL())
	until(t, "it is told that it is over", func() bool { return len(endpointEvents(t, server, "system.alert")) == 2 })
	if lost := endpointEvents(t, server, "endpoint.offline"); len(lost) != 0 {
		t.Errorf("%+v are told of one by one", lost)
	}

	server.Kill()
	appendTo(t, log, guesses("203.0.113.11"))
	server.Restart()
	began := time.Now()
	front.Behind(t, server.URL())
	until(t, "all are heard of anew", func() bool {
		for _, a := range agents(t, server) {
			if !a.Seen.After(began) {
				return false
			}
		}
		return true
	})
	until(t, "what was written meanwhile is judged", func() bool { return len(endpointEvents(t, server, "auth.suspicious")) > 0 })
	if lost := endpointEvents(t, server, "endpoint.offline"); len(lost) != 0 || len(endpointEvents(t, server, "endpoint.online")) != n {
		t.Errorf("%+v are told of after a restart", lost)
	}
	for _, a := range all {
		a.Stop()
	}
}
