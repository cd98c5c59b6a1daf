-- +goose Up

-- How a delivery is found by its sequence number: every 64th delivery of a
-- webhook has a mark, and every delivery names the one before it.
ALTER TABLE deliveries ADD COLUMN previous INTEGER NOT NULL DEFAULT 0; -- the row key of the webhook's delivery one number below
ALTER TABLE webhook_sequences ADD COLUMN last_delivery INTEGER NOT NULL DEFAULT 0; -- the row key of the delivery that has last
ALTER TABLE webhook_sequences ADD COLUMN before INTEGER NOT NULL DEFAULT 0; -- what last_delivery was before the latest change

CREATE TABLE webhook_sequence_marks (
    webhook_id  INTEGER NOT NULL,
    sequence    INTEGER NOT NULL,
    delivery_id INTEGER NOT NULL,
    PRIMARY KEY (webhook_id, sequence)
) STRICT, WITHOUT ROWID;

UPDATE deliveries SET previous = p.before
FROM (SELECT id, LAG(id, 1, 0) OVER (PARTITION BY webhook_id ORDER BY sequence) AS before FROM deliveries WHERE sequence > 0) p
WHERE p.id = deliveries.id;

INSERT INTO webhook_sequence_marks (webhook_id, sequence, delivery_id)
SELECT webhook_id, sequence, id FROM deliveries WHERE sequence > 0 AND sequence % 64 = 0;

UPDATE webhook_sequences SET last_delivery = p.id
FROM (SELECT d.webhook_id, d.id FROM deliveries d JOIN webhook_sequences s ON s.webhook_id = d.webhook_id AND s.last = d.sequence) p
WHERE p.webhook_id = webhook_sequences.webhook_id;
