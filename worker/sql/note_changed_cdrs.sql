-- Notes for the hooks the rows that differ from those copied into incoming, which are about to take their place. What says
-- only when and how often a CDR was received makes no difference.
INSERT INTO cdr.outbox (kind, identities, provider_times, call_ids, hooks, is_update, job_count)
SELECT
    'hooks', array_agg(known.identity), array_agg(known.provider_time), array_agg(known.call_id), %(hooks)s::text[], true,
    count(*) * cardinality(%(hooks)s::text[])
FROM incoming AS folded
JOIN cdr.cdrs AS known ON known.identity = folded.identity AND known.provider_time = folded.provider_time
WHERE
    (
        known.original_call_id, known.call_type, known.direction, known.disposition, known.outcome, known.started_at,
        known.time_rule, known.talk_seconds, known.ring_seconds, known.queue_wait_seconds, known.duration_seconds,
        known.caller_number, known.caller_e164, known.caller_country_code, known.caller_country, known.caller_kind,
        known.called_party, known.called_e164, known.called_country_code, known.called_country, known.called_kind,
        known.did_number, known.did_e164, known.acd_queue_id, known.acd_queue_name, known.caller_extension_name,
        known.answering_extension_name, known.agent_code, known.agent_name, known.price_agorot, known.recording_url,
        known.ivr_path, known.custom, known.ai, known.payload, known.problems
    ) IS DISTINCT FROM (
        folded.original_call_id, folded.call_type, folded.direction, folded.disposition, folded.outcome, folded.started_at,
        folded.time_rule, folded.talk_seconds, folded.ring_seconds, folded.queue_wait_seconds, folded.duration_seconds,
        folded.caller_number, folded.caller_e164, folded.caller_country_code, folded.caller_country, folded.caller_kind,
        folded.called_party, folded.called_e164, folded.called_country_code, folded.called_country, folded.called_kind,
        folded.did_number, folded.did_e164, folded.acd_queue_id, folded.acd_queue_name, coalesce(folded.caller_extension_name, known.caller_extension_name),
        coalesce(folded.answering_extension_name, known.answering_extension_name), folded.agent_code, folded.agent_name, folded.price_agorot, folded.recording_url,
        folded.ivr_path, folded.custom, folded.ai, folded.payload, folded.problems
    )
HAVING count(*) > 0
