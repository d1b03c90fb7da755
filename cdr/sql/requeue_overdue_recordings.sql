UPDATE cdr.recordings
SET requeued_at = now()
WHERE recording_id = ANY(%(recording_ids)s)
  AND status = 'pending'
  AND greatest(coalesce(next_attempt_at, created_at), requeued_at) < now() - make_interval(secs => %(settling_seconds)s)
RETURNING recording_id
