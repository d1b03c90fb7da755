-- As owners_of_day.sql, by the ids of the calls: a clock rule that changed gives a call another day than its recording has.
SELECT
    cdr.identity, cdr.provider_time, cdr.account, coalesce(recording.call_id, cdr.call_id),
    coalesce(recording.call_type, cdr.call_type), coalesce(recording.started_at, cdr.started_at),
    coalesce(recording.source_url, cdr.recording_url), coalesce(recording.status = 'stored', false),
    recording.sha256, coalesce(recording.updated_at < now() - make_interval(secs => %(settling_seconds)s), true)
FROM cdr.cdrs AS cdr
LEFT JOIN cdr.recordings AS recording USING (provider_time, identity)
WHERE cdr.call_key = ANY(%(call_keys)s::uuid[])
  AND cdr.account = %(account)s
  AND coalesce(recording.source_url, cdr.recording_url) IS NOT NULL
