-- +goose Up

-- How urgent a delivery is: 0 info, 1 low, 2 medium, 3 high, 4 critical. Those of
-- before get their event type's severity; what the event itself says is not read.
ALTER TABLE deliveries ADD COLUMN severity SMALLINT NOT NULL DEFAULT 0;

UPDATE deliveries SET severity = CASE e.type
    WHEN 'threat.detected' THEN 4
    WHEN 'incident.created' THEN 3 WHEN 'patch.failed' THEN 3 WHEN 'compliance.control.failed' THEN 3
    WHEN 'endpoint.offline' THEN 1
    ELSE 2 END
FROM events e
WHERE e.id = deliveries.event_id AND e.type IN ('threat.detected', 'incident.created', 'patch.failed', 'compliance.control.failed',
    'incident.updated', 'auth.suspicious', 'system.alert', 'endpoint.offline');

-- A claim takes the most severe first: one seek for each severity.
DROP INDEX deliveries_queue;
CREATE INDEX deliveries_queue ON deliveries (webhook_id, status, severity DESC, due_at, id) WHERE status < 2;
