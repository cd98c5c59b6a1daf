package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

const (
	// replayWindow is how many deliveries of all webhooks one look at the log
	// passes, and replayWindows how many looks one step takes before it notes
	// how far it has come.
	replayWindow  = 5000
	replayWindows = 20
)

const replayColumns = `id, id_rest, workspace_id, webhook_id, webhook_rest, criteria, rate, matched, created, skipped, position, status, due_at, finished_at`

func scanReplay(scan func(...any) error, rest func(int64) int64) (*cybervault.Replay, error) {
	r := &cybervault.Replay{}
	var id, idRest, ws, webhook, webhookRest, due, finished int64
	var criteria string
	if err := scan(&id, &idRest, &ws, &webhook, &webhookRest, &criteria, &r.Rate, &r.Matched, &r.Created, &r.Skipped, &r.Position, &r.Status, &due, &finished); err != nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(criteria), &r.Criteria); err != nil {
		return nil, fmt.Errorf("read the criteria of a replay: %w", err)
	}
	r.ID = cybervault.MakeID[cybervault.ReplayID](id, idRest)
	r.Workspace = cybervault.MakeID[cybervault.WorkspaceID](ws, rest(ws))
	r.Webhook = cybervault.MakeID[cybervault.WebhookID](webhook, webhookRest)
	r.DueAt, r.FinishedAt = fromMicros(due), fromMicros(finished)
	return r, nil
}

// SaveReplay stores a new replay.
func (s *Store) SaveReplay(ctx context.Context, r *cybervault.Replay) error {
	criteria, err := json.Marshal(r.Criteria)
	if err != nil {
		return fmt.Errorf("write the criteria of a replay: %w", err)
	}
	return s.w.do(ctx, func(tx transaction) error {
		if err := exec(tx, "INSERT INTO replays ("+replayColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
			r.ID.Key(), r.ID.Rest(), r.Workspace.Key(), r.Webhook.Key(), r.Webhook.Rest(), string(criteria), int64(r.Rate), r.Matched, r.Created, r.Skipped,
			r.Position, string(r.Status), micros(r.DueAt), micros(r.FinishedAt)); err != nil {
			return err
		}
		return s.act(ctx, tx, r.Workspace, "webhook.replay", r.Webhook.String(), nil, fields{"replay": r.ID, "criteria": r.Criteria, "matched": r.Matched})
	})
}

// Replay returns one replay, or CodeNotFound.
func (s *Store) Replay(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.ReplayID) (*cybervault.Replay, error) {
	row := s.db.QueryRowContext(ctx, s.dialect.rebind("SELECT "+replayColumns+" FROM replays WHERE id = ? AND id_rest = ? AND workspace_id = ?"),
		id.Key(), id.Rest(), ws.Key())
	r, err := scanReplay(row.Scan, func(int64) int64 { return ws.Rest() })
	if errors.Is(err, sql.ErrNoRows) {
		return nil, notFound("replay", id.String())
	}
	return r, readError(err)
}

// Replays lists the replays of a workspace, newest first.
func (s *Store) Replays(ctx context.Context, ws cybervault.WorkspaceID, before cybervault.ReplayID, limit int) (cybervault.Page[*cybervault.Replay], error) {
	var c condition
	c.add("workspace_id = ?", ws.Key())
	if !before.IsZero() {
		c.add("id < ?", before.Key())
	}
	return list(ctx, s, "SELECT "+replayColumns+" FROM replays WHERE "+c.String()+" ORDER BY id DESC LIMIT ?", c.args, limit,
		func(scan func(...any) error) (*cybervault.Replay, error) {
			return scanReplay(scan, func(int64) int64 { return ws.Rest() })
		})
}

