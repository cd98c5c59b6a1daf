package access

import (
	"context"
	"crypto/sha256"
	"net/mail"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/cybervault/cybervault"
)

// People keeps users and what they have. Its errors are *cybervault.Error; each change
// is all or nothing and writes its line in the log of who did what.
type People interface {
	Users
	Memberships
	Invitations
	Sessions
	SessionEnds
	Passkeys

	Act(ctx context.Context, ws cybervault.WorkspaceID, action, target string, after any) error
}

// Users is the part of People about accounts.
type Users interface {
	HasOwner(ctx context.Context) (bool, error)
	CreateOwner(ctx context.Context, u *cybervault.User, ws cybervault.WorkspaceID) error
	User(ctx context.Context, id cybervault.UserID) (*cybervault.User, error)
	UserByEmail(ctx context.Context, email string) (*cybervault.User, error)
	UserBySubject(ctx context.Context, subject string) (*cybervault.User, error)
	SaveUser(ctx context.Context, ws cybervault.WorkspaceID, u *cybervault.User, action string) error
	TakeStep(ctx context.Context, user cybervault.UserID, step int64) (bool, error)
	TakeRecovery(ctx context.Context, ws cybervault.WorkspaceID, user cybervault.UserID, hash string) (bool, error)
}

// Memberships is the part about who may do what where.
type Memberships interface {
	Enrol(ctx context.Context, u *cybervault.User, isNew bool, ws cybervault.WorkspaceID, role cybervault.Role) error
	Memberships(ctx context.Context, user cybervault.UserID) ([]cybervault.Membership, error)
	Members(ctx context.Context, ws cybervault.WorkspaceID) ([]*cybervault.Member, error)
	SetRole(ctx context.Context, ws cybervault.WorkspaceID, user cybervault.UserID, role cybervault.Role) error
	CreateWorkspace(ctx context.Context, id cybervault.WorkspaceID, name string, owner cybervault.UserID) error
}

// Invitations is the part about who is to come.
type Invitations interface {
	CreateInvitation(ctx context.Context, v *cybervault.Invitation) error
	Invitations(ctx context.Context, ws cybervault.WorkspaceID) ([]*cybervault.Invitation, error)
	InvitationByHash(ctx context.Context, hash [32]byte) (*cybervault.Invitation, error)
	DeleteInvitation(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.InvitationID) error
	AcceptInvitation(ctx context.Context, v *cybervault.Invitation, u *cybervault.User, isNew bool, at time.Time) error
}

// Sessions is the part about who is logged in.
type Sessions interface {
	CreateSession(ctx context.Context, n *cybervault.Session, oldest time.Time) error
	SessionByHash(ctx context.Context, hash [32]byte) (*cybervault.Session, error)
	UserSessions(ctx context.Context, user cybervault.UserID, usedSince, begunSince time.Time) ([]*cybervault.Session, error)
	UseSession(ctx context.Context, hash [32]byte, at time.Time) error
	PromoteSession(ctx context.Context, old [32]byte, n *cybervault.Session) error
	MoveSession(ctx context.Context, hash [32]byte, ws cybervault.WorkspaceID) error
}

// SessionEnds is the part about who is not any more.
type SessionEnds interface {
	EndSession(ctx context.Context, user cybervault.UserID, id cybervault.SessionID) error
	EndSessions(ctx context.Context, ws cybervault.WorkspaceID, user cybervault.UserID, but [32]byte) error
	RemoveSessions(ctx context.Context, since, dueSince time.Time) error
}

// Passkeys is the part about passkeys.
type Passkeys interface {
	Passkeys(ctx context.Context, user cybervault.UserID) ([]*cybervault.Passkey, error)
	AddPasskey(ctx context.Context, ws cybervault.WorkspaceID, email string, k *cybervault.Passkey) error
	UsePasskey(ctx context.Context, k *cybervault.Passkey) error
	DeletePasskey(ctx context.Context, ws cybervault.WorkspaceID, user cybervault.UserID, id cybervault.PasskeyID) error
}

// Limits on what people call themselves and each other.
const (
	MaxEmailBytes  = 254 // RFC 5321
	MaxNameBytes   = 100 // of a person, a workspace or a passkey
	InvitationLife = 7 * 24 * time.Hour
	PasswordLife   = 24 * time.Hour // of a link to choose a new password
)

// SetUp reports whether the installation has an owner.
func (a *Access) SetUp(ctx context.Context) (bool, error) {
	if a.owned.Load() {
		return true, nil
	}
	there, err := a.people.HasOwner(ctx)
	if there {
		a.owned.Store(true)
	}
	return there, err
}

