package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/cybervault/cybervault"
)

// sealedPart is what is encrypted of a webhook.
type sealedPart struct {
	Secrets []cybervault.Secret `json:"secrets"`
	Headers []cybervault.Header `json:"headers"`

	ClientCertificate string `json:"client_certificate,omitempty"`

	Authentication cybervault.Authentication `json:"authentication,omitzero"`
	Signature      cybervault.Signature      `json:"signature,omitempty"`
	SigningKeys    []cybervault.SigningKey   `json:"signing_keys,omitempty"`
	Proxy          string                    `json:"proxy,omitempty"`
}

func sealedPartOf(w *cybervault.Webhook) sealedPart {
	return sealedPart{
		Secrets: w.Secrets, Headers: w.Headers, ClientCertificate: w.ClientCertificate,
		Authentication: w.Authentication, Signature: w.Signature, SigningKeys: w.SigningKeys, Proxy: w.Proxy,
	}
}

// fill puts what was sealed into the webhook it is of. A webhook sealed by a
// version that knew less has the zero value, the default, of the rest.
func (p *sealedPart) fill(w *cybervault.Webhook) {
	w.Secrets, w.Headers, w.ClientCertificate = p.Secrets, p.Headers, p.ClientCertificate
	w.Channel = cybervault.Channel{Authentication: p.Authentication, Signature: p.Signature, SigningKeys: p.SigningKeys, Proxy: p.Proxy}
}

// rateUnit is what rates are stored in: thousandths of an attempt a second.
const rateUnit = 1000

// noRetries is how a webhook's own empty schedule is stored, apart from none of
// its own.
const noRetries = "none"

