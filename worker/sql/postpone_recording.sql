-- The time of the next attempt tells whether another run of the same job has been here in between.
UPDATE cdr.recordings
SET attempts = %(attempts)s,
    next_attempt_at = %(retry_at)s,
    last_error = %(error)s,
    updated_at = now()
WHERE recording_id = %(recording_id)s
  AND status = 'pending'
  AND next_attempt_at IS NOT DISTINCT FROM %(seen_next_attempt_at)s
