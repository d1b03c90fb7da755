-- The time of the next attempt tells whether another run of the same job has been here in between.
UPDATE cdr.recordings
SET attempts = attempts + %(attempts)s,
    next_attempt_at = now() + make_interval(secs => %(wait_seconds)s),
    last_error = %(error)s,
    updated_at = now()
WHERE recording_id = %(recording_id)s
  AND status = 'pending'
  AND next_attempt_at IS NOT DISTINCT FROM %(seen_next_attempt_at)s
RETURNING next_attempt_at
