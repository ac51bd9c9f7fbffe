-- Each organization's reports by outcome (schemas/counters.py); they add up to what was received.
CREATE TABLE IF NOT EXISTS organization_counters
(
    organization_id  LowCardinality(String) COMMENT 'empty = records that name no known organization',
    source_partition UInt16,
    charged          UInt64,
    uncharged        UInt64,
    duplicate        UInt64,
    rejected         UInt64,
    applied_offset   UInt64 COMMENT 'the last offset of usage.events that the values include',
    updated_at       DateTime64(3, 'UTC'),
    ingested_at      DateTime64(3, 'UTC') DEFAULT now64(3)
)
-- The highest offset wins, as in license_counters.
ENGINE = ReplacingMergeTree(applied_offset)
-- An organization lives in one partition of usage.events; the unknown ones are counted for each partition.
ORDER BY (organization_id, source_partition);
