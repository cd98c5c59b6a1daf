package store

import (
	"context"
	"time"

	"github.com/cybervault/cybervault"
)

const (
	insertHealth = `INSERT INTO webhook_health (webhook_id, failing_since, failures, breaker, opened_at, probe_at) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (webhook_id) DO UPDATE SET `
	saveHealth = insertHealth + `
failing_since = CASE WHEN excluded.failing_since < webhook_health.failing_since THEN excluded.failing_since ELSE webhook_health.failing_since END,
failures = CASE WHEN excluded.failures > webhook_health.failures THEN excluded.failures ELSE webhook_health.failures END,
breaker = CASE WHEN excluded.opened_at >= webhook_health.opened_at THEN excluded.breaker ELSE webhook_health.breaker END,
probe_at = CASE WHEN excluded.opened_at >= webhook_health.opened_at THEN excluded.probe_at ELSE webhook_health.probe_at END,
opened_at = CASE WHEN excluded.opened_at >= webhook_health.opened_at THEN excluded.opened_at ELSE webhook_health.opened_at END`
	claimProbe = insertHealth + `breaker = excluded.breaker, probe_at = excluded.probe_at
WHERE webhook_health.opened_at = excluded.opened_at AND (webhook_health.breaker = 'open' OR webhook_health.breaker = 'half_open' AND webhook_health.probe_at <= ?)`
	selectHealth = `SELECT w.id, w.id_rest, h.failing_since, h.failures, h.breaker, h.opened_at, h.probe_at
FROM webhook_health h JOIN webhooks w ON w.id = h.webhook_id WHERE w.deleted_at = 0 ORDER BY w.id`
)

// SaveHealth keeps how a webhook's receiver has been answering. What other nodes
// have said of it stays: that it failed earlier or more often, and that its breaker
// opened later. Of one that is well nothing is kept.
func (s *Store) SaveHealth(ctx context.Context, h *cybervault.WebhookHealth) error {
	return s.w.do(ctx, func(tx transaction) error {
		if h.Well() {
			return exec(tx, "DELETE FROM webhook_health WHERE webhook_id = ?", h.Webhook.Key())
		}
		return exec(tx, saveHealth, healthRow(h, h.Breaker, h.ProbeAt)...)
	})
}

func healthRow(h *cybervault.WebhookHealth, breaker cybervault.BreakerState, probeAt time.Time) []any {
	return []any{h.Webhook.Key(), micros(h.FailingSince), int64(h.Failures), string(breaker), micros(h.OpenedAt), micros(probeAt)}
}

// ClaimProbe asks for the one attempt that the breaker of a webhook lets through,
// which is open as h says, and reports whether the caller may make it. Nobody else
// may until a time, unless its outcome has been saved before. Nor
// may whoever was not answered in time.
func (s *Store) ClaimProbe(ctx context.Context, h *cybervault.WebhookHealth, now, until time.Time) (bool, error) {
	var ours bool // the writer's, until it has answered
	row := append(healthRow(h, cybervault.BreakerHalfOpen, until), micros(now))
	err := s.w.try(ctx, func(tx transaction) error {
		n, err := execCount(tx, claimProbe, row...)
		ours = n == 1
		return err
	})
	return err == nil && ours, err
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
