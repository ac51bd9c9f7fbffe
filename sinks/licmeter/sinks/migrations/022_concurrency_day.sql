-- Rollup: in how many slots of a day how much was in use at once: peaks and exact percentiles of any range of days.
-- Written like usage_day.
CREATE TABLE IF NOT EXISTS concurrency_day
(
    organization_id LowCardinality(String),
    scope           Enum8('organization' = 1, 'project' = 2, 'item' = 3, 'project_item' = 4),
    day             Date CODEC(DoubleDelta, ZSTD(1)),
    project_id      LowCardinality(String) COMMENT 'empty = not of this scope',
    item_id         LowCardinality(String) COMMENT 'empty = not of this scope',
    peak            UInt64 CODEC(T64, ZSTD(1)),
    slots           Map(UInt64, UInt64) COMMENT 'in use at once: number of slots; those without use are not in it',
    version         UInt64 CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYear(day)
ORDER BY (organization_id, scope, day, project_id, item_id)
PRIMARY KEY (organization_id, scope, day);
