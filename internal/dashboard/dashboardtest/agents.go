package dashboardtest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

// AddAgent adds an agent of a status.
func (f *Fake) AddAgent(hostname string, status cybervault.AgentStatus, labels map[string]string) *cybervault.Agent {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.clock()
	a := &cybervault.Agent{
		HostFacts: cybervault.HostFacts{Hostname: hostname, OS: "Debian GNU/Linux 12 (bookworm)", Version: "v0.1.0", Addresses: []string{"192.0.2.17", "2001:db8::17"}}, ID: cybervault.NewID[cybervault.AgentID](f.ids), Workspace: f.Workspace,
		Labels: labels, Interval: cybervault.DefaultHeartbeat, Missed: cybervault.DefaultMissed, Status: status, EnrolledAt: now, ChangedAt: now,
	}
	if status != cybervault.AgentEnrolled {
		a.LastSeen = now
	}
	f.agents = append(f.agents, a)
	return a
}

// Agents lists agents, newest first.
func (f *Fake) Agents(_ context.Context, q cybervault.AgentQuery) (cybervault.Page[*cybervault.Agent], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var page cybervault.Page[*cybervault.Agent]
	if q.Status != "" && !slices.Contains(cybervault.AgentStatuses(), q.Status) {
		return page, cybervault.Invalid("status", "is none of online, offline, enrolled")
	}
	for _, a := range slices.Backward(f.agents) {
		if a.Workspace != q.Workspace || q.Status != "" && a.Status != q.Status || !strings.Contains(a.Hostname+fmt.Sprint(a.Labels), q.Text) || !q.Before.IsZero() && a.ID.Key() >= q.Before.Key() {
			continue
		}
		if page.More = len(page.Rows) == q.Limit; page.More {
			break
		}
		page.Rows = append(page.Rows, a)
	}
	return page, f.fail
}

// Agent returns one.
func (f *Fake) Agent(_ context.Context, ws cybervault.WorkspaceID, id cybervault.AgentID) (*cybervault.Agent, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.agents {
		if a.ID == id && a.Workspace == ws {
			return a, f.fail
		}
	}
	return nil, cybervault.Errorf(cybervault.CodeNotFound, "there is no such agent")
}

// Counts counts agents by status.
func (f *Fake) Counts(_ context.Context, ws cybervault.WorkspaceID) (cybervault.AgentCounts, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	counts := cybervault.AgentCounts{}
	for _, a := range f.agents {
		if a.Workspace == ws {
			counts[a.Status]++
		}
	}
	return counts, f.fail
}

// Remove forgets one.
func (f *Fake) Remove(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.AgentID) error {
	if _, err := f.Agent(ctx, ws, id); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.agents = slices.DeleteFunc(f.agents, func(a *cybervault.Agent) bool { return a.ID == id })
	return nil
}

// NewToken makes an enrolment token.
func (f *Fake) NewToken(ctx context.Context, t *cybervault.AgentToken) (string, error) {
	if err := cybervault.CheckLabels(t.Labels); err != nil {
		return "", err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	t.ID, t.By, t.CreatedAt, t.ExpiresAt = cybervault.NewID[cybervault.AgentTokenID](f.ids), cybervault.ActorOf(ctx).Name, f.clock(), f.clock().Add(24*time.Hour)
	kept := *t
	f.tokens = append(f.tokens, &kept)
	return "cve_made-for-a-test", f.fail
}

// Tokens lists them, newest first.
func (f *Fake) Tokens(_ context.Context, ws cybervault.WorkspaceID) ([]*cybervault.AgentToken, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []*cybervault.AgentToken
	for _, t := range slices.Backward(f.tokens) {
		if t.Workspace == ws {
			list = append(list, t)
		}
	}
	return list, f.fail
}

// DeleteToken ends one.
func (f *Fake) DeleteToken(_ context.Context, ws cybervault.WorkspaceID, id cybervault.AgentTokenID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(f.tokens)
	f.tokens = slices.DeleteFunc(f.tokens, func(t *cybervault.AgentToken) bool { return t.ID == id && t.Workspace == ws })
	if len(f.tokens) == n {
		return cybervault.Errorf(cybervault.CodeNotFound, "there is no such token")
	}
	return f.fail
}

// seedAgents adds a small fleet.
func (f *Fake) seedAgents(now time.Time) {
	f.setClock(now.Add(-9 * 24 * time.Hour))
	for i := range 6 {
		f.AddAgent(fmt.Sprintf("web-%02d.fra.example.com", i+1), cybervault.AgentOnline, map[string]string{"role": "web", "site": "fra"})
	}
	f.AddAgent("db-01.fra.example.com", cybervault.AgentOnline, map[string]string{"role": "db", "site": "fra"})
	f.AddAgent("laptop-4471", cybervault.AgentOffline, map[string]string{"role": "laptop"})
	f.AddAgent("build-03", cybervault.AgentEnrolled, nil)
	f.seedAlerts(now)
	for i, a := range f.agents {
		a.Packages = cybervault.PackageState{Manager: "dpkg", Installed: 1387 + i, Pending: new(4), PendingSecurity: new(1), RebootRequired: true, At: now.Add(-7 * time.Minute)}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, a := range f.agents {
		switch a.Status {
		case cybervault.AgentOnline:
			a.LastSeen = now.Add(-time.Duration(i*3) * time.Second)
		case cybervault.AgentOffline:
			a.LastSeen, a.ChangedAt = now.Add(-52*time.Minute), now.Add(-50*time.Minute)
		case cybervault.AgentEnrolled:
			a.EnrolledAt = now.Add(-time.Minute)
		}
	}
	f.tokens = append(f.tokens, &cybervault.AgentToken{ID: cybervault.NewID[cybervault.AgentTokenID](f.ids), Workspace: f.Workspace, Name: "web servers, Frankfurt", Labels: map[string]string{"role": "web", "site": "fra"}, Uses: 14, By: "ann@example.com", CreatedAt: now, ExpiresAt: now.Add(20 * time.Hour)})
}
