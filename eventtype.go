package cybervault

// Limits on a workspace's own event types. They bound what the catalogue holds
// in memory, where every schema is compiled.
const (
	MaxEventTypesPerWorkspace = 10_000
	MaxEventTypeBytes         = 64 << 10 // of a schema, and of an example, without white space
	MaxEventTypesBytes        = 4 << 20  // of all schemas and examples of a workspace together
)

// OwnEventType is an event type that a workspace added to the core ones.
type OwnEventType struct {
	Workspace WorkspaceID
	EventType
}
