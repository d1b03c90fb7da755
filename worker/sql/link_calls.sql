-- Notes the original call that these calls name now: that of the earliest CDR that names one.
-- `firsts` and `lasts` bound the provider_times of each call, so that only its months are read; `from` and `to` bound those of
-- all, so that other months are not even opened.
INSERT INTO cdr.call_links AS known (call_key, account, call_id, original_call_key, original_call_id, root_key)
SELECT DISTINCT ON (c.call_key)
    c.call_key, c.account, c.call_id,
    cdr.call_key(c.account, c.original_call_id), c.original_call_id, c.call_key
FROM
    unnest(%(call_keys)s::uuid[], %(firsts)s::timestamp[], %(lasts)s::timestamp[])
        AS touched (call_key, first_time, last_time)
CROSS JOIN LATERAL (
    SELECT * FROM cdr.cdrs AS of_call
    WHERE
        of_call.call_key = touched.call_key
        AND of_call.provider_time BETWEEN %(from)s AND %(to)s
        AND of_call.provider_time BETWEEN touched.first_time AND touched.last_time
        AND of_call.original_call_id <> of_call.call_id
    -- As in fold_calls: a call at a time.
    OFFSET 0
) AS c
ORDER BY c.call_key, c.started_at, c.identity
ON CONFLICT (call_key) DO UPDATE
SET original_call_key = excluded.original_call_key, original_call_id = excluded.original_call_id
WHERE known.original_call_key <> excluded.original_call_key
