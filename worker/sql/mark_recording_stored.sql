UPDATE cdr.recordings
SET status = 'stored',
    storage_key = %(key)s,
    bytes = %(size_bytes)s,
    sha256 = %(sha256)s,
    content_type = %(content_type)s,
    seconds = %(seconds)s,
    codec = %(codec)s,
    problem = %(problem)s,
    attempts = attempts + %(attempts)s,
    next_attempt_at = NULL,
    asked_to_wait_since = NULL,
    last_error = NULL,
    updated_at = now()
WHERE recording_id = %(recording_id)s
  AND status = 'pending'
