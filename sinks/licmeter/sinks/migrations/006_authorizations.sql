-- One row for each authorization that was not rejected (schemas/authorization_rows.py has the meaning of the columns).
-- Written at least once, like usage_attributed.
CREATE TABLE IF NOT EXISTS authorizations
(
    organization_id     LowCardinality(String),
    project_id          LowCardinality(String) COMMENT 'empty = none was named and there is no default, or a duplicate',
    item_id             LowCardinality(String) COMMENT 'empty = refused, or a duplicate',
    client_uuid         String CODEC(ZSTD(1)),
    auth_id             String CODEC(ZSTD(1)),
    at                  DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)) COMMENT 'the instant of the request',
    outcome             LowCardinality(String) COMMENT 'granted, refused, duplicate',
    code                LowCardinality(String) COMMENT 'why it was refused, empty = granted, or a duplicate',
    code_number         UInt16 CODEC(T64, ZSTD(1)) COMMENT '0 = no code; two codes may share a number',
    agrees              Bool COMMENT 'the recorded answer is the verdict of the stream',
    charge_way          LowCardinality(String) COMMENT 'asked for: auto, or one',
    -- Words of the application; empty = not given.
    feature             LowCardinality(String),
    product             LowCardinality(String),
    version             LowCardinality(String),
    edition             LowCardinality(String),
    deployment_type     LowCardinality(String),
    requested_instances UInt32 CODEC(T64, ZSTD(1)),
    local_expires_at    DateTime64(3, 'UTC') CODEC(ZSTD(1)) COMMENT '1970 = no local license',
    received_at         DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    source_partition    UInt16 CODEC(ZSTD(1)),
    source_offset       UInt64 CODEC(Delta, ZSTD(1)),
    ingested_at         DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(DoubleDelta, ZSTD(1))
        COMMENT 'of the latest writing, and no part of the row'
)
ENGINE = ReplacingMergeTree
-- By the instant of the request, which is the clock of authorization statistics (domain, T5), and never changes.
PARTITION BY toYYYYMM(at)
-- Every query is bound to one organization and a range of instants. Instants in milliseconds hardly ever repeat, so
-- nothing would be sorted by what came after them: projects and items are found by reading the range. The last two
-- are the identity of the row. All of them are decided by the event alone, so a repeat has the same key.
ORDER BY (organization_id, at, source_partition, source_offset)
-- Only the columns that queries select by are kept in memory.
PRIMARY KEY (organization_id, at)
-- As long as the rows of reports.
TTL toDateTime(at) + INTERVAL 400 DAY
SETTINGS ttl_only_drop_parts = 1;
