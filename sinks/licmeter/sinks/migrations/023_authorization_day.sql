-- Rollup of authorizations. Written like usage_day.
CREATE TABLE IF NOT EXISTS authorization_day
(
    organization_id LowCardinality(String),
    day             Date COMMENT 'of the request' CODEC(DoubleDelta, ZSTD(1)),
    project_id      LowCardinality(String),
    item_id         LowCardinality(String) COMMENT 'empty = refused',
    outcome         LowCardinality(String) COMMENT 'granted, refused',
    code            LowCardinality(String) COMMENT 'why it was refused',
    requests        UInt64 CODEC(T64, ZSTD(1)),
    version         UInt64 CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYear(day)
ORDER BY (organization_id, day, project_id, item_id, outcome, code)
PRIMARY KEY (organization_id, day);
