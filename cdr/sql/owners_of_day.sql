-- What the objects of a day may be recordings of: CDRs of that day that name one, with their rows where there are some.
SELECT
    cdr.identity, cdr.provider_time, cdr.account, coalesce(recording.call_id, cdr.call_id),
    coalesce(recording.call_type, cdr.call_type), coalesce(recording.started_at, cdr.started_at),
    coalesce(recording.source_url, cdr.recording_url), coalesce(recording.status = 'stored', false),
    recording.sha256, coalesce(recording.updated_at < now() - make_interval(secs => %(settling_seconds)s), true)
FROM cdr.cdrs AS cdr
LEFT JOIN cdr.recordings AS recording USING (provider_time, identity)
WHERE cdr.started_at >= %(begins_at)s AND cdr.started_at < %(ends_at)s
  AND cdr.account = %(account)s
  AND coalesce(recording.source_url, cdr.recording_url) IS NOT NULL
