-- +goose Up

-- What each transaction changed, in the order of commit: one row each, however
-- many publishers and attempts share it. It is never empty: a reader's position
-- is one of its rows, and the first one is a position like any other.
CREATE TABLE changes (
    id      INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,
    changed BLOB    NOT NULL -- packed; see changes.go
) STRICT;

INSERT INTO changes (id, at, changed) VALUES (1, 0, x'01');