// CreateOwner makes the owner's account for whoever holds the link that the server
// printed, and logs them in. From then on the link opens nothing.
func (a *Access) CreateOwner(ctx context.Context, operator *cybervault.Session, from cybervault.Caller, email, name, password string) (cookie string, err error) {
	if !operator.Operator() {
		return "", cybervault.Errorf(cybervault.CodeForbidden, "the owner's account exists already")
	}
	u, err := a.newUser(ctx, email, name, password)
	if err != nil {
		return "", err
	}
	if err := a.people.CreateOwner(ctx, u, operator.Workspace); err != nil {
		return "", err
	}
	a.owned.Store(true)
	if !a.dashboard.recovery {
		a.endOperators()
	}
	return a.begin(ctx, u, operator.Workspace, cybervault.RoleOwner, from, "password", false)
}

func (a *Access) newUser(ctx context.Context, email, name, password string) (*cybervault.User, error) {
	u := &cybervault.User{ID: cybervault.NewID[cybervault.UserID](a.ids), CreatedAt: a.now().UTC()}
	var err error
	if u.Email, err = cleanEmail(email); err != nil {
		return nil, err
	}
	return u, a.setPassword(ctx, u, name, password)
}

// setPassword gives a user a name and a password.
func (a *Access) setPassword(ctx context.Context, u *cybervault.User, name, password string) (err error) {
	if u.Name, err = cleanName(name); err != nil {
		return err
	}
	if err := checkPassword(password, u.Email); err != nil {
		return err
	}
	u.Password, err = a.hasher.hash(ctx, password)
	return err
}

// Invite makes an invitation to a workspace and returns its token, to be handed to who
// is invited. Nobody invites somebody to do more than they may themselves.
func (a *Access) Invite(ctx context.Context, s *cybervault.Session, email string, role cybervault.Role) (*cybervault.Invitation, string, error) {
	email, err := cleanEmail(email)
	if err != nil {
		return nil, "", err
	}
	if err := mayGive(s, role); err != nil {
		return nil, "", err
	}
	members, err := a.people.Members(ctx, s.Workspace)
	if err != nil {
		return nil, "", err
	}
	for _, m := range members {
		if m.Email == email {
			return nil, "", &cybervault.Error{Code: cybervault.CodeConflict, Field: "email", Message: "is a member's already"}
		}
	}
	return a.invite(ctx, s, email, role, false)
}

func (a *Access) invite(ctx context.Context, s *cybervault.Session, email string, role cybervault.Role, reset bool) (*cybervault.Invitation, string, error) {
	token, now, life := randomToken(), a.now().UTC().Truncate(time.Microsecond), InvitationLife
	if reset {
		life = PasswordLife
	}
	v := &cybervault.Invitation{
		ID: cybervault.NewID[cybervault.InvitationID](a.ids), Hash: sha256.Sum256([]byte(token)), Workspace: s.Workspace, Email: email, Role: role, Reset: reset,
		By: s.Actor().Name, CreatedAt: now, ExpiresAt: now.Add(life),
	}
	return v, token, a.people.CreateInvitation(ctx, v)
}

func mayGive(s *cybervault.Session, role cybervault.Role) error {
	if !role.Known() {
		return cybervault.Invalid("role", "is not one of owner, admin, analyst, viewer")
	}
	if !s.Role.AtLeast(role) {
		return cybervault.Errorf(cybervault.CodeForbidden, "only an owner makes somebody an owner")
	}
	return nil
}

// Invitation finds what a token invites to; known says that there is an account for
// its email address already.
func (a *Access) Invitation(ctx context.Context, token string) (v *cybervault.Invitation, known bool, err error) {
	if v, err = a.people.InvitationByHash(ctx, sha256.Sum256([]byte(token))); err != nil {
		return nil, false, err
	}
	_, err = a.people.UserByEmail(ctx, v.Email)
	if cybervault.ErrorCode(err) == cybervault.CodeNotFound {
		return v, false, nil
	}
	return v, err == nil, err
}

// Accept uses an invitation up and logs in who accepts it. Who has an account gives
// its password; everybody else chooses one.
func (a *Access) Accept(ctx context.Context, from cybervault.Caller, token, name, password string) (cookie string, err error) {
	v, known, err := a.Invitation(ctx, token)
	if err != nil {
		return "", err
	}
	actor := cybervault.Actor{Kind: cybervault.ActorUser, Name: v.Email, Address: from.Address}
	if !known {
		u, err := a.newUser(ctx, v.Email, name, password)
		if err != nil {
			return "", err
		}
		actor.ID = u.ID.String()
		if err := a.people.AcceptInvitation(cybervault.WithActor(ctx, actor), v, u, true, a.now()); err != nil {
			return "", err
		}
		return a.start(ctx, u, v.Workspace, from, "invitation", false)
	}
	u, err := a.people.UserByEmail(ctx, v.Email)
	if err != nil {
		return "", err
	}
	actor.ID = u.ID.String()
	if v.Reset {
		if strings.TrimSpace(name) == "" {
			name = u.Name
		}
		if err := a.setPassword(ctx, u, name, password); err != nil {
			return "", err
		}
	} else if err := a.checkOwn(ctx, u, from, password); err != nil {
		return "", err
	}
	if err := a.people.AcceptInvitation(cybervault.WithActor(ctx, actor), v, u, false, a.now()); err != nil {
		return "", err
	}
	// A link takes the password's place, and not the second factor's.
	return a.start(ctx, u, v.Workspace, from, "password", true)
}

