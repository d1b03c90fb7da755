-- The deliveries of these CDRs that still make a difference to their rows.
SELECT identity, delivery_id::text, delivery_place, received_at, format, fields::text, notes
FROM cdr.deliveries
WHERE identity = ANY(%(identities)s) AND NOT superseded
