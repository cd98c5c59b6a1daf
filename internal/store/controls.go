package store

import (
	"context"
	"encoding/json"

	"github.com/cybervault/cybervault"
)

// Controls returns what people of a workspace told the threat engine; of the known
// revision nothing but that.
func (s *Store) Controls(ctx context.Context, ws cybervault.WorkspaceID, known int64) (*cybervault.Controls, error) {
	page, err := list(ctx, s, "SELECT revision, doc FROM detection_controls WHERE workspace_id = ? LIMIT ?", []any{ws.Key()}, 1,
		func(scan func(...any) error) (*cybervault.Controls, error) {
			c := &cybervault.Controls{}
			var doc string
			if err := scan(&c.Revision, &doc); err != nil || c.Revision == known {
				return c, err
			}
			return c, json.Unmarshal([]byte(doc), c)
		})
	if err != nil || len(page.Rows) == 0 {
		return &cybervault.Controls{}, err
	}
	return page.Rows[0], nil
}

// SaveControls replaces them, if nobody has since the revision that they hold;
// CodeConflict otherwise. The revision goes up by one.
func (s *Store) SaveControls(ctx context.Context, ws cybervault.WorkspaceID, c *cybervault.Controls) error {
	doc, err := json.Marshal(c)
	if err != nil {
		return err
	}
	if err := checkText("exceptions", string(doc)); err != nil {
		return err
	}
	var n int64
	err = s.w.do(ctx, func(tx transaction) (err error) {
		before := &cybervault.Controls{}
		if c.Revision == 0 {
			n, err = execCount(tx, "INSERT INTO detection_controls (workspace_id, revision, doc) VALUES (?, 1, ?) ON CONFLICT DO NOTHING", ws.Key(), string(doc))
		} else {
			var was string
			if err := tx.query("SELECT doc FROM detection_controls WHERE workspace_id = ?", []any{ws.Key()}, func(row []any) { was = asString(row[0]) }); err != nil {
				return err
			}
			if was != "" {
				if err := json.Unmarshal([]byte(was), before); err != nil {
					return err
				}
			}
			n, err = execCount(tx, "UPDATE detection_controls SET revision = revision + 1, doc = ? WHERE workspace_id = ? AND revision = ?", string(doc), ws.Key(), c.Revision)
		}
		if err != nil || n == 0 {
			return err
		}
		return s.actControls(ctx, tx, ws, before, c)
	})
	if err == nil && n == 0 {
		return cybervault.Errorf(cybervault.CodeConflict, "somebody else has changed the rules or exceptions since: look again, and make the change to what is there now")
	}
	return err
}
