SELECT recording_id, account, call_id, call_type, started_at, source_url, attempts, next_attempt_at
FROM cdr.recordings
WHERE recording_id = ANY(%(recording_ids)s)
  AND status = 'pending'
ORDER BY recording_id
