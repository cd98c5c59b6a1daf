package e2e

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cybervault/cybervault/test/testenv"
)

// told is what the tests look at of an event about an incident, a threat or a login.
type told struct {
	Event string `json:"event"`
	Data  struct {
		IncidentID string         `json:"incident_id"`
		ThreatID   string         `json:"threat_id"`
		AuthID     string         `json:"auth_id"`
		Title      string         `json:"title"`
		Severity   string         `json:"severity"`
		Status     string         `json:"status"`
		Resolution string         `json:"resolution"`
		ThreatIDs  []string       `json:"threat_ids"`
		Change     map[string]any `json:"change"`
	} `json:"data"`
}

type incident struct {
	ID          string   `json:"id"`
	Title       string   `json:"title"`
	Severity    string   `json:"severity"`
	Status      string   `json:"status"`
	Disposition *string  `json:"disposition"`
	MergedInto  *string  `json:"merged_into"`
	ThreatIDs   []string `json:"threat_ids"`
	Revision    int      `json:"revision"`
	Members     []struct {
		ID      string `json:"id"`
		EventID string `json:"event_id"`
	} `json:"members"`
	Notes []struct {
		By   string `json:"by"`
		Text string `json:"text"`
	} `json:"notes"`
}

// waitTold waits until so many events came, checks each signature, and returns the
// events, oldest first. One that came twice, as after a kill, counts once.
func waitTold(t *testing.T, secret string, receiver *testenv.Receiver, n int) []told {
	t.Helper()
	distinct := func(received []testenv.Received) (kept []testenv.Received) {
		seen := map[string]bool{}
		for _, r := range received {
			if id := r.Header.Get("webhook-id"); !seen[id] {
				seen[id] = true
				kept = append(kept, r)
			}
		}
		return kept
	}
	received := distinct(receiver.Wait(patience, fmt.Sprint(n, " events"), func(r []testenv.Received) bool { return len(distinct(r)) >= n }))
	events := make([]told, len(received))
	for i, r := range received {
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write(r.Body)
		if want := hex.EncodeToString(mac.Sum(nil)); r.Header.Get("X-CyberVault-Signature") != want {
			t.Errorf("the signature is %s, want %s", r.Header.Get("X-CyberVault-Signature"), want)
		}
		if err := json.Unmarshal(r.Body, &events[i]); err != nil {
			t.Fatal(err)
		}
	}
	if len(events) != n {
		t.Fatalf("%d events came, want %d: %+v", len(events), n, events)
	}
	return events
}

// telemetry hands lines in, which must be read.
func telemetry(t *testing.T, server *testenv.Server, lines ...string) {
	t.Helper()
	call[json.RawMessage](t, server, http.StatusOK, http.MethodPost, "/v1/telemetry?source=test", strings.Join(lines, "\n")+"\n")
}

// injection is a line of an access log in which somebody injects SQL.
func injection(ip string, n int) string {
	return fmt.Sprintf(`shop.example.com %s - - [04/May/2026:08:00:%02d +0000] "GET /items?id=%d%%27%%20UNION%%20SELECT%%20password%%20FROM%%20users-- HTTP/1.1" 200 512 "-" "curl/8"`, ip, n%60, n)
}

// guess is a line of sshd's about a failed login.
func guess(ip string, n int) string {
	return fmt.Sprintf("2026-05-04T09:00:%02dZ db1 sshd[%d]: Failed password for root from %s port %d ssh2", n, 700+n, ip, 40000+n)
}

