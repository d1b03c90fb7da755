-- Keeps deliveries, given as an array of JSON objects: the notes are a list of their own in each.
INSERT INTO cdr.deliveries (
    identity, provider_time, delivery_id, delivery_place, received_at, format, fields, notes, superseded
)
SELECT
    decode(identity, 'hex'), provider_time, delivery_id, delivery_place, received_at, format, fields, notes, superseded
FROM json_to_recordset(%(deliveries)s::json) AS kept (
    identity text, provider_time timestamp, delivery_id uuid, delivery_place integer, received_at timestamptz, format text,
    fields jsonb, notes text[], superseded boolean
)
ON CONFLICT (identity, delivery_id, delivery_place) DO NOTHING
