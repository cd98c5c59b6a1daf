package dashboard

import (
	"context"
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

// Catalogue lists the event types a workspace may publish and choose.
type Catalogue interface {
	List(ws cybervault.WorkspaceID) []cybervault.EventType
}

// Keys manages API keys.
type Keys interface {
	// Keys lists the workspace's API keys, newest first, revoked ones included.
	Keys(ctx context.Context, ws cybervault.WorkspaceID) ([]*cybervault.APIKey, error)
	// CreateKey answers with the key's record and the key itself, which is kept nowhere.
	CreateKey(ctx context.Context, ws cybervault.WorkspaceID, name string, scopes []cybervault.Scope) (*cybervault.APIKey, string, error)
	RevokeKey(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.APIKeyID) error
}

// Sessions says who is logged in. A session is the opaque value of the cookie.
type Sessions interface {
	// DashboardLogin trades the token that the server printed for a session;
	// an error of code unauthorized means that the token is not right.
	DashboardLogin(token string) (session string, err error)
	DashboardSession(session string) bool
	DashboardLogout(session string)
}

// Changes tells of commits, so that open pages can follow.
type Changes interface {
	// Watch returns a channel of one slot that holds a signal once anything was
	// committed. It is closed when the server stops, which ends the live
	// streams. The caller must call stop.
	Watch() (changed <-chan struct{}, stop func())
}
