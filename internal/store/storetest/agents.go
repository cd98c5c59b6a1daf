package storetest

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault"
)

func agentCases() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"agents/enrol":    agentsEnrol,
		"agents/tokens":   agentTokens,
		"agents/lists":    agentLists,
		"agents/judge":    agentsAreJudged,
		"agents/keys":     agentKeys,
		"agents/packages": agentPackages,
	}
}

func (f *fixture) agentToken(uses int) *cybervault.AgentToken {
	f.Helper()
	t := &cybervault.AgentToken{
		ID: cybervault.NewID[cybervault.AgentTokenID](f.ids), Workspace: f.ws, Name: "web", Labels: map[string]string{"role": "web"}, Interval: 10 * time.Second, Missed: 4,
		Uses: uses, By: "ann", CreatedAt: start, ExpiresAt: start.Add(time.Hour),
	}
	t.Hash = sha256.Sum256([]byte(t.ID.String()))
	f.must(f.s.CreateAgentToken(f.as("ann"), t))
	return t
}

func (f *fixture) newAgent(hostname string) *cybervault.Agent {
	a := &cybervault.Agent{
		HostFacts: cybervault.HostFacts{Hostname: hostname, OS: "Debian GNU/Linux 12", Version: "v1", Addresses: []string{"192.0.2.7", "2001:db8::7"}},
		ID:        cybervault.NewID[cybervault.AgentID](f.ids), KeyedAt: f.clock.Now(), Status: cybervault.AgentEnrolled, EnrolledAt: f.clock.Now(), ChangedAt: f.clock.Now(),
	}
	a.Hash = sha256.Sum256([]byte(a.ID.String()))
	return a
}

func (f *fixture) agent(hostname string) *cybervault.Agent {
	f.Helper()
	a := f.newAgent(hostname)
	f.must(f.s.EnrolAgent(f.Context(), f.agentToken(1).Hash, a))
	return a
}

func (f *fixture) wantAgent(want *cybervault.Agent) {
	f.Helper()
	got, err := f.s.Agent(f.Context(), f.ws, want.ID)
	f.must(err)
	if diff := cmp.Diff(want, got); diff != "" {
		f.Errorf("the agent (-want +got):\n%s", diff)
	}
}

func agentsEnrol(f *fixture) {
	token := f.agentToken(2)
	a := f.newAgent("web-1.example.com")
	f.must(f.s.EnrolAgent(f.Context(), token.Hash, a))
	f.lastAction("agent.create")
	if a.Workspace != f.ws || a.Interval != 10*time.Second || a.Missed != 4 || a.Labels["role"] != "web" {
		f.Errorf("the token gave %+v", a)
	}
	f.wantAgent(a)
	left, err := f.s.AgentTokens(f.Context(), f.ws)
	f.must(err)
	if len(left) != 1 || left[0].Uses != 1 {
		f.Errorf("%+v are left", left)
	}
	f.must(f.s.EnrolAgent(f.Context(), token.Hash, f.newAgent("web-2")))
	f.wantCode(f.s.EnrolAgent(f.Context(), token.Hash, f.newAgent("web-3")), cybervault.CodeUnauthorized)
	f.wantCode(f.s.EnrolAgent(f.Context(), [32]byte{1}, f.newAgent("web-3")), cybervault.CodeUnauthorized)
	late := f.agentToken(1)
	f.clock.Move(time.Hour)
	f.wantCode(f.s.EnrolAgent(f.Context(), late.Hash, f.newAgent("web-3")), cybervault.CodeUnauthorized)
	f.wantCode(f.s.EnrolAgent(f.Context(), late.Hash, f.newAgent("a\x00b")), cybervault.CodeInvalid)

	facts := cybervault.HostFacts{Hostname: "web-1b", OS: "", Version: "v2", Addresses: []string{}}
	f.must(f.s.SaveHostFacts(f.Context(), a.ID, &facts))
	a.HostFacts = facts
	f.wantAgent(a)
	f.wantCode(f.s.DeleteAgent(f.Context(), cybervault.NewID[cybervault.WorkspaceID](f.ids), a.ID), cybervault.CodeNotFound)
	f.must(f.s.DeleteAgent(f.as("ann"), f.ws, a.ID))
	f.lastAction("agent.delete")
	f.wantCode(f.s.DeleteAgent(f.Context(), f.ws, a.ID), cybervault.CodeNotFound)
	_, err = f.s.AgentByKey(f.Context(), a.Hash)
	f.wantCode(err, cybervault.CodeNotFound)
}