// Telemetry of an attack becomes a signed threat and a signed incident that name
// each other; what the same address does elsewhere joins it; a person takes it over
// and resolves it; and nothing is told twice, over a restart.
func TestIncidentOfAnAttack(t *testing.T) {
	onBoth(t, func(t *testing.T, server *testenv.Server) {
		const ip = "203.0.113.9"
		receiver := testenv.NewReceiver(t)
		hook := addWebhook(t, server, receiver, "")
		attack := []string{injection(ip, 1), injection(ip, 2), injection(ip, 3)}
		telemetry(t, server, attack...)
		first := waitTold(t, hook.Secret, receiver, 2)
		slices.SortFunc(first, func(a, b told) int { return strings.Compare(a.Event, b.Event) })
		created, threat := first[0], first[1]
		if created.Event != "incident.created" || threat.Event != "threat.detected" {
			t.Fatalf("came %+v", first)
		}
		id := created.Data.IncidentID
		if !strings.HasPrefix(id, "inc_") || threat.Data.IncidentID != id || !slices.Contains(created.Data.ThreatIDs, threat.Data.ThreatID) {
			t.Errorf("threat %s says incident %q; incident %q says threats %v", threat.Data.ThreatID, threat.Data.IncidentID, id, created.Data.ThreatIDs)
		}
		if want := "SQL injection from 203.0.113.9 against shop.example.com"; created.Data.Title != want || created.Data.Status != "open" {
			t.Errorf("%s, %q, want open, %q", created.Data.Status, created.Data.Title, want)
		}

		guesses := make([]string, 10)
		for n := range guesses {
			guesses[n] = guess(ip, n)
		}
		telemetry(t, server, guesses...)
		second := waitTold(t, hook.Secret, receiver, 4)[2:]
		slices.SortFunc(second, func(a, b told) int { return strings.Compare(a.Event, b.Event) })
		login, grown := second[0], second[1]
		if login.Event != "auth.suspicious" || login.Data.IncidentID != id {
			t.Errorf("the guessing is %s of incident %q, want auth.suspicious of %s", login.Event, login.Data.IncidentID, id)
		}
		if grown.Event != "incident.updated" || grown.Data.IncidentID != id || grown.Data.Change["members"] == nil {
			t.Errorf("the incident is told of as %+v", grown)
		}

		server.Kill()
		server.Restart()
		telemetry(t, server, attack...) // the engine has forgotten it, the store has not
		path := "/v1/incidents/" + id
		i := call[incident](t, server, http.StatusOK, http.MethodGet, path, "")
		if len(i.Members) != 2 || len(i.ThreatIDs) != 2 {
			t.Fatalf("incident: %+v", i)
		}
		for _, m := range i.Members {
			if e := call[told](t, server, http.StatusOK, http.MethodGet, "/v1/events/"+m.EventID, ""); e.Data.ThreatID+e.Data.AuthID != m.ID || e.Data.IncidentID != id {
				t.Errorf("the event of %s is %+v", m.ID, e)
			}
		}

		call[json.RawMessage](t, server, http.StatusConflict, http.MethodPatch, path, fmt.Sprintf(`{"status":"acknowledged","revision":%d}`, i.Revision-1))
		i = call[incident](t, server, http.StatusOK, http.MethodPatch, path, fmt.Sprintf(`{"status":"acknowledged","note":"ours to look at","revision":%d}`, i.Revision))
		if i.Status != "acknowledged" || len(i.Notes) != 1 {
			t.Errorf("acknowledged: %+v", i)
		}
		call[incident](t, server, http.StatusOK, http.MethodPatch, path, `{"status":"resolved","disposition":"true_positive"}`)
		last := waitTold(t, hook.Secret, receiver, 6)[4:]
		if last[0].Event != "incident.updated" || last[0].Data.Status != "acknowledged" || last[0].Data.Change["status"] == nil ||
			last[1].Event != "incident.resolved" || last[1].Data.Resolution != "person" || last[1].Data.Change["disposition"] == nil {
			t.Errorf("told of the changes: %+v", last)
		}
		for query, want := range map[string]int{"": 1, "?status=open,acknowledged": 0, "?status=resolved&severity=" + i.Severity: 1, "?q=" + ip: 1, "?q=198.51.100.7": 0} {
			if got := call[list[incident]](t, server, http.StatusOK, http.MethodGet, "/v1/incidents"+query, ""); len(got.Data) != want {
				t.Errorf("incidents%s: %d, want %d", query, len(got.Data), want)
			}
		}
	}, "--allow-destination", "127.0.0.0/8")
}

// An attack of many requests is one incident, with few events.
func TestALongAttackIsOneIncident(t *testing.T) {
	server := testenv.StartServer(t, testenv.ServerOptions{})
	t.Parallel()
	for part := range 5 {
		lines := make([]string, 400)
		for n := range lines {
			lines[n] = injection("203.0.113.9", 400*part+n)
		}
		telemetry(t, server, lines...)
	}
	if got := call[list[incident]](t, server, http.StatusOK, http.MethodGet, "/v1/incidents", "").Data; len(got) != 1 {
		t.Errorf("%d incidents, want 1", len(got))
	}
	if got := call[list[told]](t, server, http.StatusOK, http.MethodGet, "/v1/events", "").Data; len(got) > 5 {
		t.Errorf("%d events of one attack: %+v", len(got), got)
	}
}

// Two incidents are merged by a person, and one that is quiet resolves itself.
func TestIncidentsMergeAndGoQuiet(t *testing.T) {
	onBoth(t, func(t *testing.T, server *testenv.Server) {
		telemetry(t, server, injection("203.0.113.9", 1), injection("203.0.113.9", 2), injection("198.51.100.7", 1), injection("198.51.100.7", 2))
		two := call[list[incident]](t, server, http.StatusOK, http.MethodGet, "/v1/incidents", "").Data
		if len(two) != 2 {
			t.Fatalf("%d incidents, want 2", len(two))
		}
		into, from := two[0].ID, two[1].ID
		merged := call[incident](t, server, http.StatusOK, http.MethodPost, "/v1/incidents/"+from+"/merge", `{"merge_into":"`+into+`"}`)
		if merged.Status != "resolved" || merged.MergedInto == nil || *merged.MergedInto != into || len(merged.Members) != 0 {
			t.Errorf("merged: %+v", merged)
		}
		if whole := call[incident](t, server, http.StatusOK, http.MethodGet, "/v1/incidents/"+into, ""); len(whole.Members) != 2 {
			t.Errorf("after the merge: %+v", whole)
		}
		testenv.Until(t, patience, func() error {
			events := call[list[told]](t, server, http.StatusOK, http.MethodGet, "/v1/events?event=incident.resolved", "").Data
			if len(events) == 2 && events[0].Data.IncidentID == into && events[0].Data.Resolution == "quiet" && events[1].Data.Resolution == "merged" {
				return nil
			}
			return fmt.Errorf("resolved: %+v", events)
		})
	}, "--incident-quiet", (2 * time.Second).String())
}
