-- Lives of seats of device items (schemas/seat_rows.py has the meaning of the columns), one row for each project through
-- which the seat was used. Written at least once: rows of one identity are merged by minimum and maximum, which a
-- repeat does not change.
CREATE TABLE IF NOT EXISTS seats
(
    organization_id LowCardinality(String),
    item_id         LowCardinality(String),
    client_uuid     String CODEC(ZSTD(1)),
    first_at        DateTime64(3, 'UTC') CODEC(ZSTD(1)) COMMENT 'when the seat was taken; one that comes back is new',
    project_id      LowCardinality(String) COMMENT 'empty = contacts without use, of no project',
    since           SimpleAggregateFunction(min, DateTime64(3, 'UTC')) CODEC(ZSTD(1))
        COMMENT 'first contact through the project',
    last_contact_at SimpleAggregateFunction(max, DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
    expires_at      SimpleAggregateFunction(max, DateTime64(3, 'UTC')) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
-- One row for each life of a seat, far fewer than reports: no partitions. Kept for ever, as aggregates are: who held a
-- seat at the end of a day long ago must stay answerable (domain, section 14).
ORDER BY (organization_id, item_id, client_uuid, first_at, project_id)
PRIMARY KEY (organization_id, item_id, client_uuid);
