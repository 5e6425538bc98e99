-- Resources that are stored whole: contents and tags as JSON, in the API's words. unique_value: what no other one of the
-- kind may have, if anything.
CREATE TABLE documents (
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    state TEXT NOT NULL,
    unique_value TEXT,
    tags TEXT NOT NULL,
    contents TEXT NOT NULL,
    PRIMARY KEY (kind, id),
    UNIQUE (kind, unique_value)
);

CREATE INDEX documents_by_creation ON documents (kind, created_ms, id);

-- A row is updated, to no effect, by whoever counts what there is of a kind before it adds to it: they take turns.
CREATE TABLE turns (kind TEXT NOT NULL PRIMARY KEY);
INSERT INTO turns (kind) VALUES ('channel'), ('recording-configuration'), ('playback-key'),
    ('playback-restriction-policy'), ('ad-configuration'), ('failover-slate-configuration');
