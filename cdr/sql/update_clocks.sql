-- Gives CDRs another start, and their recordings with them, and notes their calls to be folded anew.
WITH updated AS (
    UPDATE cdr.cdrs AS known SET
        started_at = anew.started_at,
        time_rule = anew.time_rule
    FROM unnest(
        %(identities)s::bytea[], %(provider_times)s::timestamp[], %(starts)s::timestamptz[], %(rules)s::text[]
    ) AS anew (identity, provider_time, started_at, time_rule)
    WHERE known.identity = anew.identity AND known.provider_time = anew.provider_time
      AND known.provider_time >= %(begins)s AND known.provider_time < %(ends)s
    RETURNING known.identity, known.provider_time, known.call_key, known.started_at
),
calls_to_fold AS (
    INSERT INTO cdr.outbox (kind, call_keys, provider_times)
    SELECT 'calls', array_agg(call_key), array_agg(provider_time) FROM updated HAVING count(*) > 0
),
-- Locked in the order in which recorders write them, so that neither waits for the other.
moved AS (
    SELECT recording.recording_id, updated.started_at
    FROM updated
    JOIN cdr.recordings AS recording USING (provider_time, identity)
    WHERE recording.started_at <> updated.started_at
    ORDER BY recording.recording_id
    FOR UPDATE OF recording
)
UPDATE cdr.recordings AS known SET started_at = moved.started_at
FROM moved
WHERE known.recording_id = moved.recording_id
