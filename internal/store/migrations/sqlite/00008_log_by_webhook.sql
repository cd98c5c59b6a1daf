-- +goose Up

-- What was not delivered to one webhook, without a look at what was, or at the
-- other webhooks'.
CREATE INDEX deliveries_webhook_exceptions ON deliveries (webhook_id, status, id) WHERE status > 2;
