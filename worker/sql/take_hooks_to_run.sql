-- Locked, so that two processes do not queue the same; deleted once the jobs are in Redis.
SELECT outbox_id, created_at, identities, provider_times, call_ids, hooks, is_update FROM cdr.outbox
WHERE kind = 'hooks' ORDER BY outbox_id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
