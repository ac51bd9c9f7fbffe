-- The latest absolute state of each license item (schemas/counters.py).
CREATE TABLE IF NOT EXISTS license_counters
(
    organization_id  LowCardinality(String),
    item_id          String,
    charge_way       LowCardinality(String),
    quota            Nullable(UInt64) COMMENT 'null = unlimited',
    used             UInt64,
    in_quota         UInt64,
    in_grace         UInt64,
    over             UInt64,
    percent          Nullable(Decimal(38, 2)) COMMENT 'used x 100 / quota; null without a quota',
    state            LowCardinality(String),
    in_expiry_grace  Bool,
    source_partition UInt16,
    applied_offset   UInt64 COMMENT 'the last offset of usage.events that the values include',
    updated_at       DateTime64(3, 'UTC'),
    ingested_at      DateTime64(3, 'UTC') DEFAULT now64(3)
)
-- The highest offset wins, in whatever order the records come: a worker that wakes up late cannot undo anything.
ENGINE = ReplacingMergeTree(applied_offset)
-- One row for each item. No partitions and no TTL: the table is as small as the catalog, and rows that replace each
-- other must share a partition.
ORDER BY (organization_id, item_id);
