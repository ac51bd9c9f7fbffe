-- The current document of each organization: what was bought, and what a project may use. Headers and forecasts read it.
CREATE TABLE IF NOT EXISTS catalogs
(
    organization_id LowCardinality(String),
    document        String CODEC(ZSTD(3)) COMMENT 'JSON (schemas/catalog.py) without secrets and addresses',
    version         UInt64 COMMENT 'offset on license.catalog; an organization stays in one partition',
    ingested_at     DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(version)
ORDER BY organization_id;
