package catalog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/cybervault/cybervault"
)

// Store keeps the event types that workspaces add.
type Store interface {
	// EventTypes returns all of every workspace.
	EventTypes(ctx context.Context) ([]*cybervault.OwnEventType, error)
	// SaveEventType inserts or replaces one.
	SaveEventType(ctx context.Context, t *cybervault.OwnEventType) error
	// DeleteEventType removes one.
	DeleteEventType(ctx context.Context, ws cybervault.WorkspaceID, name string) error
}

// ownTypes is what workspaces have added. Readers take it as it is; a change
// makes the next one.
type ownTypes struct {
	workspaces map[cybervault.WorkspaceID]map[string]*entry
}

func (o *ownTypes) of(ws cybervault.WorkspaceID) map[string]*entry { return o.workspaces[ws] }

// with returns a copy in which the workspace's types are those given.
func (o *ownTypes) with(ws cybervault.WorkspaceID, types map[string]*entry) *ownTypes {
	next := maps.Clone(o.workspaces)
	if next == nil {
		next = map[cybervault.WorkspaceID]map[string]*entry{}
	}
	next[ws] = types
	return &ownTypes{workspaces: next}
}

// anyObject is the schema of an event type that was given none.
const anyObject = `{"type":"object"}`

// Open is New with the event types that workspaces have added before.
func Open(ctx context.Context, store Store) (*Catalog, error) {
	c, err := New()
	if err != nil {
		return nil, err
	}
	c.store = store
	return c, c.Reload(ctx)
}

// Reload reads the event types of workspaces anew: another node has changed some.
func (c *Catalog) Reload(ctx context.Context) error {
	c.changes.Lock()
	defer c.changes.Unlock()
	stored, err := c.store.EventTypes(ctx)
	if err != nil {
		return err
	}
	own := &ownTypes{workspaces: map[cybervault.WorkspaceID]map[string]*entry{}}
	seen := map[string]*jsonschema.Schema{}
	for _, t := range stored {
		compiled := seen[string(t.Schema)]
		if compiled == nil {
			if compiled, err = compile(t.Schema); err != nil {
				return fmt.Errorf("catalog: the stored event type %s of %s: %w", t.Name, t.Workspace, err)
			}
			seen[string(t.Schema)] = compiled
		}
		if own.workspaces[t.Workspace] == nil {
			own.workspaces[t.Workspace] = map[string]*entry{}
		}
		own.workspaces[t.Workspace][t.Name] = &entry{EventType: t.EventType, schema: compiled, quick: newQuick(compiled, 0)}
	}
	c.own.Store(own)
	return nil
}

// SaveEventType adds an event type to a workspace, or replaces the one of that
// name, and returns it as it is kept. Without a schema it takes any object,
// without an example {} is one. Core is ignored.
//
// Errors: CodeInvalid (a name that is a core type's to use, a schema that is none
// or asks for too much work, an example that it refuses), CodeConflict (the
// workspace has as many as it can), CodeUnavailable (nothing was kept).
func (c *Catalog) SaveEventType(ctx context.Context, ws cybervault.WorkspaceID, t cybervault.EventType) (saved cybervault.EventType, created bool, err error) {
	e, err := c.draft(t)
	if err != nil {
		return saved, false, err
	}
	c.changes.Lock()
	defer c.changes.Unlock()
	own := c.own.Load()
	before, known := own.of(ws)[e.Name]
	if !known && len(own.of(ws)) >= cybervault.MaxEventTypesPerWorkspace {
		return saved, false, cybervault.Errorf(cybervault.CodeConflict, "the workspace has %d event types of its own, the most it can have: delete one first", len(own.of(ws)))
	}
	total := e.size()
	for _, other := range own.of(ws) {
		if other != before {
			total += other.size()
		}
		if bytes.Equal(other.Schema, e.Schema) {
			e.Schema, e.schema = other.Schema, other.schema // types are often made in the same way, and a compiled schema is large
		}
	}
	if total > cybervault.MaxEventTypesBytes {
		return saved, false, cybervault.Errorf(cybervault.CodeConflict, "the schemas and examples of the workspace's event types would be %d bytes long together, more than %d: shorten or delete some", total, cybervault.MaxEventTypesBytes)
	}
	if err := c.store.SaveEventType(ctx, &cybervault.OwnEventType{Workspace: ws, EventType: e.EventType}); err != nil {
		return saved, false, err
	}
	next := maps.Clone(own.of(ws))
	if next == nil {
		next = map[string]*entry{}
	}
	next[e.Name] = e
	c.own.Store(own.with(ws, next))
	return e.EventType, !known, nil
}

