-- +goose Up

-- People with an account, and what they may do in which workspace.
CREATE TABLE users (
    id         INTEGER PRIMARY KEY,
    id_rest    INTEGER NOT NULL,
    email      TEXT   NOT NULL UNIQUE, -- in lower case
    name       TEXT   NOT NULL,
    subject    TEXT   NOT NULL, -- issuer and subject of OpenID Connect; '': none
    created_at INTEGER NOT NULL,
    last_seen  INTEGER NOT NULL, -- 0: never
    totp_step  INTEGER NOT NULL, -- of the last code that was taken
    sealed     BLOB NOT NULL  -- JSON: password, TOTP secret, recovery codes
) STRICT;
CREATE UNIQUE INDEX users_by_subject ON users (subject) WHERE subject <> '';

CREATE TABLE members (
    workspace_id INTEGER NOT NULL,
    user_id      INTEGER NOT NULL,
    role         TEXT   NOT NULL,
    joined_at    INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, user_id)
) STRICT;
CREATE INDEX members_by_user ON members (user_id);

CREATE TABLE invitations (
    id           INTEGER PRIMARY KEY,
    id_rest      INTEGER NOT NULL,
    hash         BLOB  NOT NULL UNIQUE, -- SHA-256 of the token
    workspace_id INTEGER NOT NULL,
    email        TEXT   NOT NULL,
    role         TEXT   NOT NULL,
    reset        INTEGER NOT NULL, -- 1: a member may choose a new password by it
    made_by      TEXT   NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL
) STRICT;

CREATE TABLE passkeys (
    id         INTEGER PRIMARY KEY,
    id_rest    INTEGER NOT NULL,
    user_id    INTEGER NOT NULL,
    name       TEXT   NOT NULL,
    credential BLOB  NOT NULL UNIQUE,
    data       TEXT   NOT NULL, -- JSON
    created_at INTEGER NOT NULL,
    used_at    INTEGER NOT NULL
) STRICT;
CREATE INDEX passkeys_by_user ON passkeys (user_id);

CREATE TABLE sessions (
    id           INTEGER PRIMARY KEY,
    id_rest      INTEGER NOT NULL,
    hash         BLOB  NOT NULL UNIQUE, -- SHA-256 of the cookie's value
    user_id      INTEGER NOT NULL,
    workspace_id INTEGER NOT NULL,
    method       TEXT   NOT NULL,
    due          INTEGER NOT NULL, -- 1: the second factor is not given yet
    address      TEXT   NOT NULL,
    agent        TEXT   NOT NULL,
    created_at   INTEGER NOT NULL,
    used_at      INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_by_user ON sessions (user_id);

-- Who did what. Each line holds the hash of the one before; lines are added, and
-- never changed.
CREATE TABLE actions (
    number       INTEGER PRIMARY KEY,
    workspace_id INTEGER NOT NULL,
    at           INTEGER NOT NULL,
    actor_kind   TEXT   NOT NULL,
    actor_id     TEXT   NOT NULL,
    actor_name   TEXT   NOT NULL,
    address      TEXT   NOT NULL,
    action       TEXT   NOT NULL,
    target       TEXT   NOT NULL,
    before_json  TEXT, -- NULL: nothing
    after_json   TEXT,
    previous     BLOB NOT NULL,
    hash         BLOB NOT NULL
) STRICT;
CREATE INDEX actions_by_workspace ON actions (workspace_id, number);

-- The end of the chain; its row makes writers stand in line.
CREATE TABLE action_head (
    one    INTEGER PRIMARY KEY,
    number INTEGER NOT NULL,
    hash   BLOB NOT NULL
) STRICT;
INSERT INTO action_head (one, number, hash) VALUES (1, 0, zeroblob(32));

-- +goose StatementBegin
CREATE TRIGGER actions_stay BEFORE UPDATE ON actions BEGIN SELECT RAISE(ABORT, 'actions are never changed'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER actions_are_kept BEFORE DELETE ON actions BEGIN SELECT RAISE(ABORT, 'actions are never removed'); END;
-- +goose StatementEnd

ALTER TABLE api_keys ADD COLUMN expires_at INTEGER NOT NULL DEFAULT 0; -- 0: never
ALTER TABLE api_keys ADD COLUMN used_at INTEGER NOT NULL DEFAULT 0; -- 0: never

INSERT INTO schema_versions (version, oldest) VALUES (17, 9);
