-- Viewers of a channel whose tokens of this version, and of lower ones, are good no more.
CREATE TABLE viewer_revocations (
    channel_id TEXT COLLATE "C" NOT NULL REFERENCES channels (id) ON DELETE CASCADE,
    viewer_id TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    revoked_ms BIGINT NOT NULL,
    PRIMARY KEY (channel_id, viewer_id)
);

CREATE INDEX viewer_revocations_by_time ON viewer_revocations (revoked_ms, viewer_id);
