UPDATE cdr.recordings
SET status = %(status)s,
    attempts = attempts + %(attempts)s,
    next_attempt_at = NULL,
    asked_to_wait_since = NULL,
    last_error = %(error)s,
    updated_at = now()
WHERE recording_id = %(recording_id)s
  AND status = 'pending'
