-- +goose Up

-- What people of a workspace told the threat engine to leave out: rules that are
-- off, and exceptions. A change is made on the condition of the revision that it
-- was made from.
CREATE TABLE detection_controls (
    workspace_id INTEGER PRIMARY KEY,
    revision     INTEGER NOT NULL,
    doc          TEXT   NOT NULL -- JSON: all of it
) STRICT;

INSERT INTO schema_versions (version, oldest) VALUES (16, 9);
