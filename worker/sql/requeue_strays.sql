-- Puts recordings that have been overdue for a while into the outbox again, each at most once in that while.
WITH overdue AS (
    SELECT recording_id FROM cdr.recordings
    WHERE status = 'pending'
      AND greatest(coalesce(next_attempt_at, created_at), requeued_at) < now() - make_interval(secs => %(overdue_seconds)s)
      AND recording_id <> ALL(%(failed_ids)s)
    ORDER BY greatest(coalesce(next_attempt_at, created_at), requeued_at)
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
),
marked AS (
    UPDATE cdr.recordings SET requeued_at = now()
    WHERE recording_id IN (SELECT recording_id FROM overdue) AND status = 'pending'
    RETURNING recording_id
)
INSERT INTO cdr.outbox (kind, recording_ids)
SELECT 'recordings', array_agg(recording_id ORDER BY recording_id) FROM marked HAVING count(*) > 0
RETURNING cardinality(recording_ids)
