-- Makes recordings that are not stored, and not about to be fetched, due at once and as if they had never been tried.
WITH chosen AS (
    SELECT recording_id FROM cdr.recordings
    WHERE recording_id > %(after)s AND recording_id <= %(last)s
      AND (status IN ('gone', 'refused', 'failed') OR (status = 'pending' AND next_attempt_at > now()))
      AND (%(ids)s::bigint[] IS NULL OR recording_id = ANY(%(ids)s::bigint[]))
      AND (%(status)s::text IS NULL OR status = %(status)s::text)
      AND (%(account)s::text IS NULL OR account = %(account)s::text)
      AND (%(call_id)s::text IS NULL OR call_id = %(call_id)s::text)
      AND (%(since)s::timestamptz IS NULL OR started_at >= %(since)s::timestamptz)
      AND (%(until)s::timestamptz IS NULL OR started_at <= %(until)s::timestamptz)
    ORDER BY recording_id
    LIMIT %(limit)s
    FOR UPDATE
)
UPDATE cdr.recordings AS recording
SET status = 'pending', attempts = 0, next_attempt_at = now(), pending_since = now(),
    asked_to_wait_since = NULL, updated_at = now()
FROM chosen
WHERE recording.recording_id = chosen.recording_id
RETURNING recording.recording_id
