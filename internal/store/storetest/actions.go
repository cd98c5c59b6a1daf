package storetest

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/cybervault/cybervault"
)

func actionCases() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"actions/are chained":                 actionsChained,
		"actions/are listed by what is asked": actionsListed,
		"actions/of many at once":             actionsConcurrent,
	}
}

func (f *fixture) as(name string) context.Context {
	return cybervault.WithActor(f.Context(), cybervault.Actor{Kind: cybervault.ActorUser, ID: "usr_" + name, Name: name + "@example.com", Address: "203.0.113.9"})
}

// chain reads the whole log and checks that each line holds the one before.
func (f *fixture) chain() []*cybervault.Action {
	f.Helper()
	var all []*cybervault.Action
	for {
		var last int64
		if len(all) > 0 {
			last = all[len(all)-1].Number
		}
		next, err := f.s.ActionsAfter(f.Context(), last, 3)
		f.must(err)
		if len(next) == 0 {
			break
		}
		all = append(all, next...)
	}
	var previous [32]byte
	for i, a := range all {
		if a.Number != int64(i)+1 || a.Previous != previous || a.Digest() != a.Hash {
			f.Fatalf("line %d does not fit the one before: %+v", i+1, a)
		}
		previous = a.Hash
	}
	return all
}

func actionsChained(f *fixture) {
	f.must(f.s.Act(f.as("ann"), f.ws, "session.create", "usr_ann", map[string]any{"method": "password"}))
	f.must(f.s.Act(f.Context(), f.ws, "session.refuse", "a\x00b\xff", nil))
	all := f.chain()
	if len(all) != 2 || all[0].Actor.Name != "ann@example.com" || string(all[0].After) != `{"method":"password"}` || all[0].Before != nil || !all[0].At.Equal(start) {
		f.Errorf("read %+v", all[0])
	}
	if all[1].Actor.Kind != cybervault.ActorSystem || all[1].Target != "ab\uFFFD" {
		f.Errorf("read %+v", all[1])
	}
}

func actionsListed(f *fixture) {
	for i, what := range []string{"webhook.create", "webhook.update", "webhooks.none", "key.create"} {
		f.must(f.s.Act(f.as([]string{"ann", "bob"}[i%2]), f.ws, what, fmt.Sprint("t", i), nil))
	}
	f.must(f.s.Act(f.as("eve"), f.strangersWorkspace(), "webhook.create", "t9", nil))
	for want, q := range map[string]cybervault.ActionQuery{
		"t3t2t1t0": {}, "t1t0": {Action: "webhook"}, "t1": {Action: "webhook.update"}, "t3t1": {Actor: "BOB@"}, "t2": {Target: "t2"}, "t0": {Before: 2},
	} {
		q.Workspace, q.Limit = f.ws, 10
		page, err := f.s.Actions(f.Context(), q)
		f.must(err)
		var targets strings.Builder
		for _, a := range page.Rows {
			targets.WriteString(a.Target)
		}
		if got := targets.String(); got != want {
			f.Errorf("%+v lists %s, want %s", q, got, want)
		}
	}
	if page, err := f.s.Actions(f.Context(), cybervault.ActionQuery{Workspace: f.ws, Limit: 3}); err != nil || !page.More || len(page.Rows) != 3 {
		f.Errorf("a page of three of four: %+v, %v", page, err)
	}
}

func actionsConcurrent(f *fixture) {
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			if err := f.s.Act(f.as("ann"), f.ws, "key.create", fmt.Sprint(i), nil); err != nil {
				f.Error(err)
			}
		})
	}
	wg.Wait()
	if n := len(f.chain()); n != 40 {
		f.Errorf("%d lines of 40", n)
	}
}
