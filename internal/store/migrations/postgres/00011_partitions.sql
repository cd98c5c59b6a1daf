-- +goose NO TRANSACTION
-- +goose Up

-- events, deliveries and attempts become tables of a partition for each day, by
-- row key, which begins with the time. What is stored becomes the first partition
-- as it is; nothing is copied. Not one transaction: what takes long (the check
-- that the rows lie below the first partition's end, the copy of the idempotency
-- keys) goes on beside publishers, and what locks the tables takes milliseconds,
-- waits half a second for the locks at most, and tries again. Interrupted
-- anywhere it can be run again: the last step makes the difference, at once.

-- The idempotency keys of publishers, which no unique index over all partitions
-- can hold. A row may outlive its event for a while; see keep_idempotency_key.
CREATE TABLE IF NOT EXISTS idempotency_keys (
    workspace_id    BIGINT NOT NULL,
    idempotency_key TEXT   NOT NULL,
    event_id        BIGINT NOT NULL,
    PRIMARY KEY (workspace_id, idempotency_key)
);

-- For those of the events that went with a partition.
CREATE INDEX IF NOT EXISTS idempotency_keys_event ON idempotency_keys (event_id);

-- Passes an event over whose key is taken, as ON CONFLICT DO NOTHING would, and
-- waits for whoever is taking it. A key whose event is gone is taken over.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION keep_idempotency_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO idempotency_keys (workspace_id, idempotency_key, event_id)
    VALUES (NEW.workspace_id, NEW.idempotency_key, NEW.id) ON CONFLICT DO NOTHING;
    IF FOUND THEN
        RETURN NEW;
    END IF;
    UPDATE idempotency_keys k SET event_id = NEW.id
    WHERE k.workspace_id = NEW.workspace_id AND k.idempotency_key = NEW.idempotency_key
    AND NOT EXISTS (SELECT 1 FROM events e WHERE e.id = k.event_id);
    IF FOUND THEN
        RETURN NEW;
    END IF;
    RETURN NULL;
END $$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION free_idempotency_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM idempotency_keys
    WHERE workspace_id = OLD.workspace_id AND idempotency_key = OLD.idempotency_key AND event_id = OLD.id;
    RETURN NULL;
END $$;
-- +goose StatementEnd

-- +goose StatementBegin
DO $$
DECLARE
    millisecond CONSTANT bigint := 1 << 20; -- of a row key
    day         CONSTANT bigint := 86400000;
    bound       bigint; -- the row key at which the first partition ends
    done        bigint := 0;
    part        text;
    key         text;
    primary_key text;
    indexes     text[];
    name        text;
    filled      boolean;
