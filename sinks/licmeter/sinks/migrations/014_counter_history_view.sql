-- Copies rows and sums nothing: written twice, a row replaces itself (docs/decisions/0005-clickhouse-rows.md).
CREATE MATERIALIZED VIEW IF NOT EXISTS counter_history_view TO counter_history AS
SELECT organization_id, item_id, updated_at, applied_offset, quota, used, attributed, active, consumed, budget, state
FROM license_counters;
