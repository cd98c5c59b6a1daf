package access

import (
	"context"
	"crypto/sha256"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

// SecondFactorLife is how long a second factor may be due.
const SecondFactorLife = 5 * time.Minute

// touchEvery is how often a session that is in use says so to the store.
const touchEvery = time.Minute

// errRefused is the same for everything that can be wrong with a log-in, so that
// nothing is to be learned from it.
func errRefused() error {
	return cybervault.Errorf(cybervault.CodeUnauthorized, "The email address or the password is not right.")
}

// Login begins a session for who knows the password of an account. due says that the
// second factor is still asked for: until GiveCode the session may do nothing. What is
// wrong is answered with the same error after the same work, whether there is such an
// account or not.
func (a *Access) Login(ctx context.Context, from cybervault.Caller, email, password string) (cookie string, due bool, err error) {
	email = strings.ToLower(strings.TrimSpace(email))
	if len(email) > MaxEmailBytes || len(password) > MaxPasswordBytes {
		return "", false, errRefused()
	}
	u, err := a.people.UserByEmail(ctx, email)
	if err != nil && cybervault.ErrorCode(err) != cybervault.CodeNotFound {
		return "", false, err
	}
	if u == nil {
		u = &cybervault.User{Email: email} // whom no password fits
	}
	if err := a.checkOwn(ctx, u, from, password); err != nil {
		return "", false, err
	}
	all, err := a.people.Memberships(ctx, u.ID)
	if err != nil {
		return "", false, err
	}
	if len(all) == 0 { // was removed: there is nothing to see for them
		return "", false, errRefused()
	}
	second, err := a.hasSecondFactor(ctx, u)
	if err != nil {
		return "", false, err
	}
	cookie, err = a.begin(ctx, u, all[0].Workspace, all[0].Role, from, "password", second)
	return cookie, second, err
}

// checkOwn checks a user's password, as often as is allowed.
func (a *Access) checkOwn(ctx context.Context, u *cybervault.User, from cybervault.Caller, password string) error {
	keys := map[string]allowance{
		"pair " + from.Address + " " + u.Email: allowPair, "account " + u.Email: allowAccount, "address " + from.Address: allowAddress,
	}
	if err := a.throttle.take(a.now(), keys); err != nil {
		return err
	}
	right, err := a.hasher.matches(ctx, u.Password, password)
	if err != nil {
		return err
	}
	if !right {
		a.refused(ctx, u, from, "password")
		return errRefused()
	}
	a.throttle.give(keys)
	return nil
}

// refused writes down that a log-in to an account was refused. It is not waited for:
// the time that an answer takes must not tell whether there is such an account. Of
// addresses without an account nothing is written down; people type passwords there.
func (a *Access) refused(ctx context.Context, u *cybervault.User, from cybervault.Caller, what string) {
	if u.ID.IsZero() {
		return
	}
	ctx = cybervault.WithActor(context.WithoutCancel(ctx), cybervault.Actor{Kind: cybervault.ActorUser, ID: u.ID.String(), Name: u.Email, Address: from.Address})
	go func() {
		all, err := a.people.Memberships(ctx, u.ID)
		if err != nil || len(all) == 0 {
			return
		}
		_ = a.people.Act(ctx, all[0].Workspace, "session.refuse", u.Email, map[string]any{"wrong": what})
	}()
}

func (a *Access) hasSecondFactor(ctx context.Context, u *cybervault.User) (bool, error) {
	if u.TOTPSecret != "" {
		return true, nil
	}
	keys, err := a.people.Passkeys(ctx, u.ID)
	return len(keys) > 0, err
}

// start begins a session for a user whose password, or what took its place, was right.
func (a *Access) start(ctx context.Context, u *cybervault.User, ws cybervault.WorkspaceID, from cybervault.Caller, method string, ask bool) (string, error) {
	second := false
	if ask {
		var err error
		if second, err = a.hasSecondFactor(ctx, u); err != nil {
			return "", err
		}
	}
	return a.startIn(ctx, u, ws, from, method, second)
}

// startDue is start for who is asked for a second factor if they have one; due says so.
func (a *Access) startDue(ctx context.Context, u *cybervault.User, ws cybervault.WorkspaceID, from cybervault.Caller, method string) (cookie string, due bool, err error) {
	if due, err = a.hasSecondFactor(ctx, u); err != nil {
		return "", false, err
	}
	cookie, err = a.startIn(ctx, u, ws, from, method, due)
	return cookie, due, err
}

// startIn begins a session in a workspace that the user is a member of.
func (a *Access) startIn(ctx context.Context, u *cybervault.User, ws cybervault.WorkspaceID, from cybervault.Caller, method string, second bool) (string, error) {
	all, err := a.people.Memberships(ctx, u.ID)
	if err != nil {
		return "", err
	}
	for _, m := range all {
		if m.Workspace == ws {
			return a.begin(ctx, u, ws, m.Role, from, method, second)
		}
	}
	return "", errRefused()
}

// begin stores a new session and returns its cookie.
func (a *Access) begin(ctx context.Context, u *cybervault.User, ws cybervault.WorkspaceID, role cybervault.Role, from cybervault.Caller, method string, due bool) (string, error) {
	cookie, now := randomToken(), a.now().UTC().Truncate(time.Microsecond)
	s := &cybervault.Session{
		ID: cybervault.NewID[cybervault.SessionID](a.ids), Hash: sha256.Sum256([]byte(cookie)), User: u.ID, Email: u.Email, Name: u.Name, Workspace: ws, Role: role,
		Method: method, Due: due, Address: cutText(from.Address, 64), Agent: cutText(from.Agent, 300), CreatedAt: now, UsedAt: now,
	}
	return cookie, a.people.CreateSession(ctx, s, now.Add(-SessionLife))
}

// cutText returns the beginning of what a stranger has sent, fit to be stored.
func cutText(s string, most int) string {
	s = strings.ToValidUTF8(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, s), "")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "")
	}
	return s
}

