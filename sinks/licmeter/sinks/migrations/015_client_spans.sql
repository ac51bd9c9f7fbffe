-- When each client was first and last seen, by project and item: new devices, and clients that fell silent. Written by
-- views that take minimum and maximum only, so it is as fresh as the facts, and repeats change nothing. Kept for ever.
CREATE TABLE IF NOT EXISTS client_spans
(
    organization_id    LowCardinality(String),
    project_id         LowCardinality(String),
    item_id            LowCardinality(String) COMMENT 'empty = uncharged use, or contacts without use',
    client_uuid        String CODEC(ZSTD(1)),
    -- Use is units > 0 or a granted authorization. 2299 and 1970 stand for never.
    first_use_at       SimpleAggregateFunction(min, DateTime64(3, 'UTC')) CODEC(ZSTD(1))
        COMMENT 'start of the slot, or instant of the authorization',
    first_use_received SimpleAggregateFunction(min, DateTime64(3, 'UTC')) CODEC(ZSTD(1))
        COMMENT 'arrival of the report that came first, or instant of the authorization',
    last_use_received  SimpleAggregateFunction(max, DateTime64(3, 'UTC')) CODEC(ZSTD(1))
        COMMENT 'latest arrival of a report with use; authorizations leave it alone',
    last_use_at        SimpleAggregateFunction(max, DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
    last_report_at     SimpleAggregateFunction(max, DateTime64(3, 'UTC')) CODEC(ZSTD(1))
        COMMENT 'start of the latest slot that was reported, with use or without',
    last_received_at   SimpleAggregateFunction(max, DateTime64(3, 'UTC')) CODEC(ZSTD(1))
        COMMENT 'latest arrival of anything'
)
ENGINE = AggregatingMergeTree
ORDER BY (organization_id, project_id, item_id, client_uuid)
PRIMARY KEY (organization_id, project_id, item_id);
