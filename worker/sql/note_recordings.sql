-- Notes recordings, given as JSON, that are to be fetched; those that are known already are left as they are.
WITH new_recordings AS (
    INSERT INTO cdr.recordings (identity, provider_time, account, call_id, call_type, started_at, source_url, source_key)
    SELECT
        decode(identity, 'hex'), provider_time, account, call_id, call_type, started_at,
        source_url, sha256(convert_to(source_url, 'UTF8'))
    FROM json_to_recordset(%(recordings)s::json) AS noted (
        identity text, provider_time timestamp, account text, call_id text, call_type text, started_at timestamptz,
        source_url text
    )
    ON CONFLICT (provider_time, identity, source_key) DO NOTHING
    RETURNING recording_id
)
INSERT INTO cdr.outbox (kind, recording_ids)
SELECT 'recordings', array_agg(recording_id) FROM new_recordings HAVING count(*) > 0
