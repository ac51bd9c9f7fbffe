-- Limits that were crossed, and use that no license covers (schemas/alerts.py; domain, 8.2): one row for each identity.
CREATE TABLE IF NOT EXISTS breaches
(
    organization_id LowCardinality(String),
    kind            LowCardinality(String),
    breach_id       String CODEC(ZSTD(1)) COMMENT 'hash of organization, kind and what the breach is about',
    project_id      LowCardinality(String) COMMENT 'empty = of no project',
    item_id         LowCardinality(String) COMMENT 'empty = of no item',
    client_uuid     String CODEC(ZSTD(1)) COMMENT 'empty = of no single client',
    slot            DateTime('UTC') CODEC(DoubleDelta, ZSTD(1))
        COMMENT 'start of the slot of the usage, or of the instant of the contact',
    quota           Nullable(UInt64) CODEC(ZSTD(1)),
    limit           Nullable(UInt64) CODEC(ZSTD(1)) COMMENT 'what was crossed: Q, Q + G, N, or the overuse budget',
    value           Nullable(UInt64) CODEC(ZSTD(1)) COMMENT 'after the crossing',
    percent         Nullable(Decimal(38, 2)) CODEC(ZSTD(1)),
    late            Bool,
    at              DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)) COMMENT 'when the event that led to it arrived',
    detail          String CODEC(ZSTD(1)) COMMENT 'domain_refused: the domain key, clock_skew: the check',
    -- What of the identity is a time, to sort and to divide by: repeats must meet in one partition, under one key. Most
    -- identities hold a slot or a UTC day, and then that is the slot's day. A crossing of a cumulative quota is known
    -- by the quota, and one of an overuse budget by its year: the same may come again with another slot, as when a
    -- budget was raised and is used up again. (Crossings of a quota of seats hold their slot, but share their kind with
    -- those of a cumulative quota. They are as few, and lie with them.)
    identity_day    Date MATERIALIZED
        if(kind IN ('quota_reached', 'grace_exhausted', 'overuse_exhausted'), toDate(0), toDate(slot, 'UTC'))
        CODEC(ZSTD(1)) COMMENT 'the day of slot, 1970-01-01 where the identity holds no time',
    ingested_at     DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(DoubleDelta, ZSTD(1))
)
-- The latest crossing under an identity wins, in whatever order its records come and come again.
ENGINE = ReplacingMergeTree(at)
-- Not by the month of slot: see identity_day. Rows without a day share one partition; they are few, at most some for
-- each item and limit.
PARTITION BY toYYYYMM(identity_day)
-- "What happened in this organization on these days" is the question. All of the key is decided by breach_id.
-- A reader of a range of days adds the rows of 1970-01-01, and asks for slot besides.
ORDER BY (organization_id, identity_day, kind, breach_id)
PRIMARY KEY (organization_id, identity_day, kind)
-- As long as the rows of reports. Rows without a day lie beside younger ones of their kind, and stay with them.
TTL slot + INTERVAL 400 DAY
SETTINGS ttl_only_drop_parts = 1;
