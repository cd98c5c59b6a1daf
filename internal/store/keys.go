package store

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

// CreateAPIKey stores a key. CodeConflict when a key of the same value exists.
func (s *Store) CreateAPIKey(ctx context.Context, k *cybervault.APIKey) error {
	if err := checkText("name", k.Name); err != nil {
		return err
	}
	words := make([]string, len(k.Scopes))
	for i, scope := range k.Scopes {
		words[i] = string(scope)
	}
	var stored int64
	err := s.w.do(ctx, func(tx transaction) (err error) {
		stored, err = execCount(tx, `INSERT INTO api_keys (id, id_rest, workspace_id, name, hint, hash, scopes, created_at, revoked_at, expires_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
			k.ID.Key(), k.ID.Rest(), k.Workspace.Key(), k.Name, k.Hint, k.Hash[:], strings.Join(words, " "), micros(k.CreatedAt), micros(k.RevokedAt), micros(k.ExpiresAt))
		if err != nil || stored == 0 {
			return err
		}
		after := fields{"name": k.Name, "hint": k.Hint, "scopes": words}
		if !k.ExpiresAt.IsZero() {
			after["expires_at"] = k.ExpiresAt.UTC()
		}
		return s.act(ctx, tx, k.Workspace, "key.create", k.ID.String(), nil, after)
	})
	if err == nil && stored == 0 {
		return cybervault.Errorf(cybervault.CodeConflict, "an API key of this value exists already")
	}
	return err
}

// RevokeAPIKey ends a key. CodeNotFound when there is none; revoking twice
// keeps the first time.
func (s *Store) RevokeAPIKey(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.APIKeyID, at time.Time) error {
	var n int64
	err := s.w.do(ctx, func(tx transaction) (err error) {
		n, err = execCount(tx, `UPDATE api_keys SET revoked_at = CASE WHEN revoked_at = 0 THEN ? ELSE revoked_at END
WHERE id = ? AND id_rest = ? AND workspace_id = ?`, micros(at), id.Key(), id.Rest(), ws.Key())
		if err != nil || n == 0 {
			return err
		}
		return s.act(ctx, tx, ws, "key.revoke", id.String(), nil, nil)
	})
	if err == nil && n == 0 {
		return notFound("API key", id.String())
	}
	return err
}

const selectKeys = `SELECT k.id, k.id_rest, k.workspace_id, p.id_rest, k.name, k.hint, k.hash, k.scopes, k.created_at, k.revoked_at, k.expires_at, k.used_at
FROM api_keys k JOIN workspaces p ON p.id = k.workspace_id WHERE `

func scanKey(scan func(...any) error) (*cybervault.APIKey, error) {
	var key, rest, wsKey, wsRest, created, revoked, expires, used int64
	var hash []byte
	var scopes string
	k := &cybervault.APIKey{}
	if err := scan(&key, &rest, &wsKey, &wsRest, &k.Name, &k.Hint, &hash, &scopes, &created, &revoked, &expires, &used); err != nil {
		return nil, err
	}
	k.ID = cybervault.MakeID[cybervault.APIKeyID](key, rest)
	k.Workspace = cybervault.MakeID[cybervault.WorkspaceID](wsKey, wsRest)
	copy(k.Hash[:], hash)
	for scope := range strings.FieldsSeq(scopes) {
		k.Scopes = append(k.Scopes, cybervault.Scope(scope))
	}
	k.CreatedAt, k.RevokedAt, k.ExpiresAt, k.UsedAt = fromMicros(created), fromMicros(revoked), fromMicros(expires), fromMicros(used)
	return k, nil
}

// APIKeys lists the keys of a workspace, newest first, revoked ones included.
func (s *Store) APIKeys(ctx context.Context, ws cybervault.WorkspaceID) ([]*cybervault.APIKey, error) {
	return s.listKeys(ctx, "k.workspace_id = ?", ws.Key())
}

// ExpiringAPIKeys lists the keys of all workspaces that are good and end within a span.
func (s *Store) ExpiringAPIKeys(ctx context.Context, after, before time.Time) ([]*cybervault.APIKey, error) {
	return s.listKeys(ctx, "k.revoked_at = 0 AND k.expires_at > ? AND k.expires_at < ?", micros(after), micros(before))
}

func (s *Store) listKeys(ctx context.Context, where string, args ...any) ([]*cybervault.APIKey, error) {
	rows, err := s.db.QueryContext(ctx, s.dialect.rebind(selectKeys+where+" ORDER BY k.id DESC"), args...)
	if err != nil {
		return nil, readError(err)
	}
	defer func() { _ = rows.Close() }()
	keys := []*cybervault.APIKey{}
	for rows.Next() {
		k, err := scanKey(rows.Scan)
		if err != nil {
			return nil, readError(err)
		}
		keys = append(keys, k)
	}
	return keys, readError(rows.Err())
}

// APIKeyByHash finds a key by the SHA-256 of its value, or CodeNotFound.
func (s *Store) APIKeyByHash(ctx context.Context, hash [32]byte) (*cybervault.APIKey, error) {
	k, err := scanKey(s.db.QueryRowContext(ctx, s.dialect.rebind(selectKeys+"k.hash = ?"), hash[:]).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, cybervault.Errorf(cybervault.CodeNotFound, "there is no such API key")
	}
	return k, readError(err)
}

// UseAPIKey notes that a key was used. It is called seldom: who looks wants to know
// the day.
func (s *Store) UseAPIKey(ctx context.Context, id cybervault.APIKeyID, at time.Time) error {
	return s.w.do(ctx, func(tx transaction) error {
		return exec(tx, "UPDATE api_keys SET used_at = ? WHERE id = ? AND id_rest = ? AND used_at < ?", micros(at), id.Key(), id.Rest(), micros(at))
	})
}
