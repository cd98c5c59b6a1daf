package dashboard

import (
	"context"
	"net/url"
	"time"

	"github.com/cybervault/cybervault"
)

// Webhooks reads and changes webhooks. Errors carry a code: not_found for an
// unknown id, invalid (with the field) for settings that cannot be taken,
// unavailable when nothing could be kept.
type Webhooks interface {
	// Webhooks lists the workspace's webhooks, newest first, deleted ones not included.
	Webhooks(ctx context.Context, ws cybervault.WorkspaceID) ([]*cybervault.Webhook, error)
	Webhook(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.WebhookID) (*cybervault.Webhook, error)
	CreateWebhook(ctx context.Context, ws cybervault.WorkspaceID, change cybervault.WebhookChange) (*cybervault.Webhook, error)
	UpdateWebhook(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.WebhookID, change cybervault.WebhookChange) (*cybervault.Webhook, error)
	DeleteWebhook(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.WebhookID) error
	// RotateSecret gives the webhook a new secret; the old one lives on for overlap.
	RotateSecret(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.WebhookID, overlap time.Duration) (*cybervault.Webhook, error)
	// VerifyWebhook sends the test payload and answers with the attempt, failed or not.
	VerifyWebhook(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.WebhookID) (*cybervault.Attempt, error)
	// TestWebhook delivers the event type's example, marked as a test.
	TestWebhook(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.WebhookID, eventType string) (*cybervault.Delivery, error)
}

// Receivers tells how the receivers of webhooks stand.
type Receivers interface {
	// Health tells how a receiver has been answering, and what the breaker does.
	Health(id cybervault.WebhookID) cybervault.WebhookHealth
	// Waiting counts the deliveries that have not ended, up to cybervault.MaxWaiting.
	Waiting(ctx context.Context, id cybervault.WebhookID) (int64, error)
}

// Previewer tries settings on what was stored.
type Previewer interface {
	// PreviewFilter says what a filter would have done with the newest events of
	// the chosen types (none: of all) since a moment; invalid for a filter that a
	// webhook could not have.
	PreviewFilter(ctx context.Context, ws cybervault.WorkspaceID, filter string, choices []string, since time.Time) (*cybervault.FilterPreview, error)
}

// Log reads what was kept of events, deliveries and attempts.
type Log interface {
	Events(ctx context.Context, q cybervault.EventQuery) (cybervault.Page[*cybervault.Event], error)
	Event(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.EventID) (*cybervault.Event, error)
	Deliveries(ctx context.Context, q cybervault.DeliveryQuery) (cybervault.Page[*cybervault.Delivery], error)
	Delivery(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.DeliveryID) (*cybervault.Delivery, error)
	// Attempts lists the attempts of a delivery, first one first.
	Attempts(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.DeliveryID) ([]*cybervault.Attempt, error)
	// Overview counts what happened since a moment, in that many buckets of equal width.
	Overview(ctx context.Context, ws cybervault.WorkspaceID, since time.Time, buckets int) (*cybervault.Overview, error)
}

// Incidents reads incidents and makes people's changes. Errors carry a code:
// not_found for an unknown id, invalid (with the field) for a change that no
// incident can have, conflict for one that this incident cannot as it stands.
type Incidents interface {
	Incidents(ctx context.Context, q cybervault.IncidentQuery) (cybervault.Page[*cybervault.Incident], error)
	// LiveIncidents counts those that are open or acknowledged.
	LiveIncidents(ctx context.Context, ws cybervault.WorkspaceID) ([]cybervault.IncidentCount, error)
	Incident(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.IncidentID) (*cybervault.Incident, error)
	// IncidentMembers lists the members of one, the one last seen by the engine first.
	IncidentMembers(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.IncidentID, limit int) ([]*cybervault.IncidentMember, error)
	// UpdateIncident makes all of a change or none of it.
	UpdateIncident(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.IncidentID, change cybervault.IncidentChange) (*cybervault.Incident, error)
}

// Rules tells what the threat engine judges by, and what it is to leave out.
// Errors carry a code: invalid (with the field) for what cannot be taken,
// not_found for an unknown exception, conflict where there are too many.
type Rules interface {
	// Rules lists the Sigma rules and correlations, by title.
	Rules(ctx context.Context, ws cybervault.WorkspaceID) ([]cybervault.RuleInfo, error)
	// RulesOff lists what is turned off, Sigma's and others.
	RulesOff(ctx context.Context, ws cybervault.WorkspaceID) (map[string]cybervault.RuleOff, error)
	// Rule answers for any id that a detection may have.
	Rule(ctx context.Context, ws cybervault.WorkspaceID, id string) (*cybervault.RuleDetail, error)
	SetRule(ctx context.Context, ws cybervault.WorkspaceID, id string, on bool, reason string) error
	// Exceptions lists them, newest first, ended ones included.
	Exceptions(ctx context.Context, ws cybervault.WorkspaceID) ([]cybervault.Exception, error)
	AddException(ctx context.Context, ws cybervault.WorkspaceID, e cybervault.Exception) (*cybervault.Exception, error)
	RemoveException(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.ExceptionID) error
	// PreviewException says what one would have hidden of the latest findings.
	PreviewException(ctx context.Context, ws cybervault.WorkspaceID, e cybervault.Exception) (*cybervault.ExceptionPreview, error)
}

