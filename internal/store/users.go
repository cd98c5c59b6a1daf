package store

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

// sealedUser is what of a user is readable with the installation's key only.
type sealedUser struct {
	Password string   `json:"password,omitempty"`
	TOTP     string   `json:"totp,omitempty"`
	Recovery []string `json:"recovery,omitempty"`
}

const selectUsers = "SELECT u.id, u.id_rest, u.email, u.name, u.subject, u.created_at, u.last_seen, u.totp_step, u.sealed FROM users u WHERE "

// user is one row of selectUsers, whatever else is scanned beside it.
type userRow struct {
	key, rest, created, seen, step int64
	email, name, subject           string
	sealed                         []byte
}

func (r *userRow) targets() []any {
	return []any{&r.key, &r.rest, &r.email, &r.name, &r.subject, &r.created, &r.seen, &r.step, &r.sealed}
}

func (s *Store) userOf(r *userRow) (*cybervault.User, error) {
	u := &cybervault.User{
		ID: cybervault.MakeID[cybervault.UserID](r.key, r.rest), Email: r.email, Name: r.name, Subject: r.subject,
		CreatedAt: fromMicros(r.created), LastSeen: fromMicros(r.seen), TOTPStep: r.step,
	}
	var sealed sealedUser
	if err := s.seal.open(u.ID.String(), r.sealed, &sealed); err != nil {
		return nil, err
	}
	u.Password, u.TOTPSecret, u.Recovery = sealed.Password, sealed.TOTP, sealed.Recovery
	return u, nil
}

func (s *Store) sealUser(u *cybervault.User) ([]byte, error) {
	for field, text := range map[string]string{"email": u.Email, "name": u.Name, "subject": u.Subject} {
		if err := checkText(field, text); err != nil {
			return nil, err
		}
	}
	return s.seal.seal(u.ID.String(), sealedUser{u.Password, u.TOTPSecret, u.Recovery})
}

func (s *Store) oneUser(ctx context.Context, where string, args ...any) (*cybervault.User, error) {
	page, err := list(ctx, s, selectUsers+where+" LIMIT ?", args, 1, func(scan func(...any) error) (*cybervault.User, error) {
		var r userRow
		if err := scan(r.targets()...); err != nil {
			return nil, err
		}
		return s.userOf(&r)
	})
	if err != nil {
		return nil, err
	}
	if len(page.Rows) == 0 {
		return nil, cybervault.Errorf(cybervault.CodeNotFound, "there is no such user")
	}
	return page.Rows[0], nil
}

// User returns a user, or CodeNotFound.
func (s *Store) User(ctx context.Context, id cybervault.UserID) (*cybervault.User, error) {
	return s.oneUser(ctx, "u.id = ? AND u.id_rest = ?", id.Key(), id.Rest())
}

// UserByEmail finds a user by the email address, in lower case, or CodeNotFound.
func (s *Store) UserByEmail(ctx context.Context, email string) (*cybervault.User, error) {
	if checkText("email", email) != nil {
		return nil, cybervault.Errorf(cybervault.CodeNotFound, "there is no such user")
	}
	return s.oneUser(ctx, "u.email = ?", email)
}

// UserBySubject finds a user by issuer and subject of OpenID Connect, or CodeNotFound.
func (s *Store) UserBySubject(ctx context.Context, subject string) (*cybervault.User, error) {
	if subject == "" || checkText("subject", subject) != nil {
		return nil, cybervault.Errorf(cybervault.CodeNotFound, "there is no such user")
	}
	return s.oneUser(ctx, "u.subject = ?", subject)
}

