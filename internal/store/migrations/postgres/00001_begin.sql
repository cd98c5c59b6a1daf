-- +goose Up

-- Ids are two integers: the row key (time-ordered, see cybervault.UUID) and the
-- random rest of the UUID. Other tables refer to the key alone. Times are Unix
-- microseconds, 0 for "never". Booleans are 0 and 1.

CREATE TABLE workspaces (
    id         BIGINT PRIMARY KEY,
    id_rest    BIGINT  NOT NULL,
    name       TEXT    NOT NULL,
    created_at BIGINT  NOT NULL
);

CREATE TABLE webhooks (
    id              BIGINT PRIMARY KEY,
    id_rest         BIGINT  NOT NULL,
    workspace_id    BIGINT  NOT NULL,
    url             TEXT    NOT NULL,
    events          TEXT    NOT NULL, -- JSON list of choices
    description     TEXT    NOT NULL,
    status          TEXT    NOT NULL,
    disabled_reason TEXT    NOT NULL,
    accept          TEXT    NOT NULL,
    retry_schedule  TEXT    NOT NULL, -- "" for the server's, "none" for an empty one
    ca_certificate  TEXT    NOT NULL,
    verification    SMALLINT NOT NULL,
    verified_at     BIGINT  NOT NULL,
    created_at      BIGINT  NOT NULL,
    updated_at      BIGINT  NOT NULL,
    deleted_at      BIGINT  NOT NULL,
    filter          TEXT    NOT NULL,
    rate_limit      BIGINT NOT NULL, -- thousandths of an attempt a second, 0 for no limit
    concurrency     INTEGER NOT NULL, -- 0 for the default
    ordered         SMALLINT NOT NULL,
    sealed          BYTEA    NOT NULL  -- secrets and header values, encrypted
);

-- The last sequence number given out for each webhook, apart from the wide row
-- that people edit.
CREATE TABLE webhook_sequences (
    webhook_id BIGINT PRIMARY KEY,
    last       BIGINT  NOT NULL
);

-- How the receivers of webhooks have been answering; only of those that fail.
CREATE TABLE webhook_health (
    webhook_id    BIGINT PRIMARY KEY,
    failing_since BIGINT NOT NULL,
    failures      INTEGER NOT NULL,
    breaker       TEXT    NOT NULL,
    opened_at     BIGINT NOT NULL,
    probe_at      BIGINT NOT NULL
);

CREATE TABLE events (
    id              BIGINT PRIMARY KEY,
    id_rest         BIGINT  NOT NULL,
    workspace_id    BIGINT  NOT NULL,
    type            TEXT    NOT NULL,
    timestamp       BIGINT  NOT NULL,
    idempotency_key TEXT,             -- the publisher's; NULL where CyberVault made it from the id
    test            SMALLINT NOT NULL,
    deliveries      INTEGER NOT NULL, -- rows made with it: the keys right after id
    body            BYTEA    NOT NULL
);

CREATE UNIQUE INDEX events_idempotency ON events (workspace_id, idempotency_key) WHERE idempotency_key IS NOT NULL;

CREATE TABLE deliveries (
    id           BIGINT PRIMARY KEY,
    id_rest      BIGINT  NOT NULL,
    workspace_id BIGINT  NOT NULL,
    event_id     BIGINT  NOT NULL,
    webhook_id   BIGINT  NOT NULL,
    sequence     BIGINT  NOT NULL,
    status       SMALLINT NOT NULL, -- 0 pending, 1 held, 2 delivered, 3 dead_letter, 4 cancelled, 5 skipped
    reason       TEXT    NOT NULL,
    attempts     INTEGER NOT NULL,
    due_at       BIGINT  NOT NULL, -- when anyone may claim it: the next attempt's time, or the lease's end
    lease_token  BIGINT  NOT NULL, -- 0 for none
    finished_at  BIGINT  NOT NULL,
    replay_of    BIGINT  NOT NULL, -- the row key of the replayed delivery, 0 for none, -1 for none but made after its event
    test         SMALLINT NOT NULL,
    ordered      SMALLINT NOT NULL, -- its webhook was, when it was made or since
    last_status  INTEGER NOT NULL,
    last_failure TEXT    NOT NULL
);

-- The queue. Ended deliveries leave it, so it stays as small as the backlog.
CREATE INDEX deliveries_queue ON deliveries (webhook_id, status, due_at, id) WHERE status < 2;

-- The queue of ordered webhooks, which nobody else's deliveries are in.
CREATE INDEX deliveries_ordered ON deliveries (webhook_id, sequence) WHERE ordered = 1 AND finished_at = 0;

-- What a person looks for among the many that were delivered.
CREATE INDEX deliveries_exceptions ON deliveries (status, id) WHERE status > 2;

-- Replays, which do not stand right after their event.
CREATE INDEX deliveries_replays ON deliveries (event_id) WHERE replay_of <> 0;

CREATE TABLE attempts (
    delivery_id BIGINT  NOT NULL,
    number      INTEGER NOT NULL,
    id          BIGINT  NOT NULL,
    id_rest     BIGINT  NOT NULL,
    started_at  BIGINT  NOT NULL,
    elapsed     BIGINT  NOT NULL, -- microseconds
    status      SMALLINT NOT NULL,
    failure     TEXT    NOT NULL,
    detail      BYTEA    NOT NULL, -- the rest of the exchange, packed
    body        BYTEA,             -- the answer's, as far as it is kept
    PRIMARY KEY (delivery_id, number)
);

CREATE TABLE api_keys (
    id           BIGINT PRIMARY KEY,
    id_rest      BIGINT  NOT NULL,
    workspace_id BIGINT  NOT NULL,
    name         TEXT    NOT NULL,
    hint         TEXT    NOT NULL,
    hash         BYTEA    NOT NULL,
    scopes       TEXT    NOT NULL,
    created_at   BIGINT  NOT NULL,
    revoked_at   BIGINT  NOT NULL
);

CREATE UNIQUE INDEX api_keys_hash ON api_keys (hash);
