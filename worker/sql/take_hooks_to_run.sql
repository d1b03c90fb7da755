-- Locked, so that two processes do not queue the same; deleted once the jobs are in Redis. With `most` only entries of up to
-- so many jobs.
SELECT outbox_id, created_at, identities, provider_times, call_ids, hooks, is_update, job_count FROM cdr.outbox
WHERE kind = 'hooks' AND (%(most)s::integer IS NULL OR job_count <= %(most)s::integer)
ORDER BY outbox_id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
