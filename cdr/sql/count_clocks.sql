-- Counts CDRs by account, by the rule that found their start, and by what the date in their call id says of `time`, by the
-- rules of worker/clock.py: `reading` is wall_clock, epoch, both (where the zone is UTC), neither; no_date, no_time.
-- `minutes` is by how much the id is ahead of `time`, for those that fit neither; over two days is all one. `outdated` are
-- those that would be read otherwise by the settings given. Each level ends in OFFSET 0, which keeps PostgreSQL from
-- working out an expression anew wherever the next level names it.
WITH own AS (
    SELECT *
    FROM jsonb_to_recordset(%(accounts)s::jsonb) AS s (
        account text, time_rule text, time_fallback text, begins bigint[], begins_locally bigint[], offsets bigint[]
    )
),
usual AS (
    SELECT *
    FROM jsonb_to_record(%(defaults)s::jsonb) AS s (
        time_rule text, time_fallback text, begins bigint[], begins_locally bigint[], offsets bigint[]
    )
),
-- The pattern lets through only days that there are, so that make_date never fails.
chosen AS (
    SELECT
        account, call_id, time_raw, time_rule, started_at, first_received_at,
        CASE WHEN call_id ~ (
            '^20(?:[0-9]{2}(?:(?:0[13578]|1[02])(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)(?:0[1-9]|[12][0-9]|30)'
            '|02(?:0[1-9]|1[0-9]|2[0-8]))|(?:[02468][048]|[13579][26])0229)(?:[01][0-9]|2[0-3])[0-5][0-9][0-5][0-9]'
        ) THEN
            (make_date(substr(call_id, 1, 4)::int, substr(call_id, 5, 2)::int, substr(call_id, 7, 2)::int)
                - date '1970-01-01')::bigint * 86400
            + substr(call_id, 9, 2)::int * 3600 + substr(call_id, 11, 2)::int * 60 + substr(call_id, 13, 2)::int
        END AS id_time
    FROM cdr.cdrs
    WHERE (%(account)s::text IS NULL OR account = %(account)s::text)
      AND (%(since)s::timestamptz IS NULL OR started_at >= %(since)s::timestamptz)
      AND (%(until)s::timestamptz IS NULL OR started_at <= %(until)s::timestamptz)
      -- The same in words that leave out partitions: no zone is a day off, and what has no time is of 1970.
      AND (
          provider_time = '1970-01-01'
          OR provider_time BETWEEN
              coalesce(%(since)s::timestamptz AT TIME ZONE 'UTC' - interval '1 day', '-infinity')
              AND coalesce(%(until)s::timestamptz AT TIME ZONE 'UTC' + interval '1 day', 'infinity')
      )
    LIMIT %(at_most)s::bigint
),
compared AS (
    SELECT
        chosen.account, call_id, time_raw, chosen.time_rule, started_at, first_received_at, id_time,
        coalesce(own.time_rule, usual.time_rule) AS set_rule,
        coalesce(own.time_fallback, usual.time_fallback) AS set_fallback,
        coalesce(own.begins_locally, usual.begins_locally) AS begins_locally,
        coalesce(own.offsets, usual.offsets) AS offsets,
        id_time - time_raw AS difference,
        id_time - time_raw - (coalesce(own.offsets, usual.offsets))[
            width_bucket(time_raw, coalesce(own.begins, usual.begins))
        ] AS epoch_difference
    FROM chosen
    CROSS JOIN usual
    LEFT JOIN own ON own.account = chosen.account
    OFFSET 0
),
told AS (
    SELECT
        *,
        CASE
            WHEN time_raw IS NULL THEN 'no_time'
            WHEN id_time IS NULL THEN 'no_date'
            WHEN abs(difference) < 600 THEN CASE WHEN abs(epoch_difference) <= 600 THEN 'both' ELSE 'wall_clock' END
            WHEN abs(epoch_difference) <= 600 THEN 'epoch'
            ELSE 'neither'
        END AS reading
    FROM compared
    OFFSET 0
),
due AS (
    SELECT
        *,
        CASE
            WHEN reading = 'no_time' THEN CASE WHEN id_time IS NULL THEN 'received' ELSE 'id' END
            WHEN set_rule <> 'auto' THEN 'forced_' || set_rule
            WHEN reading IN ('wall_clock', 'both') THEN 'local'
            WHEN reading = 'epoch' THEN 'utc'
            ELSE 'assumed_' || set_fallback
        END AS due_rule
    FROM told
    OFFSET 0
),
-- The lists of the zone end here, so that no sort has to carry them along.
judged AS (
    SELECT
        account,
        time_rule,
        reading,
        CASE WHEN reading = 'neither' THEN greatest(-2881, least(2881, round(difference / 60.0)))::int END AS minutes,
        id_time IS NOT NULL AS is_dated,
        time_rule <> due_rule OR started_at <> CASE
            WHEN due_rule = 'received' THEN first_received_at
            WHEN due_rule IN ('utc', 'assumed_utc', 'forced_utc') THEN to_timestamp(time_raw)
            ELSE to_timestamp(coalesce(time_raw, id_time)
                - offsets[width_bucket(coalesce(time_raw, id_time), begins_locally)])
        END AS is_outdated,
        call_id
    FROM due
    OFFSET 0
)
SELECT
    account, time_rule, reading, minutes,
    count(*) AS cdrs,
    count(*) FILTER (WHERE is_dated) AS dated,
    count(*) FILTER (WHERE is_outdated) AS outdated,
    min(call_id COLLATE "C") AS example
FROM judged
GROUP BY account, time_rule, reading, minutes
