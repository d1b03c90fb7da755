-- Folds all CDRs of these calls into one row a call. `call_keys`, `root_keys` and `root_ids` give each call id the call
-- that it belongs to; the id is null where only the call itself names it. Bounds as in link_calls. A leg 1 counts only where
-- no leg 2 of its family came. Legs are taken in the order of their start; `place` says it, so that no plan can change it.
WITH members AS (
    SELECT * FROM unnest(
        %(call_keys)s::uuid[], %(root_keys)s::uuid[], %(root_ids)s::text[], %(firsts)s::timestamp[], %(lasts)s::timestamp[]
    ) AS m (call_key, root_key, root_id, first_time, last_time)
),
-- A call at a time, which the OFFSET keeps so: PostgreSQL knows late what a partition that grows holds, and would read all
-- that it has of that time.
found AS MATERIALIZED (
    SELECT members.root_key, members.root_id, c.*
    FROM members
    CROSS JOIN LATERAL (
        SELECT
            identity, provider_time, account, call_id, call_type, direction, outcome, started_at, talk_seconds,
            ring_seconds, queue_wait_seconds, caller_number, caller_e164, caller_country_code, called_party, called_e164,
            called_country_code, did_number, acd_queue_name, agent_code, agent_name, price_agorot, recording_url,
            last_received_at
        FROM cdr.cdrs AS of_call
        WHERE
            of_call.call_key = members.call_key
            AND of_call.provider_time BETWEEN %(from)s AND %(to)s
            AND of_call.provider_time BETWEEN members.first_time AND members.last_time
        OFFSET 0
    ) AS c
),
counted AS (
    SELECT *, count(*) OVER (PARTITION BY root_key) AS leg_count FROM found
),
legs AS (
    SELECT
        c.*,
        coalesce(
            t.leg = 1 AND bool_or(t.leg = 2) OVER (PARTITION BY c.root_key, t.leg_family), false
        ) AS superseded,
        row_number() OVER (PARTITION BY c.root_key ORDER BY c.started_at, t.leg, c.identity) AS place
    FROM counted AS c
    LEFT JOIN cdr.call_types AS t ON t.call_type = c.call_type
    WHERE c.leg_count > 1
),
folded AS (
    SELECT
        root_key,
        min(account) AS account,
        min(root_id) AS root_id,
        array_agg(DISTINCT call_id) AS call_ids,
        min(started_at) AS started_at,
        max(started_at + make_interval(
            secs => coalesce(queue_wait_seconds, 0)::float8 + coalesce(ring_seconds, 0) + coalesce(talk_seconds, 0)
        )) AS ended_at,
        (array_agg(direction ORDER BY place) FILTER (WHERE direction IS NOT NULL))[1] AS direction,
        (array_agg(caller_number ORDER BY place) FILTER (WHERE caller_number IS NOT NULL))[1] AS caller_number,
        (array_agg(caller_e164 ORDER BY place) FILTER (WHERE caller_number IS NOT NULL))[1] AS caller_e164,
        (array_agg(caller_country_code ORDER BY place) FILTER (WHERE caller_number IS NOT NULL))[1]
            AS caller_country_code,
        (array_agg(called_party ORDER BY place) FILTER (WHERE called_party IS NOT NULL AND NOT superseded))[1]
            AS called_party,
        (array_agg(called_e164 ORDER BY place) FILTER (WHERE called_party IS NOT NULL AND NOT superseded))[1]
            AS called_e164,
        (array_agg(called_country_code ORDER BY place) FILTER (WHERE called_party IS NOT NULL AND NOT superseded))[1]
            AS called_country_code,
        (array_agg(did_number ORDER BY place) FILTER (WHERE did_number IS NOT NULL))[1] AS did_number,
        (array_agg(acd_queue_name ORDER BY place) FILTER (WHERE acd_queue_name IS NOT NULL))[1] AS acd_queue_name,
        (array_agg(agent_code ORDER BY place DESC) FILTER (WHERE coalesce(agent_code, agent_name) IS NOT NULL))[1]
            AS agent_code,
        (array_agg(agent_name ORDER BY place DESC) FILTER (WHERE coalesce(agent_code, agent_name) IS NOT NULL))[1]
            AS agent_name,
        bool_or(outcome = 'answered') FILTER (WHERE NOT superseded) AS answered,
        (array_agg(outcome ORDER BY place DESC) FILTER (WHERE NOT superseded))[1] AS last_outcome,
        (array_agg(queue_wait_seconds ORDER BY place) FILTER (WHERE queue_wait_seconds IS NOT NULL))[1]
            AS queue_wait_seconds,
        (array_agg(ring_seconds ORDER BY place) FILTER (WHERE ring_seconds IS NOT NULL))[1] AS ring_seconds,
        sum(talk_seconds) FILTER (WHERE NOT superseded) AS talk_seconds,
        sum(price_agorot) AS price_agorot,
        count(*) AS leg_count,
        count(DISTINCT recording_url) AS recording_count,
        max(last_received_at) AS last_received_at,
        min(provider_time) AS first_provider_time,
        max(provider_time) AS last_provider_time
    FROM legs
    GROUP BY root_key
    UNION ALL
    -- Most calls have one leg, of which all this is plain: to sort and to gather each column of it takes as long again as
    -- the rest of the statement.
    SELECT
        root_key, account, root_id, ARRAY[call_id], started_at,
        started_at + make_interval(
            secs => coalesce(queue_wait_seconds, 0)::float8 + coalesce(ring_seconds, 0) + coalesce(talk_seconds, 0)
        ),
        direction, caller_number,
        CASE WHEN caller_number IS NOT NULL THEN caller_e164 END,
        CASE WHEN caller_number IS NOT NULL THEN caller_country_code END,
        called_party,
        CASE WHEN called_party IS NOT NULL THEN called_e164 END,
        CASE WHEN called_party IS NOT NULL THEN called_country_code END,
        did_number, acd_queue_name, agent_code, agent_name, outcome = 'answered', outcome, queue_wait_seconds, ring_seconds,
        talk_seconds, price_agorot, 1, num_nonnulls(recording_url), last_received_at, provider_time, provider_time
    FROM counted
    WHERE leg_count = 1
)
INSERT INTO cdr.calls AS known (
    call_key, account, call_id, call_ids, started_at, ended_at, direction, caller_number, caller_e164,
    caller_country_code, called_party, called_e164, called_country_code, did_number, acd_queue_name, agent_code,
    agent_name, outcome, queue_wait_seconds, ring_seconds, talk_seconds, price_agorot, leg_count, recording_count,
    last_received_at, first_provider_time, last_provider_time
)
SELECT
    root_key, account, coalesce(root_id, call_ids[1]), call_ids, started_at, ended_at, direction, caller_number,
    caller_e164, caller_country_code, called_party, called_e164, called_country_code, did_number, acd_queue_name,
    agent_code, agent_name, CASE WHEN answered THEN 'answered' ELSE last_outcome END, queue_wait_seconds, ring_seconds,
    talk_seconds, price_agorot, leg_count, recording_count, last_received_at, first_provider_time, last_provider_time
FROM folded
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
RETURNING known.call_key::text
