SELECT identity, delivery_id::text, delivery_place, received_at, format, fields::text, notes
FROM cdr.deliveries
WHERE identity = ANY(%(identities)s)
