package store

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

// The codes of an agent's status in its row.
var agentStatuses = []cybervault.AgentStatus{cybervault.AgentEnrolled, cybervault.AgentOnline, cybervault.AgentOffline} //nolint:gochecknoglobals // a constant, if a list could be one

func agentCode(status cybervault.AgentStatus) int64 {
	return int64(max(0, slices.Index(agentStatuses, status)))
}

func toJSON(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("store: %T cannot be written as JSON: %v", v, err)) // lists and maps of texts always can
	}
	return string(raw)
}

// CreateAgentToken stores a token by which machines enrol. CodeConflict where there are
// too many.
func (s *Store) CreateAgentToken(ctx context.Context, t *cybervault.AgentToken) error {
	for field, text := range map[string]string{"name": t.Name, "by": t.By} {
		if err := checkText(field, text); err != nil {
			return err
		}
	}
	return s.allOrNone(ctx, func(tx transaction) error {
		if err := exec(tx, "DELETE FROM agent_tokens WHERE workspace_id = ? AND expires_at <= ?", t.Workspace.Key(), micros(s.now())); err != nil {
			return err
		}
		var n int64
		if err := tx.query("SELECT COUNT(*) FROM agent_tokens WHERE workspace_id = ?", []any{t.Workspace.Key()}, func(row []any) { n = asInt(row[0]) }); err != nil {
			return err
		}
		if n >= cybervault.MaxAgentTokens {
			return cybervault.Errorf(cybervault.CodeConflict, "there are %d enrolment tokens, and more are not kept: remove some", n)
		}
		if err := exec(tx, `INSERT INTO agent_tokens (id, id_rest, hash, workspace_id, name, labels, pace, missed, uses, made_by, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			t.ID.Key(), t.ID.Rest(), t.Hash[:], t.Workspace.Key(), t.Name, toJSON(labelsOf(t.Labels)), t.Interval.Microseconds(), int64(t.Missed), int64(t.Uses), t.By, micros(t.CreatedAt), micros(t.ExpiresAt)); err != nil {
			return err
		}
		return s.act(ctx, tx, t.Workspace, "agent_token.create", t.ID.String(), nil, map[string]any{"name": t.Name, "uses": t.Uses, "expires_at": t.ExpiresAt.UTC(), "labels": labelsOf(t.Labels)})
	})
}

func labelsOf(labels map[string]string) map[string]string {
	if labels == nil {
		return map[string]string{}
	}
	return labels
}

//nolint:gosec // columns, no credential
const selectAgentTokens = `SELECT t.id, t.id_rest, t.hash, p.id, p.id_rest, t.name, t.labels, t.pace, t.missed, t.uses, t.made_by, t.created_at, t.expires_at
FROM agent_tokens t JOIN workspaces p ON p.id = t.workspace_id WHERE `

func scanAgentToken(scan func(...any) error) (*cybervault.AgentToken, error) {
	t := &cybervault.AgentToken{}
	var key, rest, ws, wsRest, pace, missed, uses, created, expires int64
	var hash []byte
	var labels string
	if err := scan(&key, &rest, &hash, &ws, &wsRest, &t.Name, &labels, &pace, &missed, &uses, &t.By, &created, &expires); err != nil {
		return nil, err
	}
	copy(t.Hash[:], hash)
	t.ID, t.Workspace = cybervault.MakeID[cybervault.AgentTokenID](key, rest), cybervault.MakeID[cybervault.WorkspaceID](ws, wsRest)
	t.Interval, t.Missed, t.Uses = time.Duration(pace)*time.Microsecond, int(missed), int(uses)
	t.CreatedAt, t.ExpiresAt = fromMicros(created), fromMicros(expires)
	return t, json.Unmarshal([]byte(labels), &t.Labels)
}

// AgentTokens lists those of a workspace that have not expired, newest first.
func (s *Store) AgentTokens(ctx context.Context, ws cybervault.WorkspaceID) ([]*cybervault.AgentToken, error) {
	page, err := list(ctx, s, selectAgentTokens+"t.workspace_id = ? AND t.expires_at > ? ORDER BY t.id DESC LIMIT ?", []any{ws.Key(), micros(s.now())}, maxRows, scanAgentToken)
	return page.Rows, err
}

// DeleteAgentToken ends one, or CodeNotFound. Agents that enrolled by it stay.
func (s *Store) DeleteAgentToken(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.AgentTokenID) error {
	return s.allOrNone(ctx, func(tx transaction) error {
		n, err := execCount(tx, "DELETE FROM agent_tokens WHERE id = ? AND id_rest = ? AND workspace_id = ?", id.Key(), id.Rest(), ws.Key())
		if err != nil {
			return err
		}
		if n == 0 {
			return notFound("enrolment token", id.String())
		}
		return s.act(ctx, tx, ws, "agent_token.delete", id.String(), nil, nil)
	})
}

// EnrolAgent uses a token once and stores the agent that comes by it, with the
// workspace, the pace and the labels that the token gives, which it fills in.
// CodeUnauthorized where there is no such token, or it is used up or has expired.
func (s *Store) EnrolAgent(ctx context.Context, token [32]byte, a *cybervault.Agent) error {
	for field, text := range map[string]string{"hostname": a.Hostname, "os": a.OS, "version": a.Version} {
		if err := checkText(field, text); err != nil {
			return err
		}
	}
	return s.allOrNone(ctx, func(tx transaction) error {
		var ws, wsRest, pace, missed int64
		var labels, name string
		err := tx.query(`UPDATE agent_tokens SET uses = uses - 1 WHERE hash = ? AND uses > 0 AND expires_at > ?
RETURNING workspace_id, (SELECT p.id_rest FROM workspaces p WHERE p.id = workspace_id), pace, missed, labels, name`, []any{token[:], micros(s.now())}, func(row []any) {
			ws, wsRest, pace, missed, labels, name = asInt(row[0]), asInt(row[1]), asInt(row[2]), asInt(row[3]), asString(row[4]), asString(row[5])
		})
		if err != nil {
			return err
		}
		if ws == 0 {
			return cybervault.Errorf(cybervault.CodeUnauthorized, "the enrolment token is unknown, used up, or has expired: ask for a new one")
		}
		a.Workspace, a.Interval, a.Missed = cybervault.MakeID[cybervault.WorkspaceID](ws, wsRest), time.Duration(pace)*time.Microsecond, int(missed)
		if err := json.Unmarshal([]byte(labels), &a.Labels); err != nil {
			return err
		}
		var n int64
		if err := tx.query("SELECT COUNT(*) FROM agents WHERE workspace_id = ?", []any{ws}, func(row []any) { n = asInt(row[0]) }); err != nil {
			return err
		}
		if n >= cybervault.MaxAgents {
			return cybervault.Errorf(cybervault.CodeConflict, "the workspace has %d agents, and more are not kept: remove some", n)
		}
		if err := exec(tx, "DELETE FROM agent_tokens WHERE hash = ? AND uses <= 0", token[:]); err != nil {
			return err
		}
		if err := exec(tx, `INSERT INTO agents (id, id_rest, workspace_id, hostname, os, version, addresses, labels, pace, missed, hash, next_hash, keyed_at, status, enrolled_at, last_seen, changed_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, ?, 0, ?, 0, ?)`,
			a.ID.Key(), a.ID.Rest(), ws, a.Hostname, a.OS, a.Version, toJSON(a.Addresses), labels, pace, missed, a.Hash[:], micros(a.KeyedAt), micros(a.EnrolledAt), micros(a.ChangedAt)); err != nil {
			return err
		}
		return s.act(ctx, tx, a.Workspace, "agent.create", a.ID.String(), nil, map[string]any{"hostname": a.Hostname, "token": name})
	})
}

const selectAgents = `SELECT a.id, a.id_rest, p.id, p.id_rest, a.hostname, a.os, a.version, a.addresses, a.labels, a.pace, a.missed, a.hash, a.next_hash, a.keyed_at, a.status, a.enrolled_at, a.last_seen, a.changed_at, a.packages
FROM agents a JOIN workspaces p ON p.id = a.workspace_id WHERE `

func scanAgent(scan func(...any) error) (*cybervault.Agent, error) {
	a := &cybervault.Agent{}
	var key, rest, ws, wsRest, pace, missed, keyed, status, enrolled, seen, changed int64
	var hash, next []byte
	var addresses, labels, packages string
	if err := scan(&key, &rest, &ws, &wsRest, &a.Hostname, &a.OS, &a.Version, &addresses, &labels, &pace, &missed, &hash, &next, &keyed, &status, &enrolled, &seen, &changed, &packages); err != nil {
		return nil, err
	}
	copy(a.Hash[:], hash)
	copy(a.Next[:], next)
	a.ID, a.Workspace = cybervault.MakeID[cybervault.AgentID](key, rest), cybervault.MakeID[cybervault.WorkspaceID](ws, wsRest)
	a.Interval, a.Missed, a.Status = time.Duration(pace)*time.Microsecond, int(missed), agentStatuses[status]
	a.KeyedAt, a.EnrolledAt, a.LastSeen, a.ChangedAt = fromMicros(keyed), fromMicros(enrolled), fromMicros(seen), fromMicros(changed)
	if err := json.Unmarshal([]byte(labels), &a.Labels); err != nil {
		return nil, err
	}
	if packages != "" {
		if err := json.Unmarshal([]byte(packages), &a.Packages); err != nil {
			return nil, err
		}
	}
	return a, json.Unmarshal([]byte(addresses), &a.Addresses)
}

// Agents lists agents, newest first.
func (s *Store) Agents(ctx context.Context, q cybervault.AgentQuery) (cybervault.Page[*cybervault.Agent], error) {
	var c condition
	c.add("a.workspace_id = ?", q.Workspace.Key())
	if q.Status != "" {
		if !slices.Contains(agentStatuses, q.Status) {
			return cybervault.Page[*cybervault.Agent]{}, cybervault.Invalid("status", "%.40q is no status of an agent: online, offline, enrolled", string(q.Status))
		}
		c.add("a.status = ?", agentCode(q.Status))
	}
	if q.Text != "" {
		if err := checkText("q", q.Text); err != nil {
			return cybervault.Page[*cybervault.Agent]{}, err
		}
		c.add(`LOWER(a.hostname || ' ' || a.addresses || ' ' || a.labels) LIKE ? ESCAPE '\'`, "%"+strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`).Replace(strings.ToLower(q.Text))+"%")
	}
	if !q.Before.IsZero() {
		c.add("a.id < ?", q.Before.Key())
	}
	return list(ctx, s, selectAgents+c.String()+" ORDER BY a.id DESC LIMIT ?", c.args, q.Limit, scanAgent)
}

func (s *Store) oneAgent(ctx context.Context, where string, args ...any) (*cybervault.Agent, error) {
	page, err := list(ctx, s, selectAgents+where+" LIMIT ?", args, 1, scanAgent)
	if err != nil {
		return nil, err
	}
	if len(page.Rows) == 0 {
		return nil, cybervault.Errorf(cybervault.CodeNotFound, "there is no such agent")
	}
	return page.Rows[0], nil
}

// Agent returns one, or CodeNotFound.
func (s *Store) Agent(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.AgentID) (*cybervault.Agent, error) {
	return s.oneAgent(ctx, "a.id = ? AND a.id_rest = ? AND a.workspace_id = ?", id.Key(), id.Rest(), ws.Key())
}

// AgentByKey finds one by the SHA-256 of its key, or of the one that is to take its
// place; or CodeNotFound.
func (s *Store) AgentByKey(ctx context.Context, hash [32]byte) (*cybervault.Agent, error) {
	a, err := s.oneAgent(ctx, "a.hash = ?", hash[:])
	if cybervault.ErrorCode(err) != cybervault.CodeNotFound {
		return a, err
	}
	return s.oneAgent(ctx, "a.next_hash = ?", hash[:])
}

// CountAgents counts the agents of a workspace by status.
func (s *Store) CountAgents(ctx context.Context, ws cybervault.WorkspaceID) (cybervault.AgentCounts, error) {
	rows, err := s.db.QueryContext(ctx, s.dialect.rebind("SELECT status, COUNT(*) FROM agents WHERE workspace_id = ? GROUP BY status"), ws.Key())
	if err != nil {
		return nil, readError(err)
	}
	defer func() { _ = rows.Close() }()
	counts := cybervault.AgentCounts{}
	for rows.Next() {
		var status int64
		var n int
		if err := rows.Scan(&status, &n); err != nil {
			return nil, readError(err)
		}
		counts[agentStatuses[status]] = n
	}
	return counts, readError(rows.Err())
}

// JudgeAgents lists the agents, of all workspaces, whose status may have to change at
// now: those that are to be told of for the first time, those that came back, and those
// that have been silent for longer than they may. It also counts the agents that are not
// offline, by workspace.
func (s *Store) JudgeAgents(ctx context.Context, now time.Time) (due []*cybervault.Agent, watched map[cybervault.WorkspaceID]int, err error) {
	page, err := list(ctx, s, selectAgents+`(a.status = 0 AND a.last_seen > 0 OR a.status = 1 AND a.last_seen + a.pace * a.missed <= ? OR a.status = 2 AND a.last_seen > a.changed_at) ORDER BY a.id LIMIT ?`,
		[]any{micros(now)}, cybervault.MaxAgents, scanAgent)
	if err != nil {
		return nil, nil, err
	}
	rows, err := s.db.QueryContext(ctx, `SELECT p.id, p.id_rest, COUNT(*) FROM agents a JOIN workspaces p ON p.id = a.workspace_id WHERE a.status < 2 GROUP BY p.id, p.id_rest`)
	if err != nil {
		return nil, nil, readError(err)
	}
	defer func() { _ = rows.Close() }()
	watched = map[cybervault.WorkspaceID]int{}
	for rows.Next() {
		var key, rest int64
		var n int
		if err := rows.Scan(&key, &rest, &n); err != nil {
			return nil, nil, readError(err)
		}
		watched[cybervault.MakeID[cybervault.WorkspaceID](key, rest)] = n
	}
	return page.Rows, watched, readError(rows.Err())
}

// SeeAgents notes when agents were last heard of. What is older than what is known is
// left out.
func (s *Store) SeeAgents(ctx context.Context, seen map[cybervault.AgentID]time.Time) error {
	ids := slices.SortedFunc(maps.Keys(seen), func(a, b cybervault.AgentID) int { return int(min(max(a.Key()-b.Key(), -1), 1)) })
	return s.allOrNone(ctx, func(tx transaction) error {
		return tx.each("UPDATE agents SET last_seen = ? WHERE id = ? AND last_seen < ?", len(ids), func(i int, args []any) []any {
			at := micros(seen[ids[i]])
			return append(args, at, ids[i].Key(), at)
		}, nil)
	})
}

// ClampAgents has no agent been heard of after now: a clock was set back.
func (s *Store) ClampAgents(ctx context.Context, now time.Time) error {
	return s.allOrNone(ctx, func(tx transaction) error {
		return exec(tx, "UPDATE agents SET last_seen = ? WHERE last_seen > ?", micros(now), micros(now))
	})
}

// SetAgentStatus changes a status that is what it was taken for, and reports whether it
// was.
func (s *Store) SetAgentStatus(ctx context.Context, id cybervault.AgentID, from, to cybervault.AgentStatus, at time.Time) (changed bool, err error) {
	err = s.allOrNone(ctx, func(tx transaction) error {
		n, err := execCount(tx, "UPDATE agents SET status = ?, changed_at = ? WHERE id = ? AND id_rest = ? AND status = ?", agentCode(to), micros(at), id.Key(), id.Rest(), agentCode(from))
		changed = n > 0
		return err
	})
	return changed, err
}

// SaveHostFacts stores what an agent says of its machine.
func (s *Store) SaveHostFacts(ctx context.Context, id cybervault.AgentID, f *cybervault.HostFacts) error {
	for field, text := range map[string]string{"hostname": f.Hostname, "os": f.OS, "version": f.Version} {
		if err := checkText(field, text); err != nil {
			return err
		}
	}
	return s.allOrNone(ctx, func(tx transaction) error {
		return exec(tx, "UPDATE agents SET hostname = ?, os = ?, version = ?, addresses = ? WHERE id = ? AND id_rest = ?", f.Hostname, f.OS, f.Version, toJSON(f.Addresses), id.Key(), id.Rest())
	})
}

// SavePackageState stores how the packages of an agent's machine stand.
func (s *Store) SavePackageState(ctx context.Context, id cybervault.AgentID, state *cybervault.PackageState) error {
	return s.allOrNone(ctx, func(tx transaction) error {
		return exec(tx, "UPDATE agents SET packages = ? WHERE id = ? AND id_rest = ?", toJSON(state), id.Key(), id.Rest())
	})
}

// OfferAgentKey stores the SHA-256 of a key that takes the place of an agent's own once
// it is used.
func (s *Store) OfferAgentKey(ctx context.Context, id cybervault.AgentID, next [32]byte) error {
	return s.allOrNone(ctx, func(tx transaction) error {
		return exec(tx, "UPDATE agents SET next_hash = ? WHERE id = ? AND id_rest = ?", next[:], id.Key(), id.Rest())
	})
}

// TakeAgentKey puts an offered key in the place of an agent's own, from now on.
func (s *Store) TakeAgentKey(ctx context.Context, id cybervault.AgentID, next [32]byte, at time.Time) error {
	return s.allOrNone(ctx, func(tx transaction) error {
		return exec(tx, "UPDATE agents SET hash = next_hash, next_hash = NULL, keyed_at = ? WHERE id = ? AND id_rest = ? AND next_hash = ?", micros(at), id.Key(), id.Rest(), next[:])
	})
}

// DeleteAgent forgets an agent, and its key with it, or CodeNotFound.
func (s *Store) DeleteAgent(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.AgentID) error {
	return s.allOrNone(ctx, func(tx transaction) error {
		hostname, found := "", false
		if err := tx.query("DELETE FROM agents WHERE id = ? AND id_rest = ? AND workspace_id = ? RETURNING hostname", []any{id.Key(), id.Rest(), ws.Key()}, func(row []any) {
			hostname, found = asString(row[0]), true
		}); err != nil {
			return err
		}
		if !found {
			return notFound("agent", id.String())
		}
		return s.act(ctx, tx, ws, "agent.delete", id.String(), map[string]any{"hostname": hostname}, nil)
	})
}
