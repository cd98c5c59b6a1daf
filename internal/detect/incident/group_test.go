package incident_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/detect/incident"
)

var (
	epoch     = time.Date(2026, 5, 4, 8, 0, 0, 0, time.UTC)
	workspace = cybervault.WorkspaceID{UUID: cybervault.UUIDFromParts(1, 1)}
)

// finding is one that opens an incident, changed by what a test needs.
func finding(n int, change ...func(*cybervault.Gist)) cybervault.Finding {
	g := cybervault.Gist{
		Subject: cybervault.MakeID[cybervault.ThreatID](int64(n+1)<<20, int64(n)).String(), Severity: cybervault.SeverityHigh, Confidence: 0.9,
		Name: "sql_injection", Names: []string{"sql_injection"}, Count: 1, FirstSeen: epoch, LastSeen: epoch, Techniques: []string{"T1190"}, Rules: []string{"web:942100"},
	}
	for _, c := range change {
		c(&g)
	}
	return cybervault.Finding{
		Type: cybervault.EventThreatDetected, Timestamp: g.LastSeen, Key: fmt.Sprintf("detect_%d_%d", n, g.Count), Gist: g,
		Data: fmt.Appendf(nil, `{"threat_id":%q,"incident_id":null}`, g.Subject),
	}
}

func from(ip string) func(*cybervault.Gist) { return func(g *cybervault.Gist) { g.SourceIP = ip } }
func by(user string) func(*cybervault.Gist) { return func(g *cybervault.Gist) { g.User = user } }
func at(asset string) func(*cybervault.Gist) {
	return func(g *cybervault.Gist) { g.Asset = asset }
}
func on(asset string) func(*cybervault.Gist) {
	return func(g *cybervault.Gist) { g.Asset, g.OnAsset = asset, true }
}
func after(d time.Duration) func(*cybervault.Gist) {
	return func(g *cybervault.Gist) { g.FirstSeen, g.LastSeen = epoch.Add(d), epoch.Add(d) }
}
func severity(s cybervault.Severity) func(*cybervault.Gist) {
	return func(g *cybervault.Gist) { g.Severity = s }
}
func count(n int) func(*cybervault.Gist) { return func(g *cybervault.Gist) { g.Count = n } }
func showing(technique string, names ...string) func(*cybervault.Gist) {
	return func(g *cybervault.Gist) { g.Name, g.Names, g.Techniques = names[0], names, []string{technique} }
}

// rig is a manager over a store in memory, with a clock that a test moves.
type rig struct {
	*testing.T

	memory  *incident.Memory
	manager *incident.Manager
	now     time.Time
}

func newRig(t *testing.T) *rig {
	r := &rig{T: t, memory: &incident.Memory{}, now: epoch.Add(time.Hour)}
	r.manager = incident.New(incident.Config{Store: r.memory, Now: func() time.Time { return r.now }, Quiet: 24 * time.Hour})
	return r
}

// assign returns the incident of each finding, "" for none, as its data names it.
func (r *rig) assign(findings ...cybervault.Finding) []string {
	r.Helper()
	assigned, err := r.manager.Assign(context.Background(), workspace, findings)
	if err != nil {
		r.Fatal(err)
	}
	ids := make([]string, len(assigned))
	for i, f := range assigned {
		var data struct {
			ID *string `json:"incident_id"`
		}
		if err := json.Unmarshal(f.Data, &data); err != nil {
			r.Fatal(err)
		}
		if data.ID != nil {
			ids[i] = *data.ID
		}
	}
	return ids
}

