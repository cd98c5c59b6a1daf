-- +goose Up

-- The audit log: a Merkle tree (RFC 6962) over what the change log tells. It
-- begins with what is committed after the last row of that which is settled.
CREATE TABLE audit_state (
    id             BIGINT PRIMARY KEY, -- 1: there is one
    size           BIGINT NOT NULL,    -- entries
    root           BYTEA  NOT NULL,
    checkpoint     TEXT   NOT NULL,    -- the signed note
    transaction_id BIGINT NOT NULL,    -- the row of changes that all is logged up to …
    mark           BIGINT NOT NULL     -- … and its moment
);

INSERT INTO audit_state (id, size, root, checkpoint, transaction_id, mark)
SELECT 1, 0, '\xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', '', id, at
FROM changes WHERE id < pg_snapshot_xmin(pg_current_snapshot())::text::bigint ORDER BY id DESC LIMIT 1;

-- The hashes of the tree, 256 a row. Hashes do not compress.
CREATE TABLE audit_tiles (
    id     BIGINT PRIMARY KEY, -- the level in the top byte, and the number of the tile in it
    hashes BYTEA  NOT NULL
);
ALTER TABLE audit_tiles ALTER COLUMN hashes SET STORAGE EXTERNAL;

-- Which rows the entries below a tile of level 0 are made of, packed, and
-- between which row keys they lie: 0 and -1 for none.
CREATE TABLE audit_refs (
    tile           BIGINT PRIMARY KEY,
    at             BIGINT NOT NULL, -- when the last of them was committed
    first_event    BIGINT NOT NULL,
    last_event     BIGINT NOT NULL,
    first_delivery BIGINT NOT NULL,
    last_delivery  BIGINT NOT NULL,
    refs           BYTEA  NOT NULL
);

CREATE INDEX audit_refs_at ON audit_refs (at, tile);
