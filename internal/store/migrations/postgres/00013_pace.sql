-- +goose Up

-- Up to when the attempts that a webhook's rate limit allows have been given out,
-- of those webhooks that several nodes deliver to.
CREATE TABLE webhook_pace (
    webhook_id BIGINT PRIMARY KEY,
    step       BIGINT NOT NULL, -- microseconds from one attempt to the next
    next_at    BIGINT NOT NULL
);

INSERT INTO schema_versions (version, oldest) VALUES (13, 9);
