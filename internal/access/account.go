package access

import (
	"context"

	"github.com/cybervault/cybervault"
)

// own is the user of a session.
func (a *Access) own(ctx context.Context, s *cybervault.Session) (*cybervault.User, error) {
	if s.Operator() {
		return nil, cybervault.Errorf(cybervault.CodeConflict, "the operator has no account: make the owner's first")
	}
	return a.people.User(ctx, s.User)
}

// confirm asks for the password again before what a stolen session must not do.
func (a *Access) confirm(ctx context.Context, u *cybervault.User, from cybervault.Caller, password string) error {
	if u.Password == "" {
		return nil // logs in by OpenID Connect: there is nothing to ask for
	}
	err := a.checkOwn(ctx, u, from, password)
	if cybervault.ErrorCode(err) == cybervault.CodeUnauthorized {
		return cybervault.Invalid("current", "is not your password")
	}
	return err
}

// Account is the account of the user of a session.
func (a *Access) Account(ctx context.Context, s *cybervault.Session) (cybervault.Account, error) {
	u, err := a.own(ctx, s)
	if err != nil {
		return cybervault.Account{}, err
	}
	account := cybervault.Account{User: u}
	if account.Sessions, err = a.people.UserSessions(ctx, u.ID, a.now().Add(-SessionIdle), a.now().Add(-SessionLife)); err != nil {
		return account, err
	}
	if account.Passkeys, err = a.people.Passkeys(ctx, u.ID); err != nil {
		return account, err
	}
	account.Workspaces, err = a.people.Memberships(ctx, u.ID)
	return account, err
}

// Workspaces lists those of the user of a session.
func (a *Access) Workspaces(ctx context.Context, s *cybervault.Session) ([]cybervault.Membership, error) {
	if s.Operator() {
		return nil, nil
	}
	return a.people.Memberships(ctx, s.User)
}

// ChangeName gives the user of a session another name.
func (a *Access) ChangeName(ctx context.Context, s *cybervault.Session, name string) error {
	u, err := a.own(ctx, s)
	if err != nil {
		return err
	}
	if u.Name, err = cleanName(name); err != nil {
		return err
	}
	return a.people.SaveUser(ctx, s.Workspace, u, "user.rename")
}

// ChangePassword gives the user of a session another password. All their other
// sessions end.
func (a *Access) ChangePassword(ctx context.Context, s *cybervault.Session, from cybervault.Caller, current, password string) error {
	u, err := a.own(ctx, s)
	if err != nil {
		return err
	}
	if err := a.confirm(ctx, u, from, current); err != nil {
		return err
	}
	if err := a.setPassword(ctx, u, u.Name, password); err != nil {
		return err
	}
	if err := a.people.SaveUser(ctx, s.Workspace, u, "user.change_password"); err != nil {
		return err
	}
	return a.people.EndSessions(ctx, s.Workspace, u.ID, s.Hash)
}

// EndSession ends another session of the same user.
func (a *Access) EndSession(ctx context.Context, s *cybervault.Session, id cybervault.SessionID) error {
	return a.people.EndSession(ctx, s.User, id)
}

// EndOtherSessions ends all sessions of the user but this one.
func (a *Access) EndOtherSessions(ctx context.Context, s *cybervault.Session) error {
	if s.Operator() {
		return nil
	}
	return a.people.EndSessions(ctx, s.Workspace, s.User, s.Hash)
}

// Switch lets a session go on in another workspace of its user's.
func (a *Access) Switch(ctx context.Context, s *cybervault.Session, ws cybervault.WorkspaceID) error {
	if s.Operator() {
		return cybervault.Errorf(cybervault.CodeNotFound, "there is no such workspace")
	}
	return a.people.MoveSession(ctx, s.Hash, ws)
}

// Sweep removes sessions that have ended.
func (a *Access) Sweep(ctx context.Context) error {
	now := a.now()
	return a.people.RemoveSessions(ctx, now.Add(-SessionIdle), now.Add(-SecondFactorLife))
}
