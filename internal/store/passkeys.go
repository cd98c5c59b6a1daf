package store

import (
	"context"

	"github.com/cybervault/cybervault"
)

// AddPasskey stores a passkey. CodeConflict when it is known already, whoever's.
func (s *Store) AddPasskey(ctx context.Context, ws cybervault.WorkspaceID, email string, k *cybervault.Passkey) error {
	if err := checkText("name", k.Name); err != nil {
		return err
	}
	return s.allOrNone(ctx, func(tx transaction) error {
		n, err := execCount(tx, "INSERT INTO passkeys (id, id_rest, user_id, name, credential, data, created_at, used_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
			k.ID.Key(), k.ID.Rest(), k.User.Key(), k.Name, k.Credential, string(k.Data), micros(k.CreatedAt), micros(k.UsedAt))
		if err != nil {
			return err
		}
		if n == 0 {
			return cybervault.Errorf(cybervault.CodeConflict, "this passkey is known already")
		}
		return s.act(ctx, tx, ws, "passkey.create", email, nil, map[string]any{"name": k.Name})
	})
}

const selectPasskeys = `SELECT k.id, k.id_rest, u.id, u.id_rest, k.name, k.credential, k.data, k.created_at, k.used_at FROM passkeys k JOIN users u ON u.id = k.user_id WHERE ` //nolint:gosec // columns, no credential

func scanPasskey(scan func(...any) error) (*cybervault.Passkey, error) {
	k := &cybervault.Passkey{}
	var key, rest, user, userRest, created, used int64
	var data string
	if err := scan(&key, &rest, &user, &userRest, &k.Name, &k.Credential, &data, &created, &used); err != nil {
		return nil, err
	}
	k.ID, k.User = cybervault.MakeID[cybervault.PasskeyID](key, rest), cybervault.MakeID[cybervault.UserID](user, userRest)
	k.Data, k.CreatedAt, k.UsedAt = []byte(data), fromMicros(created), fromMicros(used)
	return k, nil
}

// Passkeys lists the passkeys of a user, oldest first.
func (s *Store) Passkeys(ctx context.Context, user cybervault.UserID) ([]*cybervault.Passkey, error) {
	page, err := list(ctx, s, selectPasskeys+"k.user_id = ? ORDER BY k.id LIMIT ?", []any{user.Key()}, maxRows, scanPasskey)
	return page.Rows, err
}

// UsePasskey stores what a passkey says of itself after it was used.
func (s *Store) UsePasskey(ctx context.Context, k *cybervault.Passkey) error {
	return s.allOrNone(ctx, func(tx transaction) error {
		return exec(tx, "UPDATE passkeys SET data = ?, used_at = ? WHERE id = ? AND id_rest = ?", string(k.Data), micros(k.UsedAt), k.ID.Key(), k.ID.Rest())
	})
}

// DeletePasskey removes a passkey of a user, or CodeNotFound.
func (s *Store) DeletePasskey(ctx context.Context, ws cybervault.WorkspaceID, user cybervault.UserID, id cybervault.PasskeyID) error {
	return s.allOrNone(ctx, func(tx transaction) error {
		var name *string
		if err := tx.query("DELETE FROM passkeys WHERE id = ? AND id_rest = ? AND user_id = ? RETURNING name", []any{id.Key(), id.Rest(), user.Key()}, func(row []any) {
			n := asString(row[0])
			name = &n
		}); err != nil {
			return err
		}
		if name == nil {
			return notFound("passkey", id.String())
		}
		return s.act(ctx, tx, ws, "passkey.delete", id.String(), map[string]any{"name": *name}, nil)
	})
}
