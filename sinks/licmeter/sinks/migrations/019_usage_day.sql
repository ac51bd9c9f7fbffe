-- Rollup of usage_attributed: one row for each day, project, item and feature. Written by `licmeter rollup` as absolute
-- values, never by a view: sums of what may come twice would be wrong. Can be rebuilt from the facts by one command.
CREATE TABLE IF NOT EXISTS usage_day
(
    organization_id LowCardinality(String),
    -- Reports do not add up over items and features, as one report may have lines on several. So each way to group has
    -- rows of its own.
    level           Enum8('project' = 1, 'item' = 2, 'feature' = 3, 'line' = 4)
        COMMENT 'what the rows are grouped by beside the project: nothing, item, feature, both',
    day             Date COMMENT 'of the slot' CODEC(DoubleDelta, ZSTD(1)),
    received_day    Date COMMENT 'of the arrival' CODEC(ZSTD(1)),
    project_id      LowCardinality(String),
    item_id         LowCardinality(String) COMMENT 'empty = charged to nothing, or not grouped by',
    feature         LowCardinality(String) COMMENT 'empty = none named, or not grouped by',
    late            Bool,
    quantity        UInt64 CODEC(T64, ZSTD(1)),
    in_quota        UInt64 CODEC(T64, ZSTD(1)),
    in_grace        UInt64 CODEC(T64, ZSTD(1)),
    over            UInt64 CODEC(T64, ZSTD(1)),
    exceptions      UInt64 CODEC(T64, ZSTD(1)),
    reports         UInt64 CODEC(T64, ZSTD(1)) COMMENT 'reports that have such a line',
    version         UInt64 CODEC(ZSTD(1)) COMMENT 'microseconds when the computation began; the latest wins'
)
ENGINE = ReplacingMergeTree(version)
-- A year of days is small. Kept for ever (domain, section 14).
PARTITION BY toYear(day)
ORDER BY (organization_id, level, day, project_id, item_id, feature, received_day, late)
PRIMARY KEY (organization_id, level, day);