func TestWhatBelongsTogether(t *testing.T) {
	t.Parallel()
	const far = 25 * time.Hour
	for name, c := range map[string]struct {
		a, b cybervault.Finding
		want bool
	}{
		"one address":                         {finding(0, from("203.0.113.9")), finding(1, from("203.0.113.9")), true},
		"one address, the other way round":    {finding(0, from("203.0.113.9"), after(time.Hour)), finding(1, from("203.0.113.9")), true},
		"one address, too late":               {finding(0, from("203.0.113.9")), finding(1, from("203.0.113.9"), after(far)), false},
		"one IPv4 address in two forms":       {finding(0, from("203.0.113.9")), finding(1, from("::ffff:203.0.113.9")), true},
		"one IPv6 network":                    {finding(0, from("2001:db8::1")), finding(1, from("2001:db8::ffff:2")), true},
		"two IPv6 networks":                   {finding(0, from("2001:db8:0:1::1")), finding(1, from("2001:db8:0:2::1")), false},
		"loopback":                            {finding(0, from("127.0.0.1")), finding(1, from("127.0.0.1")), false},
		"two addresses against one asset":     {finding(0, from("203.0.113.9"), at("shop")), finding(1, from("198.51.100.7"), at("shop")), false},
		"one account":                         {finding(0, by("alice"), from("203.0.113.9")), finding(1, by("Alice"), from("198.51.100.7")), true},
		"root":                                {finding(0, by("root"), from("203.0.113.9")), finding(1, by("root"), from("198.51.100.7")), false},
		"the system's own account, a domain":  {finding(0, by(`NT AUTHORITY\SYSTEM`)), finding(1, by(`NT AUTHORITY\SYSTEM`)), false},
		"a machine's account":                 {finding(0, by("WEB1$")), finding(1, by("WEB1$")), false},
		"a name that is no account's":         {finding(0, by("bob"), func(g *cybervault.Gist) { g.NoSuchUser = true }), finding(1, by("bob")), false},
		"on one asset":                        {finding(0, on("db1")), finding(1, on("db1"), after(time.Hour)), true},
		"on one asset, too late":              {finding(0, on("db1")), finding(1, on("db1"), after(5*time.Hour)), false},
		"towards an asset and on it":          {finding(0, from("203.0.113.9"), at("db1")), finding(1, on("db1")), false},
		"a guessed login, then on that asset": {finding(0, from("203.0.113.9"), by("root"), on("db1")), finding(1, by("root"), on("db1")), true},
		"nothing in common":                   {finding(0), finding(1), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ids := newRig(t).assign(c.a, c.b)
			if ids[0] == "" || ids[1] == "" {
				t.Fatalf("no incident: %q", ids)
			}
			if got := ids[0] == ids[1]; got != c.want {
				t.Errorf("together: %v, want %v", got, c.want)
			}
		})
	}
}

// The same findings in any order, in any batches, make the same groups, and these
// are what one gets by joining every pair that has something in common.
func TestGroupsDoNotDependOnTheOrder(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 7)) // the same each time
		findings := make([]cybervault.Finding, 2+rng.IntN(24))
		for n := range findings {
			begin := time.Duration(rng.IntN(60)) * time.Hour
			findings[n] = finding(n, after(begin), func(g *cybervault.Gist) {
				g.LastSeen = g.FirstSeen.Add(time.Duration(rng.IntN(300)) * time.Minute)
				if rng.IntN(2) == 0 {
					g.SourceIP = netip.AddrFrom4([4]byte{203, 0, 113, byte(rng.IntN(6))}).String()
				}
				if rng.IntN(3) == 0 {
					g.User = []string{"alice", "bob", "root", "carol"}[rng.IntN(4)]
				}
				g.Asset, g.OnAsset = []string{"web1", "db1", "db2"}[rng.IntN(3)], rng.IntN(4) == 0
			})
		}
		want := groupsByPairs(findings)
		for range 4 {
			r := newRig(t)
			order := rng.Perm(len(findings))
			for rest := order; len(rest) > 0; {
				n := 1 + rng.IntN(len(rest))
				batch := make([]cybervault.Finding, n)
				for i, k := range rest[:n] {
					batch[i] = findings[k]
				}
				r.assign(batch...)
				rest = rest[n:]
			}
			if diff := cmp.Diff(want, r.groups()); diff != "" {
				t.Fatalf("seed %d, order %v (-want +got):\n%s", seed, order, diff)
			}
		}
	}
}

// groups are the members of each live incident, as a sorted list of lists.
func (r *rig) groups() []string {
	r.Helper()
	var groups []string
	members := 0
	for _, i := range r.memory.Incidents() {
		if !i.Live() {
			continue
		}
		threats := slices.Sorted(slices.Values(i.Evidence.Threats))
		if len(threats) != i.Evidence.Members {
			r.Fatalf("%s has %d members and lists %d", i.ID, i.Evidence.Members, len(threats))
		}
		members += len(threats)
		groups = append(groups, strings.Join(threats, " "))
	}
	slices.Sort(groups)
	return groups
}

// groupsByPairs says it the slow way, without anything that the code under test has.
func groupsByPairs(findings []cybervault.Finding) []string {
	group := make([]int, len(findings))
	for n := range group {
		group[n] = n
	}
	for a := range findings {
		for b := range a {
			if x, y := group[a], group[b]; x != y && related(&findings[a].Gist, &findings[b].Gist) {
				for n := range group {
					if group[n] == y {
						group[n] = x
					}
				}
			}
		}
	}
	byGroup := map[int][]string{}
	for n, g := range group {
		byGroup[g] = append(byGroup[g], findings[n].Gist.Subject)
	}
	groups := make([]string, 0, len(byGroup))
	for _, subjects := range byGroup {
		slices.Sort(subjects)
		groups = append(groups, strings.Join(subjects, " "))
	}
	slices.Sort(groups)
	return groups
}

