-- Locked in the order in which recorders write them, so that neither waits for the other.
WITH overdue AS (
    SELECT recording_id FROM cdr.recordings
    WHERE recording_id = ANY(%(recording_ids)s)
      AND status = 'pending'
      AND greatest(coalesce(next_attempt_at, created_at), requeued_at) < now() - make_interval(secs => %(settling_seconds)s)
    ORDER BY recording_id
    FOR UPDATE
)
UPDATE cdr.recordings AS recording
SET requeued_at = now()
FROM overdue
WHERE recording.recording_id = overdue.recording_id
RETURNING recording.recording_id
