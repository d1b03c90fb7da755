DELETE FROM cdr.outbox
WHERE outbox_id IN (
    SELECT outbox_id FROM cdr.outbox WHERE kind = 'calls' AND error IS NULL ORDER BY outbox_id LIMIT %(limit)s
)
RETURNING call_keys, provider_times
