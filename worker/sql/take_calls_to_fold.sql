-- The oldest entries, up to `calls` calls together: many small ones or a few large ones make one fold.
DELETE FROM cdr.outbox
WHERE outbox_id IN (
    SELECT outbox_id
    FROM (
        SELECT outbox_id, sum(cardinality(call_keys)) OVER (ORDER BY outbox_id) - cardinality(call_keys) AS before
        FROM cdr.outbox
        WHERE kind = 'calls' AND error IS NULL AND retry_at IS NULL
        ORDER BY outbox_id LIMIT %(entries)s
    ) AS oldest
    WHERE before < %(calls)s
)
RETURNING call_keys::text[], provider_times
