SELECT
    recording_id, account, call_id, call_type, started_at, status, attempts, next_attempt_at, bytes, seconds, codec, problem,
    last_error, storage_key, source_url, created_at, updated_at
FROM cdr.recordings
WHERE recording_id > %(after)s AND recording_id <= %(last)s
  AND (%(ids)s::bigint[] IS NULL OR recording_id = ANY(%(ids)s::bigint[]))
  AND (%(status)s::text IS NULL OR status = %(status)s::text)
  AND (%(account)s::text IS NULL OR account = %(account)s::text)
  AND (%(call_id)s::text IS NULL OR call_id = %(call_id)s::text)
  AND (%(since)s::timestamptz IS NULL OR started_at >= %(since)s::timestamptz)
  AND (%(until)s::timestamptz IS NULL OR started_at <= %(until)s::timestamptz)
ORDER BY recording_id
LIMIT %(page_size)s
