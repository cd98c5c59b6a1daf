package cybervault_test

import (
	"strings"
	"testing"

	"github.com/cybervault/cybervault"
)

// The table of who may do what, written out.
func TestRolesMay(t *testing.T) {
	t.Parallel()
	want := map[cybervault.Role]string{
		cybervault.RoleOwner:   "account read respond configure administer",
		cybervault.RoleAdmin:   "account read respond configure administer",
		cybervault.RoleAnalyst: "account read respond",
		cybervault.RoleViewer:  "account read",
		"":                     "",
		"root":                 "",
	}
	for role, permissions := range want {
		var may []string
		for _, p := range cybervault.Permissions() {
			if role.May(p) {
				may = append(may, string(p))
			}
		}
		if got := strings.Join(may, " "); got != permissions {
			t.Errorf("%q may %q, want %q", role, got, permissions)
		}
	}
	if cybervault.RoleOwner.May("everything") {
		t.Error("an owner has a permission that does not exist")
	}
	due := cybervault.Session{Role: cybervault.RoleOwner, Due: true}
	if due.May(cybervault.PermitRead) {
		t.Error("a session whose second factor is due may read")
	}
}

func TestAnActionsDigestCoversAllOfIt(t *testing.T) {
	t.Parallel()
	make1 := func() cybervault.Action {
		return cybervault.Action{Number: 7, Action: "webhook.update", Target: "whk_1", Before: []byte(`{"a":1}`), After: []byte(`{"a":2}`),
			Actor: cybervault.Actor{Kind: cybervault.ActorUser, ID: "usr_1", Name: "ann@example.com", Address: "203.0.113.9"}}
	}
	first := make1()
	seen := map[[32]byte]string{first.Digest(): "nothing"}
	for what, change := range map[string]func(*cybervault.Action){
		"the number":  func(a *cybervault.Action) { a.Number++ },
		"the time":    func(a *cybervault.Action) { a.At = a.At.AddDate(0, 0, 1) },
		"the kind":    func(a *cybervault.Action) { a.Actor.Kind = cybervault.ActorAPIKey },
		"the id":      func(a *cybervault.Action) { a.Actor.ID = "usr_2" },
		"the name":    func(a *cybervault.Action) { a.Actor.Name = "bob@example.com" },
		"the address": func(a *cybervault.Action) { a.Actor.Address = "" },
		"the action":  func(a *cybervault.Action) { a.Action = "webhook.delete" },
		"the target":  func(a *cybervault.Action) { a.Target = "whk_2" },
		"before":      func(a *cybervault.Action) { a.Before = nil },
		"after":       func(a *cybervault.Action) { a.After = []byte(`{"a":3}`) },
		"previous":    func(a *cybervault.Action) { a.Previous[31] = 1 },
	} {
		a := make1()
		change(&a)
		if other, taken := seen[a.Digest()]; taken {
			t.Errorf("the digest is the same with %s changed as with %s", what, other)
		}
		seen[a.Digest()] = what
	}
}
