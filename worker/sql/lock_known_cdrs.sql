-- The rows of these CDRs, locked in the order of the unique key until the transaction ends, each with how many deliveries
-- it was folded from and as its only delivery (of a CDR that was received more than once cdr.deliveries holds them all).
SELECT
    identity, delivery_count,
    delivery_id::text, delivery_place, first_received_at, format, payload::text, coalesce(notes, '{}'), account
FROM cdr.cdrs
WHERE (identity, provider_time) IN (
    SELECT * FROM unnest(%(identities)s::bytea[], %(provider_times)s::timestamp[])
)
ORDER BY identity, provider_time
FOR UPDATE
