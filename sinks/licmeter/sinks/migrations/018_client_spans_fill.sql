-- What was stored before the views were there. What comes twice changes nothing.
INSERT INTO client_spans
SELECT organization_id, project_id, item_id, client_uuid,
       min(if(quantity > 0, toDateTime64(slot, 3, 'UTC'), toDateTime64('2299-12-31 00:00:00', 3, 'UTC'))),
       min(if(quantity > 0, received_at, toDateTime64('2299-12-31 00:00:00', 3, 'UTC'))),
       max(if(quantity > 0, received_at, toDateTime64(0, 3, 'UTC'))),
       max(if(quantity > 0, toDateTime64(slot, 3, 'UTC'), toDateTime64(0, 3, 'UTC'))),
       max(toDateTime64(slot, 3, 'UTC')), max(received_at)
FROM usage_attributed WHERE outcome != 'duplicate'
GROUP BY organization_id, project_id, item_id, client_uuid
UNION ALL
SELECT organization_id, project_id, item_id, client_uuid, min(at), min(at), toDateTime64(0, 3, 'UTC'), max(at),
       toDateTime64(0, 3, 'UTC'), max(received_at)
FROM authorizations WHERE outcome = 'granted'
GROUP BY organization_id, project_id, item_id, client_uuid;
