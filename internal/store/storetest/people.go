package storetest

import (
	"crypto/sha256"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault"
)

func peopleCases() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"people/one owner is the first":      firstOwner,
		"people/a user is kept whole":        userKept,
		"people/a code is taken once":        codesOnce,
		"people/members and their roles":     memberRoles,
		"people/two owners cannot both go":   lastOwner,
		"people/invitations":                 invitations,
		"people/an invitation is used once":  invitationOnce,
		"people/a password is chosen anew":   passwordReset,
		"people/sessions":                    sessions,
		"people/a second factor is due":      sessionPromoted,
		"people/a session changes workspace": sessionMoves,
		"people/passkeys":                    passkeys,
		"people/who a provider vouches for":  enrolled,
	}
}

func (f *fixture) user(email string) *cybervault.User {
	return &cybervault.User{ID: cybervault.NewID[cybervault.UserID](f.ids), Email: email, Name: "Zoë „" + email, Password: "a hash", CreatedAt: f.clock.Now()}
}

// owner is the owner of the first workspace.
func (f *fixture) owner() *cybervault.User {
	f.Helper()
	u := f.user("ann@example.com")
	f.must(f.s.CreateOwner(f.Context(), u, f.ws))
	return u
}

// join makes a user a member, in the way that people become one.
func (f *fixture) join(email string, role cybervault.Role) *cybervault.User {
	f.Helper()
	u := f.user(email)
	v := f.invitation(email, role)
	f.must(f.s.CreateInvitation(f.Context(), v))
	f.must(f.s.AcceptInvitation(f.Context(), v, u, true, f.clock.Now()))
	return u
}

func (f *fixture) invitation(email string, role cybervault.Role) *cybervault.Invitation {
	id := cybervault.NewID[cybervault.InvitationID](f.ids)
	return &cybervault.Invitation{
		ID: id, Hash: sha256.Sum256([]byte(id.String())), Workspace: f.ws, Email: email, Role: role, By: "ann@example.com",
		CreatedAt: f.clock.Now(), ExpiresAt: f.clock.Now().Add(time.Hour),
	}
}

func (f *fixture) session(u *cybervault.User, ws cybervault.WorkspaceID, role cybervault.Role) *cybervault.Session {
	f.Helper()
	id := cybervault.NewID[cybervault.SessionID](f.ids)
	n := &cybervault.Session{
		ID: id, Hash: sha256.Sum256([]byte(id.String())), User: u.ID, Email: u.Email, Name: u.Name, Workspace: ws, Role: role, Method: "password",
		Address: "203.0.113.9", Agent: "Firefox", CreatedAt: f.clock.Now(), UsedAt: f.clock.Now(),
	}
	f.must(f.s.CreateSession(f.Context(), n, f.clock.Now().Add(-time.Hour)))
	return n
}

// roles are the members of the first workspace.
func (f *fixture) roles() map[string]cybervault.Role {
	f.Helper()
	members, err := f.s.Members(f.Context(), f.ws)
	f.must(err)
	roles := map[string]cybervault.Role{}
	for _, m := range members {
		roles[m.Email] = m.Role
	}
	return roles
}

func (f *fixture) lastAction(want string) {
	f.Helper()
	all := f.chain()
	if len(all) == 0 || all[len(all)-1].Action != want {
		f.Errorf("the log does not end with %s: %+v", want, all)
	}
}

func firstOwner(f *fixture) {
	if there, err := f.s.HasOwner(f.Context()); there || err != nil {
		f.Fatalf("an empty store has an owner: %t, %v", there, err)
	}
	var wg sync.WaitGroup
	var done atomic.Int64
	for _, email := range []string{"ann@example.com", "bob@example.com", "eve@example.com", "ann@example.com"} {
		u := f.user(email)
		wg.Go(func() {
			switch err := f.s.CreateOwner(f.Context(), u, f.ws); cybervault.ErrorCode(err) {
			case "":
				done.Add(1)
			case cybervault.CodeConflict:
			default:
				f.Error(err)
			}
		})
	}
	wg.Wait()
	if done.Load() != 1 || len(f.roles()) != 1 {
		f.Errorf("%d owners were made, %v", done.Load(), f.roles())
	}
	if there, err := f.s.HasOwner(f.Context()); !there || err != nil {
		f.Errorf("there is an owner: %t, %v", there, err)
	}
	if n := len(f.chain()); n != 1 {
		f.Errorf("%d lines in the log of one owner", n)
	}
}

