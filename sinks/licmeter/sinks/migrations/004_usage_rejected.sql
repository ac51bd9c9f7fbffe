-- What was refused, with the reason and where it stood. The topic usage.rejected keeps the whole record for 90 days;
-- this table keeps enough of it to explain and to find it.
CREATE TABLE IF NOT EXISTS usage_rejected
(
    organization_id  LowCardinality(String) COMMENT 'the original key where it is UTF-8, otherwise empty',
    reason           LowCardinality(String) COMMENT 'undecodable = a record on usage.rejected without our headers',
    detail           String CODEC(ZSTD(1)),
    source_topic     LowCardinality(String),
    source_partition UInt32,
    source_offset    UInt64 CODEC(Delta, ZSTD(1)),
    received_at      DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    -- Bytes as they came, UTF-8 or not; null is not the same as empty.
    key              Nullable(String) CODEC(ZSTD(1)),
    headers          Array(Tuple(name String, value String)) CODEC(ZSTD(1)) COMMENT 'the original ones, without ours',
    payload          Nullable(String) CODEC(ZSTD(3)) COMMENT 'its first 64 KiB',
    payload_bytes    UInt64 COMMENT 'of the whole payload',
    payload_sha256   FixedString(64) CODEC(ZSTD(1)) COMMENT 'of the whole payload, in hex',
    ingested_at      DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(DoubleDelta, ZSTD(1))
)
ENGINE = ReplacingMergeTree
-- received_at is the broker's clock when the record came, and travels with it: a repeat falls into the same month.
PARTITION BY toYYYYMM(received_at)
-- "What was refused for this organization lately" is the question; the last three are the identity.
ORDER BY (organization_id, received_at, source_topic, source_partition, source_offset)
-- As long as the rows of accepted reports.
TTL toDateTime(received_at) + INTERVAL 400 DAY
SETTINGS ttl_only_drop_parts = 1;
