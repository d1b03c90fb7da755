-- Locked, so that two processes do not queue the same; deleted once the jobs are in Redis.
SELECT outbox_id, recording_ids FROM cdr.outbox
WHERE kind = 'recordings' ORDER BY outbox_id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
