-- +goose Up

-- Managed machines, and the tokens by which they enrol.
CREATE TABLE agents (
    id           INTEGER PRIMARY KEY,
    id_rest      INTEGER NOT NULL,
    workspace_id INTEGER NOT NULL,
    hostname     TEXT   NOT NULL, -- in lower case
    os           TEXT   NOT NULL,
    version      TEXT   NOT NULL, -- of the agent
    addresses    TEXT   NOT NULL, -- JSON: a list
    labels       TEXT   NOT NULL, -- JSON: names and values
    pace         INTEGER NOT NULL, -- microseconds between two heartbeats
    missed       INTEGER NOT NULL, -- after so many that did not come it is offline
    hash         BLOB   NOT NULL UNIQUE, -- SHA-256 of its key
    next_hash    BLOB , -- of the key that takes its place once it is used
    keyed_at     INTEGER NOT NULL,
    status       INTEGER NOT NULL, -- 0 enrolled, 1 online, 2 offline
    enrolled_at  INTEGER NOT NULL,
    last_seen    INTEGER NOT NULL, -- 0: never
    changed_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX agents_by_workspace ON agents (workspace_id, id);
CREATE UNIQUE INDEX agents_by_next ON agents (next_hash) WHERE next_hash IS NOT NULL;

CREATE TABLE agent_tokens (
    id           INTEGER PRIMARY KEY,
    id_rest      INTEGER NOT NULL,
    hash         BLOB   NOT NULL UNIQUE, -- SHA-256 of the token
    workspace_id INTEGER NOT NULL,
    name         TEXT   NOT NULL,
    labels       TEXT   NOT NULL, -- JSON
    pace         INTEGER NOT NULL,
    missed       INTEGER NOT NULL,
    uses         INTEGER NOT NULL, -- that are left
    made_by      TEXT   NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL
) STRICT;

INSERT INTO schema_versions (version, oldest) VALUES (18, 9);
