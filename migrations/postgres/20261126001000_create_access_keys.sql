-- Keys that programs sign with, besides the first one. Secret and session token are encrypted (nonce, ciphertext, tag).
CREATE TABLE access_keys (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    sealed_secret BYTEA NOT NULL,
    sealed_token BYTEA,
    expires_ms BIGINT,
    role TEXT NOT NULL,
    arn_prefix TEXT NOT NULL,
    created_ms BIGINT NOT NULL
);