BEGIN
    IF (SELECT relkind FROM pg_class WHERE oid = 'events'::regclass) = 'p' THEN
        RETURN;
    END IF;

    -- From here on nothing is stored beyond the first partition, nor a key without
    -- its row in idempotency_keys. It ends a day and more ahead of what is stored.
    LOOP
        BEGIN
            PERFORM set_config('lock_timeout', '500ms', true);
            LOCK TABLE events, deliveries, attempts IN ACCESS EXCLUSIVE MODE;
            EXIT;
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            PERFORM pg_sleep(0.5);
        END;
    END LOOP;
    SELECT ((greatest((extract(epoch FROM now()) * 1000)::bigint,
        (SELECT max(id) FROM events) / millisecond, (SELECT max(id) FROM deliveries) / millisecond) / day + 2) * day) * millisecond INTO bound;
    FOREACH part IN ARRAY ARRAY['events', 'deliveries', 'attempts'] LOOP
        key := CASE part WHEN 'attempts' THEN 'delivery_id' ELSE 'id' END;
        EXECUTE format('ALTER TABLE %I DROP CONSTRAINT IF EXISTS first_partition', part);
        EXECUTE format('ALTER TABLE %I ADD CONSTRAINT first_partition CHECK (%I < %s) NOT VALID', part, key, bound);
    END LOOP;
    DROP TRIGGER IF EXISTS keep_idempotency_key ON events;
    DROP TRIGGER IF EXISTS free_idempotency_key ON events;
    CREATE TRIGGER keep_idempotency_key BEFORE INSERT ON events FOR EACH ROW
        WHEN (NEW.idempotency_key IS NOT NULL) EXECUTE FUNCTION keep_idempotency_key();
    CREATE TRIGGER free_idempotency_key AFTER DELETE ON events FOR EACH ROW
        WHEN (OLD.idempotency_key IS NOT NULL) EXECUTE FUNCTION free_idempotency_key();
    COMMIT;

    LOOP
        WITH page AS (SELECT e.id, e.workspace_id, e.idempotency_key FROM events e WHERE e.id > done ORDER BY e.id LIMIT 5000),
        kept AS (
            INSERT INTO idempotency_keys AS k (workspace_id, idempotency_key, event_id)
            SELECT p.workspace_id, p.idempotency_key, p.id FROM page p WHERE p.idempotency_key IS NOT NULL
            ON CONFLICT (workspace_id, idempotency_key) DO UPDATE SET event_id = excluded.event_id)
        SELECT max(p.id) INTO done FROM page p;
        COMMIT;
        EXIT WHEN done IS NULL;
    END LOOP;

    FOREACH part IN ARRAY ARRAY['events', 'deliveries', 'attempts'] LOOP
        EXECUTE format('ALTER TABLE %I VALIDATE CONSTRAINT first_partition', part);
        COMMIT;
    END LOOP;

    LOOP
        BEGIN
            PERFORM set_config('lock_timeout', '500ms', true);
            LOCK TABLE events, deliveries, attempts IN ACCESS EXCLUSIVE MODE;
            EXIT;
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            PERFORM pg_sleep(0.5);
        END;
    END LOOP;
    DROP TRIGGER keep_idempotency_key ON events;
    DROP TRIGGER free_idempotency_key ON events;
    FOREACH part IN ARRAY ARRAY['events', 'deliveries', 'attempts'] LOOP
        key := CASE part WHEN 'attempts' THEN 'delivery_id' ELSE 'id' END;
        -- The indexes as they are now, but for the one of the idempotency keys, which
        -- stays with the first partition: the release before looks keys up by it.
        SELECT COALESCE(array_agg(pg_get_indexdef(x.indexrelid)), '{}') INTO indexes
        FROM pg_index x WHERE x.indrelid = part::regclass AND NOT x.indisunique;
        SELECT pg_get_constraintdef(c.oid) INTO primary_key FROM pg_constraint c WHERE c.conrelid = part::regclass AND c.contype = 'p';
        FOR name IN SELECT c.relname FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid WHERE x.indrelid = part::regclass LOOP
            EXECUTE format('ALTER INDEX %I RENAME TO %I', name, part || '_first' || substr(name, length(part) + 1));
        END LOOP;
        EXECUTE format('ALTER TABLE %I RENAME TO %I', part, part || '_first');
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING STORAGE INCLUDING COMPRESSION, CONSTRAINT %I %s) PARTITION BY RANGE (%I)',
            part, part || '_first', part || '_pkey', primary_key, key);
        FOREACH name IN ARRAY indexes LOOP
            EXECUTE name;
        END LOOP;
        EXECUTE format('SELECT EXISTS (SELECT 1 FROM %I)', 'events_first') INTO filled;
        IF filled THEN
            EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (MINVALUE) TO (%s)', part, part || '_first', bound);
            EXECUTE format('ALTER TABLE %I DROP CONSTRAINT first_partition', part || '_first');
        END IF;
        -- For what lies in no other partition: a clock that is off loses nothing.
        EXECUTE format('CREATE TABLE %I PARTITION OF %I DEFAULT', part || '_rest', part);
    END LOOP;
    IF NOT filled THEN
        DROP TABLE events_first, deliveries_first, attempts_first;
    END IF;
    CREATE TRIGGER keep_idempotency_key BEFORE INSERT ON events FOR EACH ROW
        WHEN (NEW.idempotency_key IS NOT NULL) EXECUTE FUNCTION keep_idempotency_key();
    CREATE TRIGGER free_idempotency_key AFTER DELETE ON events FOR EACH ROW
        WHEN (OLD.idempotency_key IS NOT NULL) EXECUTE FUNCTION free_idempotency_key();
END $$;
-- +goose StatementEnd
