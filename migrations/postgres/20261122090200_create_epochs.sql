-- A channel's newest playlist epoch. No media sequence number below next_msn may be used by a
-- later epoch; while an epoch runs, next_msn lies ahead of what it has used.
CREATE TABLE epochs (
    channel_id TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES channels (id) ON DELETE CASCADE,
    number BIGINT NOT NULL,
    first_msn BIGINT NOT NULL,
    next_msn BIGINT NOT NULL
);
