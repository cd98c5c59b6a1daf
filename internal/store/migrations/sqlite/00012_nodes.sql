-- +goose Up

-- Which release can work with a schema that it does not know itself.
CREATE TABLE schema_versions (
    version INTEGER PRIMARY KEY,
    oldest  INTEGER NOT NULL -- the schema version of the oldest release that works with this one
) STRICT;

-- Counts the changes of a webhook, so that nobody overwrites one that he has not
-- seen.
ALTER TABLE webhooks ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;

INSERT INTO schema_versions (version, oldest) VALUES (10, 9), (11, 9), (12, 9);