func insertUser(tx transaction, u *cybervault.User, sealed []byte) error {
	n, err := execCount(tx, `INSERT INTO users (id, id_rest, email, name, subject, created_at, last_seen, totp_step, sealed)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		u.ID.Key(), u.ID.Rest(), u.Email, u.Name, u.Subject, micros(u.CreatedAt), micros(u.LastSeen), u.TOTPStep, sealed)
	if err == nil && n == 0 {
		return &cybervault.Error{Code: cybervault.CodeConflict, Field: "email", Message: "a user of this email address exists already: log in with that account"}
	}
	return err
}

// HasOwner reports whether any workspace has an owner: whether the installation was set up.
func (s *Store) HasOwner(ctx context.Context) (bool, error) {
	page, err := list(ctx, s, "SELECT 1 FROM members WHERE role = 'owner' LIMIT ?", nil, 1, func(scan func(...any) error) (one int64, err error) {
		return one, scan(&one)
	})
	return len(page.Rows) > 0, err
}

// CreateOwner adds the first user, as the owner of a workspace. CodeConflict when
// there is an owner already: of two who do it at once, one does.
func (s *Store) CreateOwner(ctx context.Context, u *cybervault.User, ws cybervault.WorkspaceID) error {
	sealed, err := s.sealUser(u)
	if err != nil {
		return err
	}
	return s.allOrNone(ctx, func(tx transaction) error {
		// The chain's end is locked first: of two nodes, the second sees the first's owner.
		if err := s.act(ctx, tx, ws, "member.create", u.Email, nil, map[string]any{"role": cybervault.RoleOwner}); err != nil {
			return err
		}
		taken := false
		if err := tx.query("SELECT 1 FROM members WHERE role = 'owner' LIMIT 1", nil, func([]any) { taken = true }); err != nil {
			return err
		}
		if taken {
			return cybervault.Errorf(cybervault.CodeConflict, "the owner's account exists already: log in with it")
		}
		if err := insertUser(tx, u, sealed); err != nil {
			return err
		}
		return insertMember(tx, ws, u.ID, cybervault.RoleOwner, u.CreatedAt)
	})
}

func insertMember(tx transaction, ws cybervault.WorkspaceID, user cybervault.UserID, role cybervault.Role, at time.Time) error {
	return exec(tx, `INSERT INTO members (workspace_id, user_id, role, joined_at) VALUES (?, ?, ?, ?)
ON CONFLICT (workspace_id, user_id) DO UPDATE SET role = excluded.role`, ws.Key(), user.Key(), string(role), micros(at))
}

// SaveUser replaces what a user may change of themselves: name, password, second
// factor. action says for the log what it is, in which workspace; nothing secret is
// written there. CodeNotFound when there is no such user.
func (s *Store) SaveUser(ctx context.Context, ws cybervault.WorkspaceID, u *cybervault.User, action string) error {
	sealed, err := s.sealUser(u)
	if err != nil {
		return err
	}
	return s.allOrNone(ctx, func(tx transaction) error {
		n, err := execCount(tx, "UPDATE users SET name = ?, subject = ?, totp_step = ?, sealed = ? WHERE id = ? AND id_rest = ?",
			u.Name, u.Subject, u.TOTPStep, sealed, u.ID.Key(), u.ID.Rest())
		if err != nil {
			return err
		}
		if n == 0 {
			return notFound("user", u.ID.String())
		}
		return s.act(ctx, tx, ws, action, u.Email, nil, nil)
	})
}

// TakeStep notes that a code of a time step was given, and reports whether it is newer
// than any that was: a code is taken once, on whatever node.
func (s *Store) TakeStep(ctx context.Context, user cybervault.UserID, step int64) (taken bool, err error) {
	err = s.allOrNone(ctx, func(tx transaction) error {
		n, err := execCount(tx, "UPDATE users SET totp_step = ? WHERE id = ? AND id_rest = ? AND totp_step < ?", step, user.Key(), user.Rest(), step)
		taken = n > 0
		return err
	})
	return taken, err
}

// TakeRecovery uses a recovery code up, and reports whether it was there. hash is its
// SHA-256 in hexadecimal.
func (s *Store) TakeRecovery(ctx context.Context, ws cybervault.WorkspaceID, user cybervault.UserID, hash string) (taken bool, err error) {
	err = s.allOrNone(ctx, func(tx transaction) error {
		taken = false
		var sealed []byte
		var email string
		// An update first: it locks the row.
		if err := tx.query("UPDATE users SET totp_step = totp_step WHERE id = ? AND id_rest = ? RETURNING sealed, email", []any{user.Key(), user.Rest()}, func(row []any) {
			sealed, email = slices.Clone(asBytes(row[0])), asString(row[1])
		}); err != nil || sealed == nil {
			return err
		}
		var open sealedUser
		if err := s.seal.open(user.String(), sealed, &open); err != nil {
			return err
		}
		left := open.Recovery[:0:0]
		for _, code := range open.Recovery {
			if code == hash {
				taken = true
				continue
			}
			left = append(left, code)
		}
		if !taken {
			return nil
		}
		open.Recovery = left
		again, err := s.seal.seal(user.String(), open)
		if err != nil {
			return err
		}
		if err := exec(tx, "UPDATE users SET sealed = ? WHERE id = ?", again, user.Key()); err != nil {
			return err
		}
		return s.act(ctx, tx, ws, "user.use_recovery_code", email, nil, map[string]any{"left": len(left)})
	})
	return taken, err
}

// Memberships lists the workspaces of a user, the first one first.
func (s *Store) Memberships(ctx context.Context, user cybervault.UserID) ([]cybervault.Membership, error) {
	page, err := list(ctx, s, "SELECT p.id, p.id_rest, p.name, m.role FROM members m JOIN workspaces p ON p.id = m.workspace_id WHERE m.user_id = ? ORDER BY p.id LIMIT ?",
		[]any{user.Key()}, maxRows, func(scan func(...any) error) (cybervault.Membership, error) {
			var m cybervault.Membership
			var key, rest int64
			err := scan(&key, &rest, &m.Name, &m.Role)
			m.Workspace = cybervault.MakeID[cybervault.WorkspaceID](key, rest)
			return m, err
		})
	return page.Rows, err
}

// maxRows bounds lists that a page shows whole.
const maxRows = 10_000

// Members lists the members of a workspace, by email address.
func (s *Store) Members(ctx context.Context, ws cybervault.WorkspaceID) ([]*cybervault.Member, error) {
	query := strings.Replace(selectUsers, " FROM users u WHERE ", `, m.role, m.joined_at, (SELECT COUNT(*) FROM passkeys k WHERE k.user_id = u.id)
FROM members m JOIN users u ON u.id = m.user_id WHERE `, 1)
	page, err := list(ctx, s, query+"m.workspace_id = ? ORDER BY u.email LIMIT ?", []any{ws.Key()}, maxRows, func(scan func(...any) error) (*cybervault.Member, error) {
		var r userRow
		var role string
		var joined, passkeys int64
		if err := scan(append(r.targets(), &role, &joined, &passkeys)...); err != nil {
			return nil, err
		}
		u, err := s.userOf(&r)
		if err != nil {
			return nil, err
		}
		return &cybervault.Member{User: *u, Workspace: ws, Role: cybervault.Role(role), JoinedAt: fromMicros(joined), Passkeys: int(passkeys)}, nil
	})
	return page.Rows, err
}

// SetRole changes the role of a member, or removes the member where role is empty.
// CodeNotFound when there is none, CodeConflict for the last owner.
func (s *Store) SetRole(ctx context.Context, ws cybervault.WorkspaceID, user cybervault.UserID, role cybervault.Role) error {
	return s.allOrNone(ctx, func(tx transaction) error {
		var was, email string
		owners := int64(0)
		// Locked by the line of the log first, so that of two owners who step down at
		// once one stays.
		if err := tx.query("UPDATE action_head SET number = number WHERE one = 1 RETURNING number", nil, func([]any) {}); err != nil {
			return err
		}
		if err := tx.query("SELECT m.role, u.email FROM members m JOIN users u ON u.id = m.user_id WHERE m.workspace_id = ? AND m.user_id = ? AND u.id_rest = ?",
			[]any{ws.Key(), user.Key(), user.Rest()}, func(row []any) { was, email = asString(row[0]), asString(row[1]) }); err != nil {
			return err
		}
		if was == "" {
			return notFound("member", user.String())
		}
		if err := tx.query("SELECT COUNT(*) FROM members WHERE workspace_id = ? AND role = 'owner'", []any{ws.Key()}, func(row []any) { owners = asInt(row[0]) }); err != nil {
			return err
		}
		if was == string(cybervault.RoleOwner) && role != cybervault.RoleOwner && owners < 2 {
			return cybervault.Errorf(cybervault.CodeConflict, "a workspace keeps an owner: make somebody else one first")
		}
		if role == "" {
			if err := exec(tx, "DELETE FROM members WHERE workspace_id = ? AND user_id = ?", ws.Key(), user.Key()); err != nil {
				return err
			}
			if err := exec(tx, "DELETE FROM sessions WHERE workspace_id = ? AND user_id = ?", ws.Key(), user.Key()); err != nil {
				return err
			}
			return s.act(ctx, tx, ws, "member.remove", email, map[string]any{"role": was}, nil)
		}
		if err := exec(tx, "UPDATE members SET role = ? WHERE workspace_id = ? AND user_id = ?", string(role), ws.Key(), user.Key()); err != nil {
			return err
		}
		return s.act(ctx, tx, ws, "member.update", email, map[string]any{"role": was}, map[string]any{"role": role})
	})
}

// Enrol makes sure that a user whom a provider of OpenID Connect has vouched for is a
// member of a workspace with a role, and knows them by the subject from now on. u is
// inserted where it is new. The last owner keeps that role.
func (s *Store) Enrol(ctx context.Context, u *cybervault.User, isNew bool, ws cybervault.WorkspaceID, role cybervault.Role) error {
	sealed, err := s.sealUser(u)
	if err != nil {
		return err
	}
	return s.allOrNone(ctx, func(tx transaction) error {
		if isNew {
			if err := insertUser(tx, u, sealed); err != nil {
				return err
			}
		} else if err := exec(tx, "UPDATE users SET subject = ?, name = ? WHERE id = ?", u.Subject, u.Name, u.ID.Key()); err != nil {
			return err
		}
		var was string
		if err := tx.query("SELECT role FROM members WHERE workspace_id = ? AND user_id = ?", []any{ws.Key(), u.ID.Key()}, func(row []any) { was = asString(row[0]) }); err != nil {
			return err
		}
		if was == string(role) {
			return nil
		}
		if was == string(cybervault.RoleOwner) { // the last one stays, whatever the provider says
			owners := int64(0)
			if err := tx.query("UPDATE action_head SET number = number WHERE one = 1 RETURNING number", nil, func([]any) {}); err != nil {
				return err
			}
			if err := tx.query("SELECT COUNT(*) FROM members WHERE workspace_id = ? AND role = 'owner'", []any{ws.Key()}, func(row []any) { owners = asInt(row[0]) }); err != nil {
				return err
			}
			if owners < 2 {
				return nil
			}
		}
		if err := insertMember(tx, ws, u.ID, role, s.now()); err != nil {
			return err
		}
		if was == "" {
			return s.act(ctx, tx, ws, "member.create", u.Email, nil, map[string]any{"role": role, "by": "OpenID Connect"})
		}
		return s.act(ctx, tx, ws, "member.update", u.Email, map[string]any{"role": was}, map[string]any{"role": role, "by": "OpenID Connect"})
	})
}

// CreateWorkspace adds a workspace of a user's, who is its owner.
func (s *Store) CreateWorkspace(ctx context.Context, id cybervault.WorkspaceID, name string, owner cybervault.UserID) error {
	if err := checkText("name", name); err != nil {
		return err
	}
	return s.allOrNone(ctx, func(tx transaction) error {
		if err := exec(tx, "INSERT INTO workspaces (id, id_rest, name, created_at) VALUES (?, ?, ?, ?)", id.Key(), id.Rest(), name, micros(s.now())); err != nil {
			return err
		}
		if err := insertMember(tx, id, owner, cybervault.RoleOwner, s.now()); err != nil {
			return err
		}
		return s.act(ctx, tx, id, "workspace.create", name, nil, nil)
	})
}