func userKept(f *fixture) {
	u := f.owner()
	u.Name, u.Password, u.TOTPSecret, u.TOTPStep, u.Recovery = "Ann", "$argon2id$y", "JBSWY3DP", 77, []string{"aa", "bb"}
	f.must(f.s.SaveUser(f.as("ann"), f.ws, u, "user.add_totp"))
	f.lastAction("user.add_totp")
	for how, find := range map[string]func() (*cybervault.User, error){
		"id":    func() (*cybervault.User, error) { return f.s.User(f.Context(), u.ID) },
		"email": func() (*cybervault.User, error) { return f.s.UserByEmail(f.Context(), "ann@example.com") },
	} {
		got, err := find()
		f.must(err)
		if diff := cmp.Diff(u, got); diff != "" {
			f.Errorf("by %s: %s", how, diff)
		}
	}
	_, err := f.s.User(f.Context(), cybervault.NewID[cybervault.UserID](f.ids))
	f.wantCode(err, cybervault.CodeNotFound)
	for _, email := range []string{"Ann@example.com", "", "a\x00b"} {
		_, err = f.s.UserByEmail(f.Context(), email)
		f.wantCode(err, cybervault.CodeNotFound)
	}
	f.wantCode(f.s.SaveUser(f.Context(), f.ws, f.user("x@example.com"), "user.update"), cybervault.CodeNotFound)
}

func codesOnce(f *fixture) {
	u := f.owner()
	u.Recovery = []string{"aa", "bb"}
	f.must(f.s.SaveUser(f.Context(), f.ws, u, "user.add_totp"))
	for _, step := range []struct {
		step int64
		want bool
	}{{5, true}, {5, false}, {4, false}, {6, true}} {
		if got, err := f.s.TakeStep(f.Context(), u.ID, step.step); got != step.want || err != nil {
			f.Errorf("step %d: %t, %v", step.step, got, err)
		}
	}
	var taken atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if ok, err := f.s.TakeRecovery(f.Context(), f.ws, u.ID, "aa"); err != nil {
				f.Error(err)
			} else if ok {
				taken.Add(1)
			}
		})
	}
	wg.Wait()
	got, err := f.s.User(f.Context(), u.ID)
	f.must(err)
	if taken.Load() != 1 || cmp.Diff([]string{"bb"}, got.Recovery) != "" {
		f.Errorf("taken %d times, left %v", taken.Load(), got.Recovery)
	}
	if ok, err := f.s.TakeRecovery(f.Context(), f.ws, u.ID, "zz"); ok || err != nil {
		f.Errorf("an unknown code: %t, %v", ok, err)
	}
}

func memberRoles(f *fixture) {
	ann, bob := f.owner(), f.join("bob@example.com", cybervault.RoleViewer)
	if diff := cmp.Diff(map[string]cybervault.Role{"ann@example.com": "owner", "bob@example.com": "viewer"}, f.roles()); diff != "" {
		f.Error(diff)
	}
	f.must(f.s.SetRole(f.as("ann"), f.ws, bob.ID, cybervault.RoleAnalyst))
	f.lastAction("member.update")
	if r := f.roles()["bob@example.com"]; r != cybervault.RoleAnalyst {
		f.Errorf("the role is %s", r)
	}
	f.wantCode(f.s.SetRole(f.Context(), f.strangersWorkspace(), bob.ID, cybervault.RoleOwner), cybervault.CodeNotFound)
	f.wantCode(f.s.SetRole(f.Context(), f.ws, ann.ID, cybervault.RoleAdmin), cybervault.CodeConflict)
	f.wantCode(f.s.SetRole(f.Context(), f.ws, ann.ID, ""), cybervault.CodeConflict)
	n := f.session(bob, f.ws, cybervault.RoleAnalyst)
	f.must(f.s.SetRole(f.as("ann"), f.ws, bob.ID, ""))
	f.lastAction("member.remove")
	_, err := f.s.SessionByHash(f.Context(), n.Hash)
	f.wantCode(err, cybervault.CodeNotFound)
	if m, err := f.s.Memberships(f.Context(), bob.ID); len(m) != 0 || err != nil {
		f.Errorf("memberships %v, %v", m, err)
	}
	if m, err := f.s.Memberships(f.Context(), ann.ID); len(m) != 1 || m[0].Workspace != f.ws || m[0].Role != cybervault.RoleOwner || err != nil {
		f.Errorf("memberships %v, %v", m, err)
	}
}

