-- +goose Up

-- Incidents. A change of a workspace's is committed on the condition that nobody
-- has changed them since they were read: its revision.
CREATE TABLE incident_state (
    workspace_id INTEGER PRIMARY KEY,
    revision     INTEGER NOT NULL,
    verdicts     INTEGER NOT NULL -- the revision at which the verdicts last changed
) STRICT;

CREATE TABLE incidents (
    id           INTEGER PRIMARY KEY,
    id_rest      INTEGER NOT NULL,
    workspace_id INTEGER NOT NULL,
    status       INTEGER NOT NULL, -- 0 open, 1 acknowledged, 2 resolved
    severity     INTEGER NOT NULL,
    active_at    INTEGER NOT NULL, -- when somebody last had to do with it
    behind_since INTEGER NOT NULL, -- when it was last told of, if there is more to tell; else 0
    search       TEXT    NOT NULL, -- title and entities, in lower case
    doc          TEXT    NOT NULL  -- JSON: all of it
) STRICT;

CREATE INDEX incidents_live ON incidents (workspace_id, id) WHERE status < 2;
CREATE INDEX incidents_quiet ON incidents (active_at) WHERE status < 2;
CREATE INDEX incidents_behind ON incidents (behind_since) WHERE behind_since > 0;
CREATE INDEX incidents_resolved ON incidents (active_at) WHERE status = 2;

-- What live incidents can be joined by.
CREATE TABLE incident_links (
    workspace_id INTEGER NOT NULL,
    link         TEXT    NOT NULL,
    incident_id  INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, link, incident_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX incident_links_incident ON incident_links (incident_id);

-- Threats and suspicious logins, of an incident or of none (0).
CREATE TABLE incident_members (
    workspace_id INTEGER NOT NULL,
    subject      TEXT    NOT NULL,
    incident_id  INTEGER NOT NULL,
    told_id      INTEGER NOT NULL, -- what stands in the event of finding_key
    told_rest    INTEGER NOT NULL,
    finding_key  TEXT    NOT NULL,
    at           INTEGER NOT NULL,
    doc          TEXT    NOT NULL, -- JSON
    PRIMARY KEY (workspace_id, subject)
) STRICT, WITHOUT ROWID;

CREATE INDEX incident_members_incident ON incident_members (incident_id, at);
CREATE INDEX incident_members_none ON incident_members (at) WHERE incident_id = 0;

-- What people found the detections of a rule, or what is called by a name, to be.
CREATE TABLE incident_verdicts (
    workspace_id   INTEGER NOT NULL,
    rule           TEXT    NOT NULL,
    name           TEXT    NOT NULL,
    true_positive  INTEGER NOT NULL,
    false_positive INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, rule, name)
) STRICT, WITHOUT ROWID;

-- Events about incidents that are yet to be published, in the order of commit.
CREATE TABLE incident_events (
    workspace_id INTEGER NOT NULL,
    revision     INTEGER NOT NULL,
    place        INTEGER NOT NULL,
    type         TEXT    NOT NULL,
    at           INTEGER NOT NULL,
    event_key    TEXT    NOT NULL,
    data         BLOB    NOT NULL,
    PRIMARY KEY (workspace_id, revision, place)
) STRICT, WITHOUT ROWID;

INSERT INTO schema_versions (version, oldest) VALUES (15, 9);
