-- A channel's one stream key. sealed_value is the whole key, encrypted (nonce, ciphertext, tag).
CREATE TABLE stream_keys (
    id TEXT NOT NULL PRIMARY KEY,
    channel_id TEXT NOT NULL UNIQUE REFERENCES channels (id) ON DELETE CASCADE,
    sealed_value BLOB NOT NULL,
    created_ms BIGINT NOT NULL
);
