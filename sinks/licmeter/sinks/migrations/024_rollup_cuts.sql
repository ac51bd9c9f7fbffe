-- Up to which writing of facts the rollups are right. Days with facts that were written after it are read from the facts.
CREATE TABLE IF NOT EXISTS rollup_cuts
(
    name        LowCardinality(String) COMMENT 'one row: days',
    cut         DateTime64(3, 'UTC'),
    version     UInt64 COMMENT 'microseconds when the computation began',
    computed_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(version)
ORDER BY name;
