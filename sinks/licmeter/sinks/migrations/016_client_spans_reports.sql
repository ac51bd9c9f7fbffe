CREATE MATERIALIZED VIEW IF NOT EXISTS client_spans_reports TO client_spans AS
SELECT organization_id, project_id, item_id, client_uuid,
       min(if(quantity > 0, toDateTime64(slot, 3, 'UTC'), toDateTime64('2299-12-31 00:00:00', 3, 'UTC'))) AS first_use_at,
       min(if(quantity > 0, received_at, toDateTime64('2299-12-31 00:00:00', 3, 'UTC'))) AS first_use_received,
       max(if(quantity > 0, received_at, toDateTime64(0, 3, 'UTC'))) AS last_use_received,
       max(if(quantity > 0, toDateTime64(slot, 3, 'UTC'), toDateTime64(0, 3, 'UTC'))) AS last_use_at,
       max(toDateTime64(slot, 3, 'UTC')) AS last_report_at,
       max(received_at) AS last_received_at
FROM usage_attributed WHERE outcome != 'duplicate'
GROUP BY organization_id, project_id, item_id, client_uuid;
