-- One row per IVS channel. Words are those of the API; created_ms is milliseconds since 1970.
CREATE TABLE channels (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    channel_type TEXT NOT NULL,
    latency_mode TEXT NOT NULL,
    preset TEXT,
    container_format TEXT NOT NULL,
    is_authorized BOOLEAN NOT NULL,
    is_insecure_ingest BOOLEAN NOT NULL,
    part_target_ms BIGINT,
    created_ms BIGINT NOT NULL
);

CREATE INDEX channels_by_creation ON channels (created_ms, id);
CREATE INDEX channels_by_name ON channels (name);