func related(a, b *cybervault.Gist) bool {
	gap := max(a.FirstSeen.Sub(b.LastSeen), b.FirstSeen.Sub(a.LastSeen), 0)
	return a.SourceIP != "" && a.SourceIP == b.SourceIP && gap <= 24*time.Hour ||
		a.User != "" && a.User != "root" && a.User == b.User && gap <= 24*time.Hour ||
		a.OnAsset && b.OnAsset && a.Asset == b.Asset && gap <= 4*time.Hour
}

func TestWhatOpensAnIncident(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	low := finding(0, from("203.0.113.9"), severity(cybervault.SeverityLow))
	if got := r.assign(low); got[0] != "" {
		t.Fatalf("a low finding opened %s", got[0])
	}
	unsure := finding(1, from("203.0.113.8"), func(g *cybervault.Gist) { g.Confidence = 0.4 })
	if got := r.assign(unsure); got[0] != "" {
		t.Fatalf("a finding that nobody is sure of opened %s", got[0])
	}
	opened := r.assign(finding(2, from("203.0.113.9"), severity(cybervault.SeverityMedium)))
	joined := r.assign(finding(3, from("203.0.113.9"), severity(cybervault.SeverityLow)))
	if opened[0] == "" || joined[0] != opened[0] {
		t.Fatalf("a medium finding opened %q, a low one after it joined %q", opened[0], joined[0])
	}
	if again := r.assign(low); again[0] != "" {
		t.Errorf("the same finding again was told %q, and nothing before: it would be another event", again[0])
	}
	grown := finding(0, from("203.0.113.9"), severity(cybervault.SeverityLow), count(10))
	if got := r.assign(grown); got[0] != opened[0] {
		t.Errorf("a threat that grew joined %q, want %q", got[0], opened[0])
	}
}

func TestSeverityRisesWithTactics(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	worst := func() cybervault.Severity { return r.memory.Incidents()[0].Severity }
	steps := []struct {
		technique string
		want      cybervault.Severity
	}{
		{"T1595.002", cybervault.SeverityMedium}, // reconnaissance
		{"T1595.003", cybervault.SeverityMedium}, // again
		{"T1190", cybervault.SeverityMedium},     // initial access
		{"T1059.004", cybervault.SeverityHigh},   // execution: the third
		{"T1053.003", cybervault.SeverityHigh},   // execution again
		{"T1070", cybervault.SeverityHigh},       // defence evasion
		{"T1003", cybervault.SeverityCritical},   // credential access: the fifth
		{"T1486", cybervault.SeverityCritical},
		{"T9999", cybervault.SeverityCritical}, // nobody knows what
	}
	for n, step := range steps {
		r.assign(finding(n, from("203.0.113.9"), severity(cybervault.SeverityMedium), showing(step.technique, "scanner")))
		if got := worst(); got != step.want {
			t.Errorf("after %s: %s, want %s", step.technique, got, step.want)
		}
	}
	alone := newRig(t)
	alone.assign(finding(0, severity(cybervault.SeverityMedium), func(g *cybervault.Gist) { g.Techniques = []string{"T1595", "T1190", "T1059"} }))
	if got := alone.memory.Incidents()[0]; got.Severity != cybervault.SeverityMedium || len(got.Evidence.Tactics) != 3 {
		t.Errorf("one member with three tactics: %s %v, want what it says itself", got.Severity, got.Evidence.Tactics)
	}
}

func TestTitle(t *testing.T) {
	t.Parallel()
	for want, findings := range map[string][]cybervault.Finding{
		"SQL injection and path traversal from 203.0.113.9 against shop": {
			finding(0, from("203.0.113.9"), at("shop"), showing("T1190", "path_traversal", "sql_injection")),
		},
		"Remote code execution, SQL injection and 1 more from 203.0.113.9 against 2 assets": {
			finding(0, from("203.0.113.9"), at("shop"), showing("T1190", "sql_injection", "xss")),
			finding(1, from("203.0.113.9"), at("blog"), showing("T1190", "remote_code_execution")),
		},
		"Login after guessed passwords and password guessing from 203.0.113.9 against db1": {
			finding(0, from("203.0.113.9"), by("root"), on("db1"), showing("T1110", "success_after_failures", "brute_force")),
		},
		"Distributed password guessing against alice on db1": {finding(0, by("alice"), at("db1"), showing("T1110", "distributed_guessing"))},
		"Scheduled task made by alice on db1":                {finding(0, by("alice"), on("db1"), showing("T1053", "scheduled_task_made"))},
		"SQL injection from 2 addresses": {
			finding(0, from("203.0.113.9"), by("alice")), finding(1, from("203.0.113.10"), by("alice")),
		},
	} {
		r := newRig(t)
		r.assign(findings...)
		if got := r.memory.Incidents(); len(got) != 1 || got[0].Title != want {
			t.Errorf("%d incidents, %q, want %q", len(got), got[0].Title, want)
		}
	}
}
