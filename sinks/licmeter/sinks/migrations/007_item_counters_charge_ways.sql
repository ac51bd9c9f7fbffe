-- What counts of items that count devices (schemas/counters.py). Rows from before are of cumulative items only.
ALTER TABLE license_counters
    ADD COLUMN IF NOT EXISTS attributed UInt64 DEFAULT used
        COMMENT 'all units attributed to the item, of any charge way' AFTER over,
    ADD COLUMN IF NOT EXISTS active UInt64 DEFAULT 0 COMMENT 'device items: live seats' AFTER attributed,
    ADD COLUMN IF NOT EXISTS consumed UInt64 DEFAULT 0
        COMMENT 'concurrency items: exceptions of the budget year' AFTER active,
    ADD COLUMN IF NOT EXISTS budget Nullable(UInt64)
        COMMENT 'concurrency items: exceptions that a budget year tolerates' AFTER consumed,
    ADD COLUMN IF NOT EXISTS budget_year Nullable(UInt32)
        COMMENT 'concurrency items: which one, from 0' AFTER budget,
    COMMENT COLUMN used 'of cumulative items: in_quota + in_grace + over',
    COMMENT COLUMN percent
        'used or active x 100 / quota, consumed x 100 / budget; null without a limit';
