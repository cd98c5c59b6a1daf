-- +goose Up

-- Which release can work with a schema that it does not know itself. A migration
-- that the release before can live with says so here, so that a node of that
-- release may still start while the others are replaced one by one.
CREATE TABLE schema_versions (
    version BIGINT PRIMARY KEY,
    oldest  BIGINT NOT NULL -- the schema version of the oldest release that works with this one
);

-- The nodes that share the database. Whether one lives, its advisory lock says;
-- a row without one is what a lost node left behind.
CREATE TABLE nodes (
    number    INTEGER PRIMARY KEY,
    host      TEXT    NOT NULL,
    joined_at BIGINT  NOT NULL
);

-- What was changed of the settings, for the other nodes. A trigger writes it, so
-- that a node of the release before and a person with psql are heard as well.
CREATE TABLE settings_revision (
    one      BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one),
    revision BIGINT  NOT NULL
);
INSERT INTO settings_revision (revision) VALUES (0);

CREATE TABLE settings_changes (
    revision BIGINT PRIMARY KEY, -- without a gap: the row above is locked until the commit
    kind     TEXT   NOT NULL,    -- webhook, event_type or api_key
    id       BIGINT NOT NULL     -- the row's key; of an event type, its workspace's
);

-- +goose StatementBegin
CREATE FUNCTION note_setting() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    kind CONSTANT TEXT := TG_ARGV[0];
    key  BIGINT;
    next BIGINT;
BEGIN
    IF kind = 'event_type' THEN
        IF TG_OP = 'DELETE' THEN key := OLD.workspace_id; ELSE key := NEW.workspace_id; END IF;
    ELSE
        IF TG_OP = 'DELETE' THEN key := OLD.id; ELSE key := NEW.id; END IF;
    END IF;
    UPDATE settings_revision SET revision = revision + 1 RETURNING revision INTO next;
    INSERT INTO settings_changes (revision, kind, id) VALUES (next, kind, key);
    DELETE FROM settings_changes WHERE revision <= next - 10000;
    PERFORM pg_notify('cybervault_settings', '');
    RETURN NULL;
END;
$$;
-- +goose StatementEnd

-- Counts the changes of a webhook, so that nobody overwrites one that he has not
-- seen.
ALTER TABLE webhooks ADD COLUMN IF NOT EXISTS revision BIGINT NOT NULL DEFAULT 0;

-- +goose StatementBegin
CREATE FUNCTION count_revision() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- The release before does not count.
    IF NEW.revision = OLD.revision THEN NEW.revision := OLD.revision + 1; END IF;
    RETURN NEW;
END;
$$;
-- +goose StatementEnd

CREATE TRIGGER webhooks_counted BEFORE UPDATE ON webhooks FOR EACH ROW EXECUTE FUNCTION count_revision();
CREATE TRIGGER webhooks_noted AFTER INSERT OR UPDATE OR DELETE ON webhooks FOR EACH ROW EXECUTE FUNCTION note_setting('webhook');
CREATE TRIGGER event_types_noted AFTER INSERT OR UPDATE OR DELETE ON event_types FOR EACH ROW EXECUTE FUNCTION note_setting('event_type');
CREATE TRIGGER api_keys_noted AFTER UPDATE OR DELETE ON api_keys FOR EACH ROW EXECUTE FUNCTION note_setting('api_key');

-- The release before, of version 9, works on beside this one. It does not read this
-- table: once stopped, it does not start again.
INSERT INTO schema_versions (version, oldest) VALUES (10, 9), (11, 9), (12, 9);
