-- +goose Up

-- What each transaction changed: one row each, however many publishers and
-- attempts share it. The id is the transaction's own (pg_current_xact_id), so
-- that a reader can tell up to where nothing is under way any more. It is never
-- empty: a reader's position is one of its rows, and the first one is a position
-- like any other, older than every transaction.
CREATE TABLE changes (
    id      BIGINT PRIMARY KEY,
    at      BIGINT NOT NULL,
    changed BYTEA  NOT NULL -- packed; see changes.go
);

INSERT INTO changes (id, at, changed) VALUES (1, 0, '\x01');
