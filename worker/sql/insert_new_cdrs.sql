-- Inserts the incoming rows that are new and notes what has to happen once they stand; returns how many were new.
-- The order is that of the unique key, so that two workers with the same CDRs wait for each other in one direction.
WITH inserted AS (
    INSERT INTO cdr.cdrs
    SELECT * FROM incoming ORDER BY identity, provider_time
    ON CONFLICT (identity, provider_time) DO NOTHING
    RETURNING identity, provider_time, account, call_id, call_key, call_type, started_at, recording_url
),
calls_to_fold AS (
    INSERT INTO cdr.outbox (kind, call_keys, provider_times)
    SELECT 'calls', array_agg(call_key), array_agg(provider_time) FROM inserted HAVING count(*) > 0
),
new_recordings AS (
    INSERT INTO cdr.recordings (identity, provider_time, account, call_id, call_type, started_at, source_url, source_key)
    SELECT
        identity, provider_time, account, call_id, call_type, started_at,
        recording_url, sha256(convert_to(recording_url, 'UTF8'))
    FROM inserted WHERE recording_url IS NOT NULL
    ON CONFLICT (identity, source_key) DO NOTHING
    RETURNING recording_id
),
recordings_to_fetch AS (
    INSERT INTO cdr.outbox (kind, recording_ids)
    SELECT 'recordings', array_agg(recording_id) FROM new_recordings HAVING count(*) > 0
)
SELECT count(*) FROM inserted
