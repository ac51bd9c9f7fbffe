-- What the ten-minute checks told people (schemas/alerts.py; domain, section 11): one row for each message. Whom it was
-- sent to is on the topic, not here: addresses are no statistics.
CREATE TABLE IF NOT EXISTS usage_alerts
(
    organization_id LowCardinality(String),
    checked_at      DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
    alert_id        String CODEC(ZSTD(1)) COMMENT 'hash of organization and instant of the check',
    -- In the order of the message. Arrays of one row replace each other together; rows of a repeat that holds fewer
    -- conditions would leave some of the first behind. ARRAY JOIN conditions makes one row of each.
    conditions      Nested
    (
        scope          LowCardinality(String),            -- item, project
        item_id        String,                            -- empty = of a project
        project_id     String,                            -- empty = of an item
        project_ids    Array(String),                     -- the projects of an item
        charge_way     LowCardinality(String),            -- empty = of a project
        metric         LowCardinality(String),
        value          UInt64,
        quota          Nullable(UInt64),                  -- what 100 percent is
        percent        Nullable(Decimal(38, 2)),
        level          UInt16,                            -- the highest that was newly passed
        crossed        Array(UInt16),
        state          LowCardinality(String),            -- empty = of a project
        window_minutes UInt32,                            -- 0 = of no window
        top_codes      Map(LowCardinality(String), UInt32)
    ),
    condition_count UInt16 MATERIALIZED length(conditions.scope),
    ingested_at     DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(DoubleDelta, ZSTD(1))
)
-- A repeat says what was said before, or less: levels that were noted in between are not said again. The fullest one
-- wins, since all of it was sent.
ENGINE = ReplacingMergeTree(condition_count)
-- alert_id is made of the organization and the instant, so all of these are decided by it.
PARTITION BY toYYYYMM(checked_at)
ORDER BY (organization_id, checked_at, alert_id)
-- As long as the rows of reports.
TTL checked_at + INTERVAL 400 DAY
SETTINGS ttl_only_drop_parts = 1;