func agentTokens(f *fixture) {
	first, second := f.agentToken(1), f.agentToken(5)
	list, err := f.s.AgentTokens(f.Context(), f.ws)
	f.must(err)
	if diff := cmp.Diff([]*cybervault.AgentToken{second, first}, list); diff != "" {
		f.Errorf("tokens (-want +got):\n%s", diff)
	}
	f.wantCode(f.s.DeleteAgentToken(f.Context(), cybervault.NewID[cybervault.WorkspaceID](f.ids), first.ID), cybervault.CodeNotFound)
	f.must(f.s.DeleteAgentToken(f.as("ann"), f.ws, first.ID))
	f.lastAction("agent_token.delete")
	f.clock.Move(time.Hour)
	if list, err = f.s.AgentTokens(f.Context(), f.ws); err != nil || len(list) != 0 {
		f.Errorf("%d tokens, %v", len(list), err)
	}
	bad := f.agentTokenOf("a\x00b")
	f.wantCode(f.s.CreateAgentToken(f.Context(), bad), cybervault.CodeInvalid)
}

func (f *fixture) agentTokenOf(name string) *cybervault.AgentToken {
	return &cybervault.AgentToken{ID: cybervault.NewID[cybervault.AgentTokenID](f.ids), Workspace: f.ws, Name: name, ExpiresAt: start.Add(time.Hour * 100)}
}

func agentLists(f *fixture) {
	var all []*cybervault.Agent
	for i := range 5 {
		all = append(all, f.agent(fmt.Sprintf("web-%d", i)))
		f.clock.Move(time.Second)
	}
	names := func(q cybervault.AgentQuery) string {
		f.Helper()
		q.Workspace = f.ws
		page, err := f.s.Agents(f.Context(), q)
		f.must(err)
		var names []string
		for _, a := range page.Rows {
			names = append(names, a.Hostname)
		}
		if page.More {
			names = append(names, "more")
		}
		return strings.Join(names, " ")
	}
	for want, q := range map[string]cybervault.AgentQuery{
		"web-4 web-3 more":              {Limit: 2},
		"web-1 web-0":                   {Limit: 2, Before: all[2].ID},
		"web-3":                         {Text: "WEB-3"},
		"web-4 web-3 web-2 web-1 web-0": {Text: "192.0.2.7"},
		"":                              {Text: "%"},
		"web-2":                         {Status: cybervault.AgentOnline},
	} {
		if q.Status != "" {
			_, err := f.s.SetAgentStatus(f.Context(), all[2].ID, cybervault.AgentEnrolled, q.Status, f.clock.Now())
			f.must(err)
		}
		if got := names(q); got != want {
			f.Errorf("%+v lists %q, want %q", q, got, want)
		}
	}
	_, err := f.s.Agents(f.Context(), cybervault.AgentQuery{Workspace: f.ws, Status: "gone"})
	f.wantCode(err, cybervault.CodeInvalid)
	counts, err := f.s.CountAgents(f.Context(), f.ws)
	f.must(err)
	if counts.Total() != 5 || counts[cybervault.AgentOnline] != 1 {
		f.Errorf("%v", counts)
	}
	_, err = f.s.Agent(f.Context(), cybervault.NewID[cybervault.WorkspaceID](f.ids), all[0].ID)
	f.wantCode(err, cybervault.CodeNotFound)
}

