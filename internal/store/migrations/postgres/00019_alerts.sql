-- +goose Up

-- What CyberVault itself has needed a person for. What is published of it lies with the
-- events; these rows say what fires now.
CREATE TABLE alerts (
    number       BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alert_id     TEXT   NOT NULL UNIQUE,
    workspace_id BIGINT NOT NULL,
    code         TEXT   NOT NULL,
    subject      TEXT   NOT NULL,
    severity     TEXT   NOT NULL,
    summary      TEXT   NOT NULL,
    remedy       TEXT   NOT NULL,
    status       BIGINT NOT NULL, -- 0 firing, 1 resolved
    untold       BIGINT NOT NULL, -- 1: the status has not been published yet
    fired_at     BIGINT NOT NULL,
    resolved_at  BIGINT NOT NULL  -- 0: it fires
);
CREATE UNIQUE INDEX alerts_firing ON alerts (workspace_id, code, subject) WHERE status = 0;
CREATE INDEX alerts_by_workspace ON alerts (workspace_id, number);

INSERT INTO schema_versions (version, oldest) VALUES (19, 9);
