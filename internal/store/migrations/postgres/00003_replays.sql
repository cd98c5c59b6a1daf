-- +goose Up

-- Replays of many deliveries. Each batch of new deliveries and the position
-- that follows from it are committed together.
CREATE TABLE replays (
    id           BIGINT PRIMARY KEY,
    id_rest      BIGINT NOT NULL,
    workspace_id BIGINT NOT NULL,
    webhook_id   BIGINT NOT NULL,
    webhook_rest BIGINT NOT NULL,
    criteria     TEXT    NOT NULL, -- JSON
    rate         BIGINT NOT NULL, -- new deliveries a second
    matched      BIGINT NOT NULL,
    created      BIGINT NOT NULL,
    skipped      BIGINT NOT NULL,
    position     BIGINT NOT NULL, -- row key of the last delivery that is done with
    status       TEXT    NOT NULL,
    due_at       BIGINT NOT NULL, -- when any node may take the next step
    finished_at  BIGINT NOT NULL
);

CREATE INDEX replays_running ON replays (due_at) WHERE status = 'running';
