-- Of these incoming rows, those whose CDR has another first delivery: what has to be merged, unless it was already.
SELECT incoming.identity
FROM incoming
JOIN cdr.cdrs AS known USING (identity, provider_time)
WHERE
    incoming.identity = ANY(%(identities)s)
    AND (known.delivery_id, known.delivery_place) <> (incoming.delivery_id, incoming.delivery_place)
