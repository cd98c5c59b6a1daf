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
		return exec(tx, `INSERT INTO event_types (workspace_id, name, severity, description, schema_json, example) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (workspace_id, name) DO UPDATE SET severity = excluded.severity, description = excluded.description,
schema_json = excluded.schema_json, example = excluded.example`,
			t.Workspace.Key(), t.Name, string(t.Severity), t.Description, string(t.Schema), string(t.Example))
	})
}

// DeleteEventType removes an event type of a workspace. CodeNotFound when there
// is none of that name.
func (s *Store) DeleteEventType(ctx context.Context, ws cybervault.WorkspaceID, name string) error {
	var n int64
	err := s.w.do(ctx, func(tx transaction) (err error) {
		n, err = execCount(tx, "DELETE FROM event_types WHERE workspace_id = ? AND name = ?", ws.Key(), name)
		return err
	})
	if err == nil && n == 0 {
		return notFound("event type", name)
	}
	return err
}
