package store

import (
	"context"
	"encoding/json"

	"github.com/cybervault/cybervault"
)

// EventTypes returns the event types that workspaces have added, of all
// workspaces, by name.
func (s *Store) EventTypes(ctx context.Context) ([]*cybervault.OwnEventType, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT t.workspace_id, p.id_rest, t.name, t.severity, t.description, t.schema_json, t.example
FROM event_types t JOIN workspaces p ON p.id = t.workspace_id ORDER BY t.workspace_id, t.name`)
	if err != nil {
		return nil, readError(err)
	}
	defer func() { _ = rows.Close() }()
	var out []*cybervault.OwnEventType
	for rows.Next() {
		t := &cybervault.OwnEventType{}
		var key, rest int64
		var schema, example string
		if err := rows.Scan(&key, &rest, &t.Name, &t.Severity, &t.Description, &schema, &example); err != nil {
			return nil, readError(err)
		}
		t.Workspace = cybervault.MakeID[cybervault.WorkspaceID](key, rest)
		t.Schema, t.Example = json.RawMessage(schema), json.RawMessage(example)
		out = append(out, t)
	}
	return out, readError(rows.Err())
}

// SaveEventType inserts an event type of a workspace, or replaces the one of its
// name. CodeInvalid for text that cannot be kept.
func (s *Store) SaveEventType(ctx context.Context, t *cybervault.OwnEventType) error {
	for field, text := range map[string]string{
		"type": t.Name, "description": t.Description, "schema": string(t.Schema), "example": string(t.Example),
	} {
		if err := checkText(field, text); err != nil {
			return err
		}
	}
	return s.w.do(ctx, func(tx transaction) error {
		before, err := eventTypeFields(tx, t.Workspace, t.Name)
		if err != nil {
			return err
		}
		if err := exec(tx, `INSERT INTO event_types (workspace_id, name, severity, description, schema_json, example) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (workspace_id, name) DO UPDATE SET severity = excluded.severity, description = excluded.description,
schema_json = excluded.schema_json, example = excluded.example`,
			t.Workspace.Key(), t.Name, string(t.Severity), t.Description, string(t.Schema), string(t.Example)); err != nil {
			return err
		}
		was, is := differing(before, fields{"severity": string(t.Severity), "description": t.Description, "schema": string(t.Schema), "example": string(t.Example)})
		return s.act(ctx, tx, t.Workspace, "event_type.save", t.Name, was.orNothing(), is.orNothing())
	})
}

// eventTypeFields is an event type as the log of who did what shows it; nil where there
// is none.
func eventTypeFields(tx transaction, ws cybervault.WorkspaceID, name string) (found fields, err error) {
	err = tx.query("SELECT severity, description, schema_json, example FROM event_types WHERE workspace_id = ? AND name = ?", []any{ws.Key(), name}, func(row []any) {
		found = fields{"severity": asString(row[0]), "description": asString(row[1]), "schema": asString(row[2]), "example": asString(row[3])}
	})
	return found, err
}

// DeleteEventType removes an event type of a workspace. CodeNotFound when there
// is none of that name.
func (s *Store) DeleteEventType(ctx context.Context, ws cybervault.WorkspaceID, name string) error {
	var n int64
	err := s.w.do(ctx, func(tx transaction) error {
		before, err := eventTypeFields(tx, ws, name)
		if err != nil {
			return err
		}
		if n, err = execCount(tx, "DELETE FROM event_types WHERE workspace_id = ? AND name = ?", ws.Key(), name); err != nil || n == 0 {
			return err
		}
		return s.act(ctx, tx, ws, "event_type.delete", name, before.orNothing(), nil)
	})
	if err == nil && n == 0 {
		return notFound("event type", name)
	}
	return err
}
