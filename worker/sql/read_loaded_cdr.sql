-- The columns in the order of worker.hooks.LoadedCdr. JSON comes as text, so that numbers are read to the digit.
SELECT
    encode(identity, 'hex'), provider_time, account, call_id, original_call_id, call_type, direction, disposition, outcome,
    started_at, time_raw, time_rule, talk_seconds, ring_seconds, queue_wait_seconds, duration_seconds,
    caller_number, caller_e164, caller_country_code, caller_country, caller_kind,
    called_party, called_e164, called_country_code, called_country, called_kind, did_number, did_e164,
    acd_queue_id, acd_queue_name, caller_extension_code, caller_extension_name,
    answering_extension_code, answering_extension_name, agent_code, agent_name, price_agorot, recording_url,
    ivr_path::text, custom::text, ai::text, payload::text, problems,
    first_received_at, last_received_at, delivery_count, loaded_at
FROM cdr.cdrs
WHERE identity = %(identity)s AND provider_time = %(provider_time)s
