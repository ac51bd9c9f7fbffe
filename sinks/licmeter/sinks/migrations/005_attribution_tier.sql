-- What attribution says since items of all charge ways are counted (schemas/attribution.py): items that count devices
-- take no units, so in_quota, in_grace and over do not tell how they took a line.
ALTER TABLE usage_attributed
    -- Rows from before are of cumulative items, and their units tell it: the last pass that took some.
    ADD COLUMN IF NOT EXISTS tier LowCardinality(String)
        DEFAULT multiIf(item_id = '', '', over > 0, 'over', in_grace > 0, 'grace', 'quota')
        COMMENT 'the last pass in which the item took some: quota, grace, over, empty = nothing took it' AFTER over,
    -- Nearly always 0.
    ADD COLUMN IF NOT EXISTS exceptions UInt32 DEFAULT 0 CODEC(T64, ZSTD(1))
        COMMENT 'what the line added to the exceptions of its slot, of concurrency items' AFTER tier;
