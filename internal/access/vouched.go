package access

import (
	"context"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

// Identity is somebody whom a provider of OpenID Connect has vouched for.
type Identity struct {
	Issuer  string
	Subject string // who it is to the issuer, for good
	Email   string // in lower case, and theirs: the provider has verified it
	Name    string
	Role    cybervault.Role
	// Decides says that the provider decides the role, by a group: it is set anew at
	// each log-in. Otherwise it is for who is new, and stays what members are given here.
	Decides bool
}

// LoginVouched begins a session for somebody whom a provider vouched for. Who is new
// becomes a member of the first workspace; whoever has an account of the same address
// keeps it, and is known by the provider's subject from then on. due is as Login's: a
// second factor that an account has here is asked for here.
func (a *Access) LoginVouched(ctx context.Context, from cybervault.Caller, id Identity) (cookie string, due bool, err error) {
	subject := id.Issuer + " " + id.Subject
	u, isNew, err := a.vouched(ctx, subject, id)
	if err != nil {
		return "", false, err
	}
	ctx = cybervault.WithActor(ctx, cybervault.Actor{Kind: cybervault.ActorUser, ID: u.ID.String(), Name: u.Email, Address: from.Address})
	role, ws := id.Role, a.dashboard.workspace
	if !id.Decides {
		all, err := a.people.Memberships(ctx, u.ID)
		if err != nil {
			return "", false, err
		}
		for _, m := range all {
			if m.Workspace == ws {
				role = m.Role
			}
		}
	}
	if u.Name == "" {
		u.Name = cutText(strings.TrimSpace(id.Name), MaxNameBytes)
	}
	u.Subject = subject
	if err := a.people.Enrol(ctx, u, isNew, ws, role); err != nil {
		return "", false, err
	}
	cookie, due, err = a.startDue(ctx, u, ws, from, "openid")
	return cookie, due, err
}

// vouched finds the account of who was vouched for, or makes one.
func (a *Access) vouched(ctx context.Context, subject string, id Identity) (u *cybervault.User, isNew bool, err error) {
	u, err = a.people.UserBySubject(ctx, subject)
	if cybervault.ErrorCode(err) != cybervault.CodeNotFound {
		return u, false, err
	}
	email, err := cleanEmail(id.Email)
	if err != nil {
		return nil, false, err
	}
	u, err = a.people.UserByEmail(ctx, email)
	switch {
	case cybervault.ErrorCode(err) == cybervault.CodeNotFound:
		return &cybervault.User{ID: cybervault.NewID[cybervault.UserID](a.ids), Email: email, CreatedAt: a.now().UTC().Truncate(time.Microsecond)}, true, nil
	case err != nil:
		return nil, false, err
	case u.Subject != "": // the address has changed hands at the provider, or there are two providers
		return nil, false, cybervault.Errorf(cybervault.CodeForbidden, "the account of %s is another person's at the provider: ask an administrator to remove that member first", email)
	}
	return u, false, nil
}