// Session finds the session of a cookie, and keeps it alive. CodeUnauthorized where
// there is none, or it has ended.
func (a *Access) Session(ctx context.Context, cookie string) (*cybervault.Session, error) {
	if cookie == "" || len(cookie) > 200 {
		return nil, errNoSession()
	}
	if s, ok := a.operator(cookie); ok {
		return s, nil
	}
	hash := sha256.Sum256([]byte(cookie))
	s, err := a.people.SessionByHash(ctx, hash)
	if cybervault.ErrorCode(err) == cybervault.CodeNotFound {
		return nil, errNoSession()
	}
	if err != nil {
		return nil, err
	}
	now := a.now()
	if now.Sub(s.UsedAt) >= SessionIdle || now.Sub(s.CreatedAt) >= SessionLife || s.Due && now.Sub(s.CreatedAt) >= SecondFactorLife {
		return nil, errNoSession()
	}
	if !s.Due && now.Sub(s.UsedAt) >= touchEvery {
		if err := a.people.UseSession(ctx, hash, now); err != nil && cybervault.ErrorCode(err) != cybervault.CodeUnavailable {
			return nil, err // a disk that is full keeps nobody from looking
		}
	}
	return s, nil
}

func errNoSession() error {
	return cybervault.Errorf(cybervault.CodeUnauthorized, "the session has ended: log in again")
}

// Logout ends the session of a cookie, if there is one.
func (a *Access) Logout(ctx context.Context, cookie string) error {
	if a.endOperator(cookie) {
		return nil
	}
	s, err := a.people.SessionByHash(ctx, sha256.Sum256([]byte(cookie)))
	if cybervault.ErrorCode(err) == cybervault.CodeNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	err = a.people.EndSession(ctx, s.User, s.ID)
	if cybervault.ErrorCode(err) == cybervault.CodeNotFound {
		return nil
	}
	return err
}

// GiveCode gives the second factor of a session whose password was right: a code of
// the authenticator, or a recovery code, each of which is taken once. The session goes
// on under a new cookie.
func (a *Access) GiveCode(ctx context.Context, from cybervault.Caller, cookie, code string) (string, error) {
	s, u, err := a.due(ctx, cookie)
	if err != nil {
		return "", err
	}
	keys := map[string]allowance{"code " + u.ID.String(): allowCode}
	if err := a.throttle.take(a.now(), keys); err != nil {
		return "", err
	}
	kind, err := a.checkCode(cybervault.WithActor(ctx, s.Actor()), s.Workspace, u, code)
	if err != nil {
		return "", err
	}
	if kind == "" {
		a.refused(ctx, u, from, "code")
		return "", cybervault.Invalid("code", "is not right, or was used already: take the one that is shown now")
	}
	a.throttle.give(keys)
	return a.promote(ctx, s, cookie, s.Method+" and "+kind)
}

// due finds a session that waits for its second factor.
func (a *Access) due(ctx context.Context, cookie string) (*cybervault.Session, *cybervault.User, error) {
	s, err := a.Session(ctx, cookie)
	if err != nil {
		return nil, nil, err
	}
	if s.Operator() || !s.Due {
		return nil, nil, cybervault.Errorf(cybervault.CodeConflict, "no second factor is asked for: you are logged in")
	}
	u, err := a.people.User(ctx, s.User)
	return s, u, err
}

func (a *Access) promote(ctx context.Context, s *cybervault.Session, old, method string) (string, error) {
	cookie, now := randomToken(), a.now().UTC().Truncate(time.Microsecond)
	whole := *s
	whole.Hash, whole.Due, whole.Method, whole.CreatedAt, whole.UsedAt = sha256.Sum256([]byte(cookie)), false, method, now, now
	err := a.people.PromoteSession(ctx, sha256.Sum256([]byte(old)), &whole)
	if cybervault.ErrorCode(err) == cybervault.CodeNotFound {
		return "", errNoSession()
	}
	return cookie, err
}