func lastOwner(f *fixture) {
	ann, bob := f.owner(), f.join("bob@example.com", cybervault.RoleOwner)
	var wg sync.WaitGroup
	for _, u := range []*cybervault.User{ann, bob} {
		wg.Go(func() {
			if err := f.s.SetRole(f.Context(), f.ws, u.ID, cybervault.RoleViewer); err != nil && cybervault.ErrorCode(err) != cybervault.CodeConflict {
				f.Error(err)
			}
		})
	}
	wg.Wait()
	owners := 0
	for _, r := range f.roles() {
		if r == cybervault.RoleOwner {
			owners++
		}
	}
	if owners != 1 {
		f.Errorf("%d owners are left", owners)
	}
}

func invitations(f *fixture) {
	f.owner()
	first, second := f.invitation("bob@example.com", cybervault.RoleViewer), f.invitation("bob@example.com", cybervault.RoleAdmin)
	f.must(f.s.CreateInvitation(f.as("ann"), first))
	f.must(f.s.CreateInvitation(f.as("ann"), second)) // takes the place of the first
	f.lastAction("invitation.create")
	_, err := f.s.InvitationByHash(f.Context(), first.Hash)
	f.wantCode(err, cybervault.CodeNotFound)
	got, err := f.s.InvitationByHash(f.Context(), second.Hash)
	f.must(err)
	if diff := cmp.Diff(second, got); diff != "" {
		f.Error(diff)
	}
	if list, err := f.s.Invitations(f.Context(), f.ws); len(list) != 1 || err != nil {
		f.Errorf("%v, %v", list, err)
	}
	f.wantCode(f.s.DeleteInvitation(f.Context(), f.strangersWorkspace(), second.ID), cybervault.CodeNotFound)
	f.clock.Move(time.Hour)
	_, err = f.s.InvitationByHash(f.Context(), second.Hash)
	f.wantCode(err, cybervault.CodeNotFound)
	f.wantCode(f.s.AcceptInvitation(f.Context(), second, f.user("bob@example.com"), true, f.clock.Now()), cybervault.CodeNotFound)
	third := f.invitation("eve@example.com", cybervault.RoleViewer)
	f.must(f.s.CreateInvitation(f.Context(), third))
	f.must(f.s.DeleteInvitation(f.as("ann"), f.ws, third.ID))
	f.lastAction("invitation.withdraw")
	f.wantCode(f.s.DeleteInvitation(f.Context(), f.ws, third.ID), cybervault.CodeNotFound)
}

func invitationOnce(f *fixture) {
	f.owner()
	v := f.invitation("bob@example.com", cybervault.RoleViewer)
	f.must(f.s.CreateInvitation(f.Context(), v))
	var done atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		u := f.user("bob@example.com")
		wg.Go(func() {
			if f.s.AcceptInvitation(f.Context(), v, u, true, f.clock.Now()) == nil {
				done.Add(1)
			}
		})
	}
	wg.Wait()
	if done.Load() != 1 || len(f.roles()) != 2 {
		f.Errorf("accepted %d times, %v", done.Load(), f.roles())
	}
	// Somebody's address that has an account is not taken over by an invitation.
	w := f.invitation("ann@example.com", cybervault.RoleViewer)
	f.must(f.s.CreateInvitation(f.Context(), w))
	f.wantCode(f.s.AcceptInvitation(f.Context(), w, f.user("ann@example.com"), true, f.clock.Now()), cybervault.CodeConflict)
	if _, err := f.s.InvitationByHash(f.Context(), w.Hash); err != nil {
		f.Errorf("what was refused used the invitation up: %v", err)
	}
}

func passwordReset(f *fixture) {
	ann := f.owner()
	n := f.session(ann, f.ws, cybervault.RoleOwner)
	v := f.invitation("ann@example.com", cybervault.RoleViewer)
	v.Reset = true
	f.must(f.s.CreateInvitation(f.as("bob"), v))
	f.lastAction("member.let_choose_password")
	ann.Password = "$argon2id$new"
	f.must(f.s.AcceptInvitation(f.Context(), v, ann, false, f.clock.Now()))
	f.lastAction("user.choose_password")
	got, err := f.s.User(f.Context(), ann.ID)
	f.must(err)
	if got.Password != ann.Password || f.roles()["ann@example.com"] != cybervault.RoleOwner {
		f.Errorf("%+v, %v", got, f.roles())
	}
	_, err = f.s.SessionByHash(f.Context(), n.Hash)
	f.wantCode(err, cybervault.CodeNotFound)
}