// SaveWebhook inserts the webhook, or replaces the one with its id, and counts its
// Revision up. CodeInvalid for text that cannot be kept, CodeConflict when the
// stored one is of another Revision or the id is another workspace's.
func (s *Store) SaveWebhook(ctx context.Context, w *cybervault.Webhook) error {
	for field, text := range map[string]string{
		"url": w.URL, "description": w.Description, "ca_certificate": w.CACertificate, "disabled_reason": w.DisabledReason,
		"filter": w.Filter,
	} {
		if err := checkText(field, text); err != nil {
			return err
		}
	}
	sealed, err := s.seal.seal(w.ID.String(), sealedPartOf(w))
	if err != nil {
		return err
	}
	events, err := json.Marshal(w.Events)
	if err != nil {
		return fmt.Errorf("encode the event choice: %w", err)
	}
	schedule := ""
	if w.RetrySchedule != nil {
		if schedule = cybervault.FormatRetrySchedule(w.RetrySchedule); schedule == "" {
			schedule = noRetries
		}
	}
	before, err := s.webhookBefore(ctx, w)
	if err != nil {
		return err
	}
	var saved int64
	err = s.w.do(ctx, func(tx transaction) (err error) {
		saved, err = execCount(tx, `INSERT INTO webhooks (id, id_rest, workspace_id, url, events, description, status, disabled_reason, accept, retry_schedule,
ca_certificate, verification, verified_at, created_at, updated_at, deleted_at, filter, rate_limit, concurrency, ordered, sealed, revision)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET url = excluded.url, events = excluded.events, description = excluded.description, status = excluded.status,
disabled_reason = excluded.disabled_reason, accept = excluded.accept, retry_schedule = excluded.retry_schedule, ca_certificate = excluded.ca_certificate,
verification = excluded.verification, verified_at = excluded.verified_at, updated_at = excluded.updated_at, deleted_at = excluded.deleted_at, filter = excluded.filter, rate_limit = excluded.rate_limit,
concurrency = excluded.concurrency, ordered = excluded.ordered, sealed = excluded.sealed, revision = excluded.revision
WHERE webhooks.revision = excluded.revision - 1 AND webhooks.id_rest = excluded.id_rest AND webhooks.workspace_id = excluded.workspace_id`,
			w.ID.Key(), w.ID.Rest(), w.Workspace.Key(), w.URL, string(events), w.Description, string(w.Status), w.DisabledReason, string(w.Accept), schedule,
			w.CACertificate, boolInt(w.Verification), micros(w.VerifiedAt), micros(w.CreatedAt), micros(w.UpdatedAt), micros(w.DeletedAt),
			w.Filter, int64(w.RateLimit*rateUnit), int64(w.Concurrency), boolInt(w.Ordered), sealed, w.Revision+1)
		if err == nil && saved > 0 && !w.DeletedAt.IsZero() {
			err = exec(tx, forgetPace, w.ID.Key())
		}
		if err == nil && saved > 0 {
			err = s.actWebhook(ctx, tx, before, w)
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case saved == 0 && w.Revision > 0:
		return cybervault.Errorf(cybervault.CodeConflict, "the webhook %s is not any more what the change was made from", w.ID)
	case saved == 0:
		return cybervault.Errorf(cybervault.CodeConflict, "the id of %s is taken by another webhook", w.ID)
	}
	w.Revision++
	return nil
}

// webhookBefore is what a change of a webhook was made from; nil for a new one. It is
// that one if the change is made at all, by the condition on the revision.
func (s *Store) webhookBefore(ctx context.Context, w *cybervault.Webhook) (*cybervault.Webhook, error) {
	if w.Revision == 0 {
		return nil, nil //nolint:nilnil // there was none before
	}
	found, err := s.selectWebhooks(ctx, "w.id = ? AND w.id_rest = ? AND w.workspace_id = ?", w.ID.Key(), w.ID.Rest(), w.Workspace.Key())
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return found[0], nil
}

// Webhooks returns every webhook that is not deleted, of all workspaces, oldest
// first, with its secrets opened. CodeInvalid when they were sealed with another
// key.
func (s *Store) Webhooks(ctx context.Context) ([]*cybervault.Webhook, error) {
	return s.selectWebhooks(ctx, "w.deleted_at = 0")
}

func (s *Store) selectWebhooks(ctx context.Context, condition string, args ...any) ([]*cybervault.Webhook, error) {
	rows, err := s.db.QueryContext(ctx, s.dialect.rebind(`SELECT w.id, w.id_rest, w.workspace_id, p.id_rest, w.url, w.events, w.description, w.status, w.disabled_reason, w.accept,
w.retry_schedule, w.ca_certificate, w.verification, w.verified_at, w.created_at, w.updated_at, w.deleted_at,
w.filter, w.rate_limit, w.concurrency, w.ordered, w.revision, w.sealed
FROM webhooks w JOIN workspaces p ON p.id = w.workspace_id WHERE `+condition+` ORDER BY w.id`), args...)
	if err != nil {
		return nil, readError(err)
	}
	defer func() { _ = rows.Close() }()
	var out []*cybervault.Webhook
	for rows.Next() {
		w := &cybervault.Webhook{}
		var key, rest, wsKey, wsRest, verification, verified, created, updated, deleted, rate, ordered int64
		var events, schedule string
		var sealed []byte
		if err := rows.Scan(&key, &rest, &wsKey, &wsRest, &w.URL, &events, &w.Description, &w.Status, &w.DisabledReason, &w.Accept,
			&schedule, &w.CACertificate, &verification, &verified, &created, &updated, &deleted,
			&w.Filter, &rate, &w.Concurrency, &ordered, &w.Revision, &sealed); err != nil {
			return nil, readError(err)
		}
		w.ID = cybervault.MakeID[cybervault.WebhookID](key, rest)
		w.Workspace = cybervault.MakeID[cybervault.WorkspaceID](wsKey, wsRest)
		w.Verification, w.VerifiedAt = verification != 0, fromMicros(verified)
		w.CreatedAt, w.UpdatedAt, w.DeletedAt = fromMicros(created), fromMicros(updated), fromMicros(deleted)
		if err := json.Unmarshal([]byte(events), &w.Events); err != nil {
			return nil, fmt.Errorf("read the event choice of %s: %w", w.ID, err)
		}
		if w.RetrySchedule, err = readSchedule(schedule); err != nil {
			return nil, fmt.Errorf("read the retry schedule of %s: %w", w.ID, err)
		}
		var part sealedPart
		if err := s.seal.open(w.ID.String(), sealed, &part); err != nil {
			return nil, err
		}
		part.fill(w)
		w.RateLimit, w.Ordered = float64(rate)/rateUnit, ordered != 0
		out = append(out, w)
	}
	return out, readError(rows.Err())
}

func readSchedule(s string) ([]time.Duration, error) {
	switch s {
	case "":
		return nil, nil
	case noRetries:
		return []time.Duration{}, nil
	}
	return cybervault.ParseRetrySchedule(s)
}
