-- Puts the folded rows, copied into incoming, in the place of those that stand, and notes what has to happen then.
WITH updated AS (
    UPDATE cdr.cdrs AS known SET
        original_call_id = folded.original_call_id,
        call_type = folded.call_type,
        direction = folded.direction,
        disposition = folded.disposition,
        outcome = folded.outcome,
        started_at = folded.started_at,
        time_rule = folded.time_rule,
        talk_seconds = folded.talk_seconds,
        ring_seconds = folded.ring_seconds,
        queue_wait_seconds = folded.queue_wait_seconds,
        duration_seconds = folded.duration_seconds,
        caller_number = folded.caller_number,
        caller_e164 = folded.caller_e164,
        caller_country_code = folded.caller_country_code,
        caller_country = folded.caller_country,
        caller_kind = folded.caller_kind,
        called_party = folded.called_party,
        called_e164 = folded.called_e164,
        called_country_code = folded.called_country_code,
        called_country = folded.called_country,
        called_kind = folded.called_kind,
        did_number = folded.did_number,
        did_e164 = folded.did_e164,
        acd_queue_id = folded.acd_queue_id,
        acd_queue_name = folded.acd_queue_name,
        -- A backfill may have found a name that this worker's directory does not have yet; the codes are the same.
        caller_extension_name = coalesce(folded.caller_extension_name, known.caller_extension_name),
        answering_extension_name = coalesce(folded.answering_extension_name, known.answering_extension_name),
        agent_code = folded.agent_code,
        agent_name = folded.agent_name,
        price_agorot = folded.price_agorot,
        recording_url = folded.recording_url,
        ivr_path = folded.ivr_path,
        custom = folded.custom,
        ai = folded.ai,
        payload = folded.payload,
        problems = folded.problems,
        notes = folded.notes,
        format = folded.format,
        delivery_id = folded.delivery_id,
        delivery_place = folded.delivery_place,
        first_received_at = folded.first_received_at,
        last_received_at = folded.last_received_at,
        delivery_count = folded.delivery_count,
        loaded_at = folded.loaded_at
    FROM incoming AS folded
    WHERE known.identity = folded.identity AND known.provider_time = folded.provider_time
    RETURNING
        known.identity, known.provider_time, known.account, known.call_id, known.call_key, known.call_type,
        known.started_at, known.recording_url
),
calls_to_fold AS (
    INSERT INTO cdr.outbox (kind, call_keys, provider_times)
    SELECT 'calls', array_agg(call_key), array_agg(provider_time) FROM updated HAVING count(*) > 0
),
new_recordings AS (
    INSERT INTO cdr.recordings (identity, provider_time, account, call_id, call_type, started_at, source_url, source_key)
    SELECT
        identity, provider_time, account, call_id, call_type, started_at,
        recording_url, sha256(convert_to(recording_url, 'UTF8'))
    FROM updated WHERE recording_url IS NOT NULL
    ON CONFLICT (provider_time, identity, source_key) DO NOTHING
    RETURNING recording_id
),
recordings_to_fetch AS (
    INSERT INTO cdr.outbox (kind, recording_ids)
    SELECT 'recordings', array_agg(recording_id) FROM new_recordings HAVING count(*) > 0
)
SELECT count(*) FROM updated
