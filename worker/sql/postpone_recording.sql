-- The time of the next attempt tells whether another run of the same job has been here in between. A host that was not asked has
-- said nothing, so what it said before stands.
UPDATE cdr.recordings
SET attempts = attempts + %(attempts)s,
    next_attempt_at = now() + make_interval(secs => %(wait_seconds)s),
    asked_to_wait_since = CASE %(asked_to_wait)s::boolean
        WHEN true THEN coalesce(asked_to_wait_since, now())
        WHEN false THEN NULL
        ELSE asked_to_wait_since
    END,
    last_error = %(error)s,
    updated_at = now()
WHERE recording_id = %(recording_id)s
  AND status = 'pending'
  AND next_attempt_at IS NOT DISTINCT FROM %(seen_next_attempt_at)s
RETURNING next_attempt_at
