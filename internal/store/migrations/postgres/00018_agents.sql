-- +goose Up

-- Managed machines, and the tokens by which they enrol.
CREATE TABLE agents (
    id           BIGINT PRIMARY KEY,
    id_rest      BIGINT NOT NULL,
    workspace_id BIGINT NOT NULL,
    hostname     TEXT   NOT NULL, -- in lower case
    os           TEXT   NOT NULL,
    version      TEXT   NOT NULL, -- of the agent
    addresses    TEXT   NOT NULL, -- JSON: a list
    labels       TEXT   NOT NULL, -- JSON: names and values
    pace         BIGINT NOT NULL, -- microseconds between two heartbeats
    missed       BIGINT NOT NULL, -- after so many that did not come it is offline
    hash         BYTEA  NOT NULL UNIQUE, -- SHA-256 of its key
    next_hash    BYTEA, -- of the key that takes its place once it is used
    keyed_at     BIGINT NOT NULL,
    status       BIGINT NOT NULL, -- 0 enrolled, 1 online, 2 offline
    enrolled_at  BIGINT NOT NULL,
    last_seen    BIGINT NOT NULL, -- 0: never
    changed_at   BIGINT NOT NULL
);
CREATE INDEX agents_by_workspace ON agents (workspace_id, id);
CREATE UNIQUE INDEX agents_by_next ON agents (next_hash) WHERE next_hash IS NOT NULL;

CREATE TABLE agent_tokens (
    id           BIGINT PRIMARY KEY,
    id_rest      BIGINT NOT NULL,
    hash         BYTEA  NOT NULL UNIQUE, -- SHA-256 of the token
    workspace_id BIGINT NOT NULL,
    name         TEXT   NOT NULL,
    labels       TEXT   NOT NULL, -- JSON
    pace         BIGINT NOT NULL,
    missed       BIGINT NOT NULL,
    uses         BIGINT NOT NULL, -- that are left
    made_by      TEXT   NOT NULL,
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL
);

INSERT INTO schema_versions (version, oldest) VALUES (18, 9);
