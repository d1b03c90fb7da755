SELECT recording_id, account, call_id, greatest(coalesce(next_attempt_at, created_at), requeued_at)
FROM cdr.recordings
WHERE status = 'pending'
  AND greatest(coalesce(next_attempt_at, created_at), requeued_at) < now() - make_interval(secs => %(settling_seconds)s)
  AND recording_id > %(after)s
  AND (%(account)s::text IS NULL OR account = %(account)s::text)
  AND (%(begins_at)s::timestamptz IS NULL OR started_at >= %(begins_at)s::timestamptz)
  AND (%(ends_at)s::timestamptz IS NULL OR started_at < %(ends_at)s::timestamptz)
ORDER BY recording_id
LIMIT %(page_size)s
