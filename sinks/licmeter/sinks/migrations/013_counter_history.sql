-- Every state of an item that was published, not only the latest: how percent, seats and budgets went.
CREATE TABLE IF NOT EXISTS counter_history
(
    organization_id LowCardinality(String),
    item_id         LowCardinality(String),
    updated_at      DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    applied_offset  UInt64 CODEC(Delta, ZSTD(1)),
    quota           Nullable(UInt64) CODEC(ZSTD(1)),
    used            UInt64 CODEC(Delta, ZSTD(1)),
    attributed      UInt64 CODEC(Delta, ZSTD(1)),
    active          UInt64 CODEC(Delta, ZSTD(1)),
    consumed        UInt64 CODEC(Delta, ZSTD(1)),
    budget          Nullable(UInt64) CODEC(ZSTD(1)),
    state           LowCardinality(String)
)
-- A state is decided by the offset that it includes, so a repeat is the same row.
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(updated_at)
ORDER BY (organization_id, item_id, updated_at, applied_offset)
PRIMARY KEY (organization_id, item_id, updated_at)
TTL toDateTime(updated_at) + INTERVAL 400 DAY
SETTINGS ttl_only_drop_parts = 1;
