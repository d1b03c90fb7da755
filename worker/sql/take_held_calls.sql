-- The entry that has been due longest of those whose fold failed for a time.
DELETE FROM cdr.outbox
WHERE outbox_id = (
    SELECT outbox_id FROM cdr.outbox
    WHERE kind = 'calls' AND error IS NULL AND retry_at <= now()
    ORDER BY retry_at, outbox_id LIMIT 1
)
RETURNING call_keys::text[], provider_times, tries
