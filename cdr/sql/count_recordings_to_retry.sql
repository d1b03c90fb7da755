-- The same ones as retry_recordings.sql would choose.
SELECT count(*) FROM (
    SELECT FROM cdr.recordings
    WHERE (status IN ('gone', 'refused', 'failed') OR (status = 'pending' AND next_attempt_at > now()))
      AND (%(ids)s::bigint[] IS NULL OR recording_id = ANY(%(ids)s::bigint[]))
      AND (%(status)s::text IS NULL OR status = %(status)s::text)
      AND (%(account)s::text IS NULL OR account = %(account)s::text)
      AND (%(call_id)s::text IS NULL OR call_id = %(call_id)s::text)
      AND (%(since)s::timestamptz IS NULL OR started_at >= %(since)s::timestamptz)
      AND (%(until)s::timestamptz IS NULL OR started_at <= %(until)s::timestamptz)
    LIMIT %(limit)s
) AS chosen
