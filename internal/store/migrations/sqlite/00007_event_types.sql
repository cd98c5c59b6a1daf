-- +goose Up

-- The event types that workspaces add to the core ones.
CREATE TABLE event_types (
    workspace_id INTEGER NOT NULL,
    name         TEXT    NOT NULL,
    severity     TEXT    NOT NULL,
    description  TEXT    NOT NULL,
    schema_json  TEXT    NOT NULL, -- JSON Schema 2020-12 of the data
    example      TEXT    NOT NULL, -- a data object that it accepts
    PRIMARY KEY (workspace_id, name)
) STRICT, WITHOUT ROWID;
