-- Makes the row of a recording that is in the store, or marks the one that there is.
INSERT INTO cdr.recordings AS recording (
    identity, provider_time, account, call_id, call_type, started_at, source_url, source_key,
    status, storage_key, bytes, sha256, content_type
)
VALUES (
    %(identity)s, %(provider_time)s, %(account)s, %(call_id)s, %(call_type)s, %(started_at)s, %(source_url)s,
    sha256(convert_to(%(source_url)s, 'UTF8')), 'stored', %(key)s, %(size_bytes)s, %(sha256)s, %(content_type)s
)
ON CONFLICT (provider_time, identity, source_key) DO UPDATE
SET status = 'stored', storage_key = excluded.storage_key, bytes = excluded.bytes, sha256 = excluded.sha256,
    content_type = excluded.content_type, next_attempt_at = NULL, asked_to_wait_since = NULL, last_error = NULL,
    updated_at = now()
WHERE recording.status <> 'stored'
  AND (recording.sha256 IS NULL OR recording.sha256 = excluded.sha256)
  AND recording.updated_at < now() - make_interval(secs => %(settling_seconds)s)
