-- +goose Up

-- People with an account, and what they may do in which workspace.
CREATE TABLE users (
    id         BIGINT PRIMARY KEY,
    id_rest    BIGINT NOT NULL,
    email      TEXT   NOT NULL UNIQUE, -- in lower case
    name       TEXT   NOT NULL,
    subject    TEXT   NOT NULL, -- issuer and subject of OpenID Connect; '': none
    created_at BIGINT NOT NULL,
    last_seen  BIGINT NOT NULL, -- 0: never
    totp_step  BIGINT NOT NULL, -- of the last code that was taken
    sealed     BYTEA NOT NULL  -- JSON: password, TOTP secret, recovery codes
);
CREATE UNIQUE INDEX users_by_subject ON users (subject) WHERE subject <> '';

CREATE TABLE members (
    workspace_id BIGINT NOT NULL,
    user_id      BIGINT NOT NULL,
    role         TEXT   NOT NULL,
    joined_at    BIGINT NOT NULL,
    PRIMARY KEY (workspace_id, user_id)
);
CREATE INDEX members_by_user ON members (user_id);

CREATE TABLE invitations (
    id           BIGINT PRIMARY KEY,
    id_rest      BIGINT NOT NULL,
    hash         BYTEA  NOT NULL UNIQUE, -- SHA-256 of the token
    workspace_id BIGINT NOT NULL,
    email        TEXT   NOT NULL,
    role         TEXT   NOT NULL,
    reset        BIGINT NOT NULL, -- 1: a member may choose a new password by it
    made_by      TEXT   NOT NULL,
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL
);

CREATE TABLE passkeys (
    id         BIGINT PRIMARY KEY,
    id_rest    BIGINT NOT NULL,
    user_id    BIGINT NOT NULL,
    name       TEXT   NOT NULL,
    credential BYTEA  NOT NULL UNIQUE,
    data       TEXT   NOT NULL, -- JSON
    created_at BIGINT NOT NULL,
    used_at    BIGINT NOT NULL
);
CREATE INDEX passkeys_by_user ON passkeys (user_id);

CREATE TABLE sessions (
    id           BIGINT PRIMARY KEY,
    id_rest      BIGINT NOT NULL,
    hash         BYTEA  NOT NULL UNIQUE, -- SHA-256 of the cookie's value
    user_id      BIGINT NOT NULL,
    workspace_id BIGINT NOT NULL,
    method       TEXT   NOT NULL,
    due          BIGINT NOT NULL, -- 1: the second factor is not given yet
    address      TEXT   NOT NULL,
    agent        TEXT   NOT NULL,
    created_at   BIGINT NOT NULL,
    used_at      BIGINT NOT NULL
);
CREATE INDEX sessions_by_user ON sessions (user_id);

-- Who did what. Each line holds the hash of the one before; lines are added, and
-- never changed.
CREATE TABLE actions (
    number       BIGINT PRIMARY KEY,
    workspace_id BIGINT NOT NULL,
    at           BIGINT NOT NULL,
    actor_kind   TEXT   NOT NULL,
    actor_id     TEXT   NOT NULL,
    actor_name   TEXT   NOT NULL,
    address      TEXT   NOT NULL,
    action       TEXT   NOT NULL,
    target       TEXT   NOT NULL,
    before_json  TEXT, -- NULL: nothing
    after_json   TEXT,
    previous     BYTEA NOT NULL,
    hash         BYTEA NOT NULL
);
CREATE INDEX actions_by_workspace ON actions (workspace_id, number);

-- The end of the chain; its row makes writers stand in line.
CREATE TABLE action_head (
    one    BIGINT PRIMARY KEY,
    number BIGINT NOT NULL,
    hash   BYTEA NOT NULL
);
INSERT INTO action_head (one, number, hash) VALUES (1, 0, decode(repeat('00', 32), 'hex'));

-- +goose StatementBegin
CREATE FUNCTION actions_stay() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'actions are never changed or removed'; END $$;
-- +goose StatementEnd
CREATE TRIGGER actions_stay BEFORE UPDATE OR DELETE ON actions FOR EACH ROW EXECUTE FUNCTION actions_stay();

ALTER TABLE api_keys ADD COLUMN expires_at BIGINT NOT NULL DEFAULT 0; -- 0: never
ALTER TABLE api_keys ADD COLUMN used_at BIGINT NOT NULL DEFAULT 0; -- 0: never

INSERT INTO schema_versions (version, oldest) VALUES (17, 9);
