-- A channel's one stream key. sealed_value is the whole key, encrypted (nonce, ciphertext, tag).
CREATE TABLE stream_keys (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    channel_id TEXT COLLATE "C" NOT NULL UNIQUE REFERENCES channels (id) ON DELETE CASCADE,
    sealed_value BYTEA NOT NULL,
    created_ms BIGINT NOT NULL
);