func sessions(f *fixture) {
	ann := f.owner()
	one := f.session(ann, f.ws, cybervault.RoleOwner)
	f.lastAction("session.create")
	f.clock.Move(time.Minute)
	two := f.session(ann, f.ws, cybervault.RoleOwner)
	got, err := f.s.SessionByHash(f.Context(), one.Hash)
	f.must(err)
	if diff := cmp.Diff(one, got); diff != "" {
		f.Error(diff)
	}
	f.must(f.s.UseSession(f.Context(), one.Hash, f.clock.Now().Add(time.Minute)))
	f.must(f.s.UseSession(f.Context(), one.Hash, f.clock.Now())) // later, of an earlier request
	list, err := f.s.UserSessions(f.Context(), ann.ID, start, start.Add(-time.Hour))
	f.must(err)
	if len(list) != 2 || list[0].ID != one.ID || !list[0].UsedAt.Equal(f.clock.Now().Add(time.Minute)) {
		f.Errorf("sessions %+v", list)
	}
	f.must(f.s.EndSession(f.as("ann"), ann.ID, one.ID))
	f.lastAction("session.end")
	f.wantCode(f.s.EndSession(f.Context(), ann.ID, one.ID), cybervault.CodeNotFound)
	f.wantCode(f.s.EndSession(f.Context(), cybervault.NewID[cybervault.UserID](f.ids), two.ID), cybervault.CodeNotFound)
	three := f.session(ann, f.ws, cybervault.RoleOwner)
	f.must(f.s.EndSessions(f.as("ann"), f.ws, ann.ID, three.Hash))
	_, err = f.s.SessionByHash(f.Context(), two.Hash)
	f.wantCode(err, cybervault.CodeNotFound)
	_, err = f.s.SessionByHash(f.Context(), three.Hash)
	f.must(err)
	f.must(f.s.RemoveSessions(f.Context(), f.clock.Now().Add(time.Second), start))
	_, err = f.s.SessionByHash(f.Context(), three.Hash)
	f.wantCode(err, cybervault.CodeNotFound)
	// What began too long ago goes when its user logs in again.
	four := f.session(ann, f.ws, cybervault.RoleOwner)
	f.clock.Move(2 * time.Hour)
	f.session(ann, f.ws, cybervault.RoleOwner)
	_, err = f.s.SessionByHash(f.Context(), four.Hash)
	f.wantCode(err, cybervault.CodeNotFound)
}

func sessionPromoted(f *fixture) {
	ann := f.owner()
	due := f.session(ann, f.ws, cybervault.RoleOwner)
	f.must(f.s.EndSessions(f.Context(), f.ws, ann.ID, [32]byte{}))
	due.Due, due.ID, due.Hash = true, cybervault.NewID[cybervault.SessionID](f.ids), sha256.Sum256([]byte("due"))
	before := len(f.chain())
	f.must(f.s.CreateSession(f.Context(), due, start))
	if len(f.chain()) != before {
		f.Error("half a log-in is told of as one")
	}
	if list, err := f.s.UserSessions(f.Context(), ann.ID, start.Add(-time.Hour), start.Add(-time.Hour)); len(list) != 0 || err != nil {
		f.Errorf("half a session is listed: %v, %v", list, err)
	}
	got, err := f.s.SessionByHash(f.Context(), due.Hash)
	f.must(err)
	if !got.Due || got.May(cybervault.PermitRead) {
		f.Errorf("%+v", got)
	}
	whole := *got
	whole.Hash, whole.Due, whole.Method = sha256.Sum256([]byte("whole")), false, "password and code"
	f.must(f.s.PromoteSession(f.Context(), due.Hash, &whole))
	f.lastAction("session.create")
	_, err = f.s.SessionByHash(f.Context(), due.Hash)
	f.wantCode(err, cybervault.CodeNotFound)
	got, err = f.s.SessionByHash(f.Context(), whole.Hash)
	f.must(err)
	if got.Due || got.Method != "password and code" {
		f.Errorf("%+v", got)
	}
	f.wantCode(f.s.PromoteSession(f.Context(), whole.Hash, &whole), cybervault.CodeNotFound)
}

