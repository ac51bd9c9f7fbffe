CREATE MATERIALIZED VIEW IF NOT EXISTS client_spans_authorizations TO client_spans AS
SELECT organization_id, project_id, item_id, client_uuid,
       min(at) AS first_use_at, min(at) AS first_use_received,
       toDateTime64(0, 3, 'UTC') AS last_use_received, max(at) AS last_use_at,
       toDateTime64(0, 3, 'UTC') AS last_report_at, max(received_at) AS last_received_at
FROM authorizations WHERE outcome = 'granted'
GROUP BY organization_id, project_id, item_id, client_uuid;