// Members lists the members of a workspace, by email address.
func (a *Access) Members(ctx context.Context, ws cybervault.WorkspaceID) ([]*cybervault.Member, error) {
	return a.people.Members(ctx, ws)
}

// Invitations lists those that wait for an answer, newest first.
func (a *Access) Invitations(ctx context.Context, ws cybervault.WorkspaceID) ([]*cybervault.Invitation, error) {
	return a.people.Invitations(ctx, ws)
}

// Withdraw ends an invitation.
func (a *Access) Withdraw(ctx context.Context, s *cybervault.Session, id cybervault.InvitationID) error {
	return a.people.DeleteInvitation(ctx, s.Workspace, id)
}

// SetRole gives a member another role, or with an empty one removes them. Only an
// owner does that to an owner; the last owner stays.
func (a *Access) SetRole(ctx context.Context, s *cybervault.Session, user cybervault.UserID, role cybervault.Role) error {
	m, err := a.member(ctx, s.Workspace, user)
	if err != nil {
		return err
	}
	if role != "" {
		if err := mayGive(s, role); err != nil {
			return err
		}
	}
	if !s.Role.AtLeast(m.Role) {
		return cybervault.Errorf(cybervault.CodeForbidden, "only an owner changes what an owner is")
	}
	return a.people.SetRole(ctx, s.Workspace, user, role)
}

func (a *Access) member(ctx context.Context, ws cybervault.WorkspaceID, user cybervault.UserID) (*cybervault.Member, error) {
	members, err := a.people.Members(ctx, ws)
	if err != nil {
		return nil, err
	}
	for _, m := range members {
		if m.ID == user {
			return m, nil
		}
	}
	return nil, cybervault.Errorf(cybervault.CodeNotFound, "there is no member with this id")
}

// LetChoosePassword makes a link by which a member may choose a new password, once.
// The account must be this workspace's only: nobody takes over another workspace's
// member by it.
func (a *Access) LetChoosePassword(ctx context.Context, s *cybervault.Session, user cybervault.UserID) (*cybervault.Invitation, string, error) {
	m, err := a.member(ctx, s.Workspace, user)
	if err != nil {
		return nil, "", err
	}
	if !s.Role.AtLeast(m.Role) {
		return nil, "", cybervault.Errorf(cybervault.CodeForbidden, "only an owner lets an owner choose a new password")
	}
	all, err := a.people.Memberships(ctx, user)
	if err != nil {
		return nil, "", err
	}
	if len(all) > 1 && !s.Operator() {
		return nil, "", cybervault.Errorf(cybervault.CodeConflict, "this member belongs to another workspace too: the operator of the server can help, by starting it with --recovery-link")
	}
	return a.invite(ctx, s, m.Email, m.Role, true)
}

// CreateWorkspace adds a workspace, whose owner is who makes it.
func (a *Access) CreateWorkspace(ctx context.Context, s *cybervault.Session, name string) (cybervault.WorkspaceID, error) {
	name, err := cleanName(name)
	if err != nil {
		return cybervault.WorkspaceID{}, err
	}
	if name == "" {
		return cybervault.WorkspaceID{}, cybervault.Invalid("name", "is missing: say what the workspace is for")
	}
	if s.Operator() || s.Role != cybervault.RoleOwner {
		return cybervault.WorkspaceID{}, cybervault.Errorf(cybervault.CodeForbidden, "an owner makes workspaces: log in with an owner's account")
	}
	id := cybervault.NewID[cybervault.WorkspaceID](a.ids)
	return id, a.people.CreateWorkspace(ctx, id, name, s.User)
}

// cleanEmail returns an email address as accounts are known by.
func cleanEmail(email string) (string, error) {
	email = strings.ToLower(strings.TrimSpace(email))
	parsed, err := mail.ParseAddress(email)
	if err != nil || parsed.Address != email || len(email) > MaxEmailBytes || strings.ContainsFunc(email, unicode.IsControl) {
		return "", cybervault.Invalid("email", "is no email address, such as ann@example.com")
	}
	return email, nil
}

func cleanName(name string) (string, error) {
	name = strings.TrimSpace(name)
	switch {
	case len(name) > MaxNameBytes:
		return "", cybervault.Invalid("name", "is %d bytes long, more than %d", len(name), MaxNameBytes)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unseen):
		return "", cybervault.Invalid("name", "holds a character that cannot be seen, such as a line break or a mark that turns the direction of writing")
	}
	return name, nil
}

// unseen reports whether a character shows nothing and can make a name look like another
// one. The two joiners of Persian and of Indian scripts are letters' business.
func unseen(r rune) bool {
	const nonJoiner, joiner = '\u200c', '\u200d'
	return r != nonJoiner && r != joiner && (unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp))
}
