-- +goose Up

-- In which spans of time something of an event type was stored: an event, or a
-- delivery of one.
CREATE TABLE type_spans (
    type TEXT    NOT NULL,
    span INTEGER NOT NULL, -- 128 ms: a row key without its low 27 bits
    PRIMARY KEY (type, span)
) STRICT, WITHOUT ROWID;

INSERT INTO type_spans (type, span)
SELECT type, id >> 27 FROM events
UNION
SELECT e.type, d.id >> 27 FROM deliveries d JOIN events e ON e.id = d.event_id;
