-- Times are compared by this clock alone, because those of two machines differ.
SELECT
    recording.recording_id, recording.account, recording.call_id, recording.call_type, recording.started_at,
    recording.source_url, recording.source_key, recording.attempts, recording.next_attempt_at,
    coalesce(extract(epoch FROM recording.next_attempt_at - now()), 0)::float8,
    extract(epoch FROM now() - recording.asked_to_wait_since)::float8,
    cdr.talk_seconds
FROM cdr.recordings AS recording
LEFT JOIN cdr.cdrs AS cdr USING (identity, provider_time)
WHERE recording.recording_id = ANY(%(recording_ids)s)
  AND recording.status = 'pending'
ORDER BY recording.recording_id