// RunningReplays returns the replays of all workspaces that have not ended, the
// one that is due first at the front, 200 at most.
func (s *Store) RunningReplays(ctx context.Context) ([]*cybervault.Replay, error) {
	rests := map[int64]int64{}
	rows, err := s.db.QueryContext(ctx, "SELECT id, id_rest FROM workspaces")
	if err != nil {
		return nil, readError(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var key, rest int64
		if err := rows.Scan(&key, &rest); err != nil {
			return nil, readError(err)
		}
		rests[key] = rest
	}
	if err := rows.Err(); err != nil {
		return nil, readError(err)
	}
	page, err := list(ctx, s, "SELECT "+replayColumns+" FROM replays WHERE status = 'running' ORDER BY due_at LIMIT ?", nil, cybervault.MaxPageSize,
		func(scan func(...any) error) (*cybervault.Replay, error) {
			return scanReplay(scan, func(ws int64) int64 { return rests[ws] })
		})
	return page.Rows, err
}

// EndReplay cancels a running replay. CodeNotFound, or CodeConflict when it has
// ended already.
func (s *Store) EndReplay(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.ReplayID) error {
	err := s.w.do(ctx, func(tx transaction) error {
		n, err := execCount(tx, "UPDATE replays SET status = 'cancelled', finished_at = ? WHERE id = ? AND id_rest = ? AND workspace_id = ? AND status = 'running'",
			micros(s.now()), id.Key(), id.Rest(), ws.Key())
		if err == nil && n == 0 {
			return cybervault.Errorf(cybervault.CodeConflict, "the replay has ended already")
		}
		if err != nil {
			return err
		}
		return s.act(ctx, tx, ws, "replay.cancel", id.String(), nil, nil)
	})
	if cybervault.ErrorCode(err) == cybervault.CodeConflict {
		if _, found := s.Replay(ctx, ws, id); found != nil {
			return found
		}
	}
	return err
}

// replayCondition is what a replay chooses, after a row key.
func replayCondition(r *cybervault.Replay, after int64) *condition {
	c := &condition{}
	c.add("d.workspace_id = ? AND d.webhook_id = ? AND d.replay_of = 0 AND d.test = 0", r.Workspace.Key(), r.Webhook.Key())
	c.add("d.id > ? AND d.id < ?", after, cybervault.KeyAt(r.Criteria.Until))
	codes := []string{"2", "3", "4", "5"}
	if len(r.Criteria.Statuses) > 0 {
		codes = codes[:0]
		for _, status := range r.Criteria.Statuses {
			codes = append(codes, fmt.Sprint(statusCode(status)))
		}
	}
	c.add("d.status IN (" + strings.Join(codes, ", ") + ")")
	if len(r.Criteria.Events) > 0 {
		var types condition
		for _, choice := range r.Criteria.Events {
			if choice == "*" {
				return c
			}
			types.addType("e.type", choice)
		}
		c.add("("+strings.Join(types.parts, " OR ")+")", types.args...)
	}
	return c
}

// replayStart is the row key after which the deliveries of a replay begin.
func replayStart(r *cybervault.Replay) int64 {
	return max(r.Position, cybervault.KeyAt(r.Criteria.Since)-1)
}

// MatchReplay counts what a replay would choose now, and lists the oldest
// ReplaySample of it. It reads the log from Since to Until.
func (s *Store) MatchReplay(ctx context.Context, r *cybervault.Replay) (matched int64, sample []*cybervault.Delivery, err error) {
	c := replayCondition(r, replayStart(r))
	err = s.db.QueryRowContext(ctx, s.dialect.rebind("SELECT COUNT(*) FROM deliveries d JOIN events e ON e.id = d.event_id WHERE "+c.String()), c.args...).Scan(&matched)
	if err != nil || matched == 0 {
		return 0, nil, readError(err)
	}
	page, err := list(ctx, s, "SELECT "+deliveryColumns+" FROM "+deliveryTables+c.String()+" ORDER BY d.id LIMIT ?", c.args, cybervault.ReplaySample,
		func(scan func(...any) error) (*cybervault.Delivery, error) { return scanDelivery(r.Workspace, scan) })
	return matched, page.Rows, err
}

// StepReplay makes the next new deliveries of a replay, limit (200 at
// the most) at a time, and commits them together with how far it has come, so that whatever happens none
// is skipped and none is made twice. birth is called for each chosen delivery and
// sets what the store does not know; it may be called again for the same one.
// The next step is not due before due. r is brought up to date.
//
// CodeConflict: the replay has ended, is not due, or another node took the step.
func (s *Store) StepReplay(ctx context.Context, r *cybervault.Replay, limit int, due time.Time, birth func() cybervault.NewDelivery) error {
	keys, position, done, err := s.nextOfReplay(ctx, r, limit)
	if err != nil {
		return err
	}
	var next cybervault.Replay
	err = s.w.do(ctx, func(tx transaction) error {
		next = *r
		next.Position, next.DueAt = position, due
		if done {
			next.Status, next.FinishedAt = cybervault.ReplayDone, s.now()
		}
		// The condition takes the step for this node alone.
		n, err := execCount(tx, "UPDATE replays SET position = ?, status = ?, due_at = ?, finished_at = ? WHERE id = ? AND status = 'running' AND position = ? AND due_at = ?",
			next.Position, string(next.Status), micros(due), micros(next.FinishedAt), r.ID.Key(), r.Position, micros(r.DueAt))
		if err != nil {
			return err
		}
		if n == 0 {
			return cybervault.Errorf(cybervault.CodeConflict, "the replay %s has ended, or another node goes on with it", r.ID)
		}
		fresh, err := s.bearReplays(tx, r, keys, birth)
		if err != nil {
			return err
		}
		next.Created += int64(len(fresh))
		next.Skipped += int64(len(keys) - len(fresh))
		if len(keys) == 0 {
			return nil
		}
		if err := s.insertDeliveries(tx, fresh); err != nil {
			return err
		}
		return exec(tx, "UPDATE replays SET created = ?, skipped = ? WHERE id = ?", next.Created, next.Skipped, r.ID.Key())
	})
	if err == nil {
		*r = next
	}
	return err
}

// bearReplays makes the new deliveries; those whose event has been removed are
// left out.
func (s *Store) bearReplays(tx transaction, r *cybervault.Replay, keys []int64, birth func() cybervault.NewDelivery) ([]newborn, error) {
	var fresh []newborn
	err := tx.eachRow("SELECT d.id, d.id_rest, e.id, e.id_rest, d.severity, e.type FROM deliveries d JOIN events e ON e.id = d.event_id WHERE d.id = ?"+s.dialect.forShare, len(keys),
		func(i int, a []any) []any { return append(a, keys[i]) },
		func(_ int, row []any) {
			d := birth()
			d.Webhook, d.ReplayOf = r.Webhook, cybervault.MakeID[cybervault.DeliveryID](asInt(row[0]), asInt(row[1]))
			d.Severity = severityOf(asInt(row[4]))
			fresh = append(fresh, newborn{later: true, delivery: &d,
				event: &cybervault.Event{ID: cybervault.MakeID[cybervault.EventID](asInt(row[2]), asInt(row[3])), Workspace: r.Workspace, Type: asString(row[5])}})
		})
	return fresh, err
}

// nextOfReplay finds the deliveries of the next step. position is the row key up
// to which the log has been looked at; done says that this was all of it.
func (s *Store) nextOfReplay(ctx context.Context, r *cybervault.Replay, limit int) (keys []int64, position int64, done bool, err error) {
	limit = min(limit, cybervault.MaxPageSize)
	position = replayStart(r)
	for range replayWindows {
		var end sql.NullInt64
		err := s.db.QueryRowContext(ctx, s.dialect.rebind("SELECT MAX(id) FROM (SELECT id FROM deliveries WHERE id > ? AND id < ? ORDER BY id LIMIT ?) w"),
			position, cybervault.KeyAt(r.Criteria.Until), int64(replayWindow)).Scan(&end)
		if err != nil || !end.Valid {
			return keys, position, err == nil, readError(err)
		}
		c := replayCondition(r, position)
		c.add("d.id <= ?", end.Int64)
		page, err := list(ctx, s, "SELECT d.id FROM deliveries d JOIN events e ON e.id = d.event_id WHERE "+c.String()+" ORDER BY d.id LIMIT ?", c.args, limit-len(keys),
			func(scan func(...any) error) (key int64, err error) { return key, scan(&key) })
		if err != nil {
			return nil, 0, false, err
		}
		keys = append(keys, page.Rows...)
		if position = end.Int64; len(keys) == limit {
			position = keys[limit-1]
			return keys, position, false, nil
		}
	}
	return keys, position, false, nil
}
