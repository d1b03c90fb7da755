-- Of these incoming rows, those whose CDR has a row, and whether this very delivery made that row.
SELECT
    incoming.identity,
    (known.delivery_id, known.delivery_place) = (incoming.delivery_id, incoming.delivery_place)
FROM incoming
JOIN cdr.cdrs AS known USING (identity, provider_time)
WHERE incoming.identity = ANY(%(identities)s)
