package dashboardtest

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

// Act writes down that somebody did something.
func (f *Fake) Act(actor cybervault.Actor, action, target, before, after string) *cybervault.Action {
	f.mu.Lock()
	defer f.mu.Unlock()
	a := &cybervault.Action{
		Number: int64(len(f.actions) + 1), Workspace: f.Workspace, At: f.clock().UTC().Truncate(time.Microsecond), Actor: actor,
		Action: action, Target: target,
	}
	if before != "" {
		a.Before = json.RawMessage(before)
	}
	if after != "" {
		a.After = json.RawMessage(after)
	}
	if n := len(f.actions); n > 0 {
		a.Previous = f.actions[n-1].Hash
	}
	a.Hash = a.Digest()
	f.actions = append(f.actions, a)
	return a
}

// Actions implements dashboard.Actions, as does the method after it.
func (f *Fake) Actions(_ context.Context, q cybervault.ActionQuery) (cybervault.Page[*cybervault.Action], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var page cybervault.Page[*cybervault.Action]
	for _, a := range slices.Backward(f.actions) {
		if q.Before > 0 && a.Number >= q.Before || !within(a.At, q.Since, q.Until) || q.Target != "" && a.Target != q.Target ||
			q.Action != "" && a.Action != q.Action && !strings.HasPrefix(a.Action, q.Action+".") ||
			q.Actor != "" && a.Actor.ID != q.Actor && !strings.Contains(strings.ToLower(a.Actor.Name), strings.ToLower(q.Actor)) {
			continue
		}
		if len(page.Rows) == q.Limit {
			page.More = true
			break
		}
		page.Rows = append(page.Rows, a)
	}
	return page, f.check(q.Workspace)
}

// ExportActions hands out all of them.
func (f *Fake) ExportActions(_ context.Context, ws cybervault.WorkspaceID, line func(cybervault.ActionLine) error) (cybervault.ActionHead, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	head := cybervault.ActionHead{Hash: strings.Repeat("0", 64)}
	for _, a := range f.actions {
		l := a.Line()
		if err := line(l); err != nil {
			return head, err
		}
		head = cybervault.ActionHead{Number: l.Number, Hash: l.Hash}
	}
	return head, f.check(ws)
}

// seedActions is a week of three people and a pipeline.
func (f *Fake) seedActions(now time.Time, hook cybervault.WebhookID) {
	ann := cybervault.Actor{Kind: cybervault.ActorUser, ID: "usr_019a5b1e-7c00-7000-8000-000000000001", Name: "ann@example.com", Address: "198.51.100.7"}
	bo := cybervault.Actor{Kind: cybervault.ActorUser, ID: "usr_019a5b1e-7c00-7000-8000-000000000002", Name: "bo@example.com", Address: "2001:db8::17"}
	ci := cybervault.Actor{Kind: cybervault.ActorAPIKey, ID: "key_019a5b1e-7c00-7000-8000-000000000003", Name: "Terraform", Address: "203.0.113.90"}
	for _, a := range []struct {
		ago                           time.Duration
		actor                         cybervault.Actor
		action, target, before, after string
	}{
		{9 * 24 * time.Hour, cybervault.Actor{Kind: cybervault.ActorOperator, Name: "operator", Address: "127.0.0.1"}, "member.create", "ann@example.com", "", `{"role":"owner"}`},
		{9 * 24 * time.Hour, ci, "webhook.create", hook.String(), "", `{"url":"https://siem.example.com/services/collector/cybervault","events":["*"],"verification":true}`},
		{8 * 24 * time.Hour, ann, "invitation.create", "bo@example.com", "", `{"role":"analyst"}`},
		{7 * 24 * time.Hour, bo, "session.refuse", "bo@example.com", "", `{"wrong":"password"}`},
		{7 * 24 * time.Hour, bo, "session.create", "bo@example.com", "", `{"method":"password+code"}`},
		{26 * time.Hour, bo, "rule.off", "f14719ce-d3ab-4e25-9ce6-2899092260b0", "", `{"reason":"our own scanner"}`},
		{3 * time.Hour, ann, "webhook.update", hook.String(), `{"max_in_flight":10,"events":["*"]}`, `{"max_in_flight":64,"events":["threat.*","incident.*"]}`},
		{20 * time.Minute, ann, "webhook.rotate_secret", hook.String(), "", `{"overlap":"24h0m0s"}`},
	} {
		f.setClock(now.Add(-a.ago))
		f.Act(a.actor, a.action, a.target, a.before, a.after)
	}
}
