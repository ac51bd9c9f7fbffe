-- One row for each feature of each report that was not rejected (schemas/attribution.py has the meaning of the columns).
-- Written at least once: a row that comes again replaces itself, so every reader needs FINAL (setting final = 1).
CREATE TABLE IF NOT EXISTS usage_attributed
(
    organization_id  LowCardinality(String),
    project_id       LowCardinality(String),
    item_id          LowCardinality(String) COMMENT 'empty = charged to nothing',
    client_uuid      String CODEC(ZSTD(1)),
    report_id        String CODEC(ZSTD(1)),
    -- Slots of one insert are close to each other, or the same.
    slot             DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)) COMMENT 'start of the slot',
    feature          LowCardinality(String) COMMENT 'empty = a report without counts, or a duplicate',
    outcome          LowCardinality(String) COMMENT 'of the whole report: charged, uncharged, duplicate',
    usage_kind       LowCardinality(String),
    -- Counts are small numbers in wide columns: T64 drops the bits that nobody uses.
    quantity         UInt64 CODEC(T64, ZSTD(1)),
    in_quota         UInt64 CODEC(T64, ZSTD(1)),
    in_grace         UInt64 CODEC(T64, ZSTD(1)),
    over             UInt64 CODEC(T64, ZSTD(1)),
    instances        UInt32 CODEC(T64, ZSTD(1)),
    late             Bool,
    in_expiry_grace  Bool,
    received_at      DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    source_partition UInt16 CODEC(ZSTD(1)),
    source_offset    UInt64 CODEC(Delta, ZSTD(1)),
    line             UInt16 CODEC(T64, ZSTD(1)),
    ingested_at      DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(DoubleDelta, ZSTD(1))
        COMMENT 'of the latest writing; tells which slots are dirty, and is no part of the row',
    INDEX ix_ingested_at ingested_at TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree
-- By event time, never by arrival: replacing works inside one partition only, and the slot of a row never changes.
PARTITION BY toYYYYMM(slot)
-- Every query is bound to one organization and a range of slots; project and item then lie together. The last
-- three are the identity of the row. All of them are decided by the event alone, so a repeat has the same key.
ORDER BY (organization_id, slot, project_id, item_id, source_partition, source_offset, line)
-- Only the columns that queries select by are kept in memory.
PRIMARY KEY (organization_id, slot, project_id, item_id)
-- A budget year plus late data. Whole months are dropped, so the oldest rows stay up to a month longer.
TTL slot + INTERVAL 400 DAY
SETTINGS ttl_only_drop_parts = 1;