func sessionMoves(f *fixture) {
	ann := f.owner()
	n := f.session(ann, f.ws, cybervault.RoleOwner)
	other := cybervault.NewID[cybervault.WorkspaceID](f.ids)
	f.must(f.s.CreateWorkspace(f.as("bob"), other, "Second", f.join("bob@example.com", cybervault.RoleViewer).ID))
	f.lastAction("workspace.create")
	f.wantCode(f.s.MoveSession(f.Context(), n.Hash, other), cybervault.CodeNotFound)
	v := f.invitation("ann@example.com", cybervault.RoleViewer)
	v.Workspace = other
	f.must(f.s.CreateInvitation(f.Context(), v))
	f.must(f.s.AcceptInvitation(f.Context(), v, ann, false, f.clock.Now()))
	n = f.session(ann, f.ws, cybervault.RoleOwner)
	f.must(f.s.MoveSession(f.Context(), n.Hash, other))
	got, err := f.s.SessionByHash(f.Context(), n.Hash)
	f.must(err)
	if got.Workspace != other || got.Role != cybervault.RoleViewer {
		f.Errorf("%+v", got)
	}
}

func passkeys(f *fixture) {
	ann := f.owner()
	k := &cybervault.Passkey{ID: cybervault.NewID[cybervault.PasskeyID](f.ids), User: ann.ID, Name: "laptop", Credential: []byte{1, 2}, Data: []byte(`{"n":1}`), CreatedAt: start}
	f.must(f.s.AddPasskey(f.as("ann"), f.ws, ann.Email, k))
	f.lastAction("passkey.create")
	again := *k
	again.ID = cybervault.NewID[cybervault.PasskeyID](f.ids)
	f.wantCode(f.s.AddPasskey(f.Context(), f.ws, ann.Email, &again), cybervault.CodeConflict)
	k.Data, k.UsedAt = []byte(`{"n":2}`), start.Add(time.Minute)
	f.must(f.s.UsePasskey(f.Context(), k))
	list, err := f.s.Passkeys(f.Context(), ann.ID)
	f.must(err)
	if diff := cmp.Diff([]*cybervault.Passkey{k}, list); diff != "" {
		f.Error(diff)
	}
	if m, err := f.s.Members(f.Context(), f.ws); err != nil || m[0].Passkeys != 1 {
		f.Errorf("%+v, %v", m, err)
	}
	f.wantCode(f.s.DeletePasskey(f.Context(), f.ws, cybervault.NewID[cybervault.UserID](f.ids), k.ID), cybervault.CodeNotFound)
	f.must(f.s.DeletePasskey(f.as("ann"), f.ws, ann.ID, k.ID))
	f.lastAction("passkey.delete")
}

func enrolled(f *fixture) {
	ann := f.owner()
	f.must(f.s.Enrol(f.Context(), ann, false, f.ws, cybervault.RoleViewer))
	if f.roles()["ann@example.com"] != cybervault.RoleOwner {
		f.Error("the last owner is one no more")
	}
	u := f.user("bob@example.com")
	u.Subject, u.Password = "https://id.example.com 42", ""
	f.must(f.s.Enrol(f.Context(), u, true, f.ws, cybervault.RoleAnalyst))
	f.lastAction("member.create")
	n := len(f.chain())
	f.must(f.s.Enrol(f.Context(), u, false, f.ws, cybervault.RoleAnalyst))
	if len(f.chain()) != n {
		f.Error("nothing was changed, and something was written down")
	}
	f.must(f.s.Enrol(f.Context(), u, false, f.ws, cybervault.RoleViewer))
	f.lastAction("member.update")
	got, err := f.s.UserBySubject(f.Context(), u.Subject)
	f.must(err)
	if got.ID != u.ID || f.roles()["bob@example.com"] != cybervault.RoleViewer {
		f.Errorf("%+v, %v", got, f.roles())
	}
	_, err = f.s.UserBySubject(f.Context(), "")
	f.wantCode(err, cybervault.CodeNotFound)
	f.must(f.s.Enrol(f.Context(), u, false, f.ws, cybervault.RoleOwner))
	f.must(f.s.Enrol(f.Context(), ann, false, f.ws, cybervault.RoleViewer))
	if f.roles()["ann@example.com"] != cybervault.RoleViewer {
		f.Error("one of two owners is one still")
	}
}
