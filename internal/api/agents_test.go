package api_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault"
)

func TestEnrolAndBeat(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	body := `{"hostname":"web-1","os":"Debian","version":"v1","addresses":["192.0.2.7"]}`
	w := f.do(request{call: "POST /v1/agents", body: body, key: "cve_token"})
	if w.Code != http.StatusCreated || !strings.Contains(w.Body.String(), `"key":"cva_plain"`) || !strings.Contains(w.Body.String(), `"interval":"30s"`) {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	want := cybervault.HostFacts{Hostname: "web-1", OS: "Debian", Version: "v1", Addresses: []string{"192.0.2.7"}}
	if diff := cmp.Diff(want, f.facts); diff != "" {
		t.Errorf("facts (-want +got):\n%s", diff)
	}
	beat := request{call: "POST /v1/agents/" + agent1.String() + "/heartbeat", body: `{"hostname":"web-2"}`, key: agentKey}
	var answer struct {
		Interval string
		Missed   int
		Key      *string
	}
	w = f.do(beat)
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != http.StatusOK || answer.Interval != "30s" || answer.Missed != 3 || answer.Key != nil || f.facts.Hostname != "web-2" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	f.newAgentKey = "cva_next"
	if w = f.do(beat); !strings.Contains(w.Body.String(), `"key":"cva_next"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	// Another agent's heartbeat, and one by a key that is no agent's.
	beat.call = "POST /v1/agents/" + id[cybervault.AgentID](77).String() + "/heartbeat"
	if w = f.do(beat); w.Code != http.StatusForbidden {
		t.Errorf("another agent's heartbeat is answered %d %s", w.Code, w.Body)
	}
	beat.key = adminKey
	if w = f.do(beat); w.Code != http.StatusForbidden {
		t.Errorf("an admin key's heartbeat is answered %d %s", w.Code, w.Body)
	}
	// What an agent may do besides is to hand in telemetry, and no more.
	if w = f.do(request{call: "POST /v1/telemetry?source=web-1", body: "line\n", key: agentKey}); w.Code != http.StatusOK {
		t.Errorf("telemetry is answered %d %s", w.Code, w.Body)
	}
	if w = f.do(request{call: "GET /v1/agents", key: agentKey}); w.Code != http.StatusForbidden {
		t.Errorf("the list is answered %d", w.Code)
	}
}

func TestAgentsAreListed(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	f.more = true
	w := f.do(request{call: "GET /v1/agents?status=offline&q=web&limit=1", key: readKey})
	var page struct {
		Data []struct {
			ID     string
			Labels map[string]string
			Seen   *string `json:"last_seen_at"`
		}
		Next *string `json:"next_cursor"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil || len(page.Data) != 1 || page.Data[0].ID != agent1.String() || page.Data[0].Labels["role"] != "web" || page.Data[0].Seen == nil || page.Next == nil {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if q := f.agentsAsked; q.Status != cybervault.AgentOffline || q.Text != "web" || q.Limit != 1 {
		t.Errorf("asked for %+v", q)
	}
	f.do(request{call: "GET /v1/agents?status=offline&q=web&limit=1&cursor=" + *page.Next, key: readKey})
	if f.agentsAsked.Before != agent1 {
		t.Errorf("the next page begins after %s", f.agentsAsked.Before)
	}
	for _, wrong := range []string{"?status=gone", "?status=online,offline", "?q="} {
		if w := f.do(request{call: "GET /v1/agents" + wrong, key: readKey}); w.Code != http.StatusUnprocessableEntity && w.Code != http.StatusBadRequest {
			t.Errorf("%s is answered %d", wrong, w.Code)
		}
	}
}

func TestTokenForm(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	w := f.do(request{call: "POST /v1/agent-tokens", body: bodies()["POST /v1/agent-tokens"], key: adminKey})
	if w.Code != http.StatusCreated || !strings.Contains(w.Body.String(), `"token":"cve_plain"`) {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if g := f.token; g.Name != "web" || g.Labels["role"] != "web" || g.Uses != 3 || g.Missed != 4 || g.Interval.String() != "10s" || g.ExpiresAt.IsZero() {
		t.Errorf("asked for %+v", g)
	}
	for _, wrong := range []string{`{"uses":0}`, `{"uses":"many"}`, `{"interval":"soon"}`, `{"expires_in":"-1h"}`, `{"labels":[1]}`, `{"name":5}`, `{"missed":1.5}`, `{"nothing":1}`} {
		if w := f.do(request{call: "POST /v1/agent-tokens", body: wrong, key: adminKey}); w.Code != http.StatusUnprocessableEntity {
			t.Errorf("%s is answered %d %s", wrong, w.Code, w.Body)
		}
	}
}