// Replayer makes new deliveries of old events, and stops deliveries.
type Replayer interface {
	// ReplayDelivery answers with the new delivery.
	ReplayDelivery(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.DeliveryID) (*cybervault.Delivery, error)
	// CancelDelivery answers with the cancelled delivery; conflict when it has ended already.
	CancelDelivery(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.DeliveryID) (*cybervault.Delivery, error)
}

// Catalogue keeps the event types a workspace may publish and choose.
type Catalogue interface {
	List(ws cybervault.WorkspaceID) []cybervault.EventType
	// SaveEventType adds an event type of the workspace's own, or replaces it.
	SaveEventType(ctx context.Context, ws cybervault.WorkspaceID, t cybervault.EventType) (saved cybervault.EventType, created bool, err error)
	// DeleteEventType removes one. CodeConflict for a core type.
	DeleteEventType(ctx context.Context, ws cybervault.WorkspaceID, name string) error
}

// Keys manages API keys.
type Keys interface {
	// Keys lists the workspace's API keys, newest first, revoked ones included.
	Keys(ctx context.Context, ws cybervault.WorkspaceID) ([]*cybervault.APIKey, error)
	// CreateKey answers with the key's record and the key itself, which is kept nowhere.
	// It is refused from expires on; zero is never.
	CreateKey(ctx context.Context, ws cybervault.WorkspaceID, name string, scopes []cybervault.Scope, expires time.Time) (*cybervault.APIKey, string, error)
	RevokeKey(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.APIKeyID) error
}

// SignOn is the log-in by OpenID Connect. Errors are for the person: unauthorized,
// forbidden, or unavailable.
type SignOn interface {
	// Name is what the provider is called on the log-in page.
	Name() string
	// Begin returns where to send the browser, and what it is to keep in a cookie until
	// it comes back.
	Begin(ctx context.Context) (redirect, sealed string, err error)
	// Finish takes what the browser kept and the query it came back with. due is as for
	// Access.Login.
	Finish(ctx context.Context, from cybervault.Caller, sealed string, query url.Values) (cookie string, due bool, err error)
}

// System says how the server stands.
type System interface {
	// System asks what can be told at once; what could not be asked is among its problems.
	System(ctx context.Context) cybervault.System
	// Sources lists where telemetry has come from, those that fell silent first.
	Sources(ws cybervault.WorkspaceID) []cybervault.TelemetrySource
	// Examine looks at everything, receivers too, which takes up to half a minute.
	// CodeForbidden for a workspace that may not ask.
	Examine(ctx context.Context, ws cybervault.WorkspaceID) ([]cybervault.Check, error)
}

// Fleet knows the agents. Errors carry a code: not_found for an unknown id, invalid (with
// the field) for what cannot be taken, conflict where there are too many.
type Fleet interface {
	Agents(ctx context.Context, q cybervault.AgentQuery) (cybervault.Page[*cybervault.Agent], error)
	Agent(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.AgentID) (*cybervault.Agent, error)
	Counts(ctx context.Context, ws cybervault.WorkspaceID) (cybervault.AgentCounts, error)
	Remove(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.AgentID) error
	// NewToken makes a token by which machines enrol, and answers with it in clear.
	NewToken(ctx context.Context, t *cybervault.AgentToken) (plain string, err error)
	Tokens(ctx context.Context, ws cybervault.WorkspaceID) ([]*cybervault.AgentToken, error)
	DeleteToken(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.AgentTokenID) error
}

// Alerts knows what CyberVault itself needs, or needed, a person for.
type Alerts interface {
	// Alerts lists alerts, newest first. CodeInvalid, with the field, for an unknown status.
	Alerts(ctx context.Context, q cybervault.AlertQuery) (cybervault.Page[*cybervault.Alert], error)
}

// Actions is the log of who did what.
type Actions interface {
	// Actions lists the actions of a workspace, newest first.
	Actions(ctx context.Context, q cybervault.ActionQuery) (cybervault.Page[*cybervault.Action], error)
	// ExportActions hands every line of the log to line, oldest first, and returns its
	// end. Of other workspaces' lines a workspace may be told the hashes only.
	ExportActions(ctx context.Context, ws cybervault.WorkspaceID, line func(cybervault.ActionLine) error) (cybervault.ActionHead, error)
}

// Access says who is logged in, lets people in, and manages them. A cookie is the
// opaque value that a browser keeps. Errors carry a code: unauthorized where nobody is
// logged in or a password is not right, unavailable with the field "tries" after too
// many, invalid (with the field) for what cannot be taken, forbidden for what the
// session's role does not allow.
type Access interface {
	LogIns
	Arrivals
	Accounts
	SecondFactors
	Passkeys
	Members
}