// DeleteEventType takes an event type from a workspace. Its events stay in the
// log, and can be replayed; nobody can publish more. CodeNotFound when there is
// none, CodeConflict for a core type.
func (c *Catalog) DeleteEventType(ctx context.Context, ws cybervault.WorkspaceID, name string) error {
	if _, ok := c.types[name]; ok {
		return cybervault.Errorf(cybervault.CodeConflict, "%s is an event type of CyberVault's own and cannot be deleted", quote(name))
	}
	c.changes.Lock()
	defer c.changes.Unlock()
	own := c.own.Load()
	if _, ok := own.of(ws)[name]; !ok {
		return cybervault.Errorf(cybervault.CodeNotFound, "there is no event type %s in this workspace", quote(name))
	}
	if err := c.store.DeleteEventType(ctx, ws, name); err != nil {
		return err
	}
	next := maps.Clone(own.of(ws))
	delete(next, name)
	c.own.Store(own.with(ws, next))
	return nil
}

func (e *entry) size() int { return len(e.Schema) + len(e.Example) }

// draft checks what a workspace wants to add.
func (c *Catalog) draft(t cybervault.EventType) (*entry, error) {
	if err := c.checkOwnName(t.Name); err != nil {
		return nil, err
	}
	if t.Severity.Rank() < 0 {
		return nil, cybervault.Invalid("severity", "%s is not a severity: use info, low, medium, high or critical", quote(string(t.Severity)))
	}
	if len(t.Description) > cybervault.MaxDescriptionBytes {
		return nil, cybervault.Invalid("description", "is %d bytes long, more than %d", len(t.Description), cybervault.MaxDescriptionBytes)
	}
	t.Core = false
	var err error
	if t.Schema, err = ownJSON("schema", t.Schema, anyObject); err != nil {
		return nil, err
	}
	if t.Example, err = ownJSON("example", t.Example, "{}"); err != nil {
		return nil, err
	}
	compiled, err := compile(t.Schema)
	if err != nil {
		return nil, err
	}
	if err := checkWork(compiled); err != nil {
		return nil, err
	}
	e := &entry{EventType: t, schema: compiled, quick: newQuick(compiled, 0)}
	return e, inPlace("example", e.validate(t.Example))
}

// checkOwnName keeps workspaces out of the namespaces that the program uses, so
// that a later version can add core types to them.
func (c *Catalog) checkOwnName(name string) error {
	if err := cybervault.CheckEventTypeName(name); err != nil {
		return inField("type", err)
	}
	space, _, _ := strings.Cut(name, ".")
	for core := range c.types {
		if taken, _, _ := strings.Cut(core, "."); taken == space {
			return cybervault.Invalid("type", "%s is in the namespace %q, which belongs to CyberVault: begin the name with a word of your own, such as %q",
				quote(name), space+".*", "acme."+name)
		}
	}
	return nil
}

// ownJSON checks an object that a workspace gives, and takes out white space.
func ownJSON(field string, raw json.RawMessage, absent string) (json.RawMessage, error) {
	if len(raw) == 0 {
		return json.RawMessage(absent), nil
	}
	if _, err := decode(raw); err != nil {
		return nil, inPlace(field, err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, raw); err != nil {
		return nil, cybervault.Invalid(field, "is not JSON: %v", err)
	}
	if compact.Len() > cybervault.MaxEventTypeBytes {
		return nil, cybervault.Invalid(field, "is %d bytes long, more than %d", compact.Len(), cybervault.MaxEventTypeBytes)
	}
	return compact.Bytes(), nil
}

// inPlace says of an error about data that it is about another field, which is
// read in the same way.
func inPlace(field string, err error) error {
	if known, ok := errors.AsType[*cybervault.Error](err); ok {
		if rest, ok := strings.CutPrefix(known.Field, "data"); ok {
			return &cybervault.Error{Code: known.Code, Field: field + rest, Message: known.Message, Err: known.Err}
		}
	}
	return err
}

func inField(field string, err error) error {
	if known, ok := errors.AsType[*cybervault.Error](err); ok {
		return &cybervault.Error{Code: known.Code, Field: field, Message: known.Message, Err: known.Err}
	}
	return err
}
