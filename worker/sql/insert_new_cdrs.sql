-- Inserts the incoming rows that are new and notes what has to happen once they stand; returns the identities of the others.
-- The order is that of the unique key, so that two workers with the same CDRs wait for each other in one direction.
-- The columns are named, because a migration may change the table while a connection keeps its older `incoming`.
WITH inserted AS (
    INSERT INTO cdr.cdrs (
        identity, provider_time, account, call_id, call_key, original_call_id, call_type, direction, disposition, outcome,
        started_at, time_raw, time_rule, talk_seconds, ring_seconds, queue_wait_seconds, duration_seconds,
        caller_number, caller_e164, caller_country_code, caller_country, caller_kind,
        called_party, called_e164, called_country_code, called_country, called_kind, did_number, did_e164,
        acd_queue_id, acd_queue_name, caller_extension_code, caller_extension_name,
        answering_extension_code, answering_extension_name, agent_code, agent_name, price_agorot, recording_url,
        ivr_path, custom, ai, payload, problems, notes, format, delivery_id, delivery_place,
        first_received_at, last_received_at, delivery_count, loaded_at
    )
    SELECT
        identity, provider_time, account, call_id, call_key, original_call_id, call_type, direction, disposition, outcome,
        started_at, time_raw, time_rule, talk_seconds, ring_seconds, queue_wait_seconds, duration_seconds,
        caller_number, caller_e164, caller_country_code, caller_country, caller_kind,
        called_party, called_e164, called_country_code, called_country, called_kind, did_number, did_e164,
        acd_queue_id, acd_queue_name, caller_extension_code, caller_extension_name,
        answering_extension_code, answering_extension_name, agent_code, agent_name, price_agorot, recording_url,
        ivr_path, custom, ai, payload, problems, notes, format, delivery_id, delivery_place,
        first_received_at, last_received_at, delivery_count, loaded_at
    FROM incoming ORDER BY identity, provider_time
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
    ON CONFLICT (provider_time, identity, source_key) DO NOTHING
    RETURNING recording_id
),
recordings_to_fetch AS (
    INSERT INTO cdr.outbox (kind, recording_ids)
    SELECT 'recordings', array_agg(recording_id) FROM new_recordings HAVING count(*) > 0
),
hooks_to_run AS (
    INSERT INTO cdr.outbox (kind, identities, provider_times, call_ids, hooks, is_update, job_count)
    SELECT
        'hooks', array_agg(identity), array_agg(provider_time), array_agg(call_id), %(hooks)s::text[], false,
        count(*) * cardinality(%(hooks)s::text[])
    FROM inserted WHERE %(hooks)s::text[] IS NOT NULL HAVING count(*) > 0
)
SELECT identity FROM (
    SELECT identity, provider_time FROM incoming
    EXCEPT
    SELECT identity, provider_time FROM inserted
) AS not_new
