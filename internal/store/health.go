package store

import (
	"context"

	"github.com/cybervault/cybervault"
)

const (
	saveHealth = `INSERT INTO webhook_health (webhook_id, failing_since, failures, breaker, opened_at, probe_at) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (webhook_id) DO UPDATE SET failing_since = excluded.failing_since, failures = excluded.failures,
breaker = excluded.breaker, opened_at = excluded.opened_at, probe_at = excluded.probe_at`
	selectHealth = `SELECT w.id, w.id_rest, h.failing_since, h.failures, h.breaker, h.opened_at, h.probe_at
FROM webhook_health h JOIN webhooks w ON w.id = h.webhook_id WHERE w.deleted_at = 0 ORDER BY w.id`
)

// SaveHealth keeps how a webhook's receiver has been answering, in place of what
// was kept before. Of one that is well nothing is kept.
func (s *Store) SaveHealth(ctx context.Context, h *cybervault.WebhookHealth) error {
	return s.w.do(ctx, func(tx transaction) error {
		if h.Well() {
			return exec(tx, "DELETE FROM webhook_health WHERE webhook_id = ?", h.Webhook.Key())
		}
		return exec(tx, saveHealth, h.Webhook.Key(), micros(h.FailingSince), int64(h.Failures), string(h.Breaker), micros(h.OpenedAt), micros(h.ProbeAt))
	})
}

// Health returns what is kept of the webhooks that are not well, oldest webhook
// first.
func (s *Store) Health(ctx context.Context) ([]cybervault.WebhookHealth, error) {
	rows, err := s.db.QueryContext(ctx, selectHealth)
	if err != nil {
		return nil, readError(err)
	}
	defer func() { _ = rows.Close() }()
	var out []cybervault.WebhookHealth
	for rows.Next() {
		var h cybervault.WebhookHealth
		var key, rest, since, opened, probe int64
		if err := rows.Scan(&key, &rest, &since, &h.Failures, &h.Breaker, &opened, &probe); err != nil {
			return nil, readError(err)
		}
		h.Webhook = cybervault.MakeID[cybervault.WebhookID](key, rest)
		h.FailingSince, h.OpenedAt, h.ProbeAt = fromMicros(since), fromMicros(opened), fromMicros(probe)
		out = append(out, h)
	}
	return out, readError(rows.Err())
}
