package store

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

// act adds a line to the log of who did what, in the transaction that does it: there
// is no change without its line, and no line without its change. The actor is the
// context's. before and after are marshalled; nil is nothing. They must hold no secret.
func (s *Store) act(ctx context.Context, tx transaction, ws cybervault.WorkspaceID, action, target string, before, after any) error {
	a := cybervault.Action{Workspace: ws, At: s.now().UTC().Truncate(time.Microsecond), Actor: cybervault.ActorOf(ctx), Action: action, Target: target}
	for text, field := range map[*string]string{&a.Actor.Name: "name", &a.Actor.Address: "address", &a.Target: "target"} {
		if checkText(field, *text) != nil {
			*text = strings.ToValidUTF8(strings.ReplaceAll(*text, "\x00", ""), "\uFFFD")
		}
	}
	var err error
	if a.Before, err = actionJSON(before); err != nil {
		return err
	}
	if a.After, err = actionJSON(after); err != nil {
		return err
	}
	// The row of the chain's end is locked until the commit: lines stand in the order
	// of their commits, on several nodes too.
	if err := tx.query("UPDATE action_head SET number = number + 1 WHERE one = 1 RETURNING number, hash", nil, func(row []any) {
		a.Number = asInt(row[0])
		copy(a.Previous[:], asBytes(row[1]))
	}); err != nil {
		return err
	}
	a.Hash = a.Digest()
	if err := exec(tx, "UPDATE action_head SET hash = ? WHERE one = 1", a.Hash[:]); err != nil {
		return err
	}
	return exec(tx, `INSERT INTO actions (number, workspace_id, at, actor_kind, actor_id, actor_name, address, action, target, before_json, after_json, previous, hash)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		a.Number, ws.Key(), micros(a.At), string(a.Actor.Kind), a.Actor.ID, a.Actor.Name, a.Actor.Address, a.Action, a.Target,
		orNone(a.Before), orNone(a.After), a.Previous[:], a.Hash[:])
}

func orNone(doc json.RawMessage) any {
	if doc == nil {
		return nil
	}
	return string(doc)
}

func actionJSON(v any) (json.RawMessage, error) {
	if v == nil {
		return nil, nil
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("write down what was changed: %w", err)
	}
	if checkText("after", string(raw)) != nil {
		raw = []byte(strings.ReplaceAll(string(raw), `\u0000`, `\ufffd`))
	}
	return raw, nil
}

// Act adds a line to the log of who did what that goes with no change of the store,
// such as a log-in that failed.
func (s *Store) Act(ctx context.Context, ws cybervault.WorkspaceID, action, target string, after any) error {
	return s.w.do(ctx, func(tx transaction) error { return s.act(ctx, tx, ws, action, target, nil, after) })
}

const selectActions = `SELECT a.number, a.workspace_id, p.id_rest, a.at, a.actor_kind, a.actor_id, a.actor_name, a.address, a.action, a.target,
COALESCE(a.before_json, ''), COALESCE(a.after_json, ''), a.previous, a.hash FROM actions a JOIN workspaces p ON p.id = a.workspace_id WHERE `

// Actions lists the actions of a workspace, newest first.
func (s *Store) Actions(ctx context.Context, q cybervault.ActionQuery) (cybervault.Page[*cybervault.Action], error) {
	var c condition
	c.add("a.workspace_id = ?", q.Workspace.Key())
	if q.Before > 0 {
		c.add("a.number < ?", q.Before)
	}
	if !q.Since.IsZero() {
		c.add("a.at >= ?", micros(q.Since))
	}
	if !q.Until.IsZero() {
		c.add("a.at < ?", micros(q.Until))
	}
	if q.Action != "" {
		c.add("(a.action = ? OR a.action LIKE ? ESCAPE '!')", q.Action, strings.TrimPrefix(textPattern(q.Action+"."), "%"))
	}
	if q.Target != "" {
		c.add("a.target = ?", q.Target)
	}
	if q.Actor != "" {
		c.add("(a.actor_id = ? OR LOWER(a.actor_name) LIKE ? ESCAPE '!')", q.Actor, textPattern(strings.ToLower(q.Actor)))
	}
	return list(ctx, s, selectActions+c.String()+" ORDER BY a.number DESC LIMIT ?", c.args, q.Limit, scanAction)
}

// ActionsAfter lists actions of all workspaces, oldest first, beginning after a number:
// what a check of the chain reads.
func (s *Store) ActionsAfter(ctx context.Context, number int64, limit int) ([]*cybervault.Action, error) {
	page, err := list(ctx, s, selectActions+"a.number > ? ORDER BY a.number LIMIT ?", []any{number}, limit, scanAction)
	return page.Rows, err
}

func scanAction(scan func(...any) error) (*cybervault.Action, error) {
	a := &cybervault.Action{}
	var ws, wsRest, at int64
	var kind, before, after string
	var previous, hash []byte
	if err := scan(&a.Number, &ws, &wsRest, &at, &kind, &a.Actor.ID, &a.Actor.Name, &a.Actor.Address, &a.Action, &a.Target, &before, &after, &previous, &hash); err != nil {
		return nil, err
	}
	a.Workspace, a.At, a.Actor.Kind = cybervault.MakeID[cybervault.WorkspaceID](ws, wsRest), fromMicros(at).UTC(), cybervault.ActorKind(kind)
	if before != "" {
		a.Before = json.RawMessage(before)
	}
	if after != "" {
		a.After = json.RawMessage(after)
	}
	copy(a.Previous[:], previous)
	copy(a.Hash[:], hash)
	return a, nil
}

// undone is a refusal that comes after something was written: unlike a
// *cybervault.Error it makes the writer take that back.
type undone struct{ refusal *cybervault.Error }

func (u *undone) Error() string { return u.refusal.Error() }

// allOrNone is the writer's do for a fn that may refuse after it has written: all
// that it does is done, or none of it.
func (s *Store) allOrNone(ctx context.Context, fn func(transaction) error) error {
	err := s.w.do(ctx, func(tx transaction) error {
		err := fn(tx)
		if refusal, ok := errors.AsType[*cybervault.Error](err); ok {
			return &undone{refusal}
		}
		return err
	})
	if u, ok := errors.AsType[*undone](err); ok {
		return u.refusal
	}
	return err
}

// ActionHead is the end of the log of who did what; its number is 0 where it is empty.
func (s *Store) ActionHead(ctx context.Context) (cybervault.ActionHead, error) {
	var head cybervault.ActionHead
	var hash []byte
	err := s.db.QueryRowContext(ctx, "SELECT number, hash FROM action_head WHERE one = 1").Scan(&head.Number, &hash)
	head.Hash = hex.EncodeToString(hash)
	return head, readError(err)
}
