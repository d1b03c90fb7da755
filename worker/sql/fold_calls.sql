-- Folds all CDRs of these calls into one row a call. `call_keys` and `root_keys` pair each call id with the call that it
-- belongs to; `roots` name those calls. A leg 1 counts only where no leg 2 of its family came.
WITH members AS (
    SELECT * FROM unnest(%(call_keys)s::uuid[], %(root_keys)s::uuid[]) AS m (call_key, root_key)
),
legs AS (
    SELECT
        members.root_key, c.*, t.leg,
        coalesce(
            t.leg = 1 AND bool_or(t.leg = 2) OVER (PARTITION BY members.root_key, t.leg_family), false
        ) AS superseded
    FROM members
    JOIN cdr.cdrs AS c ON c.call_key = members.call_key AND c.provider_time BETWEEN %(from)s AND %(to)s
    LEFT JOIN cdr.call_types AS t ON t.call_type = c.call_type
),
ordered AS (
    SELECT * FROM legs ORDER BY root_key, started_at, leg, identity
),
folded AS (
    SELECT
        root_key,
        (array_agg(account))[1] AS account,
        array_agg(DISTINCT call_id) AS call_ids,
        min(started_at) AS started_at,
        max(started_at + make_interval(
            secs => coalesce(queue_wait_seconds, 0)::float8 + coalesce(ring_seconds, 0) + coalesce(talk_seconds, 0)
        )) AS ended_at,
        (array_agg(direction) FILTER (WHERE direction IS NOT NULL))[1] AS direction,
        (array_agg(caller_number) FILTER (WHERE caller_number IS NOT NULL))[1] AS caller_number,
        (array_agg(caller_e164) FILTER (WHERE caller_number IS NOT NULL))[1] AS caller_e164,
        (array_agg(caller_country_code) FILTER (WHERE caller_number IS NOT NULL))[1] AS caller_country_code,
        (array_agg(called_party) FILTER (WHERE called_party IS NOT NULL AND NOT superseded))[1] AS called_party,
        (array_agg(called_e164) FILTER (WHERE called_party IS NOT NULL AND NOT superseded))[1] AS called_e164,
        (array_agg(called_country_code) FILTER (WHERE called_party IS NOT NULL AND NOT superseded))[1] AS called_country_code,
        (array_agg(did_number) FILTER (WHERE did_number IS NOT NULL))[1] AS did_number,
        (array_agg(acd_queue_name) FILTER (WHERE acd_queue_name IS NOT NULL))[1] AS acd_queue_name,
        array_agg(agent_code) FILTER (WHERE coalesce(agent_code, agent_name) IS NOT NULL) AS agent_codes,
        array_agg(agent_name) FILTER (WHERE coalesce(agent_code, agent_name) IS NOT NULL) AS agent_names,
        bool_or(outcome = 'answered') FILTER (WHERE NOT superseded) AS answered,
        array_agg(outcome) FILTER (WHERE NOT superseded) AS outcomes,
        (array_agg(queue_wait_seconds) FILTER (WHERE queue_wait_seconds IS NOT NULL))[1] AS queue_wait_seconds,
        (array_agg(ring_seconds) FILTER (WHERE ring_seconds IS NOT NULL))[1] AS ring_seconds,
        sum(talk_seconds) FILTER (WHERE NOT superseded) AS talk_seconds,
        sum(price_agorot) AS price_agorot,
        count(*) AS leg_count,
        count(DISTINCT recording_url) AS recording_count,
        max(last_received_at) AS last_received_at,
        min(provider_time) AS first_provider_time,
        max(provider_time) AS last_provider_time
    FROM ordered
    GROUP BY root_key
)
INSERT INTO cdr.calls AS known (
    call_key, account, call_id, call_ids, started_at, ended_at, direction, caller_number, caller_e164,
    caller_country_code, called_party, called_e164, called_country_code, did_number, acd_queue_name, agent_code,
    agent_name, outcome, queue_wait_seconds, ring_seconds, talk_seconds, price_agorot, leg_count, recording_count,
    last_received_at, first_provider_time, last_provider_time
)
SELECT
    f.root_key, f.account,
    -- Where the root has no CDR of its own the links know its id.
    coalesce(
        (SELECT id FROM unnest(f.call_ids) AS id WHERE cdr.call_key(f.account, id) = f.root_key),
        (SELECT l.original_call_id FROM cdr.call_links AS l WHERE l.original_call_key = f.root_key AND l.root_key = f.root_key LIMIT 1)
    ),
    f.call_ids, f.started_at, f.ended_at, f.direction, f.caller_number, f.caller_e164,
    f.caller_country_code, f.called_party, f.called_e164, f.called_country_code, f.did_number, f.acd_queue_name,
    f.agent_codes[cardinality(f.agent_codes)], f.agent_names[cardinality(f.agent_names)],
    CASE WHEN f.answered THEN 'answered' ELSE f.outcomes[cardinality(f.outcomes)] END,
    f.queue_wait_seconds, f.ring_seconds, f.talk_seconds, f.price_agorot, f.leg_count, f.recording_count,
    f.last_received_at, f.first_provider_time, f.last_provider_time
FROM folded AS f
ON CONFLICT (call_key) DO UPDATE SET
    call_ids = excluded.call_ids,
    started_at = excluded.started_at,
    ended_at = excluded.ended_at,
    direction = excluded.direction,
    caller_number = excluded.caller_number,
    caller_e164 = excluded.caller_e164,
    caller_country_code = excluded.caller_country_code,
    called_party = excluded.called_party,
    called_e164 = excluded.called_e164,
    called_country_code = excluded.called_country_code,
    did_number = excluded.did_number,
    acd_queue_name = excluded.acd_queue_name,
    agent_code = excluded.agent_code,
    agent_name = excluded.agent_name,
    outcome = excluded.outcome,
    queue_wait_seconds = excluded.queue_wait_seconds,
    ring_seconds = excluded.ring_seconds,
    talk_seconds = excluded.talk_seconds,
    price_agorot = excluded.price_agorot,
    leg_count = excluded.leg_count,
    recording_count = excluded.recording_count,
    last_received_at = excluded.last_received_at,
    first_provider_time = excluded.first_provider_time,
    last_provider_time = excluded.last_provider_time
RETURNING known.call_key
