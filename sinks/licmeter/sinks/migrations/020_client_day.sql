-- Rollup: which clients used what on which day, to count devices exactly over any range. Written like usage_day.
CREATE TABLE IF NOT EXISTS client_day
(
    organization_id LowCardinality(String),
    day             Date COMMENT 'of the slot, or of the authorization' CODEC(DoubleDelta, ZSTD(1)),
    received_day    Date COMMENT 'of the arrival; of an authorization the day itself' CODEC(ZSTD(1)),
    project_id      LowCardinality(String),
    item_id         LowCardinality(String) COMMENT 'empty = charged to nothing',
    client_uuid     String CODEC(ZSTD(1)),
    quantity        UInt64 CODEC(T64, ZSTD(1)) COMMENT 'units; 0 = granted authorizations only',
    version         UInt64 CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(day)
-- A project's clients lie together: most questions are about one project.
ORDER BY (organization_id, project_id, day, client_uuid, item_id, received_day)
PRIMARY KEY (organization_id, project_id, day);
