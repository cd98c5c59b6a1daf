package cybervault

import "slices"

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

// FreeToDelete is an error of CodeConflict while one of the webhooks names the event
// type among its choices: it would wait for events that nobody can publish any more,
// and say nothing. One that covers it by "*" or a namespace is not in the way.
func FreeToDelete(hooks []*Webhook, name string) error {
	for _, hook := range hooks {
		if slices.Contains(hook.Events, name) {
			return Errorf(CodeConflict, "%s chose this event type: change its events, or delete it, first", hook.ID)
		}
	}
	return nil
}
