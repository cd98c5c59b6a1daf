package store

import (
	"context"
	"time"

	"github.com/cybervault/cybervault"
)

// CreateInvitation stores one. An earlier one of the same workspace to the same email
// address ends.
func (s *Store) CreateInvitation(ctx context.Context, v *cybervault.Invitation) error {
	for field, text := range map[string]string{"email": v.Email, "by": v.By} {
		if err := checkText(field, text); err != nil {
			return err
		}
	}
	action := "invitation.create"
	if v.Reset {
		action = "member.let_choose_password"
	}
	return s.allOrNone(ctx, func(tx transaction) error {
		if err := exec(tx, "DELETE FROM invitations WHERE workspace_id = ? AND email = ?", v.Workspace.Key(), v.Email); err != nil {
			return err
		}
		if err := exec(tx, `INSERT INTO invitations (id, id_rest, hash, workspace_id, email, role, reset, made_by, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			v.ID.Key(), v.ID.Rest(), v.Hash[:], v.Workspace.Key(), v.Email, string(v.Role), boolInt(v.Reset), v.By, micros(v.CreatedAt), micros(v.ExpiresAt)); err != nil {
			return err
		}
		return s.act(ctx, tx, v.Workspace, action, v.Email, nil, map[string]any{"role": v.Role, "expires_at": v.ExpiresAt.UTC()})
	})
}

const selectInvitations = `SELECT v.id, v.id_rest, v.hash, p.id, p.id_rest, v.email, v.role, v.reset, v.made_by, v.created_at, v.expires_at
FROM invitations v JOIN workspaces p ON p.id = v.workspace_id WHERE `

func scanInvitation(scan func(...any) error) (*cybervault.Invitation, error) {
	v := &cybervault.Invitation{}
	var key, rest, ws, wsRest, reset, created, expires int64
	var hash []byte
	if err := scan(&key, &rest, &hash, &ws, &wsRest, &v.Email, &v.Role, &reset, &v.By, &created, &expires); err != nil {
		return nil, err
	}
	copy(v.Hash[:], hash)
	v.ID, v.Workspace = cybervault.MakeID[cybervault.InvitationID](key, rest), cybervault.MakeID[cybervault.WorkspaceID](ws, wsRest)
	v.Reset, v.CreatedAt, v.ExpiresAt = reset != 0, fromMicros(created), fromMicros(expires)
	return v, nil
}

// Invitations lists those of a workspace that have not expired, newest first.
func (s *Store) Invitations(ctx context.Context, ws cybervault.WorkspaceID) ([]*cybervault.Invitation, error) {
	page, err := list(ctx, s, selectInvitations+"v.workspace_id = ? AND v.expires_at > ? ORDER BY v.id DESC LIMIT ?", []any{ws.Key(), micros(s.now())}, maxRows, scanInvitation)
	return page.Rows, err
}

// InvitationByHash finds one that has not expired by the SHA-256 of its token, or CodeNotFound.
func (s *Store) InvitationByHash(ctx context.Context, hash [32]byte) (*cybervault.Invitation, error) {
	page, err := list(ctx, s, selectInvitations+"v.hash = ? AND v.expires_at > ? LIMIT ?", []any{hash[:], micros(s.now())}, 1, scanInvitation)
	if err != nil {
		return nil, err
	}
	if len(page.Rows) == 0 {
		return nil, cybervault.Errorf(cybervault.CodeNotFound, "the invitation was used, withdrawn, or has expired: ask for a new one")
	}
	return page.Rows[0], nil
}

// DeleteInvitation withdraws one, or CodeNotFound.
func (s *Store) DeleteInvitation(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.InvitationID) error {
	return s.allOrNone(ctx, func(tx transaction) error {
		var email string
		if err := tx.query("DELETE FROM invitations WHERE id = ? AND id_rest = ? AND workspace_id = ? RETURNING email", []any{id.Key(), id.Rest(), ws.Key()}, func(row []any) {
			email = asString(row[0])
		}); err != nil {
			return err
		}
		if email == "" {
			return notFound("invitation", id.String())
		}
		return s.act(ctx, tx, ws, "invitation.withdraw", email, nil, nil)
	})
}

// AcceptInvitation uses an invitation up: u joins, or has a new password, and all
// earlier sessions of theirs end. isNew inserts the user. CodeNotFound when somebody
// else was first, or it has expired.
func (s *Store) AcceptInvitation(ctx context.Context, v *cybervault.Invitation, u *cybervault.User, isNew bool, at time.Time) error {
	sealed, err := s.sealUser(u)
	if err != nil {
		return err
	}
	return s.allOrNone(ctx, func(tx transaction) error {
		n, err := execCount(tx, "DELETE FROM invitations WHERE hash = ? AND expires_at > ?", v.Hash[:], micros(at))
		if err != nil {
			return err
		}
		if n == 0 {
			return cybervault.Errorf(cybervault.CodeNotFound, "the invitation was used, withdrawn, or has expired: ask for a new one")
		}
		if isNew {
			err = insertUser(tx, u, sealed)
		} else {
			err = exec(tx, "UPDATE users SET name = ?, sealed = ? WHERE id = ? AND id_rest = ?", u.Name, sealed, u.ID.Key(), u.ID.Rest())
		}
		if err != nil {
			return err
		}
		if err := exec(tx, "DELETE FROM sessions WHERE user_id = ?", u.ID.Key()); err != nil {
			return err
		}
		if v.Reset {
			return s.act(ctx, tx, v.Workspace, "user.choose_password", u.Email, nil, nil)
		}
		if err := insertMember(tx, v.Workspace, u.ID, v.Role, at); err != nil {
			return err
		}
		return s.act(ctx, tx, v.Workspace, "member.create", u.Email, nil, map[string]any{"role": v.Role, "invited_by": v.By})
	})
}
