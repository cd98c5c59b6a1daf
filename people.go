package cybervault

import (
	"slices"
	"time"
)

// Role is what a person is in one workspace. Each role may do what the one after
// it may, and more.
type Role string

// The roles, from the one that may do most to the one that may do least.
const (
	RoleOwner   Role = "owner"   // all there is, owners included
	RoleAdmin   Role = "admin"   // webhooks, API keys, members, the audit log
	RoleAnalyst Role = "analyst" // incidents, rules, exceptions, replays and tests
	RoleViewer  Role = "viewer"  // looks, and changes nothing
)

// Roles lists the roles, the one that may do most first.
func Roles() []Role { return []Role{RoleOwner, RoleAdmin, RoleAnalyst, RoleViewer} }

// Known reports whether r is a role.
func (r Role) Known() bool { return slices.Contains(Roles(), r) }

// Permission is what one page or action asks of whoever wants it.
type Permission string

// The permissions. Every page and every action of the dashboard asks for exactly one.
const (
	// PermitAccount is what anybody has who is logged in: their own account.
	PermitAccount Permission = "account"
	// PermitRead is to see events, deliveries, incidents, rules and webhooks, secrets left out.
	PermitRead Permission = "read"
	// PermitRespond is to work on incidents, rules and exceptions, to replay, cancel and test.
	PermitRespond Permission = "respond"
	// PermitConfigure is to change webhooks and to see their secrets.
	PermitConfigure Permission = "configure"
	// PermitAdminister is to manage members, invitations and API keys, and to read the audit log.
	PermitAdminister Permission = "administer"
)

// least is the least role that has a permission.
var least = map[Permission]Role{
	PermitAccount: RoleViewer, PermitRead: RoleViewer, PermitRespond: RoleAnalyst, PermitConfigure: RoleAdmin, PermitAdminister: RoleAdmin,
}

// Permissions lists the permissions.
func Permissions() []Permission {
	return []Permission{PermitAccount, PermitRead, PermitRespond, PermitConfigure, PermitAdminister}
}

// May reports whether the role has the permission. What is no role has none, and
// what is no permission nobody has.
func (r Role) May(p Permission) bool {
	needed, known := least[p]
	return known && r.Known() && r.AtLeast(needed)
}

// AtLeast reports whether r may do all that other may.
func (r Role) AtLeast(other Role) bool {
	all := Roles()
	mine, theirs := slices.Index(all, r), slices.Index(all, other)
	return mine >= 0 && theirs >= 0 && mine <= theirs
}

// User is a person with an account. Secrets of theirs stay in the store.
type User struct {
	ID        UserID
	Email     string // in lower case; one user has it
	Name      string // as they wish to be called; may be empty
	Password  string // Argon2id in the PHC string format; empty: they log in by OpenID Connect only
	Subject   string // issuer and subject of OpenID Connect, with a space between; empty where there is none
	CreatedAt time.Time
	LastSeen  time.Time // when they logged in last; zero: never

	// The second factor.
	TOTPSecret string   // base32, as RFC 6238 has it; empty: none
	TOTPStep   int64    // of the last code that was taken: no code is taken twice
	Recovery   []string // SHA-256 of the recovery codes that are left, hexadecimal
}

// DisplayName is the name, or the email address where there is none.
func (u *User) DisplayName() string {
	if u.Name != "" {
		return u.Name
	}
	return u.Email
}

// Member is a user in one workspace.
type Member struct {
	User
	Workspace WorkspaceID
	Role      Role
	JoinedAt  time.Time
	Passkeys  int
}

// Membership is a workspace of a user.
type Membership struct {
	Workspace WorkspaceID
	Name      string // of the workspace
	Role      Role
}

// Invitation asks somebody to join a workspace, or a member to choose a new
// password. Whoever has its token may do so once, until it expires.
type Invitation struct {
	ID        InvitationID
	Hash      [32]byte // SHA-256 of the token
	Workspace WorkspaceID
	Email     string
	Role      Role
	Reset     bool // lets the user of that email choose a new password, and no more
	By        string
	CreatedAt time.Time
	ExpiresAt time.Time
}

// Passkey is a WebAuthn credential of a user.
type Passkey struct {
	ID         PasskeyID
	User       UserID
	Name       string // as its owner calls it
	Credential []byte // its id as the authenticator knows it
	Data       []byte // JSON: host, public key, counter and flags
	CreatedAt  time.Time
	UsedAt     time.Time // zero: never
}

// Session is what a browser that is logged in may do.
type Session struct {
	ID        SessionID
	Hash      [32]byte // SHA-256 of the cookie's value; zero for one that is in memory only
	User      UserID   // zero for the operator who holds the link that the server printed
	Email     string
	Name      string
	Workspace WorkspaceID
	Role      Role
	Method    string // how they logged in: password, password and code, OpenID Connect …
	// Due is true where the password was right and the second factor is not given yet:
	// such a session may do nothing else.
	Due       bool
	Address   string // where they logged in from
	Agent     string // and with which browser
	CreatedAt time.Time
	UsedAt    time.Time
}

// May reports whether the session has a permission. One whose second factor is due has none.
func (s *Session) May(p Permission) bool { return !s.Due && s.Role.May(p) }

// Operator reports whether it is the session of whoever holds the link that the
// server printed, who has no account.
func (s *Session) Operator() bool { return s.User.IsZero() }

// Actor is who is named for a change.
func (s *Session) Actor() Actor {
	if s.Operator() {
		return Actor{Kind: ActorOperator, Name: "operator", Address: s.Address}
	}
	return Actor{Kind: ActorUser, ID: s.User.String(), Name: s.Email, Address: s.Address}
}

// Caller is where a request of a person came from.
type Caller struct {
	Address string // without the port
	Agent   string // of the browser, as it says
}

// Account is what a person sees of their own.
type Account struct {
	User       *User
	Sessions   []*Session
	Passkeys   []*Passkey
	Workspaces []Membership
}

// SecondFactor is what a log-in whose password was right may be finished with, beside a
// recovery code.
type SecondFactor struct {
	Authenticator bool     // there is one to show a code
	Passkey       []byte   // options for the browser, as JSON; nil: no passkey is for this address
	Elsewhere     []string // host names that other passkeys are for
}

// Authenticator is what an authenticator app (RFC 6238) is set up with.
type Authenticator struct {
	Secret string // base32
	URI    string // otpauth://…, for a QR code
}
