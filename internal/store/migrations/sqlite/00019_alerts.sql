-- +goose Up

-- What CyberVault itself has needed a person for. What is published of it lies with the
-- events; these rows say what fires now.
CREATE TABLE alerts (
    number       INTEGER PRIMARY KEY,
    alert_id     TEXT   NOT NULL UNIQUE,
    workspace_id INTEGER NOT NULL,
    code         TEXT   NOT NULL,
    subject      TEXT   NOT NULL,
    severity     TEXT   NOT NULL,
    summary      TEXT   NOT NULL,
    remedy       TEXT   NOT NULL,
    status       INTEGER NOT NULL, -- 0 firing, 1 resolved
    untold       INTEGER NOT NULL, -- 1: the status has not been published yet
    fired_at     INTEGER NOT NULL,
    resolved_at  INTEGER NOT NULL  -- 0: it fires
) STRICT;
CREATE UNIQUE INDEX alerts_firing ON alerts (workspace_id, code, subject) WHERE status = 0;
CREATE INDEX alerts_by_workspace ON alerts (workspace_id, number);

INSERT INTO schema_versions (version, oldest) VALUES (19, 9);
