-- One publish each, kept when its channel is deleted. details and events are JSON in the API's words.
CREATE TABLE stream_sessions (
    stream_id TEXT NOT NULL PRIMARY KEY,
    channel_id TEXT NOT NULL,
    started_ms BIGINT NOT NULL,
    ended_ms BIGINT,
    has_error BOOLEAN NOT NULL,
    details TEXT NOT NULL,
    events TEXT NOT NULL
);

CREATE INDEX stream_sessions_by_channel ON stream_sessions (channel_id, started_ms, stream_id);
CREATE INDEX stream_sessions_by_start ON stream_sessions (started_ms);
