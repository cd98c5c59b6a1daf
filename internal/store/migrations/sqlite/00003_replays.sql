-- +goose Up

-- Replays of many deliveries. Each batch of new deliveries and the position
-- that follows from it are committed together.
CREATE TABLE replays (
    id           INTEGER PRIMARY KEY,
    id_rest      INTEGER NOT NULL,
    workspace_id INTEGER NOT NULL,
    webhook_id   INTEGER NOT NULL,
    webhook_rest INTEGER NOT NULL,
    criteria     TEXT    NOT NULL, -- JSON
    rate         INTEGER NOT NULL, -- new deliveries a second
    matched      INTEGER NOT NULL,
    created      INTEGER NOT NULL,
    skipped      INTEGER NOT NULL,
    position     INTEGER NOT NULL, -- row key of the last delivery that is done with
    status       TEXT    NOT NULL,
    due_at       INTEGER NOT NULL, -- when any node may take the next step
    finished_at  INTEGER NOT NULL
) STRICT;

CREATE INDEX replays_running ON replays (due_at) WHERE status = 'running';
