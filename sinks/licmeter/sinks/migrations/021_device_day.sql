-- Rollup: how many devices a day had, by scope. Never add them up: a device may come every day. Written like usage_day.
CREATE TABLE IF NOT EXISTS device_day
(
    organization_id LowCardinality(String),
    scope           Enum8('organization' = 1, 'project' = 2, 'item' = 3, 'project_item' = 4),
    day             Date CODEC(DoubleDelta, ZSTD(1)),
    project_id      LowCardinality(String) COMMENT 'empty = not of this scope',
    item_id         LowCardinality(String) COMMENT 'empty = charged to nothing, or not of this scope',
    devices         UInt64 CODEC(T64, ZSTD(1)),
    version         UInt64 CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYear(day)
ORDER BY (organization_id, scope, day, project_id, item_id)
PRIMARY KEY (organization_id, scope, day);
