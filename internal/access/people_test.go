package access_test

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/access"
	"github.com/cybervault/cybervault/internal/store"
)

// house is people in a real store.
type house struct {
	*access.Access
	*testing.T

	s     *store.Store
	clock *clock
	ws    cybervault.WorkspaceID
}

const (
	annsPassword = "correct horse battery"
	bobsPassword = "staple window garden"
)

var home = cybervault.Caller{Address: "203.0.113.9", Agent: "Firefox"}

func newHouse(t *testing.T) *house {
	t.Helper()
	c := &clock{at: time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)}
	s, err := store.Open(t.Context(), store.Config{Path: filepath.Join(t.TempDir(), "cv.db"), Key: bytes.Repeat([]byte{7}, store.KeySize), Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	ids := cybervault.NewIDSource(1, 0, c.now)
	ws, err := s.Workspace(t.Context(), cybervault.NewID[cybervault.WorkspaceID](ids), "default")
	if err != nil {
		t.Fatal(err)
	}
	return &house{Access: access.New(s, s, ws, c.now, ids), T: t, s: s, clock: c, ws: ws}
}

func (h *house) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

func (h *house) want(err error, code cybervault.Code) {
	h.Helper()
	wantCode(h.T, err, code)
}

// owner sets the installation up, and is Ann's session.
func (h *house) owner() *cybervault.Session {
	h.Helper()
	cookie, err := h.OperatorLogin(h.Context(), home, h.NewDashboardToken())
	h.must(err)
	cookie, err = h.CreateOwner(h.Context(), h.session(cookie), home, " Ann@Example.com ", "Ann", annsPassword)
	h.must(err)
	return h.session(cookie)
}

func (h *house) session(cookie string) *cybervault.Session {
	h.Helper()
	s, err := h.Session(h.Context(), cookie)
	h.must(err)
	return s
}

// bob joins with a role.
func (h *house) bob(ann *cybervault.Session, role cybervault.Role) *cybervault.Session {
	h.Helper()
	_, token, err := h.Invite(h.Context(), ann, "bob@example.com", role)
	h.must(err)
	cookie, err := h.Accept(h.Context(), home, token, "Bob", bobsPassword)
	h.must(err)
	return h.session(cookie)
}

func (h *house) actions() string {
	h.Helper()
	all, err := h.s.ActionsAfter(h.Context(), 0, 1000)
	h.must(err)
	var names []string
	for _, a := range all {
		names = append(names, a.Actor.Name+" "+a.Action)
	}
	return strings.Join(names, "\n")
}

func TestTheOwnerSetsUp(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	token := h.NewDashboardToken()
	operator, err := h.OperatorLogin(t.Context(), home, token)
	h.must(err)
	other, err := h.OperatorLogin(t.Context(), home, token)
	h.must(err)
	for _, wrong := range []struct{ email, password, field string }{
		{"ann", annsPassword, "email"}, {"Ann <ann@example.com>", annsPassword, "email"}, {"", annsPassword, "email"},
		{"ann@example.com", "short", "password"}, {"ann@example.com", "aaaaaaaaaaaaaaaa", "password"},
		{"annabel@example.com", "my annabel words", "password"}, {"ann@example.com", strings.Repeat("long", 65), "password"},
	} {
		_, err := h.CreateOwner(t.Context(), h.session(operator), home, wrong.email, "", wrong.password)
		h.want(err, cybervault.CodeInvalid)
		if field := err.(*cybervault.Error).Field; field != wrong.field { //nolint:errorlint // as it was made
			t.Errorf("%+v: the error is of %q", wrong, field)
		}
	}
	cookie, err := h.CreateOwner(t.Context(), h.session(operator), home, "ann@example.com", "Ann", annsPassword)
	h.must(err)
	ann := h.session(cookie)
	if ann.Operator() || ann.Role != cybervault.RoleOwner || ann.Workspace != h.ws || ann.Email != "ann@example.com" {
		t.Errorf("%+v", ann)
	}
	// The link has done its work: it opens nothing, and whoever came by it is out.
	_, err = h.OperatorLogin(t.Context(), home, token)
	h.want(err, cybervault.CodeForbidden)
	_, err = h.Session(t.Context(), other)
	h.want(err, cybervault.CodeUnauthorized)
	_, err = h.CreateOwner(t.Context(), ann, home, "eve@example.com", "", bobsPassword)
	h.want(err, cybervault.CodeForbidden)
	if got := h.actions(); got != "cybervault member.create\nann@example.com session.create" {
		t.Errorf("the log says:\n%s", got)
	}
}

func TestTheLinkRecovers(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ann := h.owner()
	h.Recover()
	cookie, err := h.OperatorLogin(t.Context(), home, h.NewDashboardToken())
	h.must(err)
	_, token, err := h.LetChoosePassword(t.Context(), h.session(cookie), ann.User)
	h.must(err)
	_, err = h.Accept(t.Context(), home, token, "", "another good phrase")
	h.must(err)
	_, _, err = h.Login(t.Context(), home, "ann@example.com", annsPassword)
	h.want(err, cybervault.CodeUnauthorized)
	_, _, err = h.Login(t.Context(), home, "ann@example.com", "another good phrase")
	h.must(err)
}

func TestLogin(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ann := h.owner()
	cookie, due, err := h.Login(t.Context(), home, "ANN@example.com", annsPassword)
	h.must(err)
	if due {
		t.Error("a second factor is asked for that there is not")
	}
	s := h.session(cookie)
	if s.User != ann.User || s.ID == ann.ID || s.Address != home.Address || s.Agent != "Firefox" || s.Method != "password" {
		t.Errorf("%+v", s)
	}
	var refusals []string
	for _, wrong := range [][2]string{
		{"ann@example.com", "wrong horse battery"}, {"nobody@example.com", annsPassword}, {"", ""}, {"ann@example.com", strings.Repeat("x", 1000)}, {strings.Repeat("x", 1000), "x"},
	} {
		_, _, err := h.Login(t.Context(), home, wrong[0], wrong[1])
		h.want(err, cybervault.CodeUnauthorized)
		refusals = append(refusals, err.Error())
	}
	if distinct := slices.Compact(refusals); len(distinct) != 1 {
		t.Errorf("refusals differ: %q", refusals)
	}
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(h.actions(), "ann@example.com session.refuse"); {
		if time.Now().After(deadline) {
			t.Fatalf("the log says:\n%s", h.actions())
		}
	}
	if strings.Contains(h.actions(), "nobody") {
		t.Error("what somebody typed who has no account was written down")
	}
	h.must(h.Logout(t.Context(), cookie))
	h.must(h.Logout(t.Context(), cookie))
	_, err = h.Session(t.Context(), cookie)
	h.want(err, cybervault.CodeUnauthorized)
}

// Guesses are few, whether there is the account or not; the owner gets in from
// elsewhere all the same.
func TestGuessesAreFew(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.owner()
	for _, email := range []string{"ann@example.com", "nobody@example.com"} {
		n := 0
		for ; n < 50; n++ {
			_, _, err := h.Login(t.Context(), home, email, "guess")
			if cybervault.ErrorCode(err) == cybervault.CodeUnavailable {
				break
			}
			h.want(err, cybervault.CodeUnauthorized)
		}
		if n != 8 {
			t.Errorf("%s: %d guesses were answered", email, n)
		}
	}
	_, _, err := h.Login(t.Context(), home, "ann@example.com", annsPassword)
	h.want(err, cybervault.CodeUnavailable)
	_, _, err = h.Login(t.Context(), cybervault.Caller{Address: "198.51.100.7"}, "ann@example.com", annsPassword)
	h.must(err)
	h.clock.add(15 * time.Second)
	_, _, err = h.Login(t.Context(), home, "ann@example.com", annsPassword)
	h.must(err)
	for range 30 { // right ones are not counted
		_, _, err = h.Login(t.Context(), home, "ann@example.com", annsPassword)
		h.must(err)
	}
}

func TestSessionsOfPeopleEnd(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.owner()
	login := func() string {
		cookie, _, err := h.Login(t.Context(), home, "ann@example.com", annsPassword)
		h.must(err)
		return cookie
	}
	idle, busy := login(), login()
	for range 14 {
		h.clock.add(access.SessionIdle - 2*time.Minute)
		if _, err := h.Session(t.Context(), busy); err != nil {
			break
		}
	}
	_, err := h.Session(t.Context(), idle)
	h.want(err, cybervault.CodeUnauthorized)
	h.clock.add(2 * 14 * time.Minute)
	_, err = h.Session(t.Context(), busy)
	h.want(err, cybervault.CodeUnauthorized) // seven days are over
	one := login()
	two := login()
	s := h.session(one)
	account, err := h.Account(t.Context(), s)
	h.must(err)
	if len(account.Sessions) != 2 || account.User.Email != "ann@example.com" || len(account.Workspaces) != 1 {
		t.Errorf("%+v", account)
	}
	h.must(h.ChangePassword(t.Context(), s, home, annsPassword, "a new phrase for ann's"))
	_, err = h.Session(t.Context(), two)
	h.want(err, cybervault.CodeUnauthorized)
	h.session(one)
	err = h.ChangePassword(t.Context(), s, home, annsPassword, "yet another phrase")
	h.want(err, cybervault.CodeInvalid)
	h.want(h.ChangePassword(t.Context(), s, home, "a new phrase for ann's", "short"), cybervault.CodeInvalid)
	h.must(h.Sweep(t.Context()))
	h.session(one)
}

func (h *house) code(secret string) string {
	h.Helper()
	code, err := totp.GenerateCode(secret, h.clock.now())
	h.must(err)
	return code
}

func TestSecondFactor(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ann := h.owner()
	elsewhere, _, err := h.Login(t.Context(), home, "ann@example.com", annsPassword)
	h.must(err)
	app := h.NewAuthenticator("ann@example.com")
	if !strings.HasPrefix(app.URI, "otpauth://totp/CyberVault:ann@example.com?") || !strings.Contains(app.URI, app.Secret) {
		t.Errorf("%+v", app)
	}
	_, err = h.AddAuthenticator(t.Context(), ann, app.Secret, "000000")
	h.want(err, cybervault.CodeInvalid)
	_, err = h.AddAuthenticator(t.Context(), ann, "AAAA", h.code("AAAA"))
	h.want(err, cybervault.CodeInvalid)
	recovery, err := h.AddAuthenticator(t.Context(), ann, app.Secret, h.code(app.Secret))
	h.must(err)
	if len(recovery) != 10 {
		t.Errorf("%d recovery codes", len(recovery))
	}
	_, err = h.Session(t.Context(), elsewhere)
	h.want(err, cybervault.CodeUnauthorized)

	login := func() string {
		cookie, due, err := h.Login(t.Context(), home, "ann@example.com", annsPassword)
		h.must(err)
		if !due {
			t.Fatal("no second factor is asked for")
		}
		return cookie
	}
	half := login()
	if s := h.session(half); s.May(cybervault.PermitAccount) || s.May(cybervault.PermitRead) {
		t.Errorf("half a session may do something: %+v", s)
	}
	_, err = h.GiveCode(t.Context(), home, half, h.code(app.Secret)) // the one it was set up with
	h.want(err, cybervault.CodeInvalid)
	h.clock.add(30 * time.Second)
	code := h.code(app.Secret)
	whole, err := h.GiveCode(t.Context(), home, half, " "+code[:3]+" "+code[3:])
	h.must(err)
	if s := h.session(whole); !s.May(cybervault.PermitAdminister) || s.Method != "password and code" {
		t.Errorf("%+v", s)
	}
	_, err = h.Session(t.Context(), half)
	h.want(err, cybervault.CodeUnauthorized)
	_, err = h.GiveCode(t.Context(), home, whole, code)
	h.want(err, cybervault.CodeConflict)
	_, err = h.GiveCode(t.Context(), home, login(), code) // whoever has seen it
	h.want(err, cybervault.CodeInvalid)

	_, err = h.GiveCode(t.Context(), home, login(), strings.ToUpper(recovery[3]))
	h.must(err)
	_, err = h.GiveCode(t.Context(), home, login(), recovery[3])
	h.want(err, cybervault.CodeInvalid)
	half = login()
	h.clock.add(access.SecondFactorLife)
	_, err = h.GiveCode(t.Context(), home, half, h.code(app.Secret))
	h.want(err, cybervault.CodeUnauthorized)

	n := 0
	half = login()
	for ; n < 20; n++ {
		if _, err := h.GiveCode(t.Context(), home, half, fmt.Sprintf("%06d", n)); cybervault.ErrorCode(err) == cybervault.CodeUnavailable {
			break
		}
	}
	if n > 6 {
		t.Errorf("%d codes were tried", n)
	}
	h.clock.add(time.Hour)
	s := h.session(whole)
	h.want(h.RemoveAuthenticator(t.Context(), s, home, "guess"), cybervault.CodeInvalid)
	more, err := h.NewRecoveryCodes(t.Context(), s, home, annsPassword)
	h.must(err)
	_, err = h.GiveCode(t.Context(), home, login(), recovery[0])
	h.want(err, cybervault.CodeInvalid)
	_, err = h.GiveCode(t.Context(), home, login(), more[0])
	h.must(err)
	h.must(h.RemoveAuthenticator(t.Context(), s, home, annsPassword))
	if _, due, err := h.Login(t.Context(), home, "ann@example.com", annsPassword); due || err != nil {
		t.Errorf("a second factor is asked for after it was removed: %v", err)
	}
}

func TestInvitations(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ann := h.owner()
	bob := h.bob(ann, cybervault.RoleAdmin)
	if bob.Role != cybervault.RoleAdmin || bob.Workspace != h.ws || bob.Name != "Bob" {
		t.Errorf("%+v", bob)
	}
	_, _, err := h.Invite(t.Context(), bob, "eve@example.com", cybervault.RoleOwner)
	h.want(err, cybervault.CodeForbidden)
	_, _, err = h.Invite(t.Context(), bob, "eve@example.com", "root")
	h.want(err, cybervault.CodeInvalid)
	_, _, err = h.Invite(t.Context(), bob, "ann@example.com", cybervault.RoleViewer)
	h.want(err, cybervault.CodeConflict)
	v, token, err := h.Invite(t.Context(), bob, "eve@example.com", cybervault.RoleViewer)
	h.must(err)
	if got, known, err := h.Invitation(t.Context(), token); err != nil || known || got.Email != "eve@example.com" {
		t.Errorf("%+v %t %v", got, known, err)
	}
	_, err = h.Accept(t.Context(), home, token, "Eve", "short")
	h.want(err, cybervault.CodeInvalid) // and the invitation is still good
	h.must(h.Withdraw(t.Context(), bob, v.ID))
	_, err = h.Accept(t.Context(), home, token, "Eve", bobsPassword)
	h.want(err, cybervault.CodeNotFound)
	_, token, err = h.Invite(t.Context(), bob, "eve@example.com", cybervault.RoleViewer)
	h.must(err)
	h.clock.add(access.InvitationLife)
	_, err = h.Accept(t.Context(), home, token, "Eve", bobsPassword)
	h.want(err, cybervault.CodeNotFound)
}

func TestMembersChange(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ann := h.owner()
	bob := h.bob(ann, cybervault.RoleAdmin)
	h.want(h.SetRole(t.Context(), bob, ann.User, cybervault.RoleViewer), cybervault.CodeForbidden)
	h.want(h.SetRole(t.Context(), bob, bob.User, cybervault.RoleOwner), cybervault.CodeForbidden)
	h.want(h.SetRole(t.Context(), ann, ann.User, ""), cybervault.CodeConflict)
	_, _, err := h.LetChoosePassword(t.Context(), bob, ann.User)
	h.want(err, cybervault.CodeForbidden)
	h.must(h.SetRole(t.Context(), ann, bob.User, cybervault.RoleViewer))
	cookie, _, err := h.Login(t.Context(), home, "bob@example.com", bobsPassword)
	h.must(err)
	if s := h.session(cookie); s.Role != cybervault.RoleViewer {
		t.Errorf("bob is %s", s.Role)
	}
	h.must(h.SetRole(t.Context(), ann, bob.User, ""))
	_, err = h.Session(t.Context(), cookie)
	h.want(err, cybervault.CodeUnauthorized)
	_, _, err = h.Login(t.Context(), home, "bob@example.com", bobsPassword)
	h.want(err, cybervault.CodeUnauthorized)
}

// Somebody with an account joins another workspace by their own password, and nobody
// takes their account over by an invitation.
func TestWorkspacesAreApart(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ann := h.owner()
	bob := h.bob(ann, cybervault.RoleViewer)
	_, err := h.CreateWorkspace(t.Context(), bob, "Bob's")
	h.want(err, cybervault.CodeForbidden)
	second, err := h.CreateWorkspace(t.Context(), ann, "Second")
	h.must(err)
	h.want(h.Switch(t.Context(), bob, second), cybervault.CodeNotFound)
	h.must(h.Switch(t.Context(), ann, second))
	cookie, _, err := h.Login(t.Context(), home, "ann@example.com", annsPassword)
	h.must(err)
	s := h.session(cookie)
	h.must(h.Switch(t.Context(), s, second))
	s = h.session(cookie)
	if s.Workspace != second || s.Role != cybervault.RoleOwner {
		t.Errorf("%+v", s)
	}
	_, token, err := h.Invite(t.Context(), s, "bob@example.com", cybervault.RoleAnalyst)
	h.must(err)
	_, err = h.Accept(t.Context(), home, token, "Mallory", "a phrase that is not bob's")
	h.want(err, cybervault.CodeUnauthorized)
	cookie, err = h.Accept(t.Context(), home, token, "", bobsPassword)
	h.must(err)
	if b := h.session(cookie); b.User != bob.User || b.Workspace != second || b.Role != cybervault.RoleAnalyst {
		t.Errorf("%+v", b)
	}
	_, _, err = h.LetChoosePassword(t.Context(), s, bob.User)
	h.want(err, cybervault.CodeConflict)
}

// Hashes of other costs are still understood, and what is no hash fits nothing.
func TestStoredPasswords(t *testing.T) {
	t.Parallel()
	for stored, want := range map[string]bool{
		// Made by the reference implementation: argon2 "somesalt" -id -t 2 -m 16 -p 4, "password".
		"$argon2id$v=19$m=65536,t=2,p=4$c29tZXNhbHQ$GpZ3sK/oH9p7VIiV56G/64Zo/8GaUw434IimaPqxwCo": true,
		"$argon2id$v=19$m=65536,t=2,p=4$c29tZXNhbHQ$GpZ3sK/oH9p7VIiV56G/64Zo/8GaUw434IimaPqxwDo": false,
		"$argon2i$v=19$m=65536,t=2,p=4$c29tZXNhbHQ$GpZ3sK/oH9p7VIiV56G/64Zo/8GaUw434IimaPqxwCo":  false,
		"": false, "password": false, "$argon2id$v=19$m=8,t=1,p=1$$": false, "$argon2id$v=19$m=0,t=0,p=0$YQ$YQ": false,
	} {
		got, err := access.PasswordMatches(context.Background(), stored, "password")
		if got != want || err != nil {
			t.Errorf("%q: %t, %v", stored, got, err)
		}
	}
}

// Somebody whom a provider vouches for is a member from then on; the groups of the
// provider decide the role if they are to, and an account of the address is kept.
func TestLoginVouched(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ann := h.owner()
	role := func(email string) cybervault.Role {
		members, err := h.Members(t.Context(), h.ws)
		h.must(err)
		for _, m := range members {
			if m.Email == email {
				return m.Role
			}
		}
		return ""
	}
	bob := access.Identity{Issuer: "https://id.example.com", Subject: "b-1", Email: "bob@example.com", Name: "Bob", Role: cybervault.RoleViewer}
	cookie, due, err := h.LoginVouched(t.Context(), home, bob)
	h.must(err)
	if s := h.session(cookie); due || s.Role != cybervault.RoleViewer || s.Email != "bob@example.com" || s.Name != "Bob" || s.Method != "openid" {
		t.Fatalf("%+v, %v", s, due)
	}
	// A member who was given more keeps it, unless the provider decides.
	h.must(h.SetRole(t.Context(), ann, h.session(cookie).User, cybervault.RoleAdmin))
	_, _, err = h.LoginVouched(t.Context(), home, bob)
	h.must(err)
	if role("bob@example.com") != cybervault.RoleAdmin {
		t.Errorf("is %s now", role("bob@example.com"))
	}
	bob.Decides, bob.Role = true, cybervault.RoleAnalyst
	_, _, err = h.LoginVouched(t.Context(), home, bob)
	h.must(err)
	if role("bob@example.com") != cybervault.RoleAnalyst {
		t.Errorf("is %s now", role("bob@example.com"))
	}
	// The subject is who it is: the address may change at the provider.
	bob.Email = "robert@example.com"
	cookie, _, err = h.LoginVouched(t.Context(), home, bob)
	h.must(err)
	if s := h.session(cookie); s.Email != "bob@example.com" {
		t.Errorf("%+v", s)
	}
	// And whoever gets the address later is somebody else.
	_, _, err = h.LoginVouched(t.Context(), home, access.Identity{Issuer: "https://id.example.com", Subject: "b-2", Email: "bob@example.com", Role: cybervault.RoleOwner, Decides: true})
	h.want(err, cybervault.CodeForbidden)

	// The owner's own account is joined, stays an owner for being the last, and is asked
	// for the second factor that it has.
	app := h.NewAuthenticator(ann.Email)
	_, err = h.AddAuthenticator(t.Context(), ann, app.Secret, h.code(app.Secret))
	h.must(err)
	cookie, due, err = h.LoginVouched(t.Context(), home, access.Identity{Issuer: "https://id.example.com", Subject: "a-1", Email: "ann@example.com", Role: cybervault.RoleViewer, Decides: true})
	h.must(err)
	if s := h.session(cookie); !due || !s.Due || s.Role != cybervault.RoleOwner || s.User != ann.User {
		t.Errorf("%+v, %v", s, due)
	}
	_, due, err = h.Login(t.Context(), home, "ann@example.com", annsPassword)
	if h.must(err); !due {
		t.Error("the password alone lets in")
	}
	_, _, err = h.Login(t.Context(), home, "bob@example.com", "")
	h.want(err, cybervault.CodeUnauthorized)
}

// Nobody is called so that a page shows something else.
func TestNames(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ann := h.owner()
	for _, name := range []string{"Ann\nOperator", "Ann\u202enimda", "Ann\u200b", "\u2066Ann", "Ann\u2028Ng", "\xff", strings.Repeat("x", 101)} {
		err := h.ChangeName(t.Context(), ann, name)
		h.want(err, cybervault.CodeInvalid)
		if field := err.(*cybervault.Error).Field; field != "name" { //nolint:errorlint // as it was made
			t.Errorf("%q: the error is of %q", name, field)
		}
	}
	for _, name := range []string{"", "Ann Ng", "Søren", "\u05e9\u05dc\u05d5\u05dd", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "<b>Ann</b>"} {
		h.must(h.ChangeName(t.Context(), ann, name))
	}
}
