package store

import (
	"context"
	"time"

	"github.com/cybervault/cybervault"
)

// CreateSession stores a session, and that its user was here. Sessions of the user
// that began before oldest are removed. One whose second factor is due is no log-in yet.
func (s *Store) CreateSession(ctx context.Context, n *cybervault.Session, oldest time.Time) error {
	for field, text := range map[string]string{"address": n.Address, "agent": n.Agent} {
		if err := checkText(field, text); err != nil {
			return err
		}
	}
	return s.allOrNone(ctx, func(tx transaction) error {
		if err := exec(tx, "DELETE FROM sessions WHERE user_id = ? AND created_at < ?", n.User.Key(), micros(oldest)); err != nil {
			return err
		}
		if err := exec(tx, `INSERT INTO sessions (id, id_rest, hash, user_id, workspace_id, method, due, address, agent, created_at, used_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			n.ID.Key(), n.ID.Rest(), n.Hash[:], n.User.Key(), n.Workspace.Key(), n.Method, boolInt(n.Due), n.Address, n.Agent, micros(n.CreatedAt), micros(n.UsedAt)); err != nil {
			return err
		}
		if n.Due {
			return nil
		}
		return s.loggedIn(ctx, tx, n)
	})
}

func (s *Store) loggedIn(ctx context.Context, tx transaction, n *cybervault.Session) error {
	if err := exec(tx, "UPDATE users SET last_seen = ? WHERE id = ?", micros(n.UsedAt), n.User.Key()); err != nil {
		return err
	}
	return s.act(cybervault.WithActor(ctx, n.Actor()), tx, n.Workspace, "session.create", n.Email, nil, map[string]any{"method": n.Method, "agent": n.Agent})
}

const selectSessions = `SELECT e.id, e.id_rest, e.hash, u.id, u.id_rest, u.email, u.name, p.id, p.id_rest, m.role, e.method, e.due, e.address, e.agent, e.created_at, e.used_at
FROM sessions e JOIN users u ON u.id = e.user_id JOIN members m ON m.user_id = e.user_id AND m.workspace_id = e.workspace_id JOIN workspaces p ON p.id = e.workspace_id WHERE `

func scanSession(scan func(...any) error) (*cybervault.Session, error) {
	n := &cybervault.Session{}
	var key, rest, user, userRest, ws, wsRest, due, created, used int64
	var hash []byte
	if err := scan(&key, &rest, &hash, &user, &userRest, &n.Email, &n.Name, &ws, &wsRest, &n.Role, &n.Method, &due, &n.Address, &n.Agent, &created, &used); err != nil {
		return nil, err
	}
	copy(n.Hash[:], hash)
	n.ID, n.User = cybervault.MakeID[cybervault.SessionID](key, rest), cybervault.MakeID[cybervault.UserID](user, userRest)
	n.Workspace, n.Due = cybervault.MakeID[cybervault.WorkspaceID](ws, wsRest), due != 0
	n.CreatedAt, n.UsedAt = fromMicros(created), fromMicros(used)
	return n, nil
}

// SessionByHash finds a session by the SHA-256 of its cookie, with the role that its
// user has now; CodeNotFound when there is none, or the user is no member any more.
func (s *Store) SessionByHash(ctx context.Context, hash [32]byte) (*cybervault.Session, error) {
	page, err := list(ctx, s, selectSessions+"e.hash = ? LIMIT ?", []any{hash[:]}, 1, scanSession)
	if err != nil {
		return nil, err
	}
	if len(page.Rows) == 0 {
		return nil, cybervault.Errorf(cybervault.CodeNotFound, "there is no such session")
	}
	return page.Rows[0], nil
}

// UserSessions lists the sessions of a user that were used and begun since then, the one last used first.
func (s *Store) UserSessions(ctx context.Context, user cybervault.UserID, usedSince, begunSince time.Time) ([]*cybervault.Session, error) {
	page, err := list(ctx, s, selectSessions+"e.user_id = ? AND e.used_at > ? AND e.created_at > ? AND e.due = 0 ORDER BY e.used_at DESC LIMIT ?", []any{user.Key(), micros(usedSince), micros(begunSince)}, maxRows, scanSession)
	return page.Rows, err
}

// UseSession notes that a session is in use.
func (s *Store) UseSession(ctx context.Context, hash [32]byte, at time.Time) error {
	return s.allOrNone(ctx, func(tx transaction) error {
		return exec(tx, "UPDATE sessions SET used_at = ? WHERE hash = ? AND used_at < ?", micros(at), hash[:], micros(at))
	})
}

// PromoteSession gives a session whose second factor was due a new cookie, and makes
// it a whole one: by then it is the session n. CodeNotFound when it is gone.
func (s *Store) PromoteSession(ctx context.Context, old [32]byte, n *cybervault.Session) error {
	return s.allOrNone(ctx, func(tx transaction) error {
		count, err := execCount(tx, "UPDATE sessions SET hash = ?, due = 0, method = ?, created_at = ?, used_at = ? WHERE hash = ? AND due = 1",
			n.Hash[:], n.Method, micros(n.CreatedAt), micros(n.UsedAt), old[:])
		if err != nil {
			return err
		}
		if count == 0 {
			return cybervault.Errorf(cybervault.CodeNotFound, "there is no such session")
		}
		return s.loggedIn(ctx, tx, n)
	})
}

// MoveSession lets a session go on in another workspace of its user's.
func (s *Store) MoveSession(ctx context.Context, hash [32]byte, ws cybervault.WorkspaceID) error {
	return s.allOrNone(ctx, func(tx transaction) error {
		n, err := execCount(tx, "UPDATE sessions SET workspace_id = ? WHERE hash = ? AND EXISTS (SELECT 1 FROM members m WHERE m.user_id = sessions.user_id AND m.workspace_id = ?)",
			ws.Key(), hash[:], ws.Key())
		if err == nil && n == 0 {
			return notFound("workspace", ws.String())
		}
		return err
	})
}

// EndSession ends one session of a user, by its id, or CodeNotFound.
func (s *Store) EndSession(ctx context.Context, user cybervault.UserID, id cybervault.SessionID) error {
	return s.allOrNone(ctx, func(tx transaction) error {
		ws := int64(0)
		if err := tx.query("DELETE FROM sessions WHERE id = ? AND id_rest = ? AND user_id = ? RETURNING workspace_id", []any{id.Key(), id.Rest(), user.Key()}, func(row []any) { ws = asInt(row[0]) }); err != nil {
			return err
		}
		if ws == 0 {
			return notFound("session", id.String())
		}
		whole, err := workspaceID(tx, ws)
		if err != nil {
			return err
		}
		return s.act(ctx, tx, whole, "session.end", id.String(), nil, nil)
	})
}

// EndSessions ends the sessions of a user, but for the one with that hash.
func (s *Store) EndSessions(ctx context.Context, ws cybervault.WorkspaceID, user cybervault.UserID, but [32]byte) error {
	return s.allOrNone(ctx, func(tx transaction) error {
		n, err := execCount(tx, "DELETE FROM sessions WHERE user_id = ? AND hash <> ?", user.Key(), but[:])
		if err != nil || n == 0 {
			return err
		}
		return s.act(ctx, tx, ws, "session.end_all", user.String(), nil, map[string]any{"ended": n})
	})
}

func workspaceID(tx transaction, key int64) (id cybervault.WorkspaceID, err error) {
	err = tx.query("SELECT id_rest FROM workspaces WHERE id = ?", []any{key}, func(row []any) {
		id = cybervault.MakeID[cybervault.WorkspaceID](key, asInt(row[0]))
	})
	return id, err
}

// RemoveSessions removes what nobody has used since, and second factors that were due
// at dueSince: at most a thousand at a time.
func (s *Store) RemoveSessions(ctx context.Context, since, dueSince time.Time) error {
	return s.allOrNone(ctx, func(tx transaction) error {
		return exec(tx, "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE used_at < ? OR (due = 1 AND created_at < ?) LIMIT 1000)", micros(since), micros(dueSince))
	})
}
