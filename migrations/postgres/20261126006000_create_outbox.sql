-- What happened, in the order in which it was told. body is the event's JSON as it is sent.
CREATE TABLE outbox (
    seq BIGSERIAL PRIMARY KEY,
    id TEXT COLLATE "C" NOT NULL UNIQUE,
    detail_type TEXT NOT NULL,
    resource TEXT NOT NULL,
    told_ms BIGINT NOT NULL,
    body TEXT NOT NULL
);

CREATE INDEX outbox_by_time ON outbox (told_ms);

-- Who is told, and up to where. sealed_secret is encrypted (nonce, ciphertext, tag); detail_types and resources are JSON.
CREATE TABLE webhooks (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    url TEXT NOT NULL,
    sealed_secret BYTEA NOT NULL,
    detail_types JSONB NOT NULL,
    resources JSONB NOT NULL,
    created_ms BIGINT NOT NULL,
    after_seq BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    failing_ms BIGINT,
    due_ms BIGINT NOT NULL,
    disabled TEXT
);

-- What a webhook did not take in time.
CREATE TABLE dead_letters (
    webhook_id TEXT COLLATE "C" NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    event_id TEXT COLLATE "C" NOT NULL,
    failed_ms BIGINT NOT NULL,
    reason TEXT NOT NULL,
    body TEXT NOT NULL,
    replayed BOOLEAN NOT NULL,
    PRIMARY KEY (webhook_id, event_id)
);
