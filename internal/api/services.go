package api

import (
	"context"
	"io"
	"time"

	"github.com/cybervault/cybervault"
)

// Publisher stores events with their deliveries.
type Publisher interface {
	// Publish answers once event and deliveries are on disk. Errors: CodeInvalid
	// (unknown type, data that breaks its schema), CodeConflict (the key was used
	// with other content), CodeTooLarge, CodeUnavailable (nothing was kept).
	Publish(ctx context.Context, ws cybervault.WorkspaceID, req cybervault.PublishRequest) (cybervault.PublishReceipt, error)
	// PublishBatch answers each request in its place, with the errors of Publish.
	PublishBatch(ctx context.Context, ws cybervault.WorkspaceID, reqs []cybervault.PublishRequest) []cybervault.PublishOutcome
}

// Webhooks keeps the webhooks of a workspace. An id that the workspace does not
// have is an error of CodeNotFound.
type Webhooks interface {
	// Webhooks lists all of them, newest first.
	Webhooks(ctx context.Context, ws cybervault.WorkspaceID) ([]*cybervault.Webhook, error)
	Webhook(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.WebhookID) (*cybervault.Webhook, error)
	CreateWebhook(ctx context.Context, ws cybervault.WorkspaceID, change cybervault.WebhookChange) (*cybervault.Webhook, error)
	UpdateWebhook(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.WebhookID, change cybervault.WebhookChange) (*cybervault.Webhook, error)
	DeleteWebhook(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.WebhookID) error
	// RotateSecret makes a new secret; the old one lives on for overlap.
	RotateSecret(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.WebhookID, overlap time.Duration) (*cybervault.Webhook, error)
	// VerifyWebhook sends the test payload and waits for the answer.
	VerifyWebhook(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.WebhookID) (*cybervault.Attempt, error)
	// TestWebhook queues a delivery of the event type's example.
	TestWebhook(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.WebhookID, eventType string) (*cybervault.Delivery, error)
}

// Previewer tries settings on what was stored.
type Previewer interface {
	// PreviewFilter says what a filter would have done with the newest events of
	// the chosen types (none: of all) since a moment. CodeInvalid for a filter or
	// a choice that a webhook could not have.
	PreviewFilter(ctx context.Context, ws cybervault.WorkspaceID, filter string, choices []string, since time.Time) (*cybervault.FilterPreview, error)
}

// Log reads what was stored. An id that the workspace does not have is an error
// of CodeNotFound.
type Log interface {
	Events(ctx context.Context, q cybervault.EventQuery) (cybervault.Page[*cybervault.Event], error)
	Event(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.EventID) (*cybervault.Event, error)
	Deliveries(ctx context.Context, q cybervault.DeliveryQuery) (cybervault.Page[*cybervault.Delivery], error)
	Delivery(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.DeliveryID) (*cybervault.Delivery, error)
	// Attempts lists the attempts of a delivery, oldest first.
	Attempts(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.DeliveryID) ([]*cybervault.Attempt, error)
	// Sequence tells which deliveries have the sequence numbers first to last of a
	// webhook; last of 0 means the last one given out.
	Sequence(ctx context.Context, ws cybervault.WorkspaceID, webhook cybervault.WebhookID, first, last int64) (cybervault.SequencePage, error)
}

// Replayer starts and stops single deliveries.
type Replayer interface {
	// ReplayDelivery makes a new delivery of the same event to the same webhook.
	// CodeConflict where that cannot be, such as for a deleted webhook.
	ReplayDelivery(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.DeliveryID) (*cybervault.Delivery, error)
	// CancelDelivery ends a delivery that has not ended; CodeConflict if it has.
	CancelDelivery(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.DeliveryID) (*cybervault.Delivery, error)
}

// Catalogue knows the event types of a workspace.
type Catalogue interface {
	// List gives all of them in the order to show; the zero workspace has the
	// core types only.
	List(ws cybervault.WorkspaceID) []cybervault.EventType
	Lookup(ws cybervault.WorkspaceID, name string) (cybervault.EventType, bool)
	// SaveEventType adds an event type of the workspace's own, or replaces it.
	SaveEventType(ctx context.Context, ws cybervault.WorkspaceID, t cybervault.EventType) (saved cybervault.EventType, created bool, err error)
	// DeleteEventType removes one. CodeConflict for a core type.
	DeleteEventType(ctx context.Context, ws cybervault.WorkspaceID, name string) error
}

// Telemetry gives raw records to the threat engine.
type Telemetry interface {
	// Ingest reads body to its end, gzip or not, and answers once the events it
	// led to are on disk. CodeInvalid for a format that is not known; "" has each
	// record recognised. An error of reading body is returned wrapped.
	Ingest(ctx context.Context, ws cybervault.WorkspaceID, source, format string, body io.Reader) (cybervault.TelemetryReceipt, error)
	// IngestOTLP does the same with an ExportLogsServiceRequest, in protobuf or as
	// JSON. CodeInvalid where it cannot be decoded.
	IngestOTLP(ctx context.Context, ws cybervault.WorkspaceID, message []byte, asJSON bool) (cybervault.TelemetryReceipt, error)
}

// Audit is the tamper-evident log. CodeConflict where what is stored is not what
// was signed.
type Audit interface {
	// PublicKey is the key to check checkpoints with.
	PublicKey() string
	// Checkpoint is the newest signed one.
	Checkpoint(ctx context.Context) (string, error)
	// Tile is the first hashes of a tile, all 256 where width is 0; CodeNotFound.
	Tile(ctx context.Context, level int, index int64, width int) ([]byte, error)
	// Entries makes up to 256 entries from the rows as they are now; CodeNotFound.
	Entries(ctx context.Context, tile int64) ([]cybervault.AuditRow, error)
	// Prove proves how a delivery ended and, unless from is 0, that the log extends
	// the one of so many entries. CodeNotFound; CodeConflict where it has not ended;
	// CodeUnavailable where it is not in the log yet.
	Prove(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.DeliveryID, from int64) (*cybervault.AuditProof, error)
}

// Keys knows the API keys.
type Keys interface {
	// Authenticate finds the key that a request presented; CodeUnauthorized if
	// it is unknown, was revoked or has expired.
	Authenticate(ctx context.Context, bearer string) (*cybervault.APIKey, error)
	// CreateKey makes a key and returns its clear form, shown this once. It is refused
	// from expires on; zero is never.
	CreateKey(ctx context.Context, ws cybervault.WorkspaceID, name string, scopes []cybervault.Scope, expires time.Time) (key *cybervault.APIKey, plain string, err error)
	// Keys lists the keys of a workspace, newest first.
	Keys(ctx context.Context, ws cybervault.WorkspaceID) ([]*cybervault.APIKey, error)
	// Revoke ends a key; CodeNotFound if the workspace has none of that id.
	Revoke(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.APIKeyID) error
}

// Health says whether the server can do its work now.
type Health interface {
	Ready(ctx context.Context) error
}