// LogIns is the part of Access that lets people in and out.
type LogIns interface {
	// SetUp reports whether the installation has an owner.
	SetUp(ctx context.Context) (bool, error)
	// OperatorLogin trades the token that the server printed for a cookie.
	OperatorLogin(ctx context.Context, from cybervault.Caller, token string) (cookie string, err error)
	CreateOwner(ctx context.Context, operator *cybervault.Session, from cybervault.Caller, email, name, password string) (cookie string, err error)
	// Login answers with due where a second factor is still asked for: see GiveCode.
	Login(ctx context.Context, from cybervault.Caller, email, password string) (cookie string, due bool, err error)
	GiveCode(ctx context.Context, from cybervault.Caller, cookie, code string) (newCookie string, err error)
	Session(ctx context.Context, cookie string) (*cybervault.Session, error)
	Logout(ctx context.Context, cookie string) error
}

// Arrivals is the part that takes those in who were invited.
type Arrivals interface {
	// Invitation finds what a token invites to; known: there is an account already.
	Invitation(ctx context.Context, token string) (v *cybervault.Invitation, known bool, err error)
	Accept(ctx context.Context, from cybervault.Caller, token, name, password string) (cookie string, err error)
}

// Accounts is the part that lets people change what is their own.
type Accounts interface {
	Account(ctx context.Context, s *cybervault.Session) (cybervault.Account, error)
	Workspaces(ctx context.Context, s *cybervault.Session) ([]cybervault.Membership, error)
	Switch(ctx context.Context, s *cybervault.Session, ws cybervault.WorkspaceID) error
	ChangeName(ctx context.Context, s *cybervault.Session, name string) error
	ChangePassword(ctx context.Context, s *cybervault.Session, from cybervault.Caller, current, password string) error
	EndSession(ctx context.Context, s *cybervault.Session, id cybervault.SessionID) error
	EndOtherSessions(ctx context.Context, s *cybervault.Session) error
}

// SecondFactors is the part about what is asked for besides a password.
type SecondFactors interface {
	NewAuthenticator(email string) cybervault.Authenticator
	AuthenticatorOf(secret, email string) (cybervault.Authenticator, error)
	// AddAuthenticator answers with recovery codes, which are shown once; with none where
	// the user has some.
	AddAuthenticator(ctx context.Context, s *cybervault.Session, secret, code string) ([]string, error)
	RemoveAuthenticator(ctx context.Context, s *cybervault.Session, from cybervault.Caller, password string) error
	NewRecoveryCodes(ctx context.Context, s *cybervault.Session, from cybervault.Caller, password string) ([]string, error)
}

// Passkeys is the part about passkeys. origin is where the browser has opened the
// dashboard; an answer is the JSON that the browser makes of options.
type Passkeys interface {
	// NewPasskey answers with options; CodeConflict says why there can be no passkey.
	NewPasskey(ctx context.Context, s *cybervault.Session, origin string) (options []byte, err error)
	// AddPasskey answers as AddAuthenticator does.
	AddPasskey(ctx context.Context, s *cybervault.Session, origin, name string, answer []byte) ([]string, error)
	RemovePasskey(ctx context.Context, s *cybervault.Session, from cybervault.Caller, id cybervault.PasskeyID, password string) error
	// AskSecondFactor says what a log-in that is due may be finished with.
	AskSecondFactor(ctx context.Context, cookie, origin string) (cybervault.SecondFactor, error)
	// GivePasskey is GiveCode with a passkey.
	GivePasskey(ctx context.Context, from cybervault.Caller, cookie, origin string, answer []byte) (newCookie string, err error)
}

// Members is the part that manages the people of a workspace.
type Members interface {
	Members(ctx context.Context, ws cybervault.WorkspaceID) ([]*cybervault.Member, error)
	Invitations(ctx context.Context, ws cybervault.WorkspaceID) ([]*cybervault.Invitation, error)
	// Invite answers with the token of the link to hand over.
	Invite(ctx context.Context, s *cybervault.Session, email string, role cybervault.Role) (*cybervault.Invitation, string, error)
	Withdraw(ctx context.Context, s *cybervault.Session, id cybervault.InvitationID) error
	// SetRole removes a member where the role is empty.
	SetRole(ctx context.Context, s *cybervault.Session, user cybervault.UserID, role cybervault.Role) error
	LetChoosePassword(ctx context.Context, s *cybervault.Session, user cybervault.UserID) (*cybervault.Invitation, string, error)
	CreateWorkspace(ctx context.Context, s *cybervault.Session, name string) (cybervault.WorkspaceID, error)
}

// Changes tells of commits, so that open pages can follow.
type Changes interface {
	// Watch returns a channel of one slot that holds a signal once anything was
	// committed. It is closed when the server stops, which ends the live
	// streams. The caller must call stop.
	Watch() (changed <-chan struct{}, stop func())
}
