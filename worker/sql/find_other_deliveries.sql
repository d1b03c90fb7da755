-- Of these incoming rows, those whose CDR has another first delivery: what has to be merged, unless it was already.
SELECT incoming.identity
FROM incoming
-- One by one, which the OFFSET keeps so: PostgreSQL knows late what a table that grows holds, and of a temporary one never.
CROSS JOIN LATERAL (
    SELECT delivery_id, delivery_place FROM cdr.cdrs AS standing
    WHERE standing.identity = incoming.identity AND standing.provider_time = incoming.provider_time
    OFFSET 0
) AS known
WHERE
    incoming.identity = ANY(%(identities)s)
    AND (known.delivery_id, known.delivery_place) <> (incoming.delivery_id, incoming.delivery_place)
