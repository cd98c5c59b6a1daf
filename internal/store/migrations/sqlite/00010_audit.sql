-- +goose Up

-- The audit log: a Merkle tree (RFC 6962) over what the change log tells. It
-- begins with what is committed after this.
CREATE TABLE audit_state (
    id             INTEGER PRIMARY KEY, -- 1: there is one
    size           INTEGER NOT NULL,    -- entries
    root           BLOB    NOT NULL,
    checkpoint     TEXT    NOT NULL,    -- the signed note
    transaction_id INTEGER NOT NULL,    -- the row of changes that all is logged up to …
    mark           INTEGER NOT NULL     -- … and its moment
) STRICT;

INSERT INTO audit_state (id, size, root, checkpoint, transaction_id, mark)
SELECT 1, 0, x'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', '', id, at FROM changes ORDER BY id DESC LIMIT 1;

-- The hashes of the tree, 256 a row.
CREATE TABLE audit_tiles (
    id     INTEGER PRIMARY KEY, -- the level in the top byte, and the number of the tile in it
    hashes BLOB    NOT NULL
) STRICT;

-- Which rows the entries below a tile of level 0 are made of, packed, and
-- between which row keys they lie: 0 and -1 for none.
CREATE TABLE audit_refs (
    tile           INTEGER PRIMARY KEY,
    at             INTEGER NOT NULL, -- when the last of them was committed
    first_event    INTEGER NOT NULL,
    last_event     INTEGER NOT NULL,
    first_delivery INTEGER NOT NULL,
    last_delivery  INTEGER NOT NULL,
    refs           BLOB    NOT NULL
) STRICT;

CREATE INDEX audit_refs_at ON audit_refs (at, tile);
