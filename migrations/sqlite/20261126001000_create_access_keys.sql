-- Keys that programs sign with, besides the first one. Secret and session token are encrypted (nonce, ciphertext, tag).
CREATE TABLE access_keys (
    id TEXT NOT NULL PRIMARY KEY,
    sealed_secret BLOB NOT NULL,
    sealed_token BLOB,
    expires_ms BIGINT,
    role TEXT NOT NULL,
    arn_prefix TEXT NOT NULL,
    created_ms BIGINT NOT NULL
);
