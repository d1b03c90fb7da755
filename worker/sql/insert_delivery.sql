INSERT INTO cdr.deliveries (
    identity, provider_time, delivery_id, delivery_place, received_at, format, fields, notes, superseded
)
VALUES (
    %(identity)s, %(provider_time)s, %(delivery_id)s::uuid, %(delivery_place)s, %(received_at)s, %(format)s,
    %(fields)s::jsonb, %(notes)s, %(superseded)s
)
ON CONFLICT (identity, delivery_id, delivery_place) DO NOTHING