func agentsAreJudged(f *fixture) {
	a := f.agent("web-1")
	judged := func(at time.Time, want ...cybervault.AgentStatus) {
		f.Helper()
		due, watched, err := f.s.JudgeAgents(f.Context(), at)
		f.must(err)
		var got []cybervault.AgentStatus
		for _, d := range due {
			got = append(got, d.Status)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			f.Errorf("due (-want +got):\n%s", diff)
		}
		if a.Status != cybervault.AgentOffline && watched[f.ws] != 1 || a.Status == cybervault.AgentOffline && len(watched) != 0 {
			f.Errorf("%v are watched", watched)
		}
	}
	set := func(to cybervault.AgentStatus, want bool) {
		f.Helper()
		changed, err := f.s.SetAgentStatus(f.Context(), a.ID, a.Status, to, f.clock.Now())
		f.must(err)
		if changed != want {
			f.Errorf("changed: %t", changed)
		}
		a.Status, a.ChangedAt = to, f.clock.Now()
	}
	see := func(at time.Time) {
		f.Helper()
		f.must(f.s.SeeAgents(f.Context(), map[cybervault.AgentID]time.Time{a.ID: at, cybervault.NewID[cybervault.AgentID](f.ids): at}))
	}
	judged(start.Add(time.Hour)) // it has not been heard of yet
	f.clock.Move(time.Second)
	see(f.clock.Now())
	a.LastSeen = f.clock.Now()
	see(start) // what is older changes nothing
	f.wantAgent(a)
	f.must(f.s.SeeAgents(f.Context(), map[cybervault.AgentID]time.Time{a.ID: start.Add(time.Hour)}))
	f.must(f.s.ClampAgents(f.Context(), f.clock.Now()))
	f.wantAgent(a)
	judged(f.clock.Now(), cybervault.AgentEnrolled)
	set(cybervault.AgentOnline, true)
	judged(a.LastSeen.Add(40*time.Second - time.Microsecond))
	judged(a.LastSeen.Add(40*time.Second), cybervault.AgentOnline)
	f.clock.Move(time.Minute)
	set(cybervault.AgentOffline, true)
	judged(f.clock.Now())
	f.clock.Move(time.Second)
	see(f.clock.Now())
	judged(f.clock.Now(), cybervault.AgentOffline)
	a.Status = cybervault.AgentOnline // of two nodes, one changes it
	set(cybervault.AgentOffline, false)
	if counts, err := f.s.CountAgents(f.Context(), f.ws); err != nil || counts[cybervault.AgentOffline] != 1 {
		f.Errorf("%v, %v", counts, err)
	}
}

func agentKeys(f *fixture) {
	a := f.agent("web-1")
	find := func(hash [32]byte, want cybervault.Code) {
		f.Helper()
		got, err := f.s.AgentByKey(f.Context(), hash)
		f.wantCode(err, want)
		if err == nil && got.ID != a.ID {
			f.Errorf("the key is %s's", got.ID)
		}
	}
	next := [32]byte{9}
	find(a.Hash, "")
	find(next, cybervault.CodeNotFound)
	f.must(f.s.OfferAgentKey(f.Context(), a.ID, next))
	find(a.Hash, "")
	find(next, "")
	f.clock.Move(time.Minute)
	f.must(f.s.TakeAgentKey(f.Context(), a.ID, next, f.clock.Now()))
	find(a.Hash, cybervault.CodeNotFound)
	find(next, "")
	a.Hash, a.KeyedAt = next, f.clock.Now()
	f.wantAgent(a)
	f.must(f.s.TakeAgentKey(f.Context(), a.ID, [32]byte{8}, f.clock.Now())) // none was offered
	f.wantAgent(a)
}

func agentPackages(f *fixture) {
	a := f.agent("web-1")
	a.Hash = sha256.Sum256([]byte(a.ID.String()))
	a.Packages = cybervault.PackageState{Manager: "dpkg", Installed: 412, Broken: 1, Pending: new(3), PendingSecurity: new(2), RebootRequired: true, At: start}
	f.must(f.s.SavePackageState(f.Context(), a.ID, &a.Packages))
	f.wantAgent(a)
	a.Packages.Pending, a.Packages.PendingSecurity = nil, nil
	f.must(f.s.SavePackageState(f.Context(), a.ID, &a.Packages))
	f.wantAgent(a)
	f.must(f.s.SavePackageState(f.Context(), cybervault.NewID[cybervault.AgentID](f.ids), &a.Packages)) // one that was removed meanwhile
}
